"""Finished replies, kept a while for the same request sent again."""

from collections import OrderedDict

ENTRY_BYTES = 400
"""What an entry costs beside its reply, as measured: key, time, and its places in the tables."""
MAX_BYTES = 16_000_000
"""Of all entries; a router with 1,000 workers has 70 MB beside them, and is to stay below 100."""


class ReplyCache:
    """Request key to reply, bounded in time and in bytes; the oldest go first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._replies: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._replies)

    def put(self, key: bytes, reply: bytes, expires: float) -> None:
        """Keep a reply until then."""
        if key in self._replies:
            self._drop(key)
        self._replies[key] = (expires, reply)
        self._bytes += ENTRY_BYTES + len(reply)
        while self._bytes > self._max_bytes:
            _, (_, oldest) = self._replies.popitem(last=False)
            self._bytes -= ENTRY_BYTES + len(oldest)

    def get(self, key: bytes, now: float) -> bytes | None:
        """Return what was answered, if that was not too long ago."""
        entry = self._replies.get(key)
        return entry[1] if entry is not None and now < entry[0] else None

    def expire(self, now: float) -> None:
        """Forget what is too old."""
        while self._replies:
            key, (expires, _) = next(iter(self._replies.items()))
            if now < expires:
                return
            self._drop(key)

    def _drop(self, key: bytes) -> None:
        _, reply = self._replies.pop(key)
        self._bytes -= ENTRY_BYTES + len(reply)
