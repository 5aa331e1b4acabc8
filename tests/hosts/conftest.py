"""What is tried in a virtual machine with systemd: `./dev vm debian-12 hosts`."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.started import Place


@pytest.fixture(scope="session")
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="pipeline-hosts-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield Place(folder)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Each leaves no cgroup of a sandbox behind."""
    yield
    left = [
        f"{parent}/{name}"
        for parent, names, _ in os.walk("/sys/fs/cgroup")
        for name in names
        if name.startswith("pipeline-") and name != "pipeline-leaf"
    ]
    assert left == []
