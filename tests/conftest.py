"""Fixtures for the tests that cross packages."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def _shared_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pipeline-test-", dir="/var/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """Give a folder that containers can get through to; pytest's own are private."""
    yield from _shared_folder()


@pytest.fixture(scope="module")
def module_folder() -> Iterator[Path]:
    """Give such a folder to a whole module."""
    yield from _shared_folder()


@pytest.fixture(scope="session")
def base_images() -> Path:
    """Where `./dev test` has made the base images."""
    folder = Path(os.environ.get("PIPELINE_BASE_IMAGES", "/var/lib/pipeline-dev/base-images"))
    assert folder.is_dir(), f"no base images in {folder}: run ./dev test, which makes them"
    return folder
