"""How runs in the sandbox went: counted by the jobs' own threads."""

import threading

from pipeline_containers.sandbox.result.report import Ending, RunReport
from pipeline_protocol.monitor.histogram import Histogram
from pipeline_worker.counters import RunsSeen

SETUP_PHASES = ("prepare_s", "fill_s", "create_s")


class RunCounters:
    """Cells behind a lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._endings = dict.fromkeys((ending.value for ending in Ending), 0)
        self._made_ahead = self._made_anew = 0
        self._setup = Histogram()

    def note(self, report: RunReport) -> None:
        """Count a run."""
        setup_s = sum(report.timing.get(phase, 0.0) for phase in SETUP_PHASES)
        with self._lock:
            self._endings[report.ending.value] += 1
            if report.was_made_ahead:
                self._made_ahead += 1
            else:
                self._made_anew += 1
            self._setup.observe(setup_s)

    def seen(self) -> RunsSeen:
        """Copy all, as it is now."""
        with self._lock:
            setup = Histogram(self._setup.bounds)
            setup.counts, setup.total = list(self._setup.counts), self._setup.total
            return RunsSeen(dict(self._endings), self._made_ahead, self._made_anew, setup)
