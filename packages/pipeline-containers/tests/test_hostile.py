"""Runs with the real runtime: what a hostile tool tries, how soon it ends, what it gets to see.

The `sandbox` fixture asserts after each that no process, mount, cgroup, folder or descriptor is
left.
"""

import errno
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.pace import paced

from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox.host.id_ranges import FIRST_HOST_ID
from pipeline_containers.sandbox.host.ids import ID_COUNT
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.result.report import Ending, RunReport
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_containers.system.units import MIB

pytestmark = pytest.mark.e2e

PASS = """printf '{"version": 2, "status": "pass", "tests": []}' > "$3/results.json"\n"""
Run = Callable[..., RunReport]


@pytest.mark.parametrize(
    "script",
    [
        "while :; do :; done",
        "sleep 60",
        "trap '' TERM INT HUP; sleep 60",
        "setsid sh -c 'trap \"\" HUP; sleep 60' & sleep 60",
        "exec >&- 2>&-; sleep 60",
        "kill -STOP $$; sleep 60",
    ],
)
def test_the_time_limit_holds(run: Run, quick_limits: Limits, script: str) -> None:
    began = time.monotonic()
    report = run(script, limits=replace(quick_limits, wall_s=paced(0.5)))
    assert report.ending is Ending.TIMED_OUT
    assert report.which_limit == f"wall time of {paced(0.5):g} s"
    assert time.monotonic() - began < paced(1.5)
    assert not report.succeeded


def test_a_daemon_does_not_outlive_its_parent(run: Run) -> None:
    began = time.monotonic()
    assert run(f"setsid sleep 60 & {PASS}").succeeded
    assert time.monotonic() - began < paced(1)


def test_a_fork_bomb_is_bounded(run: Run, quick_limits: Limits) -> None:
    began = time.monotonic()
    report = run("b() { b | b & }; b; sleep 60", limits=replace(quick_limits, wall_s=paced(1)))
    assert report.ending in (Ending.TIMED_OUT, Ending.PIDS_LIMIT)
    assert "32 processes" in report.which_limit
    assert time.monotonic() - began < paced(3)
    assert report.usage.peak_pids is None or report.usage.peak_pids <= 32


def test_memory_is_named(run: Run) -> None:
    report = run("head -c 200m /dev/zero | tail")
    assert report.ending is Ending.MEMORY_LIMIT
    assert report.which_limit == f"memory of {64 * MIB} bytes"
    assert report.usage.oom_kills > 0


def test_memory_is_named_when_a_child_died_of_it_and_the_tool_exits_with_0(run: Run) -> None:
    report = run("sh -c 'head -c 200m /dev/zero | tail'; exit 0")
    assert report.ending is Ending.MEMORY_LIMIT
    assert report.exit_status == 0


def test_a_tool_that_copes_with_a_killed_child_has_succeeded(run: Run) -> None:
    report = run(f"sh -c 'head -c 200m /dev/zero | tail'; {PASS}")
    assert report.succeeded
    assert report.usage.oom_kills > 0


@pytest.mark.parametrize("place", ["/tmp", "/dev/shm"])
def test_temporary_places_are_capped(run: Run, place: str) -> None:
    report = run(f"head -c 100m /dev/zero > {place}/big; wc -c < {place}/big")
    size = int(report.stdout or 0)
    assert report.ending is Ending.MEMORY_LIMIT or size <= 64 * MIB


def test_the_job_folder_is_capped_in_bytes(run: Run) -> None:
    report = run("head -c 100m /dev/zero > $3/big; exit 1")
    assert report.ending is Ending.DISK_LIMIT
    assert report.which_limit.startswith(f"job folder of {8 * MIB} bytes")


def test_the_job_folder_is_capped_in_files(run: Run) -> None:
    report = run("i=0; while mkdir $3/d$i; do i=$((i+1)); done; exit 1")
    assert report.ending is Ending.DISK_LIMIT
    assert "1000 files" in report.which_limit


@pytest.mark.parametrize("target", ["", ">&2"])
def test_floods_of_output_end_the_run(run: Run, target: str) -> None:
    began = time.monotonic()
    report = run(f"yes {target}")
    assert report.ending is Ending.OUTPUT_LIMIT
    assert len(report.stdout) + len(report.stderr) == 64 * 1024
    assert time.monotonic() - began < paced(1.5)


def test_a_burst_beyond_the_cap_just_before_the_end_counts(run: Run) -> None:
    report = run("head -c 70000 /dev/zero")
    assert report.ending is Ending.OUTPUT_LIMIT


def test_output_that_is_no_text_is_replaced(run: Run) -> None:
    assert run(f"printf 'a\\377b'; {PASS}").stdout == "a\ufffdb"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("true", "results.json is missing"),
        ("ln -s /etc/passwd $3/results.json", "results.json is a link"),
        ("ln -s /mnt/exercism-iteration/x $3/results.json", "results.json is a link"),
        ("mkfifo $3/results.json", "results.json is not a regular file"),
        ("mkdir $3/results.json", "results.json is not a regular file"),
        ("echo nonsense > $3/results.json", "results.json "),
        ("yes | head -c 600k > $3/results.json", "results.json is larger than 500000 bytes"),
        ("chmod 000 $3", "results.json is missing"),
    ],
)
def test_results_are_read_with_care(run: Run, script: str, problem: str) -> None:
    report = run(script)
    assert report.ending is Ending.EXITED
    assert report.output_problem is not None
    assert report.output_problem.startswith(problem)
    assert report.outputs is None


@pytest.mark.parametrize(
    "script",
    [
        "touch /new",
        "touch /opt/test-runner/new",
        "touch /bin/new",
        "mount -t tmpfs x /tmp",
        "mount -o remount,rw /",
        "umount /mnt/exercism-iteration",
        "mknod $3/device b 254 0",
        "chroot / true",
        "unshare -U true",
        "unshare -m true",
        "hostname hacked",
        "cat /proc/kcore | head -c 1 | grep -q .",
        "echo 1 > /proc/sys/kernel/panic",
        "echo b > /proc/sysrq-trigger && [ ! -c /proc/sysrq-trigger ]",  # or it is /dev/null
        "mkdir /sys/fs/cgroup/new",
        "nice -n -5 true",
        "chown 1:1 /bin/busybox",
        "ip link add x type dummy",
        "cat /etc/shadow",
        "ls /home",
    ],
)
def test_privileges_are_none(run: Run, script: str) -> None:
    assert run(f"{script} && echo got through").stdout.find("got through") < 0


def test_what_a_tool_is(run: Run, first_host_id: int) -> None:
    report = run("grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status; cat /proc/1/uid_map")
    status = dict(line.split(":") for line in report.stdout.splitlines() if ":" in line)
    assert {name: value.strip() for name, value in status.items()} == {
        "CapInh": "0" * 16,
        "CapPrm": "0" * 16,
        "CapEff": "0" * 16,
        "CapBnd": "0" * 16,
        "CapAmb": "0" * 16,
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }
    inside, outside, count = map(int, report.stdout.splitlines()[-1].split())
    assert (inside, count) == (0, ID_COUNT)
    assert outside in range(first_host_id + ID_COUNT, FIRST_HOST_ID + 2**28, ID_COUNT)


def test_every_null_is_the_containers_own(run: Run) -> None:
    """Of what it has open from the start, and of what hides files too; on the host it is one."""
    places = "/dev/null /proc/self/fd/0 /proc/keys /proc/timer_list /proc/locks"
    report = run(f"stat -L -c '%t %d:%i' {places}; readlink /proc/self/fd/0; {PASS}")
    *found, called = report.stdout.splitlines()
    assert len(found) == 5
    (null,) = set(found)
    host = Path("/dev/null").stat()
    assert null.startswith("1 ")
    assert null != f"1 {host.st_dev}:{host.st_ino}"
    assert called == "/dev/null", "the host's path is nobody's business"


@pytest.fixture
def perl_layer(work: Path) -> Path:
    """Perl, which every Debian has, and the libraries it is linked to: it can `syscall`."""
    folder = work / "perl"
    binary = Path("/usr/bin/perl")
    linked = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True)
    for name in [str(binary), *re.findall(r"/[^ ]+", linked.stdout)]:
        copy = folder / name.strip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, copy)
    return folder


# By the numbers of x86-64, which is what this is tested on.
CALLS = {
    "keyctl": "250, 0, -3, 0, 0, 0",
    "add_key": "248, 0, 0, 0, 0, 0",
    "unshare(NEWUSER)": f"272, {0x10000000}",
    "ptrace": "101, 0, 0, 0, 0",
    "bpf": "321, 0, 0, 0",
    "io_uring_setup": "425, 1, 0",
    "perf_event_open": "298, 0, 0, 0, 0, 0",
    "userfaultfd": "323, 0",
    "pidfd_getfd": "438, 0, 0, 0",
    "process_vm_readv": "310, 1, 0, 0, 0, 0, 0",
    "fsopen": "430, 0, 0",
    "setns": "308, 0, 0",
}
UNKNOWN = {
    "clone(NEWUSER)": f"56, {0x10000000 | 17}, 0, 0, 0, 0",
    "clone3": "435, 0, 0",
    "socket(AF_VSOCK)": "41, 40, 1, 0",
    "socket(AF_PACKET)": "41, 17, 3, 0",
    "socket(AF_ALG)": "41, 38, 5, 0",
}


def test_system_calls_are_filtered(
    sandbox: Sandbox,
    make_image: Callable[..., StoredImage],
    quick_limits: Limits,
    perl_layer: Path,
) -> None:
    calls = {**CALLS, **UNKNOWN, "getpid": "39"}
    lines = [
        f'$! = 0; syscall({numbers}); print "{name} ", $! + 0, "\\n";'
        for name, numbers in calls.items()
    ]
    image = make_image(f"exec perl -e '{''.join(lines)}'")
    image = replace(image, layers=(*image.layers, perl_layer))
    kind = TOOLS["test_runner"]
    report = sandbox.run(ToolRun(image, kind, "a", lambda _: None, quick_limits))
    answers = dict(line.rsplit(" ", 1) for line in report.stdout.splitlines())
    assert {name: answers[name] for name in CALLS} == dict.fromkeys(CALLS, str(errno.EPERM))
    assert {name: answers[name] for name in UNKNOWN} == dict.fromkeys(UNKNOWN, str(errno.ENOSYS))
    assert answers["getpid"] == "0", report.stderr


def test_there_is_no_network(run: Run) -> None:
    report = run(
        "ls /sys/class/net; for a in 169.254.169.254 10.0.0.1; do nc -w 1 $a 80 && echo in; done"
    )
    assert report.stdout == "lo\n"
    assert "unreachable" in report.stderr


def test_the_host_is_not_seen(run: Run) -> None:
    report = run("ps; hostname; ls /; ls /dev")
    assert "pytest" not in report.stdout
    assert "tool" in report.stdout.split()
    assert "sda" not in report.stdout.split()


def test_links_instead_of_mount_points_lead_nowhere(
    sandbox: Sandbox, make_image: Callable[..., StoredImage], quick_limits: Limits, work: Path
) -> None:
    outside = work / "outside"
    outside.mkdir(mode=0o777)
    image = make_image(f"touch /tmp/x $2/y; {PASS}")
    for name in ("tmp", "mnt", "proc", "dev", "sys"):
        (image.layers[0] / name).symlink_to(outside)
    kind = TOOLS["test_runner"]
    report = sandbox.run(ToolRun(image, kind, "a", lambda _: None, quick_limits))
    assert report.succeeded
    assert list(outside.iterdir()) == []
