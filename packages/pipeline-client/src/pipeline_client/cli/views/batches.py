"""What came of many runs, and what two versions differ in, as lines and as data. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct, field

from pipeline_client.cli.batches.comparison import Comparison
from pipeline_client.cli.batches.figures import FigureSummary
from pipeline_client.cli.batches.tally import Tally
from pipeline_client.cli.views.text import Cell, cell, count, span, table
from pipeline_protocol.status import STATUSES

MAX_ROWS = 50
"""Changes that a terminal is shown."""
_WORD = 40
"""Characters of a change that a terminal is shown."""


class RunWithoutResult(Struct, frozen=True):
    """A run that came to nothing, and is run again by the same command."""

    exercise: str
    solution: str
    version: str
    code: int
    error: str


class BatchReport(Struct, kw_only=True):
    """How a batch stands."""

    track: str
    channel: str
    versions: tuple[str, ...]
    out: str
    runs: int
    """All that there are: those that were done before, too."""
    before: int
    tally: Tally = field(default_factory=Tally)
    unfinished: list[RunWithoutResult] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ran(self) -> int:
        """How many results came by now, of those that were not done before."""
        return self.tally.total - self.before

    @property
    def per_second(self) -> float:
        """How many of them a second."""
        return self.ran / self.seconds if self.seconds > 0 else 0.0


def progress_words(report: BatchReport) -> str:
    """Return ``40 of 200 done: 31 pass, 9 fail``."""
    return f"{report.tally.total} of {report.runs} done{_so_far(report.tally)}"


def counted_words(tally: Tally) -> str:
    """Return ``31 pass, 9 fail, 2 with 401``: the tools' statuses, then what is no result."""
    words = [f"{number} {cell(status, _WORD)}" for status, number in tally.statuses.most_common(5)]
    words += [f"{n} with {code}" for code, n in tally.codes.most_common() if code != 200]
    return ", ".join(words)


def _so_far(tally: Tally) -> str:
    words = counted_words(tally)
    return f": {words}" if words else ""


def progress_data(report: BatchReport) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "done": report.tally.total,
        "of": report.runs,
        "unfinished": len(report.unfinished),
        **_counts(report.tally),
    }


def _counts(tally: Tally) -> dict[str, Any]:
    return {
        "codes": {str(code): number for code, number in tally.codes.most_common()},
        "statuses": dict(tally.statuses.most_common()),
    }


def batch_data(report: BatchReport) -> dict[str, Any]:
    """Return what ``--json`` prints of a batch."""
    return {
        "track": report.track,
        "channel": report.channel,
        "version": report.versions[0],
        "out": report.out,
        "solutions": report.runs,
        "before": report.before,
        "ran": report.ran,
        "unfinished": msgspec.to_builtins(report.unfinished),
        **_counts(report.tally),
        "seconds": round(report.seconds, 3),
        "per_second": round(report.per_second, 3),
    }


def batch_lines(report: BatchReport) -> list[str]:
    """Return the counts and the rates, by code and by the tools' statuses."""
    tally = report.tally
    rows: list[Sequence[Cell]] = [
        (_code_words(code), str(number), _share(number, tally.total))
        for code, number in tally.codes.most_common()
    ]
    rows += [
        (f"  {cell(status, _WORD)}", str(number), _share(number, tally.total))
        for status, number in tally.statuses.most_common()
    ]
    lines = table(("ENDED WITH", "RUNS", "RATE"), rows) if rows else []
    return [*lines, *([""] if lines else []), *_sums(report)]


def _sums(report: BatchReport) -> list[str]:
    place = f"{report.track} on {report.channel} by {', '.join(report.versions)}"
    took = f" in {span(report.seconds)}, {report.per_second:.1f} a second" if report.ran else ""
    before = f"; {report.before} were done before" if report.before else ""
    lines = [f"{place}: {count(report.ran, 'run')}{took}{before}"]
    if report.unfinished:
        number = count(len(report.unfinished), "run")
        lines.append(f"{number} came to nothing: the same command runs them again")
    return [*lines, f"results: {cell(report.out, 1000)}"]


def _code_words(code: int) -> str:
    row = STATUSES.get(code)
    return f"{code} {row.message if row else 'Unknown status'}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


# --- two versions


def comparison_data(comparison: Comparison, report: BatchReport) -> dict[str, Any]:
    """Return what ``--json`` prints of a comparison."""
    return {
        "track": comparison.track,
        "channel": comparison.channel,
        "out": report.out,
        "solutions": comparison.solutions,
        "compared": comparison.compared,
        "unfinished": msgspec.to_builtins(report.unfinished),
        "versions": [
            {"version": version, **_counts(tally)}
            for version, tally in zip(
                (comparison.old, comparison.new), comparison.tallies, strict=True
            )
        ],
        "moves": [
            {"old": old, "new": new, "solutions": number}
            for (old, new), number in comparison.moves.most_common()
        ],
        "changed": [
            {"weighty": found.weighty, **msgspec.to_builtins(found)} for found in comparison.changed
        ],
        "kinds": comparison.by_kind,
        "figures": msgspec.to_builtins(comparison.summaries()),
    }


def comparison_lines(comparison: Comparison) -> list[str]:
    """Return what changed, what weighs more first, and the outcomes and figures side by side."""
    blocks = [
        _changed_table(comparison),
        _outcome_table(comparison),
        _figure_table(comparison),
        verdict_lines(comparison),
    ]
    shown = [block for block in blocks if block]
    return [line for block in shown for line in ([""] if block is not shown[0] else []) + block]


def verdict_lines(comparison: Comparison) -> list[str]:
    """Return the answer in a sentence or two."""
    weighty, texts = len(comparison.weighty), len(comparison.changed) - len(comparison.weighty)
    place = f"{comparison.track} on {comparison.channel}, {comparison.old} to {comparison.new}"
    of = f"of {count(comparison.compared, 'solution')}"
    said = f"{weighty} {of} changed" if weighty else f"no result {of} changed"
    more = f"; of {texts} more, texts only" if texts else ""
    lines = [f"{place}: {said}{more}"]
    missing = comparison.solutions - comparison.compared
    if missing:
        number = count(missing, "solution")
        lines.append(f"{number} could not be compared: the same command runs them again")
    return lines


def _changed_table(comparison: Comparison) -> list[str]:
    rows: list[Sequence[Cell]] = [
        (
            cell(found.solution, _WORD),
            cell(change.what, 2 * _WORD),
            _word(change.old),
            _word(change.new),
        )
        for found in comparison.changed
        for change in found.changes
    ]
    if not rows:
        return []
    lines = table(("SOLUTION", "WHAT", "OLD", "NEW"), rows[:MAX_ROWS])
    more = len(rows) - MAX_ROWS
    said = f"... {count(more, 'more change')}: --json and --html have all"
    return [*lines, said] if more > 0 else lines


def _word(text: str | None) -> str:
    return "-" if text is None else cell(text, _WORD)


def _outcome_table(comparison: Comparison) -> list[str]:
    old, new = comparison.tallies
    rows = [
        (name, str(before), str(after))
        for name, (before, after) in outcome_counts(comparison).items()
    ]
    return table(("OUTCOME", "OLD", "NEW"), rows) if old.total or new.total else []


def outcome_counts(comparison: Comparison) -> Mapping[str, tuple[int, int]]:
    """Return how many solutions came to each outcome, by the old version and by the new one."""
    counted: dict[str, tuple[int, int]] = {}
    for (old, new), number in comparison.moves.items():
        before, after = counted.get(old, (0, 0))
        counted[old] = (before + number, after)
        before, after = counted.get(new, (0, 0))
        counted[new] = (before, after + number)
    return dict(sorted(counted.items(), key=lambda item: (-sum(item[1]), item[0])))


def _figure_table(comparison: Comparison) -> list[str]:
    rows = [figure_cells(summary) for summary in comparison.summaries()]
    return table(FIGURE_HEADER, rows) if rows else []


FIGURE_HEADER = ("FIGURE", "OLD", "NEW", "OLD P95", "NEW P95", "CHANGE")
"""The first two numbers are medians; the change is the median of the solutions' own changes."""


def figure_cells(summary: FigureSummary) -> tuple[str, ...]:
    """Return a figure's row below the header."""
    numbers = (summary.old_median, summary.new_median, summary.old_p95, summary.new_p95)
    change = "-" if summary.change is None else f"{100 * summary.change:+.1f} %"
    return (summary.name, *(amount(number, summary.unit) for number in numbers), change)


def amount(number: float, unit: str) -> str:
    """Return a figure as people say it: ``84 ms``, ``2.5 s``, ``24.0 MiB``."""
    if unit == "B":
        return f"{number / 2**20:.1f} MiB"
    return f"{1000 * number:.0f} ms" if number < 1 else span(number)
