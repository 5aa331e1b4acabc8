"""Networks that lose everything for a while, in both directions or in one."""

from collections.abc import Iterator
from typing import Any

import pytest
from faults.history import Terms
from faults.networks import ROUTER, Networks, networks
from faults.yard import HASTY_S, Yard

CUTS = {"cut": ("input", "output"), "deaf": ("input",), "mute": ("output",)}
"""A worker's name, and what its network loses."""


@pytest.fixture
def lines() -> Iterator[Networks]:
    with networks(*CUTS) as own:
        yield own


def start(yard: Yard, lines: Networks, *cut: str, **options: Any) -> None:
    """Start a router, a worker beside it, and workers in networks of their own."""
    yard.host, yard.enter = ROUTER, lines.enter("router")
    yard.start_router("--bind", ROUTER, "--insecure", under=lines.under("router"), **options)
    yard.start_worker("near", under=lines.under("router"), serving=False)
    for name in cut:
        yard.start_worker(name, under=lines.under(name), serving=False)
    yard.await_ready("near", *cut)


def test_two_seconds_without_a_network_cost_nothing_but_time(yard: Yard, lines: Networks) -> None:
    start(yard, lines, "cut")
    crowd = yard.crowd(seats=8)
    asked = yard.requests(40, "sleep 0.3")
    crowd.ask(*asked)
    yard.await_work_on("cut")
    lines.cut("cut", *CUTS["cut"])
    yard.pause(2)
    lines.heal("cut")
    crowd.wait()
    assert "is lost" not in yard.router.output()
    yard.judge()


@pytest.mark.parametrize(
    "seconds",
    [5, pytest.param(60, marks=[pytest.mark.soak, pytest.mark.timeout(300)])],
)
def test_who_is_not_heard_is_lost_and_comes_back(
    yard: Yard, lines: Networks, seconds: float
) -> None:
    """Both ways, and one way each: what they ran is done elsewhere, their late results are not."""
    yard.terms = Terms(executions=2)
    start(yard, lines, *CUTS, liveness_s=HASTY_S)
    crowd = yard.crowd(seats=8)
    asked = yard.requests(30, "sleep 0.4")
    crowd.ask(*asked)
    for name in CUTS:
        yard.await_work_on(name)
    for name, directions in CUTS.items():
        lines.cut(name, *directions)
    yard.pause(seconds)
    for name in CUTS:
        assert f"{name} is lost" in yard.router.output()
    crowd.wait()
    for name in CUTS:
        lines.heal(name)
    yard.await_ready(*CUTS)
    again = yard.requests(24, "sleep 0.1")
    crowd.ask(*again)
    crowd.wait()
    assert {yard.executions(one)[0].worker for one in again} == {"near", *CUTS}
    yard.judge()
