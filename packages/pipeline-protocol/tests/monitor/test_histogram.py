"""Cells count what they are shown, by bounds that belong to the bucket below."""

from pipeline_protocol.monitor.histogram import SECONDS, Histogram
from pipeline_protocol.monitor.snapshot import histogram_family


def test_a_value_counts_up_to_its_bound() -> None:
    cell = Histogram((1.0, 2.0))
    for value in (0.0, 1.0, 1.5, 2.0, 2.1):
        cell.observe(value)
    assert cell.counts == [2, 2, 1]
    assert (cell.count, cell.total) == (5, 6.6)


def test_bounds_ascend() -> None:
    assert list(SECONDS) == sorted(set(SECONDS))


def test_a_copy_does_not_change_with_its_cell() -> None:
    cell = Histogram()
    family = histogram_family("x_seconds", "X.", (), [((), cell)])
    cell.observe(1.0)
    assert sum(family.samples[0].counts) == 0
