"""How many slots the work asks for: what waits, what runs, and what was refused for want of one.

Of what was refused nothing is left to be counted, but as much is likely to come again. Requests
that come at a rate, and take a while each, keep rate times while slots busy; so refusals count as
their rate over the last half minute times the mean time that the channel's jobs run. Without them
whoever scales by demand sees none when nobody is there, and never starts anybody.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

WINDOW_S = 30.0
FIRST_RUN_S = 1.0
"""That a job is taken to run as long as none has ended."""

Scope = tuple[str, str]
"""Channel and track: what a group of workers serves is some of these."""


class RefusedDemand:
    """Slots that refused jobs would have needed."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._before: dict[Scope, int] = {}
        self._steps: deque[tuple[float, dict[Scope, int]]] = deque()
        self._sums: dict[Scope, int] = {}

    def look(self, lacked: Mapping[Scope, int], now: float) -> None:
        """Take in how many were refused since the start, as of now."""
        step = {
            scope: count - self._before.get(scope, 0)
            for scope, count in lacked.items()
            if count != self._before.get(scope, 0)
        }
        for scope, count in step.items():
            self._sums[scope] = self._sums.get(scope, 0) + count
            self._before[scope] = lacked[scope]
        if step:
            self._steps.append((now, step))
        while self._steps and self._steps[0][0] <= now - WINDOW_S:
            for scope, count in self._steps.popleft()[1].items():
                self._sums[scope] -= count
                if not self._sums[scope]:
                    del self._sums[scope]

    def slots(self, run_s: Mapping[str, float], now: float) -> dict[Scope, float]:
        """Return the slots by scope, where there are any; `run_s` is the mean time by channel."""
        over_s: Final = min(WINDOW_S, max(1.0, now - self._began))
        return {
            (channel, track): count / over_s * run_s[channel]
            for (channel, track), count in self._sums.items()
        }
