"""Clients that are too many, too fast, too slow, or gone."""

import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
import zmq
from faults.lab import FaultLab
from faults.waiting import await_that
from support.keyring import show_key

from pipeline_protocol import status
from pipeline_protocol.requests import Role


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.fixture
def context() -> "Iterator[zmq.Context[zmq.Socket[bytes]]]":
    with zmq.Context() as context:
        yield context


def client(context: "zmq.Context[zmq.Socket[bytes]]", lab: FaultLab) -> "zmq.Socket[bytes]":
    dealer = context.socket(zmq.DEALER)
    dealer.linger = 0
    dealer.sndhwm = 0
    dealer.rcvhwm = 1
    show_key(dealer, lab.keys[Role.CLIENT])
    dealer.connect(lab.address)
    return dealer


def test_a_client_that_never_reads(
    lab: FaultLab, context: "zmq.Context[zmq.Socket[bytes]]"
) -> None:
    """Its replies wait, then are dropped; nobody else waits for that, and memory is bounded."""
    lab.start_router()
    lab.start_workers(2)
    group = lab.group(seats=4)
    group.ask(*lab.requests(60, "sleep 0.05"))
    deaf = client(context, lab)
    config = msgspec.json.encode({"action": "current_config"})
    for _ in range(15_000):
        deaf.send_multipart([b"", config])
    group.wait()
    assert resident_mb(lab.router.pid) < 200
    deaf.close()
    group.ask(*lab.requests(10))
    lab.judge()


def test_clients_that_vanish(lab: FaultLab, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
    """Their jobs run, their answers find nobody; everybody else gets what is theirs."""
    lab.start_router()
    lab.start_workers(2)
    group = lab.group(seats=8)
    group.ask(*lab.requests(40, "sleep 0.05"))
    for _ in range(20):
        vanishing = client(context, lab)
        asked = lab.abandon(lab.request("sleep 0.1", timeout_s=30))
        vanishing.send_multipart([b"", asked.body])
        lab.await_running(asked)
        vanishing.close()
    group.wait()
    lab.judge()


@pytest.mark.parametrize(
    "clients", [2_000, pytest.param(5_000, marks=[pytest.mark.soak, pytest.mark.timeout(300)])]
)
def test_thousands_of_clients_connect_at_once(lab: FaultLab, clients: int) -> None:
    """More than the 1,024 descriptors that a process is usually given."""
    lab.start_router(under=("/usr/bin/prlimit", "--nofile=1024:20000"), queue=clients)
    lab.start_workers(2, slots=64)
    group = lab.group(seats=clients)
    group.ask(*lab.requests(clients))
    group.wait(100)
    lab.judge()


def test_ten_times_more_than_can_be_done(lab: FaultLab) -> None:
    """What is too much is told so at once, and costs what can be done nothing."""
    lab.start_router(queue=8)
    lab.start_workers(2)
    group = lab.group(seats=200)
    either = [status.OK, status.NO_WORKER]
    job_s, slots, lasts_s = 0.1, 4, 3.0
    a_turn = round(10 * slots / job_s * 0.05)
    began = time.monotonic()
    while (now := time.monotonic()) < began + lasts_s:
        group.ask(*lab.requests(a_turn, f"sleep {job_s}", codes=either))
        time.sleep(max(0.0, now + 0.05 - time.monotonic()))
    group.wait()
    served = [one for one in lab.history.all if one.code == status.OK]
    refused = [one for one in lab.history.all if one.code == status.NO_WORKER]
    assert len(refused) > 5 * len(served)
    assert len(served) > 0.5 * slots * lasts_s / job_s, "90 % are promised, of a machine at rest"
    waited = statistics.median(one.waited_s for one in refused)
    assert waited < statistics.median(one.waited_s for one in served)
    lab.judge()


@pytest.mark.parametrize(
    "closed", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["short", "until closed"]
)
def test_handshakes_that_stall(lab: FaultLab, closed: bool) -> None:
    """Connections that say nothing, or begin to; each is closed after a while."""
    lab.start_router()
    lab.start_workers(1)
    before = descriptors(lab.router.pid)
    group = lab.group(seats=4)
    with ExitStack() as stalled:
        for number in range(400):
            port = lab.own.port if number % 2 else lab.own.link_port
            half = stalled.enter_context(socket.create_connection(("127.0.0.1", port)))
            half.sendall((b"", b"\xff", b"\xff" + bytes(8) + b"\x7f\x03")[number % 3])
        group.ask(*lab.requests(30, "sleep 0.01"))
        group.wait()
        if closed:
            await_that(lambda: descriptors(lab.router.pid) < before + 50, 60)
    lab.judge()


def test_descriptors_used_up(lab: FaultLab) -> None:
    """Those who are in are served; those outside get in when there is room again."""
    lab.start_router(under=("/usr/bin/prlimit", "--nofile=80:80"))
    lab.start_workers(1)
    group = lab.group(seats=4)
    inside = lab.requests(20, "sleep 0.02")
    group.ask(*inside)
    lab.await_answered(4)
    with ExitStack() as many:
        for _ in range(150):
            many.enter_context(socket.create_connection(("127.0.0.1", lab.own.port)))
        await_that(lambda: descriptors(lab.router.pid) >= 80)
        group.wait()
        outside = lab.group(seats=4)
        late = lab.requests(8)
        outside.ask(*late)
    outside.wait()
    assert lab.deploy("v2")["status"]["code"] == status.OK
    lab.judge()
