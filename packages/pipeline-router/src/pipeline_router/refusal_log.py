"""Refusals as lines of the log: each kind soon, then at most once in ten seconds, with a count."""

from collections.abc import Iterator

from pipeline_protocol.status import STATUSES
from pipeline_router.commands import Note

EVERY_S = 10.0


class _Kind:
    """One kind of refusal, since its last line."""

    __slots__ = ("count", "error", "last")

    def __init__(self) -> None:
        self.count = 0
        self.error = ""
        self.last: float | None = None


class RefusalLog:
    """Counts refusals, whoever was refused, until a line of the log is due."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def count(self, code: int, where: str, error: str) -> None:
        """Count a reply that refuses; `where` is a channel, an action or a place, by our names."""
        self.count_other(f"{code} {STATUSES[code].message}", where, error)

    def count_other(self, what: str, where: str, error: str, times: int = 1) -> None:
        """Count other refusals; neither of the first two may be a stranger's word."""
        kind = self._kinds.get((what, where))
        if kind is None:
            kind = self._kinds[what, where] = _Kind()
        kind.count += times
        kind.error = error

    def due(self, now: float) -> Iterator[Note]:
        """Return the lines that are due."""
        for (what, where), kind in self._kinds.items():
            if kind.count and (kind.last is None or now - kind.last >= EVERY_S):
                yield Note(
                    "warning",
                    "refused: %s (%s), times: %d; the last: %s",
                    (what, where, kind.count, kind.error),
                )
                kind.count, kind.last = 0, now
