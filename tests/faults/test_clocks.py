"""Clocks that disagree.

Processes whose monotonic clocks are hours apart work together, so that no reading of a clock is
ever sent. That nothing reads the time of day is held in `tests/architecture/test_clocks.py`.
"""

import sys

from faults.lab import FaultLab
from support.tracks import ROOT

from pipeline_protocol import status

AHEAD = ROOT / "tests" / "support" / "other_clock.py"


def test_clocks_that_are_an_hour_apart(lab: FaultLab) -> None:
    """One worker's clock is an hour behind the router's, the other's is an hour ahead."""
    router, ahead = ((sys.executable, str(AHEAD), str(hours * 3600)) for hours in (1, 2))
    lab.start_router(under=router)
    lab.start_worker("behind", serving=False)
    lab.start_worker("ahead", under=ahead)
    lab.await_ready("behind", "ahead")
    group = lab.group()
    group.ask(*lab.requests(20, "sleep 0.05"))
    group.ask(*lab.requests(4, "sleep 9", timeout_s=1.5, codes=[status.DEADLINE_PASSED]))
    group.wait()
    assert "is lost" not in lab.router.output()
    lab.judge()
