"""What there is to run, and the counts of what has run. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct, field

from pipeline_client.cli.batches.records import RunKey, RunVerdict

_MAX_STATUS = 64
"""Characters of a tool's own status that are told from another's."""
_IN_A_ROW = 3
"""Runs that come to nothing, one after the other, are chance up to that many."""


class Run(Struct, frozen=True):
    """A solution to run a version over."""

    key: RunKey
    exercise: str
    solution: str


def runs_of(
    solutions: Iterable[tuple[str, str, str]], track: str, channel: str, versions: Sequence[str]
) -> list[Run]:
    """Return what there is to run over solutions, each its id, its exercise and its name.

    A solution's runs are neighbours, in turns, so that no version has the busier hours.
    """
    runs = []
    for number, (id_, exercise, name) in enumerate(solutions):
        for version in versions if number % 2 == 0 else reversed(versions):
            runs.append(Run(RunKey(track, channel, version, id_), exercise, name))
    return runs


def status_of(response: Any) -> str | None:
    """Return what a tool calls its own result: ``pass``, ``fail``, ``error``; None: nothing."""
    status = response.get("status") if isinstance(response, dict) else None
    return status[:_MAX_STATUS] if isinstance(status, str) else None


class Tally(Struct):
    """Counts results as they come."""

    codes: Counter[int] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    """Of the tools' results."""

    def add(self, code: int, status: str | None) -> None:
        """Count one."""
        self.codes[code] += 1
        if status is not None:
            self.statuses[status] += 1

    @property
    def total(self) -> int:
        """How many there are."""
        return self.codes.total()


class Patience:
    """Whether a batch goes on: a system that does nothing any more is not asked thousands of times.

    A run counts that ended after all its tries without a result.
    """

    def __init__(self, in_flight: int) -> None:
        self._left = self._at_most = max(_IN_A_ROW, in_flight)

    def goes_on(self, verdict: RunVerdict) -> bool:
        """Take in how a run ended; False: the batch had better end too."""
        self._left = self._at_most if verdict is RunVerdict.RESULT else self._left - 1
        return verdict is not RunVerdict.HOPELESS and self._left > 0
