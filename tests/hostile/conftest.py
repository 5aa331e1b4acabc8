"""Arenas: the hostile tool's image, made once, and machines to send jobs through."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile.image import make_image
from hostile.lab import SECRET, HostileLab
from hostile.traces import Traces
from support.images import Image
from support.processes import machine


@pytest.fixture(scope="session")
def hostile_image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return make_image(tmp_path_factory.mktemp("helpers"))


@pytest.fixture(scope="module")
def lab(module_folder: Path, hostile_image: Image) -> Iterator[HostileLab]:
    """Give an lab whose worker has something to hide."""
    with machine(module_folder) as own, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        lab = HostileLab(own, hostile_image)
        lab.start_worker()
        yield lab
        assert lab.odd_in_logs() == []


@pytest.fixture(scope="module")
def before(lab: HostileLab) -> Traces:
    """Count what there is when nothing has happened yet."""
    return lab.at_rest()
