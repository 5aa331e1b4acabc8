"""How a worker finds its router, and finds it again: when to try what. No I/O.

It asks the front end for the link, says hello over it, and is welcomed. Where nobody answers it
tries again; where nobody ever answered it gives up; a router that falls silent later is looked for
as long as the worker lives.
"""

from enum import Enum

from msgspec import Struct


class Timeouts(Struct, frozen=True):
    """How long a worker waits for what, in seconds."""

    heartbeat_s: float = 1.0
    ask_again_s: float = 1.0
    """Twice as long after each time, once a router was there: with keys each costs it much."""
    ask_again_most_s: float = 8.0
    hello_again_s: float = 2.0
    silence_margin_s: float = 1.0
    """Without a word from the router, beyond its own `liveness_s`, so that it acts first."""
    first_answer_s: float = 10.0
    """Before the first welcome; afterwards a worker waits for ever."""
    stale_identity_s: float = 5.0
    """For another worker of the same identity to be found dead."""
    acknowledgement_s: float = 5.0
    """For held results, once all work is done and the worker wants to leave."""


class Phase(Enum):
    """How far the worker is with its router."""

    ASKING = "asking"
    GREETING = "greeting"
    SERVING = "serving"


class Step(Enum):
    """What it is time for."""

    ASK = "ask"
    """Ask the front end where the link is."""
    LOOK_AGAIN = "look again"
    """The same, because the router has fallen silent."""
    HELLO = "hello"
    GIVE_UP = "give up"


class Bootstrap:
    """How far a worker is with finding its router."""

    def __init__(self, timeouts: Timeouts) -> None:
        self.phase = Phase.ASKING
        self._liveness_s = 3.0
        self.welcomed = False
        """Whether any router ever took this worker."""
        self._timeouts = timeouts
        self._started_at: float | None = None
        self._refused_at: float | None = None
        self._phase_at = float("-inf")
        self._ask_at = float("-inf")
        self._asked_in_vain = 0
        self._heard_at = float("-inf")

    def started(self, now: float) -> None:
        """Note when the worker came to life."""
        if self._started_at is None:
            self._started_at = now

    def due(self, now: float) -> Step | None:
        """Return what it is time for; `asked` and `greeted` then tell that it was done."""
        waited = now - self._phase_at
        unanswered = not self.welcomed and self._refused_at is None
        if unanswered and now - (self._started_at or now) > self._timeouts.first_answer_s:
            return Step.GIVE_UP
        if self.phase is Phase.ASKING:
            return Step.ASK if now >= self._ask_at else None
        if now - self._heard_at > self._liveness_s + self._timeouts.silence_margin_s:
            return Step.LOOK_AGAIN
        if self.phase is Phase.GREETING and waited >= self._timeouts.hello_again_s:
            return Step.HELLO
        return None

    def asked(self, now: float) -> None:
        """Note that the front end is being asked."""
        self.phase, self._phase_at = Phase.ASKING, now
        again_s = self._timeouts.ask_again_s
        if self.welcomed:
            again_s = min(self._timeouts.ask_again_most_s, again_s * 2**self._asked_in_vain)
            self._asked_in_vain = min(16, self._asked_in_vain + 1)
        self._ask_at = now + again_s

    def shut_out(self, now: float, again_s: float) -> None:
        """Note that no connection came about, and in how many seconds to ask anew."""
        self.phase, self._phase_at = Phase.ASKING, now
        self._ask_at = now + again_s

    def greeted(self, now: float) -> None:
        """Note that the worker has said hello."""
        self.phase, self._phase_at = Phase.GREETING, now

    def heard(self, now: float) -> None:
        """Note that the router said something."""
        self._heard_at = now
        self._asked_in_vain = 0

    def welcome(self, now: float, liveness_s: float) -> None:
        """Note that the router has taken the worker, and how long it waits itself."""
        self._liveness_s = liveness_s
        self.phase, self._phase_at, self.welcomed = Phase.SERVING, now, True
        self._refused_at = None

    def wait_for_stale_identity(self, now: float) -> bool:
        """Note that the name is taken; say whether it may yet turn out to be a dead worker's.

        It may be our own dead self, whose connection is not missed yet.
        """
        if self._refused_at is None:
            self._refused_at = now
        return now - self._refused_at < self._timeouts.stale_identity_s
