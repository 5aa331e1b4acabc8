"""What a worker says when it does not start."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pace import paced

from pipeline_containers.errors import ContainersError
from pipeline_containers.sandbox.host.options import HostOptions
from pipeline_protocol.address import WorkerAddress
from pipeline_worker.cli import Start, explained
from pipeline_worker.core import Mode
from pipeline_worker.flavours import Means
from pipeline_worker.host.workfolder import WorkFolder


@pytest.fixture
def folder() -> Iterator[WorkFolder]:
    """A working folder that containers get through to; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="pipeline-test-") as place:
        Path(place).chmod(0o755)
        opened = WorkFolder(Path(place, "work"), "worker-1")
        yield opened
        opened.release()


@pytest.mark.e2e
@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_builder_says_at_once_that_its_program_is_not_there(by: str) -> None:
    with tempfile.TemporaryDirectory(prefix="pipeline-test-") as place:
        Path(place).chmod(0o755)
        command = [sys.executable, "-c", "from pipeline_worker.cli import main; main()"]
        command += ["listen", "builder-1", "tcp://127.0.0.1:1/builders", f"{place}/work"]
        if by == "option":
            command += ["--builder", "img"]
        environment = os.environ | ({"PIPELINE_BUILDER": "img"} if by == "environment" else {})
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=paced(60), check=False
        )
    assert ended.returncode == 1
    assert ended.stderr == (
        "pipeline-worker: this host lacks what jobs need: "
        "builder: img is not on PATH: install img, or name another builder\n"
    )


@pytest.mark.e2e
def test_where_the_host_lacks_nothing_the_reason_stands_alone(folder: WorkFolder) -> None:
    """Its own self-test is run in the worker's folder for what is needed for a moment."""
    folder.scratch()
    address = WorkerAddress.parse("tcp://localhost:5555/test_runners")
    start = Start("worker-1", address, 1, Mode.LISTEN, 1.0, Means(HostOptions()))
    error = ContainersError("the image store cannot be opened")
    assert explained(error, start, folder.path) == str(error)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("monitor", "status", "words"),
    [
        ("0.0.0.0:0", 2, "--monitor-token"),
        ("nonsense", 2, "no IP address and port"),
        ("192.0.2.1:9101", 2, "only loopback"),
        ("127.0.0.1:1", 1, "127.0.0.1:1 (monitor): "),
    ],
)
def test_a_monitor_that_cannot_be_is_said_at_the_start(
    monitor: str, status: int, words: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="pipeline-test-") as place, socket.socket() as taken:
        Path(place).chmod(0o755)
        if monitor.endswith(":1"):  # a port that somebody has
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            monitor, words = f"127.0.0.1:{port}", words.replace(":1 ", f":{port} ")
        command = [sys.executable, "-c", "from pipeline_worker.cli import main; main()"]
        command += ["listen", "worker-1", "tcp://127.0.0.1:1/test_runners", f"{place}/work"]
        ended = subprocess.run(
            [*command, "--monitor", monitor],
            capture_output=True,
            text=True,
            timeout=paced(60),
            check=False,
        )
    assert ended.returncode == status
    assert words in ended.stderr
