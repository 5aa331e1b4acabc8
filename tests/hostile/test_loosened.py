"""The hostile suite with all that can be loosened: what each opens, and nothing beside.

Our own programs for it are tried by `./dev test`, every family's by `./dev soak`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile.case import Case
from hostile.lab import HostileLab
from hostile.loosened import LIMITS, cases
from hostile.test_families import play
from hostile.traces import Traces
from support.images import Image
from support.processes import machine

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def loosened_lab(module_folder: Path, hostile_image: Image) -> Iterator[HostileLab]:
    with machine(module_folder) as own:
        lab = HostileLab(own, hostile_image, loosened=LIMITS)
        lab.start_worker()
        yield lab
        assert lab.odd_in_logs() == []


@pytest.fixture(scope="module")
def loosened_before(loosened_lab: HostileLab) -> Traces:
    return loosened_lab.at_rest()


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=f"{family}-{case.name}".replace(" ", "-"),
            marks=() if family == "loosened" else pytest.mark.soak,
        )
        for family, own in cases().items()
        for case in own
    ],
)
def test_whatever_a_job_does_with_all_that_it_can_be_given(
    loosened_lab: HostileLab, loosened_before: Traces, case: Case
) -> None:
    play(loosened_lab, loosened_before, case)
