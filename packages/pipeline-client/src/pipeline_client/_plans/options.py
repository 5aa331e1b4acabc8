"""What holds for all calls of a client."""

import time
from collections.abc import Callable

from msgspec import Struct

from pipeline_client._plans.retries import Retries
from pipeline_protocol import RouterAddress
from pipeline_protocol.keys import MemberKeys


def _chance() -> float:
    import random

    return random.random()  # noqa: S311 - nothing is secret about it


class ClientOptions(Struct, frozen=True, kw_only=True):
    """Times are in seconds."""

    router: RouterAddress
    timeout_s: float | None = None
    """None: what is usual for an action."""
    resend_after_s: float = 5.0
    retries: Retries | None = None
    upload_to: str | None = None
    keys: MemberKeys | None = None
    """None: nothing is encrypted, and no key is shown."""
    keys_again: Callable[[], MemberKeys | None] = lambda: None
    """Reads them again: the router's key may be another by now. None: they are of no use."""
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = _chance
    """From 0 to 1."""

    def __post_init__(self) -> None:
        if not self.resend_after_s > 0:
            raise ValueError(f"resend_after_s must be more than 0, not {self.resend_after_s}")
        if self.upload_to is not None:
            from pipeline_client._plans.uploads import parse_prefix

            parse_prefix(self.upload_to)
