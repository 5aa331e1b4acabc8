"""A worker that an ordinary user started: as much holds as the user was given."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile.arena import Arena
from hostile.case import Case
from hostile.ordinary import ordinary_user
from hostile.test_families import CASES, play
from hostile.traces import Traces
from support.images import Image
from support.processes import machine

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def arena(module_folder: Path, hostile_image: Image) -> Iterator[Arena]:
    """Give an arena whose worker is an ordinary user's, who was given all that is wanted."""
    with (
        ordinary_user(module_folder / "user", has_ids=True, has_cgroups=True) as user,
        machine(module_folder) as own,
    ):
        arena = Arena(own, hostile_image, user)
        arena.start_worker()
        yield arena


@pytest.mark.parametrize("case", CASES)
def test_whatever_a_job_does(arena: Arena, before: Traces, case: Case) -> None:
    play(arena, before, case)
