"""The two platforms of the smoke test: one with the hostile tool, one with an example track."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile.image import make_image
from hostile.lab import HostileLab
from support.bash_track import BashTrack, build_road
from support.processes import machine
from support.tracks import make_repository, write_seed


@pytest.fixture(scope="module")
def lab(module_folder: Path) -> Iterator[HostileLab]:
    """Give a router and a worker with the hostile tool."""
    folder, helpers = module_folder / "lab", module_folder / "helpers"
    folder.mkdir(0o711)
    helpers.mkdir()
    with machine(folder) as own:
        lab = HostileLab(own, make_image(helpers))
        lab.start_worker()
        yield lab


@pytest.fixture(scope="module")
def track(module_folder: Path, base_images: Path) -> Iterator[BashTrack]:
    """Give a router, a builder and a worker, with the bash track built and deployed."""
    folder = module_folder / "track"
    folder.mkdir(0o711)
    repositories = folder / "repositories"
    sha = make_repository("bash-test-runner", repositories)
    with machine(folder) as own:
        own.router(write_seed(folder, repositories))
        yield build_road(own, base_images, sha)
