"""docs/monitoring.md names every metric with its labels, and every field of the state."""

from msgspec.structs import fields
from support.markdown import Document, codes
from support.tracks import ROOT

from pipeline_protocol.address import WorkerAddress
from pipeline_protocol.monitor.snapshot import HistogramFamily, MetricFamily, Snapshot
from pipeline_router.config import Config
from pipeline_router.core import RouterCore
from pipeline_router.status_document import RouterStatus
from pipeline_worker.core import WorkerCore
from pipeline_worker.counters import Room
from pipeline_worker.observer import look
from pipeline_worker.run_counters import RunCounters

DOCUMENT = Document(ROOT / "docs" / "monitoring.md")


def documented(column: str) -> dict[str, set[str]]:
    return {
        name: {label.strip() for label in labels.split(",") if label.strip()}
        for names, labels in DOCUMENT.table(column, "labels")
        for name in codes(names)
    }


def shown(snapshot: Snapshot) -> dict[str, set[str]]:
    metrics: list[MetricFamily | HistogramFamily] = [*snapshot.families, *snapshot.histograms]
    return {metric.name: set(metric.labels) for metric in metrics}


def test_each_metric_of_a_router_is_there_with_its_labels() -> None:
    core = RouterCore(Config(), {}, epoch=1, now=0.0)
    assert documented("metric") == shown(core.snapshot(1.0, 0.0))


def test_each_metric_of_a_worker_is_there_with_its_labels() -> None:
    address = WorkerAddress.parse("tcp://localhost:5555/test_runners")
    core = WorkerCore("worker-1", "instance", address, 1)
    snapshot = look(core, RunCounters().seen(), Room(1, 1, 1), 0.0)
    assert documented("worker's metric") == shown(snapshot)


def test_each_field_of_the_state_is_there() -> None:
    rows = [codes(names) for names, _ in DOCUMENT.table("field", "")]
    named = {name for row in rows for name in row}
    assert {field.name for field in fields(RouterStatus)} == named
