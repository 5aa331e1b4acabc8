"""`pipeline batch` as a process: Ctrl-C, its death, terminals, and going on after each."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline_client.testing import FakeRouter
from pipeline_protocol import codec, requests, responses

PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's parent ignores it
from pipeline_client.cli import main
main()
"""
OF = 60
IN_FLIGHT = 5


@pytest.fixture
def solutions(tmp_path: Path) -> Path:
    file = tmp_path / "solutions.jsonl"
    lines = [{"exercise": "leap", "files": {"it.rb": f"{number}"}} for number in range(OF)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def router(*, answers: int) -> FakeRouter:
    """Make a router that answers so many runs, and is silent about the others."""
    left = [answers]

    def answering(body: bytes) -> Iterator[bytes]:
        request = codec.decode_request(body)
        if isinstance(request, requests.Cancel):
            yield codec.answer(responses.Cancelled(1))
        elif left[0] > 0:
            left[0] -= 1
            yield codec.answer({"status": "pass"})

    return FakeRouter(answering)


def command(fake: FakeRouter, solutions: Path, out: Path, *more: str) -> list[str]:
    words = ("batch", "ruby", str(solutions), "--out", str(out), "--version", "v1")
    own = ("--in-flight", str(IN_FLIGHT), "--address", fake.address)
    return [sys.executable, "-c", PROGRAM, *words, *own, *more]


def environment(**more: str) -> dict[str, str]:
    kept = {name: it for name, it in os.environ.items() if not name.startswith("PIPELINE_")}
    return kept | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"} | more


@contextmanager
def started(words: list[str]) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.01)


def asked(fake: FakeRouter, kind: type) -> list[Any]:
    return [request for request in list(fake.requests) if isinstance(request, kind)]


def done(out: Path) -> int:
    return out.read_bytes().count(b"\n") if out.exists() else 0


def goes_on(solutions: Path, out: Path) -> None:
    """Run the same command to its end: each solution has exactly one line, and ran once more."""
    before = done(out)
    with router(answers=OF) as fake:
        again = subprocess.run(
            command(fake, solutions, out, "--json"),
            capture_output=True,
            text=True,
            check=False,
            env=environment(),
            timeout=60,
        )
        assert len(asked(fake, requests.TestSolution)) == OF - before
    assert again.returncode == 0, again.stderr
    data = json.loads(again.stdout)
    assert (data["before"], data["ran"]) == (before, OF - before)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len({line["id"] for line in lines}) == len(lines) == OF


def test_an_interrupt_takes_back_what_is_under_way_and_the_same_command_goes_on(
    solutions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    with router(answers=20) as fake, started(command(fake, solutions, out)) as process:
        until(lambda: done(out) == 20)
        until(lambda: len(asked(fake, requests.TestSolution)) == 20 + IN_FLIGHT)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        silent = {it.id for it in asked(fake, requests.TestSolution)[20:]}
        cancels = asked(fake, requests.Cancel)
    assert process.returncode == 130
    assert f"interrupted: 20 of {OF} done: 20 pass\n" in error
    assert "the same command goes on from there, as" in error
    assert "(version v1)" in error
    assert {it.id for it in cancels} == silent
    assert {it.of_action for it in cancels} == {"test_solution"}
    assert done(out) == 20
    goes_on(solutions, out)


def test_what_is_killed_goes_on_too(solutions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with router(answers=20) as fake, started(command(fake, solutions, out)) as process:
        until(lambda: done(out) == 20)
        process.kill()
        process.wait()
    with out.open("ab") as file:
        file.write(out.read_bytes()[:100])  # as a write that was not finished leaves it
    goes_on(solutions, out)


def test_on_a_terminal_there_is_a_bar(solutions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with router(answers=OF) as fake:
        shown, status = on_terminal(command(fake, solutions, out))
    assert status == 0
    assert "━" in shown
    assert f"{OF}/{OF}" in shown
    assert f"{OF} pass" in shown


def test_elsewhere_there_is_none(solutions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with router(answers=OF) as fake:
        piped = subprocess.run(
            command(fake, solutions, out), capture_output=True, env=environment(), check=True
        )
    assert piped.stderr == b""
    assert b"\x1b" not in piped.stdout


def on_terminal(words: list[str]) -> tuple[str, int]:
    """Run a command on a terminal of its own; return what it shows there, and its end."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    shown = b""
    with subprocess.Popen(
        words, stdin=slave, stdout=slave, stderr=slave, env=environment()
    ) as process:
        os.close(slave)
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            if select.select([master], [], [], 0.05)[0]:
                try:
                    shown += os.read(master, 65536)
                except OSError:  # the other side is closed
                    break
        if time.monotonic() >= ends:
            process.kill()
        status = process.wait()
    os.close(master)
    return shown.decode(), status
