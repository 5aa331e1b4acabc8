"""`run` and `shell`, as people call them: a report to read, one for programs, a real terminal."""

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.pace import paced

from pipeline_containers.images.image import StoredImage

pytestmark = pytest.mark.e2e

PASS = """printf '{"version": 2, "status": "pass", "tests": []}' > "$3/results.json"\n"""
PROGRAM = [sys.executable, "-c", "import pipeline_containers.cli.root as cli; cli.main()"]


def call(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, timeout=paced(60)
    )


@pytest.fixture
def root(make_image: Callable[..., StoredImage]) -> Callable[[str], Path]:
    """Make a root folder with a tool and a shell, of one piece."""

    def make(script: str) -> Path:
        top = make_image(script).layers[0]
        (top / "bin").mkdir()
        for name in ("sh", "id", "cat", "ls", "stty", "sleep"):
            (top / "bin" / name).write_bytes(Path("/bin/busybox").read_bytes())
            (top / "bin" / name).chmod(0o755)
        return top

    return make


@pytest.fixture
def solution(work: Path) -> Path:
    (work / "solution").mkdir()
    (work / "solution/two_fer.rb").write_text("puts 1\n")
    return work / "solution"


def test_a_report_to_read(work: Path, solution: Path, root: Callable[[str], Path]) -> None:
    ran = call("run", root(f"cat $2/two_fer.rb; {PASS}"), "two-fer", solution, "--work", work)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("puts 1\n{\n")
    told = dict(line.split(":", 1) for line in ran.stderr.splitlines())
    assert told["ending"].strip() == "exited, status 0"
    assert "of 20;" in told["time"]
    assert "MiB of 3072" in told["memory"]
    assert told["processes"].endswith(" of 1024")
    assert told["output"].strip() == "7 bytes of 1048576, 0 bytes of 1048576"
    assert list((work / "sandboxes").iterdir()) == []


def test_a_report_for_programs(work: Path, solution: Path, root: Callable[[str], Path]) -> None:
    limits = ["--limit", f"wall_s={paced(0.5)}", "--limit", "memory_bytes=64MiB"]
    ran = call("run", root("sleep 600"), "a", solution, "--work", work, "--json", *limits)
    assert ran.returncode == 4
    report = json.loads(ran.stdout)
    assert (report["ending"], report["which_limit"]) == (
        "timed_out",
        f"wall time of {paced(0.5):g} s",
    )
    assert report["invocation"]["command"][:2] == ["/opt/test-runner/bin/run.sh", "a"]
    assert report["invocation"]["limits"]["memory_bytes"] == 64 << 20
    assert report["invocation"]["image_digest"].startswith("folder:")


@pytest.mark.parametrize(
    ("limit", "problem"),
    [
        ("colour=1", "'colour' is none of wall_s, memory_bytes"),
        ("wall_s=soon", "'soon' is not a number"),
        ("wall_s=0", "wall_s must be more than 0"),
        ("memory_bytes=1MiB", "memory_bytes must be at least"),
        ("ptrace=1", "'1' is neither true nor false"),
        ("writable_root_bytes=-1", "writable_root_bytes must be 0 or more"),
    ],
)
def test_a_limit_that_is_none(work: Path, solution: Path, limit: str, problem: str) -> None:
    ran = call("run", work, "two-fer", solution, "--work", work, "--limit", limit)
    assert ran.returncode == 2
    assert problem in ran.stderr


def test_a_shell_for_a_pipe(work: Path, solution: Path, root: Callable[[str], Path]) -> None:
    script = "cd /mnt/exercism-iteration; cat two_fer.rb; echo > /opt/new; exit 7\n"
    ran = call("shell", root(PASS), "two-fer", solution, "--work", work, stdin=script)
    assert ran.returncode == 7, ran.stderr
    assert "puts 1" in ran.stdout
    assert "Read-only file system" in ran.stdout
    called = "/opt/test-runner/bin/run.sh two-fer /mnt/exercism-iteration/"
    assert ran.stderr.startswith(f"the tool is called: {called}")
    assert list((work / "sandboxes").iterdir()) == []


def test_a_shell_ends_with_its_input(
    work: Path, solution: Path, root: Callable[[str], Path]
) -> None:
    assert call("shell", root(PASS), "two-fer", solution, "--work", work).returncode == 0


def test_what_a_killed_run_left_is_cleared_by_a_later_one(
    work: Path, solution: Path, root: Callable[[str], Path]
) -> None:
    command = [*PROGRAM, "run", root("sleep 60"), "a", solution, "--work", work]
    killed = subprocess.Popen(list(map(str, command)))
    until = time.monotonic() + paced(20)
    while not list(work.glob("sandboxes/*/jobs/*/pid")):
        assert time.monotonic() < until
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    (left,) = (work / "sandboxes").iterdir()
    (pid,) = left.glob("jobs/*/pid")
    orphan = int(pid.read_text())
    os.utime(left, (0, 0))
    assert call("run", root(PASS), "a", solution, "--work", work).returncode == 0
    assert list((work / "sandboxes").iterdir()) == []
    with contextlib.suppress(ChildProcessError):  # ours, if a sandbox was open here before
        os.waitpid(orphan, 0)


class Person:
    """Someone at a terminal."""

    def __init__(self, command: list[str]) -> None:
        self.terminal, theirs = pty.openpty()
        self._process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self._seen = ""

    def sees(self, text: str) -> None:
        until = time.monotonic() + paced(20)
        while text not in self._seen:
            assert select.select([self.terminal], [], [], until - time.monotonic())[0], self._seen
            self._seen += os.read(self.terminal, 4096).decode(errors="replace")
        self._seen = self._seen.partition(text)[2]

    def types(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def leaves(self) -> int:
        try:
            return self._process.wait(20)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self.terminal)


def test_a_shell_for_a_person(work: Path, solution: Path, root: Callable[[str], Path]) -> None:
    arguments = ["shell", str(root(PASS)), "two-fer", str(solution), "--work", str(work)]
    person = Person([*PROGRAM, *arguments])
    person.sees("/opt/test-runner # ")
    person.types("stty -a; id -u; echo $((6 * 7))\n")
    person.sees("42")
    person.types("sleep 30\n")
    person.sees("sleep 30")
    time.sleep(0.3)
    person.types("\x03")  # Ctrl-C ends the program, not the shell
    person.sees("/opt/test-runner # ")
    person.types("exit 3\n")
    assert person.leaves() == 3
    assert list((work / "sandboxes").iterdir()) == []


HOSTILE = "".join(
    map(
        chr,
        (
            *(code for code in range(1, 0xA0) if not 0x20 <= code < 0x7F),
            *(0x61C, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF),
            *(*range(0x202A, 0x202F), *range(0x2066, 0x206A)),
        ),
    )
)
"""What a terminal obeys, in any way: all control characters, ends of lines, directions."""


def on_terminal(*arguments: str | Path) -> str:
    """Run a command with a terminal for both of its outputs; what that is sent."""
    master, terminal = pty.openpty()
    sent = bytearray()
    with subprocess.Popen(
        [*PROGRAM, *map(str, arguments)], stdin=terminal, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        with contextlib.suppress(OSError):  # EIO: it has ended
            while chunk := os.read(master, 65536):
                sent += chunk
    os.close(master)
    assert process.returncode == 0
    return sent.decode()


def test_a_tools_words_do_nothing_to_a_terminal(
    work: Path, solution: Path, root: Callable[[str], Path]
) -> None:
    folder = root(f"cat /words; cat /words >&2; {PASS}")
    (folder / "words").write_text(f"said {HOSTILE} to the end\n", newline="")
    command = ("run", folder, "two-fer", solution, "--work", work)
    sent = on_terminal(*command)
    assert sent.count(r"said \x01\x02") == 2
    assert sent.count(r"\u2069 to the end") == 2
    assert not set(sent) & set(HOSTILE) - set("\r\n\t")
    piped = call(*command)
    assert piped.stdout.startswith("said \x01\x02"), "a script gets what the tool said"
