"""The demo on four hosts with keys: as promised, and nothing is left when it is cut short."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.leftovers import find_leftovers
from support.processes import Process
from support.tracks import EXAMPLES, ROOT


@pytest.fixture
def demo(
    shared_folder: Path, base_images: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Process]:
    """Give the demo, begun in a folder of its own."""
    (shared_folder / "base-images").symlink_to(base_images)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    program = str(EXAMPLES / "demo_hosts.py")
    log = shared_folder / "demo.log"
    process = Process("demo", [sys.executable, program, str(shared_folder)], log)
    yield process
    process.stop()


def hosts(demo: Process) -> list[str]:
    """Name the network namespaces that it made and that are there."""
    names = os.listdir("/run/netns") if Path("/run/netns").is_dir() else []
    return [name for name in names if f"-{demo.pid}-" in name]


def test_everything_is_as_promised(demo: Process) -> None:
    assert demo.wait(110) == 0, demo.output()
    found = re.search(r"(\d+) of (\d+) as promised", demo.output())
    assert found, demo.output()
    assert found[1] == found[2], demo.output()
    assert int(found[1]) > 10
    assert hosts(demo) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_it_is_cut_short(
    demo: Process, number: signal.Signals, shared_folder: Path
) -> None:
    demo.wait_for("An operator builds")
    assert len(hosts(demo)) == 4
    demo.send(number)
    assert demo.wait(60) != 0
    assert hosts(demo) == []
    assert not find_leftovers(shared_folder / "run")
