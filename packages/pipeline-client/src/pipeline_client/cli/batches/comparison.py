"""Two versions over all solutions: what changed, and how their figures lie. Pure."""

from collections import Counter

from msgspec import Struct, field

from pipeline_client.cli.batches.differences import SolutionChanges, changes_of
from pipeline_client.cli.batches.figures import FIGURES, FigureSummary, Pair, pair_of, summary_of
from pipeline_client.cli.batches.records import RunRecord
from pipeline_client.cli.batches.tally import Tally, status_of
from pipeline_protocol import status


class Comparison(Struct, kw_only=True):
    """Grows by a solution at a time; of the results only what differs is kept."""

    track: str
    channel: str
    old: str
    new: str
    solutions: int
    """Those that were to be compared: the ones that did not run are missing below."""
    compared: int = 0
    changed: list[SolutionChanges] = field(default_factory=list)
    """What weighs more first, once `sort` was called."""
    tallies: tuple[Tally, Tally] = field(default_factory=lambda: (Tally(), Tally()))
    """Of the old version and of the new one."""
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many solutions went from one outcome to another; see `outcome`."""
    pairs: dict[str, list[Pair]] = field(default_factory=lambda: {it.name: [] for it in FIGURES})
    """By the figure's name."""

    def add(self, old: RunRecord, new: RunRecord) -> None:
        """Take in both results of a solution."""
        self.compared += 1
        for tally, record in zip(self.tallies, (old, new), strict=True):
            tally.add(record.code, status_of(record.response))
        self.moves[outcome(old), outcome(new)] += 1
        for figure in FIGURES:
            pair = pair_of(figure, old, new)
            if pair is not None:
                self.pairs[figure.name].append(pair)
        changes = changes_of(old, new)
        if changes:
            found = SolutionChanges(new.id, new.exercise, new.solution, changes)
            self.changed.append(found)

    def sort(self) -> None:
        """Put first what weighs more."""
        self.changed.sort(key=lambda it: (not it.weighty, it.exercise, it.solution))

    @property
    def weighty(self) -> list[SolutionChanges]:
        """Return those of which more changed than texts."""
        return [found for found in self.changed if found.weighty]

    @property
    def by_kind(self) -> dict[str, int]:
        """Return in how many solutions there is a change of each kind."""
        kinds = Counter(
            str(kind) for found in self.changed for kind in {it.kind for it in found.changes}
        )
        return dict(kinds.most_common())

    def summaries(self) -> list[FigureSummary]:
        """Return what there is to say of each figure."""
        each = (summary_of(figure, self.pairs[figure.name]) for figure in FIGURES)
        return [summary for summary in each if summary is not None]


def outcome(record: RunRecord) -> str:
    """Return what came of a run: the status of its result, or the code that it ended with."""
    if record.code != status.OK:
        return str(record.code)
    return status_of(record.response) or "done"
