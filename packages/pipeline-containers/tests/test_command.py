"""Subprocesses with caps."""

import os
import threading
import time
from pathlib import Path

import pytest
from support.pace import paced

from pipeline_containers.errors import ToolMissing
from pipeline_containers.system.command import Stop, run_command


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


def test_output_and_status() -> None:
    lines: list[str] = []
    done = run_command(
        sh("echo out; echo err >&2; printf end; exit 3"), timeout_s=paced(5), on_line=lines.append
    )
    assert (done.exit_status, done.stop, done.ok) == (3, None, False)
    assert done.stdout == "out\nend"
    assert sorted(lines) == ["end", "err", "out"] or "err" in done.tail
    assert run_command(["true"], timeout_s=paced(5)).ok


def test_a_signal_is_128_and_more() -> None:
    assert run_command(sh("kill -9 $$"), timeout_s=paced(5)).exit_status == 137


@pytest.mark.parametrize(
    "script", ["sleep 60", "sleep 60 & wait", "exec >&- 2>&-; sleep 60", "trap '' TERM; sleep 60"]
)
def test_the_deadline_ends_the_group(script: str) -> None:
    began = time.monotonic()
    done = run_command(sh(script), timeout_s=paced(0.3))
    assert done.stop is Stop.TIMED_OUT
    assert time.monotonic() - began < paced(1)


def test_a_grandchild_that_holds_the_pipe_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    done = run_command(sh(f"sleep 60 & echo $! > {tmp_path}/pid"), timeout_s=paced(30))
    assert (done.exit_status, done.stop) == (0, None)
    assert time.monotonic() - began < paced(3)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + paced(2)
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(pid)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_output_is_capped_and_its_end_kept() -> None:
    done = run_command(["yes"], timeout_s=paced(10), output_bytes=100_000, tail_bytes=10)
    assert done.stop is Stop.OUTPUT_LIMIT
    assert len(done.stdout) == 100_000
    assert done.tail == "y\n" * 5


def test_a_line_without_an_end_comes_in_pieces() -> None:
    lines: list[str] = []
    script = "head -c 10000 /dev/zero | tr '\\0' x"
    run_command(sh(script), timeout_s=paced(10), on_line=lines.append)
    assert "".join(lines) == "x" * 10_000
    assert max(map(len, lines)) <= 4096


def test_what_is_no_text_is_replaced_for_people_and_kept_for_programs() -> None:
    lines: list[str] = []
    script = "printf 'a\\000b\\377\\nc\\000'"
    done = run_command(sh(script), timeout_s=paced(10), on_line=lines.append)
    assert lines == ["a\ufffdb\ufffd", "c\ufffd"]
    assert done.tail == "a\ufffdb\ufffd\nc\ufffd"
    assert done.stdout == "a\0b\ufffd\nc\0"


def test_cancel() -> None:
    event = threading.Event()
    threading.Timer(0.2, event.set).start()
    assert run_command(["sleep", "60"], timeout_s=paced(30), cancelled=event).stop is Stop.CANCELLED


def test_a_missing_program_says_what_to_install() -> None:
    with pytest.raises(ToolMissing, match="nothing-here is not on PATH"):
        run_command(["nothing-here"], timeout_s=1)
    with pytest.raises(ToolMissing, match="apt install git"):
        raise ToolMissing("git")


def test_a_missing_folder_is_not_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run_command(["true"], timeout_s=1, cwd=tmp_path / "none")


def test_no_descriptor_is_left() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        run_command(["true"], timeout_s=paced(5))
    assert len(os.listdir("/proc/self/fd")) == before
