"""Exit statuses mean the same in every command: the table of docs/operating.md."""

import subprocess
import sys
from pathlib import Path

import pytest

NOBODY = "tcp://127.0.0.1:9"
COMMANDS = ("pipeline", "pipeline-router", "pipeline-worker", "pipeline-containers")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name(str(command[0]))
    return subprocess.run(
        [program, *command[1:]], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_done(command: str) -> None:
    assert run(command, "--version").returncode == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_call(command: str) -> None:
    done = run(command, "--no-such-option")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr


def test_an_error(tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.write_text("not a folder")
    for command in (
        ("pipeline-containers", "run", tmp_path / "none", "a", tmp_path, "--work", tmp_path),
        ("pipeline-worker", "listen", "w", f"{NOBODY}/test_runners", held / "work"),
    ):
        done = run(*command)
        assert done.returncode == 1, (command, done.stderr)
        assert "Traceback" not in done.stderr


@pytest.mark.e2e
def test_a_router_that_does_not_answer(module_folder: Path) -> None:
    asked = run("pipeline", "--address", NOBODY, "status")
    waited = run(
        *("pipeline-worker", "listen", "w", f"{NOBODY}/test_runners"),
        *(module_folder / "work", "--wait", "1"),
    )
    assert (asked.returncode, waited.returncode) == (3, 3), waited.stderr
