"""pipeline's router under the load of `bench router`: both ends in C, so that it is measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sides
from loads import Load

from others.outcome import IN_FLIGHT, WORKERS, Measure, Outcome

GUARANTEES = sides.RULES
HOW = "both ends in C: what the router itself carries"


@contextmanager
def running(folder: Path) -> Iterator[Measure]:
    """Start a router."""
    with sides.router(folder, "loaded") as side:

        def measure(seconds: float) -> Outcome:
            measured = Load(seconds, in_flight=IN_FLIGHT, workers=WORKERS).on(side)
            served = measured.served
            return Outcome(measured.jobs_per_s, served.p50_ms, served.p99_ms)

        yield measure
