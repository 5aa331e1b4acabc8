"""A worker's monitor: where its options have it listen, and what the loop hands it."""

import logging
from pathlib import Path
from time import monotonic

from pipeline_protocol.monitor.access import BadMonitor, listen, listen_address, read_token
from pipeline_protocol.monitor.feed import Feed
from pipeline_protocol.monitor.watch import Watch
from pipeline_worker.core import WorkerCore
from pipeline_worker.host.disk import DiskWatch
from pipeline_worker.observer import look
from pipeline_worker.run_counters import RunCounters

_log = logging.getLogger(__name__)


class Monitoring:
    """What is shown of a process, through all its sessions."""

    def __init__(self, feed: Feed, runs: RunCounters, folder: Path) -> None:
        self._feed = feed
        self._runs = runs
        self._disk = DiskWatch(folder)
        self._watch = Watch(feed, monotonic())

    def turned(self, core: WorkerCore, began: float) -> None:
        """Take in that a turn of the loop is over, and show the worker if it is time."""
        self._watch.turned(
            began,
            monotonic(),
            lambda lag_s: look(core, self._runs.seen(), self._disk.room, lag_s),
        )

    def close(self) -> None:
        """End it."""
        self._disk.close()
        self._feed.close()


def open_feed(address: str, token: Path | None, *, insecure: bool) -> Feed:
    """Listen where `--monitor` says. Raises BadMonitor or OSError."""
    where = listen_address(address)
    secret = "" if token is None else read_token(token)
    try:
        listener, setup = listen(where, secret, insecure=insecure)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{address} (monitor)") from None
    port = listener.getsockname()[1]
    _log.info("listening on http://%s:%d (monitor)", where.shown, port)
    if not (where.is_loopback or secret):
        _log.warning(
            "--insecure: whoever reaches http://%s:%d can read what runs here", where.shown, port
        )
    return Feed(listener, setup)


__all__ = ["BadMonitor", "Monitoring", "open_feed"]
