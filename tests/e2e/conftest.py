"""A whole pipeline on real parts, with the bash track built, for the modules here."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bash_track import BashTrack, build_road
from support.processes import Machine, machine
from support.tracks import make_repository, write_seed


@pytest.fixture(scope="module")
def own(module_folder: Path) -> Iterator[Machine]:
    with machine(module_folder) as started:
        yield started


@pytest.fixture(scope="module")
def track(own: Machine, base_images: Path) -> BashTrack:
    """A router, a builder, and a generic worker with the bash track's runner deployed."""
    repositories = own.folder / "repositories"
    sha = make_repository("bash-test-runner", repositories)
    own.router(write_seed(own.folder, repositories))
    return build_road(own, base_images, sha)
