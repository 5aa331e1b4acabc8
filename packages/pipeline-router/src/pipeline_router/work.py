"""One accepted request, from its acceptance to its answer."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from pipeline_router.events import Envelope
    from pipeline_router.presence import Worker
    from pipeline_router.scheduler import Lane

MAX_ENVELOPES = 8
"""How many senders of the same request are answered: the latest ones."""

Name = tuple[str, str, str]
"""Sender, action and id: what a client calls a request."""


class State(Enum):
    """Where a request is."""

    WAITING = auto()
    """In a queue, or about to be."""
    RESERVED = auto()
    """A suspect, next on a worker that first finishes what it runs."""
    RUNNING = auto()
    """On a worker."""


class Work(Struct, eq=False):
    """A request that a worker is to serve.

    `attempt` grows with every sending and fences results; `lost` counts only the sendings that a
    worker was lost with. Times are seconds of the core's clock.
    """

    job: int
    lane: Lane
    envelopes: list[Envelope]
    body: bytes
    accepted: float
    deadline: float
    key: bytes = b""
    name: Name | None = None
    rank: int = 1
    """Its place among the `RANKS`."""
    progress: bool = False
    attempt: int = 0
    lost: int = 0
    alone: bool = False
    order: int = 0
    state: State = State.WAITING
    worker: Worker | None = None

    def attach(self, envelope: Envelope) -> None:
        """Answer this sender of the same request too."""
        if envelope not in self.envelopes:
            self.envelopes.append(envelope)
            del self.envelopes[:-MAX_ENVELOPES]

    def retry(self) -> None:
        """Go first among the work of the same priority when it next waits."""
        self.state = State.WAITING
        self.worker = None
        self.rank = RETRIED[self.rank]


RANKS = 4
INTERACTIVE, BACKGROUND = 1, 3
"""What goes first among the work that waits: retried work before other work of its priority."""
RETRIED = (0, 0, 2, 2)
"""Rank to the rank of the same work when it is retried."""


class Orphan(Struct, frozen=True, eq=False):
    """A job that an earlier router sent, and that nobody has asked this one for yet."""

    worker: Worker
    key: bytes
    job: int
    attempt: int
