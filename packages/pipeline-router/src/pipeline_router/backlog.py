"""What waits for each connection, in bytes, and whose is too much. No I/O.

A connection costs memory in two ways: by what it has sent of a message that is not whole, or that
nobody has come to read yet; and by answers that its peer does not take in. Both are differences
between what the kernel has counted and what this router has read or sent.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

SPARE_BYTES = 4096
"""What a connection's beginning costs, beside its messages."""
SPARE_BYTES_S = 16
"""What both ends' heartbeats may cost each second."""
SPARE_CURVE_BYTES_S = 80
"""The same with keys."""
FRAME_BYTES = 9
"""The most that the wire has before a frame."""
CURVE_BYTES = 33
"""What keys add to each frame: its nonce, its seal and their names."""

MOST_IN_MEMORY = 22.0
"""How many times what it is on the wire a message may be in memory: its frames have one byte."""
BEAT = 16
"""Both ends' heartbeats of a second; a request has more bytes."""
UNMOVED_LOOKS = 2
"""In a row, after which what waits of a connection is taken for a message without end."""
DEAF_S = 5.0
"""After this long nobody will read what came of a connection."""


class Bounds(Struct, frozen=True):
    """How much may wait, in bytes: for one connection, and for all of a socket's."""

    each: int
    all: int
    unfinished: int
    """For one connection of which nothing could be read any more: its message has no end yet."""


class TcpState(Struct, frozen=True, gc=False):
    """One connection; both counts are bytes since its beginning."""

    cookie: int
    """The kernel's own number of it, never used again."""
    acked: int
    """What the other end has taken in of what was sent."""
    received: int


class Account:
    """One connection: what was read of it, at most, and sent to it, at least, as the wire counts.

    Each look puts right what was counted too high or too low before.
    """

    __slots__ = (
        "_counted",
        "_read_at_look",
        "_read_before",
        "_spare_s",
        "_unread_since",
        "cookie",
        "ended",
        "fd",
        "handle",
        "inode",
        "key",
        "open",
        "peer",
        "read",
        "rival",
        "sent",
        "since",
        "unmoved_looks",
    )

    def __init__(self, fd: int, cookie: int, since: float, spare_s: int = SPARE_BYTES_S) -> None:
        self.fd = fd
        self.cookie = cookie
        self.since = since
        self._spare_s = spare_s
        self.handle = b""
        """What everybody but the socket calls the peer; empty: nothing was read of it yet."""
        self.inode = 0
        """What its descriptor has as long as it is there; with keys."""
        self.key = ""
        """The public key that it has shown; empty: none was looked at."""
        self.peer = b""
        """What it is called on the socket."""
        self.read = 0
        self.sent = 0
        self.open = True
        """Whether anything is sent to it."""
        self.ended = False
        """Whether this router has ended it."""
        self.rival: Account | None = None
        """The connection that took its name over."""
        self.unmoved_looks = 0
        """How many looks in a row found that nothing was read since the one before."""
        self._read_before = self._read_at_look = self._counted = 0
        self._unread_since: float | None = None

    def unread(self, state: TcpState, now: float) -> int:
        """Return what has come, but was not read: a message that is not whole above all.

        To be asked once a look, which it counts.
        """
        self.read = min(self.read, state.received)
        self.unmoved_looks = self.unmoved_looks + 1 if self.read == self._read_at_look else 0
        self._read_at_look = self.read
        spare = SPARE_BYTES + int((now - self.since) * self._spare_s)
        return max(0, state.received - self.read - spare)

    def untaken(self, state: TcpState) -> int:
        """Return what was sent, but not taken in by the peer."""
        self.sent = max(self.sent, state.acked)
        return self.sent - state.acked

    def is_deaf(self, state: TcpState, now: float) -> bool:
        """Whether something came some time ago, and nobody has read it since: libzmq does not.

        That is so for a connection whose name another one has. To be asked about once a second.
        """
        came, self._counted = state.received - self._counted, state.received
        if self.read != self._read_before:
            self._read_before, self._unread_since = self.read, None
        elif came > BEAT:
            self._unread_since = now
        return self._unread_since is not None and now - self._unread_since >= DEAF_S


class Waiting(Struct, frozen=True):
    """What waits for one connection, in bytes of the wire."""

    account: Account
    unread: int
    untaken: int

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.unread + self.untaken

    def most(self, bounds: Bounds) -> int:
        """Return how much may wait for it alone.

        The router reads of each connection in every turn, and looks in between: where it read
        nothing for two looks, there is no whole message.
        """
        is_unfinished = self.account.unmoved_looks >= UNMOVED_LOOKS and self.unread > self.untaken
        return bounds.unfinished if is_unfinished else bounds.each

    @property
    def why(self) -> str:
        """What its peer does."""
        if self.untaken > self.unread:
            return f"{self.untaken >> 10} KiB of answers wait that it does not read"
        return f"{self.unread >> 10} KiB of a message without end wait, or of too many at once"


def weigh(accounts: Iterable[Account], states: Mapping[int, TcpState], now: float) -> list[Waiting]:
    """Return what waits, the most first, for those for whom anything does."""
    waiting = []
    for account in accounts:
        if account.ended:
            continue
        state = states[account.fd]
        unread, untaken = account.unread(state, now), account.untaken(state)
        if unread or untaken:
            waiting.append(Waiting(account, unread, untaken))
    return sorted(waiting, key=lambda one: one.bytes, reverse=True)


def excess(waiting: Sequence[Waiting], bounds: Bounds, grown: int) -> Sequence[Waiting]:
    """Return whose connection is to be ended: each above its bound, then the largest of all.

    A frame of one byte is three on the wire and 64 in memory, and nobody sees the frames of a
    message that is not whole. So what the process has `grown` by, since hardly anything waited, is
    shared out by what waits.
    """
    total = sum(one.bytes for one in waiting)
    factor = min(MOST_IN_MEMORY, max(1.0, grown / total)) if total else 1.0
    ended = []
    for one in waiting:
        if one.bytes * factor > one.most(bounds) or total * factor > bounds.all:
            ended.append(one)
            total -= one.bytes
    return ended
