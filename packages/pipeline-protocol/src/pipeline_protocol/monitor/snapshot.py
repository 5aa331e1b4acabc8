"""What a process says of itself once a second, to be shown by the process beside it.

Who shows it knows none of the metrics: a family comes with its name, its help and its values.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Struct

from pipeline_protocol.monitor.histogram import Histogram

Labels = tuple[str, ...]

MAX_FRAME_BYTES = 64 << 20
LENGTH_BYTES = 4
"""Before each message: its length, the highest byte first."""


class MetricFamily(Struct, frozen=True, array_like=True):
    """A metric's values, one for each combination of labels that there is.

    The names are Prometheus': a counter's ends with `_total`, and units are in them. No value of a
    label may be a word that a stranger chooses.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: Labels
    samples: list[tuple[Labels, float]]


class HistogramSample(Struct, frozen=True, array_like=True):
    """A histogram of one combination of labels; counts as those of `Histogram`."""

    labels: Labels
    counts: tuple[int, ...]
    total: float


class HistogramFamily(Struct, frozen=True, array_like=True):
    """A metric that is a histogram."""

    name: str
    help: str
    labels: Labels
    bounds: tuple[float, ...]
    samples: list[HistogramSample]


class Snapshot(Struct, frozen=True, array_like=True):
    """All that is shown."""

    families: list[MetricFamily]
    histograms: list[HistogramFamily]
    status: bytes
    """A JSON object, for `/status.json`."""
    unready: tuple[str, ...] = ()
    """Why the process does not do its work now, or would lose something; none: it is ready."""


class Setup(Struct, frozen=True):
    """What the process beside it is told first."""

    listener: int
    """The descriptor of the listening socket."""
    token: str = ""
    """Who does not show it is told nothing but whether all is well; empty: anybody is."""
    hosts: tuple[str, ...] = ()
    """Hosts that a request may be for; none: any."""


def gauge(name: str, says: str, value: float) -> MetricFamily:
    """Make a family of one value without labels."""
    return MetricFamily(name, "gauge", says, (), [((), float(value))])


def histogram_family(
    name: str, says: str, labels: Labels, cells: Iterable[tuple[Labels, Histogram]]
) -> HistogramFamily:
    """Copy cells of the same bounds, as they are now; there must be one at least."""
    samples = []
    bounds: tuple[float, ...] = ()
    for values, cell in cells:
        bounds = cell.bounds
        samples.append(HistogramSample(values, tuple(cell.counts), cell.total))
    return HistogramFamily(name, says, labels, bounds, samples)


def frame(message: Struct) -> bytes:
    """Write a message for the pipe; raises ValueError if it is too long."""
    data = msgspec.msgpack.encode(message)
    if len(data) > MAX_FRAME_BYTES:
        raise ValueError(f"a snapshot of {len(data)} bytes is too long")
    return len(data).to_bytes(LENGTH_BYTES, "big") + data
