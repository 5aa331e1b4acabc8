"""What a worker's command line says to somebody who got something wrong: one line, one status."""

import socket
import subprocess
from pathlib import Path

import pytest
from support.pace import paced
from support.processes import BIN

DEAD = "tcp://127.0.0.1:1"


def worker(*arguments: str | Path) -> tuple[int, str]:
    done = subprocess.run(
        [BIN / "pipeline-worker", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=paced(60),
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://localhost:5555/test_runner", "did you mean 'test_runners'?"),
        ("tcp://localhost:5555/builders?topic=ruby", "topic= is not for them"),
        ("tcp://localhost:5555", "names no channel"),
        ("http://localhost:5555/builders", "is not an address"),
        ("tcp://localhost:5555/test_runners?topic=Ruby", "not a track"),
    ],
)
def test_a_bad_address_is_a_usage_error(address: str, said: str, tmp_path: Path) -> None:
    code, error = worker("listen", "worker-1", address, tmp_path / "w")
    assert code == 2
    assert said in error
    assert not (tmp_path / "w").exists()


def test_a_bad_identity_is_a_usage_error(tmp_path: Path) -> None:
    code, error = worker("listen", "-worker", f"{DEAD}/builders", tmp_path / "w")
    assert code == 2
    code, error = worker("listen", "no spaces", f"{DEAD}/builders", tmp_path / "w")
    assert code == 2
    assert "an identity" in error


@pytest.mark.e2e
def test_a_router_that_does_not_answer_is_named(shared_folder: Path) -> None:
    code, error = worker(
        "listen", "worker-1", f"{DEAD}/test_runners", shared_folder / "w", "--wait", "0.5"
    )
    assert code == 3
    assert "the router at tcp://127.0.0.1:1 does not answer" in error


@pytest.mark.e2e
def test_something_else_at_that_address_is_said_so(shared_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}/test_runners"
        code, error = worker("configure", "worker-1", address, shared_folder / "w", "--wait", "0.5")
    assert code == 3
    assert "does not answer" in error


@pytest.mark.e2e
def test_a_working_folder_in_use_names_its_owner(shared_folder: Path) -> None:
    from pipeline_worker.host.workfolder import WorkFolder

    held = WorkFolder(shared_folder / "w", "worker-7")
    code, error = worker("listen", "worker-1", f"{DEAD}/test_runners", shared_folder / "w")
    held.release()
    assert code == 1
    assert "is in use by worker-7" in error
    assert len(error.splitlines()) == 1


@pytest.mark.e2e
def test_a_missing_runtime_is_named_with_its_package(shared_folder: Path) -> None:
    code, error = worker(
        "listen", "worker-1", f"{DEAD}/test_runners", shared_folder / "w", "--runtime", "runk"
    )
    assert code == 1
    assert "runk is not on PATH" in error
    assert len(error.splitlines()) == 1
