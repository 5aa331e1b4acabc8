"""What a job gets to see of the host, and of a job beside it; and what it can do to that one."""

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from hostile.lab import SECRET, Answer, HostileLab
from hostile.traces import Traces
from support.pace import paced

pytestmark = pytest.mark.e2e

KEPT = "kept-safe-77"
KEEPER = f"""
echo {KEPT} > kept
cp kept /tmp
cp kept /dev/shm
bomb segment 1 > /dev/null
sh -c ': {KEPT}; sleep 600' &
reach offer {KEPT} &
touch ready
until [ -e stop ]; do sleep 0.02; done
cat /tmp/kept | tr a-z A-Z > /dev/shm/kept
pass "$(cat /dev/shm/kept)"
"""
"""Keeps a secret wherever one can be kept; and is done when the host says so."""


def look(lab: HostileLab, program: str) -> str:
    """Give everything that a job prints."""
    answer = lab.ask(lab.request(files={"program": f"{program}\npass looked"}))
    assert answer.code == 200, answer.reply
    return answer.text


def test_no_environment_of_the_host(lab: HostileLab) -> None:
    own = Path(f"/proc/{lab.worker.pid}/environ").read_bytes()
    assert SECRET.encode() in own
    seen = look(lab, "env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n'")
    assert "PATH=/bin" in seen
    assert "AWS" not in seen
    assert SECRET not in seen


def test_no_file_of_the_host(lab: HostileLab) -> None:
    places = " ".join(f"{root}{lab.own.folder}/secret" for root in ("", *_ROOTS))
    seen = look(lab, f"cat {places}; grep -rs 'hush[-]hush' / --exclude-dir=proc; ls /var /root")
    assert "No such file" in seen
    assert SECRET not in seen


_ROOTS = ("/proc/1/root", "/proc/self/cwd/../..", "/proc/1/cwd/../../..", "/proc/self/root/..")


def test_no_path_of_the_host(lab: HostileLab) -> None:
    seen = look(
        lab, "cat /proc/self/mountinfo /proc/self/mounts /proc/self/cgroup; ls -l /proc/*/fd"
    )
    assert "exercism-iteration" in seen
    assert not re.search(r"/var|/tmp/.|worker-1|upperdir|pipeline", seen)


def test_no_process_of_the_host(lab: HostileLab) -> None:
    pids = look(lab, "ls -d /proc/[0-9]*; hostname").split()
    assert 1 < len(pids) < 8
    assert socket.gethostname() not in pids


def test_no_open_file_of_the_host(lab: HostileLab) -> None:
    seen = look(lab, "for fd in /proc/1/fd/*; do readlink $fd; done")
    allowed = r"(/dev/null|pipe:\[\d+\]|/mnt/exercism-iteration/program|looked)"
    assert re.fullmatch(rf"({allowed}\n)+", seen.strip() + "\n"), seen


def test_no_abstract_socket_of_the_host(lab: HostileLab) -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(f"\0pipeline-{lab.own.port}")
        server.listen()
        client.connect(f"\0pipeline-{lab.own.port}")
        seen = look(lab, f"reach abstract pipeline-{lab.own.port}; cat /proc/net/unix")
    assert "ECONNREFUSED" in seen
    assert "@" not in seen


@contextmanager
def neighbour(lab: HostileLab) -> Iterator[list[Answer]]:
    """Have a job beside whatever happens meanwhile; its answer is in the list afterwards."""
    answers: list[Answer] = []
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(
            lab.ask, lab.request(files={"program": KEEPER}, execution_timeout=paced(20))
        )
        folder = lab.await_files("ready")[0]
        yield answers
        (folder / "stop").touch()
        answers.append(going.result())


def test_nothing_of_a_job_beside_it(lab: HostileLab, before: Traces) -> None:
    with neighbour(lab) as answers:
        seen = look(
            lab,
            "ls -A . /tmp /dev/shm /dev/mqueue; cat /proc/sysvipc/shm /proc/net/unix\n"
            "ps; reach abstract kept-safe-77 | sed s/kept-safe-77//; grep -rs 'kept[-]safe' / "
            "--exclude-dir=proc --exclude-dir=sys --exclude=program",
        )
    assert KEPT not in seen
    assert "got through" not in seen
    assert (answers[0].code, answers[0].text) == (200, KEPT.upper())
    assert lab.settle(before) == before


@pytest.mark.parametrize(
    ("program", "codes", "seconds"),
    [
        ("kill -9 -1; kill -STOP -1; pass tried", [200], 1),
        ("bomb forks", [401, 403], 1),
        ("bomb touched 256; exit 0", [403], 1),
        ("bomb pipes; exit 0", [403], 1),
        ("head -c 100m /dev/zero > big", [403], 20),  # the disk is to end it, on a busy host too
        ("yes", [402], 1),
        ("i=0; while touch /dev/mqueue/$i; do i=$((i+1)); done; pass tried", [200], 1),
    ],
    ids=["signals", "processes", "memory", "pipes", "disk", "output", "queues"],
)
def test_no_harm_to_a_job_beside_it(
    lab: HostileLab, before: Traces, program: str, codes: list[int], seconds: int
) -> None:
    with neighbour(lab) as answers:
        answer = lab.ask(lab.request(files={"program": program}, execution_timeout=paced(seconds)))
    assert answer.code in codes, answer.reply
    assert (answers[0].code, answers[0].text) == (200, KEPT.upper())
    lab.honest()
    assert lab.settle(before) == before
