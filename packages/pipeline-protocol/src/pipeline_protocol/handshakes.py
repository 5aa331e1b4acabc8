"""Why a connection to the router does not come about, and what is tried next. No I/O.

ZeroMQ tells three failures apart, and not always rightly: that the router does not know the key
(then its socket never tries again), that one side has no keys (nor then), and that the other end
hung up in the middle: it has another key than was expected, or was just ended. The last can be any
of them, so it counts only when it comes again and again.
"""

from collections.abc import Sequence
from enum import Enum, auto

AT_ONCE_S = 0.0
_LEAST_S = 0.5
_MOST_S = 5.0
_IN_A_ROW = 3
"""As often nothing but a hang-up has to come before it is taken for what it may mean."""


class HandshakeFailure(Enum):
    """What ZeroMQ tells."""

    KEY_REFUSED = auto()
    """The router's own word, which only who has its key can have said."""
    MECHANISM = auto()
    """One side has no keys."""
    HUNG_UP = auto()
    OTHER = auto()
    """What is there does not speak as a router does."""


class Handshakes:
    """The attempts to connect to one router, with keys or without.

    `routers` are the public keys that the router may have; none: this side has no keys.
    """

    def __init__(self, address: str, routers: Sequence[str] = (), name: str = "") -> None:
        self._address = address
        self._name = name
        self._routers = tuple(routers)
        self._at = 0
        self._failed = 0
        self._hung_up = 0
        self._is_sure = False
        """Whether what is wrong is told by more than a hang-up."""
        self.trouble = ""
        """What is wrong, in words; empty: nothing that is known."""

    @property
    def router(self) -> str:
        """The router's key to expect next; empty: none."""
        return self._routers[self._at] if self._routers else ""

    def learn(self, routers: Sequence[str]) -> None:
        """Expect one of these keys from now on."""
        if tuple(routers) != self._routers:
            self._routers, self._at = tuple(routers), 0

    def made(self) -> None:
        """Know of a connection."""
        self._failed = self._hung_up = 0
        self._is_sure = False
        self.trouble = ""

    def failed(self, why: HandshakeFailure, chance: float) -> float:
        """Know of a failure; return in how many seconds to connect anew, with `router`.

        `chance`, 0 to 1, keeps those that failed together from coming back together.
        """
        self._failed += 1
        if why is HandshakeFailure.HUNG_UP:
            self._hung_up += 1
            if self._routers:
                self._at = (self._at + 1) % len(self._routers)
            if self._hung_up < len(self._routers):
                return AT_ONCE_S
            if self._hung_up >= max(_IN_A_ROW, len(self._routers)) and not self._is_sure:
                self.trouble = self._other_key() if self._routers else self._needs_keys()
        else:
            self._is_sure = True
            self.trouble = self._why(why)
        return min(_MOST_S, _LEAST_S * 2.0 ** min(self._failed - 1, 10)) * (0.5 + chance / 2)

    # --- in words

    def _why(self, why: HandshakeFailure) -> str:
        if why is HandshakeFailure.KEY_REFUSED:
            return self._key_refused()
        if why is HandshakeFailure.MECHANISM:
            return self._has_no_keys() if self._routers else self._needs_keys()
        return f"what answers at {self._address} is not a pipeline router"

    def _key_refused(self) -> str:
        return (
            f"the router at {self._address} does not let the key {self._name!r} in: it is unknown "
            "there, revoked, or not for this (`pipeline-router keys list` shows those that are)"
        )

    def _other_key(self) -> str:
        return (
            f"the router at {self._address} has another key than this side's file of keys says "
            "(`pipeline-router keys refresh` writes the present ones into it), or no keys at all"
        )

    def _needs_keys(self) -> str:
        return no_keys_here(self._address)

    def _has_no_keys(self) -> str:
        return no_keys_there(self._address)


def no_keys_here(address: str) -> str:
    """Say that the router has keys, and this side none."""
    return (
        f"the router at {address} lets nobody in without a key: name a file of keys by --keys or "
        "PIPELINE_KEYS (`pipeline-router keys add` makes one)"
    )


def no_keys_there(address: str) -> str:
    """Say that this side has keys, and the router none."""
    return (
        f"the router at {address} has no keys, and this side has: nothing is sent to it in the "
        "clear. Start it with --keys, or do without them here, too"
    )
