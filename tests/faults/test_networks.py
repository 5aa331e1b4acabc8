"""Networks that lose everything for a while, in both directions or in one."""

from collections.abc import Iterator
from typing import Any

import pytest
from faults.history import Terms
from faults.lab import HASTY_S, FaultLab
from faults.networks import ROUTER, Networks, networks

CUTS = {"cut": ("input", "output"), "deaf": ("input",), "mute": ("output",)}
"""A worker's name, and what its network loses."""


@pytest.fixture
def lines() -> Iterator[Networks]:
    with networks(*CUTS) as own:
        yield own


def start(lab: FaultLab, lines: Networks, *cut: str, **options: Any) -> None:
    """Start a router, a worker beside it, and workers in networks of their own."""
    lab.host, lab.enter = ROUTER, lines.enter("router")
    openly = () if lab.has_keys else ("--insecure",)
    lab.start_router("--bind", ROUTER, *openly, under=lines.under("router"), **options)
    lab.start_worker("near", under=lines.under("router"), serving=False)
    for name in cut:
        lab.start_worker(name, under=lines.under(name), serving=False)
    lab.await_ready("near", *cut)


def test_two_seconds_without_a_network_cost_nothing_but_time(
    lab: FaultLab, lines: Networks
) -> None:
    start(lab, lines, "cut")
    group = lab.group(seats=8)
    asked = lab.requests(40, "sleep 0.3")
    group.ask(*asked)
    lab.await_work_on("cut")
    lines.cut("cut", *CUTS["cut"])
    lab.pause(2)
    lines.heal("cut")
    group.wait()
    assert "is lost" not in lab.router.output()
    lab.judge()


@pytest.mark.parametrize(
    "seconds",
    [5, pytest.param(60, marks=[pytest.mark.soak, pytest.mark.timeout(300)])],
)
def test_who_is_not_heard_is_lost_and_comes_back(
    lab: FaultLab, lines: Networks, seconds: float
) -> None:
    """Both ways, and one way each: what they ran is done elsewhere, their late results are not."""
    lab.terms = Terms(executions=2)
    start(lab, lines, *CUTS, liveness_s=HASTY_S)
    group = lab.group(seats=8)
    asked = lab.requests(30, "sleep 0.4")
    group.ask(*asked)
    for name in CUTS:
        lab.await_work_on(name)
    for name, directions in CUTS.items():
        lines.cut(name, *directions)
    lab.pause(seconds)
    for name in CUTS:
        assert f"{name} is lost" in lab.router.output()
    group.wait()
    for name in CUTS:
        lines.heal(name)
    lab.await_ready(*CUTS)
    again = lab.requests(24, "sleep 0.1")
    group.ask(*again)
    group.wait()
    assert {lab.executions(one)[0].worker for one in again} == {"near", *CUTS}
    lab.judge()
