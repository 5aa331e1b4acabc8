"""One call under way: when to send again, when to give up, which frames are its answer. Pure.

A request is lost when its connection or the router goes down, and nobody says so. Hence what
hears nothing for a while is sent again, the same bytes, over a new connection. Requests
that workers serve carry an id, by which the router knows the second for the first; of what it
answers itself, most is harmless twice, and the rest is sent once only.
"""

from collections.abc import Sequence
from typing import Any

from pipeline_client.calls import Call, written
from pipeline_client.errors import error_of
from pipeline_protocol import codec, requests, status

GRACE_S = 1.0
"""How much longer than the router the client waits: the router's 504 says more than a 101."""

TIMEOUT_S = 60.0
BUILD_TIMEOUT_S = 1800.0
ROUTER_TIMEOUT_S = 10.0
"""For what the router answers by itself."""
_MAX_TIMEOUT_S = 86_400.0


class Exchange:
    """Frames to send, time to wait, and what is heard; times are of any monotonic clock."""

    def __init__(
        self,
        call: Call[Any],
        correlation: bytes,
        now: float,
        *,
        address: str,
        timeout_s: float | None,
        resend_after_s: float,
    ) -> None:
        allowed_s = next(
            seconds
            for seconds in (call.timeout_s, timeout_s, _usual_timeout_s(call.request))
            if seconds is not None
        )
        if not 0 < allowed_s <= _MAX_TIMEOUT_S:
            why = f"`timeout_s` must be more than 0 and at most {_MAX_TIMEOUT_S:g}, not {allowed_s}"
            raise error_of(status.MALFORMED, why)
        self.frames = (correlation, b"", written(call, allowed_s))
        """The request: what a socket of the kind DEALER is to send."""
        self._call = call
        self._address = address
        self._allowed_s = allowed_s
        self._deadline = now + allowed_s + GRACE_S
        self._resend_after_s = resend_after_s
        self._resend_at = self._next_resend(now)

    def wait_s(self, now: float) -> float:
        """Return how long to listen before `is_overdue` is to be asked."""
        return max(0.0, min(self._deadline, self._resend_at) - now)

    def is_overdue(self, now: float) -> bool:
        """Return whether to send again, over a new connection; ClientTimedOut if it is too late."""
        if now >= self._deadline:
            raise error_of(status.CLIENT_TIMED_OUT, self._why_too_late())
        if now < self._resend_at:
            return False
        self._resend_at = self._next_resend(now)
        return True

    def hear(self, frames: Sequence[bytes], now: float) -> bytes | None:
        """Return the final reply if the frames are that; lines of progress go to `on_line`."""
        if not frames or frames[0] != self.frames[0]:
            return None  # the answer to another call, which gave up waiting for it
        if len(frames) != 3 or frames[1]:
            raise error_of(status.MALFORMED_REPLY, f"the router's answer has {len(frames)} frames")
        lines = codec.decode_progress(frames[2])
        if lines is None:
            return frames[2]
        self._resend_at = self._next_resend(now)
        if self._call.on_line:
            for line in lines:
                self._call.on_line(line)
        return None

    def _next_resend(self, now: float) -> float:
        return now + self._resend_after_s if self._call.resendable else self._deadline

    def _why_too_late(self) -> str:
        why = f"no answer from {self._address} within {self._allowed_s:g} s: is the router there?"
        if self._call.resendable:
            return why
        return f"{why} It may have done what it was asked: see describe_workers before you repeat"


def _usual_timeout_s(request: requests.Request) -> float:
    if isinstance(request, requests.BuildContainer):
        return BUILD_TIMEOUT_S
    return TIMEOUT_S if isinstance(request, requests.WorkerServed) else ROUTER_TIMEOUT_S
