"""The two platforms of the smoke test: one with the hostile tool, one with an example track."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile.arena import Arena
from hostile.image import make_image
from support.processes import machine
from support.road import Road, build_road
from support.tracks import make_repository, write_seed


@pytest.fixture(scope="module")
def arena(module_folder: Path) -> Iterator[Arena]:
    """Give a router and a worker with the hostile tool."""
    folder, helpers = module_folder / "arena", module_folder / "helpers"
    folder.mkdir(0o711)
    helpers.mkdir()
    with machine(folder) as own:
        arena = Arena(own, make_image(helpers))
        arena.start_worker()
        yield arena


@pytest.fixture(scope="module")
def road(module_folder: Path, base_images: Path) -> Iterator[Road]:
    """Give a router, a builder and a worker, with the bash track built and deployed."""
    folder = module_folder / "road"
    folder.mkdir(0o711)
    repositories = folder / "repositories"
    sha = make_repository("bash-test-runner", repositories)
    with machine(folder) as own:
        own.router(write_seed(folder, repositories))
        yield build_road(own, base_images, sha)
