"""Clocks that jump, and clocks that disagree.

The machine's own clock is nobody's to move. What is shown instead: nothing in the router and the
worker reads the time of day, but for a date that people read; and processes whose monotonic
clocks are hours apart work together, so that no reading of a clock is ever sent.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from faults.lab import FaultLab
from support.tracks import ROOT

from pipeline_protocol import status

TIME_OF_DAY = {
    "time.time",
    "time.time_ns",
    "time.localtime",
    "time.gmtime",
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
}
BY_THE_CALENDAR = {
    ("configfile.py", "datetime.now"),  # when a version was deployed, for people
    ("credentials.py", "time.time"),  # AWS says until when credentials hold
    ("aws.py", "time.time"),
}
AHEAD = ROOT / "tests" / "support" / "other_clock.py"


def calls(source: Path) -> Iterator[str]:
    """Name whatever a file takes from `time` and `datetime`, as MODULE.NAME."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_nothing_is_decided_by_the_time_of_day_but_what_others_date() -> None:
    readers = {
        (file.name, call)
        for package in ("pipeline-router", "pipeline-worker")
        for file in (ROOT / "packages" / package / "src").rglob("*.py")
        for call in calls(file)
        if call in TIME_OF_DAY
    }
    assert readers == BY_THE_CALENDAR


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
