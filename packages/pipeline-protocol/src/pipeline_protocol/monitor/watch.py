"""What a loop does for its monitor after each turn: measure it, and once a second show itself."""

import logging
from collections.abc import Callable
from typing import Protocol

from pipeline_protocol.monitor.lag import Lag
from pipeline_protocol.monitor.snapshot import Snapshot

EVERY_S = 1.0
BROKEN_S = 60.0
"""Until a look is tried again that has failed."""

_log = logging.getLogger(__name__)


class Shows(Protocol):
    """What snapshots are handed to."""

    def offer(self, snapshot: Snapshot) -> bool:
        """Take one, or drop it; without waiting."""
        ...


class Watch:
    """Times are seconds of a monotonic clock."""

    def __init__(self, feed: Shows, now: float) -> None:
        self._feed = feed
        self._lag = Lag()
        self.due_at = now
        """When the next snapshot is due."""

    def turned(self, began: float, now: float, look: Callable[[float], Snapshot]) -> None:
        """Take in a turn that ends now; `look` makes a snapshot, of the lag that it is given.

        A look that fails is a defect, and no reason to end: jobs go on, and the log tells.
        """
        if now - began > self._lag.longest:
            self._lag.longest = now - began
        if now < self.due_at:
            return
        self.due_at = now + EVERY_S
        try:
            self._feed.offer(look(self._lag.look()))
        except Exception:
            self.due_at = now + BROKEN_S
            _log.exception("the monitor is shown nothing for %d s", BROKEN_S)
