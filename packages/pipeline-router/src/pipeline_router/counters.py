"""What happened, counted where it happens: plain cells, for a metrics library costs too much there.

Every key is one of our own words, or a track that was deployed; so there are never many.
"""

from collections.abc import Iterator
from typing import Final

from pipeline_protocol.channels import CHANNELS
from pipeline_protocol.requests import ACTIONS
from pipeline_protocol.status import STATUSES
from pipeline_router.model import Lane

OTHER_CODE: Final = 0
"""For codes that the table of statuses has not: a worker may say any number."""


class Outcomes:
    """How often something was done or failed, and whether it failed the last time."""

    def __init__(self) -> None:
        self.done = self.failed = 0
        self.error = ""
        """Of the last time; empty: it was done."""
        self.failing_since: float | None = None

    def note(self, error: str, now: float) -> None:
        """Count one; no error: it was done."""
        if error:
            self.failed += 1
            if self.failing_since is None:
                self.failing_since = now
        else:
            self.done += 1
            self.failing_since = None
        self.error = error


class Counters:
    """Since the router's start."""

    def __init__(self) -> None:
        self.answered = {
            action: dict.fromkeys((OTHER_CODE, *STATUSES), 0) for action in sorted(ACTIONS)
        }
        """Answers by action, then by code; the same request's senders have one together."""
        self.repeated = dict.fromkeys(CHANNELS, 0)
        """Requests that were the same as one in flight, or answered lately."""
        self.sent_again = dict.fromkeys(CHANNELS, 0)
        """Jobs whose worker was lost, or left, before it had ended them."""
        self.lost = dict.fromkeys(CHANNELS, 0)
        """Workers that were lost."""
        self.lacked: dict[tuple[str, str], int] = {}
        """Jobs that were refused for want of a slot, by channel and track."""
        self.saves = Outcomes()
        """Of the wanted versions."""
        self.reloads = Outcomes()
        """Of the configuration."""

    def answer(self, action: str, code: int, times: int = 1) -> None:
        """Count answers."""
        self.answered[action][code] += times

    def lack(self, lane: Lane) -> None:
        """Count a job that was refused because no slot was there for it."""
        key = (lane.channel, lane.track)
        self.lacked[key] = self.lacked.get(key, 0) + 1

    def codes(self) -> Iterator[tuple[str, int, int]]:
        """Go through what was answered: action, code and how often."""
        for action, codes in self.answered.items():
            for code, times in codes.items():
                if times:
                    yield action, code, times
