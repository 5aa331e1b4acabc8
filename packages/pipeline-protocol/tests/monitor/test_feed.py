"""The process beside: it may die, hang or be slow, and whoever feeds it never waits."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.monitors import OwnMonitor, resident_mb, snapshot, until
from support.pace import paced

from pipeline_protocol.monitor import feed as feeding


def test_it_shows_the_latest_snapshot(monitor: OwnMonitor) -> None:
    for jobs in (1, 2):
        monitor.show(snapshot(jobs))
        assert b'jobs_total{channel="tests"} %d.0\n' % jobs in monitor.get("/metrics")
    assert monitor.code("/healthz") == monitor.code("/readyz") == 200


def test_a_killed_one_comes_back_at_the_same_port(
    monitor: OwnMonitor, caplog: pytest.LogCaptureFixture
) -> None:
    before = monitor.process
    os.kill(before, signal.SIGKILL)
    monitor.show(snapshot(7))
    assert monitor.feed.pid not in (None, before)
    assert caplog.messages == ["the monitor's process ended, status -9"]


def test_signals_for_all_processes_do_not_end_it(monitor: OwnMonitor) -> None:
    """A terminal's Ctrl-C and a service manager's SIGTERM are for the one that it shows."""
    process = monitor.process
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(process, number)
    monitor.show(snapshot(1))
    assert monitor.feed.pid == process


def test_offers_to_one_that_hangs_are_dropped_at_once(monitor: OwnMonitor) -> None:
    process = monitor.process
    os.kill(process, signal.SIGSTOP)
    large = snapshot(1, padding=4 << 20)
    began, dropped, longest = time.monotonic(), 0, 0.0
    monitor.offer_only(large)
    while dropped < 5:
        before = time.perf_counter()
        dropped += not monitor.feed.offer(large)
        longest = max(longest, time.perf_counter() - before)
        time.sleep(0.01)
        assert time.monotonic() - began < paced(20)
    assert longest < paced(0.5)
    until(lambda: monitor.feed.pid != process, feeding.SEND_S + feeding.END_S + 20)
    monitor.show(snapshot(2))  # another one has been started


def test_it_ends_with_whom_it_shows() -> None:
    program = (
        "from pipeline_protocol.monitor.access import listen, listen_address\n"
        "from pipeline_protocol.monitor.feed import Feed\n"
        "from pipeline_protocol.monitor.snapshot import Snapshot\n"
        "import time\n"
        "feed = Feed(*listen(listen_address('127.0.0.1:0'), '', insecure=False))\n"
        "feed.offer(Snapshot([], [], b'{\"a\":1}'))\n"
        "while feed.pid is None: time.sleep(0.01)\n"
        "print(feed.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as whom:
        assert whom.stdout is not None
        process = int(whom.stdout.readline())
        until(lambda: _runs(process, b"pipeline_protocol.monitor"))
        whom.kill()
    until(lambda: not _runs(process, b"pipeline_protocol.monitor"))


def _runs(process: int, name: bytes) -> bool:
    try:
        return name in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def test_it_is_told_no_secrets_and_goes_last(monitor: OwnMonitor) -> None:
    process = monitor.process
    names = {
        entry.partition(b"=")[0].decode()
        for entry in Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
        if entry
    }
    assert names <= set(feeding._HANDED_ON)
    assert os.getpriority(os.PRIO_PROCESS, process) >= 10


def test_a_large_snapshot_takes_little(monitor: OwnMonitor) -> None:
    """About what a router with 1,000 workers says."""
    monitor.show(snapshot(1, padding=400_000))
    for _ in range(20):
        monitor.get("/metrics")
        monitor.get("/status.json")
    assert resident_mb(monitor.process) < 60


def test_closing_frees_the_port() -> None:
    own = OwnMonitor()
    own.show(snapshot())
    own.close()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", own.port))


def test_one_that_never_lives_is_tried_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a host without processes left: a line of the log a second would fill the disk."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setattr(feeding, "PATIENCE_S", 0.2)
    own = OwnMonitor()
    try:
        own.offer_only(snapshot())
        began = time.monotonic()
        until(lambda: len(caplog.messages) >= 4)
        assert time.monotonic() - began >= 0.2 + 0.4 + 0.8
        assert all("does not start" in line for line in caplog.messages[:4])
        monkeypatch.undo()
        own.show(snapshot(1))
    finally:
        own.close()
