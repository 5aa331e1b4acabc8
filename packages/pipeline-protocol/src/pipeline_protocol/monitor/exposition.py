"""Families as Prometheus reads them."""

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from pipeline_protocol.monitor.snapshot import HistogramFamily, MetricFamily, Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Collected(Collector):
    """A snapshot, for the library's writer."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        yield from map(_family, self._snapshot.families)
        yield from map(_histogram, self._snapshot.histograms)


def write(snapshot: Snapshot, process: int) -> bytes:
    """Write a snapshot in Prometheus' text format, with what the kernel says of its process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(snapshot))
    ProcessCollector(pid=lambda: process, registry=registry)
    return generate_latest(registry)


def _family(family: MetricFamily) -> Metric:
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric: CounterMetricFamily | GaugeMetricFamily = kind(
        family.name, family.help, labels=family.labels
    )
    for labels, value in family.samples:
        metric.add_metric(labels, value)
    return metric


def _histogram(family: HistogramFamily) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    bounds = [*map(floatToGoString, family.bounds), "+Inf"]
    for labels, counts, total in _rows(family):
        metric.add_metric(labels, list(zip(bounds, counts, strict=True)), total)
    return metric


def _rows(family: HistogramFamily) -> Iterable[tuple[tuple[str, ...], list[int], float]]:
    for sample in family.samples:
        yield sample.labels, list(accumulate(sample.counts)), sample.total
