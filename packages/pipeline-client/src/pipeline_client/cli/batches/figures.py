"""Times and usage of two versions side by side. Pure."""

from collections.abc import Callable, Iterable, Sequence
from math import ceil
from statistics import median

from msgspec import Struct

from pipeline_client.cli.batches.records import RunRecord


class Figure(Struct, frozen=True):
    """Something that is measured of each run."""

    name: str
    unit: str
    """``s`` or ``B``."""
    of: Callable[[RunRecord], float | None]
    """None: the run has no such figure."""


def _run_s(record: RunRecord) -> float | None:
    return record.context.timing.run_s if record.context.timing else None


def _setup_s(record: RunRecord) -> float | None:
    return record.context.timing.setup_s if record.context.timing else None


def _cpu_s(record: RunRecord) -> float | None:
    return record.context.usage.cpu_s if record.context.usage else None


def _memory(record: RunRecord) -> float | None:
    return float(record.context.usage.peak_memory_bytes) if record.context.usage else None


FIGURES = (
    Figure("run", "s", _run_s),
    Figure("processor", "s", _cpu_s),
    Figure("memory", "B", _memory),
    Figure("setup", "s", _setup_s),
)
"""The tool's run, its processor time, its peak of memory; and what came before its start."""

Pair = tuple[float, float]
"""One solution's figure, by the old version and by the new one."""


def pair_of(figure: Figure, old: RunRecord, new: RunRecord) -> Pair | None:
    """Return a solution's figure by both, if both ran to their end in the same way."""
    before, after = figure.of(old), figure.of(new)
    if before is None or after is None or old.code != new.code:
        return None
    return before, after


class FigureSummary(Struct, frozen=True):
    """A figure over all solutions."""

    name: str
    unit: str
    solutions: int
    old_median: float
    new_median: float
    old_p95: float
    new_p95: float
    change: float | None
    """The median of the new ones' parts of the old ones, less 1: 0.1 is ten hundredths more."""


def summary_of(figure: Figure, pairs: Sequence[Pair]) -> FigureSummary | None:
    """Return what there is to say of a figure's pairs; None if there are none."""
    if not pairs:
        return None
    old, new = zip(*pairs, strict=True)
    ratios = [after / before for before, after in pairs if before > 0]
    return FigureSummary(
        name=figure.name,
        unit=figure.unit,
        solutions=len(pairs),
        old_median=median(old),
        new_median=median(new),
        old_p95=percentile(old, 0.95),
        new_p95=percentile(new, 0.95),
        change=median(ratios) - 1 if ratios else None,
    )


def percentile(values: Iterable[float], part: float) -> float:
    """Return the least value that such a part of them does not pass; there must be some."""
    ordered = sorted(values)
    return ordered[max(0, ceil(part * len(ordered)) - 1)]
