"""Earlier releases, built from their commits and installed, each in an environment of its own."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from support.processes import BIN
from support.tracks import ROOT
from support.uv import uv

LIST = Path(__file__).parent / "releases.txt"
PACKAGES = (
    "pipeline-protocol",
    "pipeline-containers",
    "pipeline-client",
    "pipeline-router",
    "pipeline-worker",
)
DEPENDENCIES = ("boto3", "click", "msgspec", "prometheus-client", "pyyaml", "pyzmq", "rich")
"""Of all the packages, at the versions of this tree: it is our own code that differs."""


@dataclass(frozen=True)
class Side:
    """A router, workers and a client of one release, or of this tree."""

    name: str
    bin: Path
    tests: Path
    """Where its `support.echo_worker` is."""
    protocol: int

    def command(self, program: str) -> str:
        return str(self.bin / program)


def releases() -> dict[str, str]:
    """Return the commit of each release, the earliest first."""
    lines = LIST.read_text().splitlines()
    return dict(line.split() for line in lines if not line.startswith("#"))


def this_tree() -> Side:
    return Side("this tree", BIN, ROOT / "tests", _protocol(BIN))


def installed(release: str) -> Side:
    """Build and install a release, unless that was done before."""
    commit = releases()[release]
    folder = (
        _folder() / f"{release}-{commit[:12]}-{sys.version_info.major}.{sys.version_info.minor}"
    )
    with _alone(folder):
        whole = folder / "whole"
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _install(release, commit, folder)
            whole.touch()
    binaries = folder / "environment" / "bin"
    return Side(release, binaries, folder / "source" / "tests", _protocol(binaries))


def file_of(release: str, path: str) -> str:
    """Return a file as it was at a release."""
    return _git(release, "show", f"{releases()[release]}:{path}").decode()


def _folder() -> Path:
    return Path(os.environ.get("PIPELINE_DEV_FOLDER", "/var/lib/pipeline-dev")) / "releases"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(release: str, commit: str, folder: Path) -> None:
    source, wheels = folder / "source", folder / "wheels"
    source.mkdir(parents=True)
    archive = _git(release, "archive", commit)
    subprocess.run(["tar", "--extract", "--directory", source], input=archive, check=True)
    for package in PACKAGES:
        build = ("build", "--wheel", "--package", package, "--no-sources", "--out-dir", str(wheels))
        uv(*build, folder=source)
    environment = folder / "environment"
    uv("venv", "--python", sys.executable, environment)
    known = [f"{name}=={version(name)}" for name in DEPENDENCIES]
    uv("pip", "install", "--python", environment, *sorted(wheels.glob("*.whl")), *known)


def _git(release: str, *arguments: str) -> bytes:
    """Run git on this clone; it must have the release's commit."""
    commit = releases()[release]
    git = ["git", "-c", "safe.directory=*", "-C", str(ROOT)]
    there = subprocess.run(
        [*git, "cat-file", "-e", f"{commit}^{{commit}}"], capture_output=True, check=False
    )
    assert there.returncode == 0, (
        f"release {release} is commit {commit}, which this clone does not have: a shallow one gets "
        f"it by `git fetch --unshallow` ({there.stderr.decode().strip()})"
    )
    return subprocess.run([*git, *arguments], capture_output=True, check=True).stdout


def _protocol(binaries: Path) -> int:
    program = "from pipeline_protocol.link import PROTOCOL; print(PROTOCOL)"
    python = [str(binaries / "python"), "-I", "-c", program]
    return int(subprocess.run(python, capture_output=True, check=True).stdout)
