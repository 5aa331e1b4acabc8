"""Clients that cost the router memory: their connections go, and others do not notice."""

import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import zmq
from faults.lab import TESTS, FaultLab
from faults.waiting import again_and_again, await_that
from support.keyring import show_key
from support.zmtp import RawClient

from pipeline_protocol import status
from pipeline_protocol.requests import Role
from pipeline_router.peer_socket import BOUNDS

MIB = 1 << 20
ENDLESS = 3 << 30
"""More than the router may ever hold."""
BOUNDED = 1 << 30
"""Its bound for all connections, itself, and what may come before anybody looks."""
PING = b'{"action": "ping"}'
WITH_KEYS_TOO = pytest.mark.parametrize("lab", [False, True], ids=["plain", "keys"], indirect=True)
"""For those whose clients shake hands; one that does not holds nothing where there are keys."""


def peak(pid: int) -> int:
    """Return the most memory that a process ever had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def test_a_message_without_end_is_cut_off(lab: FaultLab) -> None:
    router = lab.start_router()
    for port in (lab.own.port, lab.own.link_port):
        stranger = RawClient(port)
        assert stranger.send_on(b"x" * MIB, ENDLESS) < ENDLESS
        stranger.close()
    assert peak(router.pid) < BOUNDED
    for whose in ("clients", "workers"):
        router.wait_for(rf"\({whose}\), times: 1; .* is ended: \d+ KiB of a message without end")
    lab.judge()


def test_small_frames_are_counted_as_what_they_cost(lab: FaultLab) -> None:
    """A frame of a byte is three on the wire, and 64 in libzmq's queue."""
    router = lab.start_router()
    stranger = RawClient(lab.own.port)
    assert stranger.send_on(b"", ENDLESS // 32, at_a_time=100_000) < ENDLESS // 32
    stranger.close()
    assert peak(router.pid) < BOUNDED
    lab.judge()


def test_a_client_that_sends_again_and_never_reads(lab: FaultLab) -> None:
    router = lab.start_router()
    lab.start_worker("worker-1")
    large = lab.request(files={"plan": "", "token": "t", "padding": "1500000"})
    large.token = "t"
    group = lab.group()
    group.ask(large)
    group.wait()
    deaf = RawClient(lab.own.port)
    with suppress(ConnectionError):
        for _ in range(ENDLESS // 1_500_000):
            deaf.send(b"", large.body)
            time.sleep(0.001)
    assert deaf.is_cut()
    deaf.close()
    assert peak(router.pid) < BOUNDED
    router.wait_for(r"is ended: \d+ KiB of answers wait that it does not read")
    lab.judge()


@WITH_KEYS_TOO
def test_a_client_that_is_slow_to_read_gets_all(lab: FaultLab) -> None:
    """As much as may wait for one, nearly: nothing is lost, nobody is cut off."""
    lab.start_router()
    lab.start_worker("worker-1")
    large = lab.request(files={"plan": "", "token": "t", "padding": "1000000"})
    large.token = "t"
    group = lab.group()
    group.ask(large)
    group.wait()
    times = BOUNDS.each // MIB - 8
    with zmq.Context() as context, context.socket(zmq.DEALER) as slow:
        slow.rcvhwm = 1
        slow.linger = 0
        slow.rcvtimeo = 30_000
        show_key(slow, lab.keys[Role.CLIENT])
        slow.connect(lab.address)
        for number in range(times):
            slow.send_multipart([b"%d" % number, b"", large.body])
        time.sleep(1.5)  # the connections are looked at once a second
        assert [int(slow.recv_multipart()[0]) for _ in range(times)] == list(range(times))
    lab.judge()


@WITH_KEYS_TOO
def test_a_burst_of_the_largest_requests_is_read_whole(lab: FaultLab) -> None:
    """Nobody is cut off who sends messages that end, up to the bound."""
    lab.start_router()
    with zmq.Context() as context, context.socket(zmq.DEALER) as client:
        client.sndhwm = 0
        client.linger = 0
        client.rcvtimeo = 60_000
        show_key(client, lab.keys[Role.CLIENT])
        client.connect(lab.address)
        request = b'{"action": "ping", "x": "' + b"x" * (MIB - 100) + b'"}'
        for _ in range(BOUNDS.each // MIB - 56):
            client.send_multipart([b"", request])
        for _ in range(BOUNDS.each // MIB - 56):
            assert b'"code":200' in client.recv_multipart()[-1]
    lab.judge()


ATTACKS = """
import itertools, sys, time
from support.zmtp import RawClient
for _ in itertools.count():
    stranger = RawClient(int(sys.argv[1]))
    stranger.send_on(b"x" * (1 << 20), 3 << 30)
    stranger.close()
    time.sleep(1)
"""


def test_others_hardly_notice(lab: FaultLab) -> None:
    """Strangers come again and again, each is cut off soon, and in between all is as before."""
    router = lab.start_router()

    def latency() -> float:
        """Return what 80 of 100 pings take at most, in seconds."""
        took = []
        for _ in range(400):
            began = time.perf_counter()
            client.send(PING)
            client.recv()
            took.append(time.perf_counter() - began)
            time.sleep(0.01)
        return statistics.quantiles(took, n=5)[-1]

    with zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.linger = 0
        client.rcvtimeo = 30_000
        client.connect(lab.address)
        alone = latency()
        with subprocess.Popen(
            [sys.executable, "-c", ATTACKS, str(lab.own.port)], env={"PYTHONPATH": str(TESTS)}
        ) as attacks:
            try:
                router.wait_for("is ended")
                beside = latency()
                assert attacks.poll() is None
            finally:
                attacks.kill()
    assert beside < 5 * alone, (alone, beside)
    assert peak(router.pid) < BOUNDED
    lab.judge()


def test_a_router_out_of_memory_ends_and_comes_back_with_its_state(lab: FaultLab) -> None:
    first = lab.start_router("--memory-max", "192MiB")
    lab.start_worker("worker-1")
    assert lab.deploy("v2")["status"]["code"] == status.OK
    lab.await_ready("worker-1", version="v2")
    lab.terms.router_died = True
    running = lab.request("sleep 2", version="v2")
    group = lab.group(resend_after_s=1.0)
    group.ask(running)
    lab.await_running(running)

    def restart() -> None:
        if not lab.router.alive:
            lab.start_router("--memory-max", "192MiB")

    with again_and_again(restart, every_s=0.05):
        strangers = [RawClient(lab.own.port) for _ in range(8)]
        for stranger in strangers:  # each less than is cut off
            stranger.send_on(b"x" * MIB, BOUNDS.each // 2)
        await_that(lambda: not first.alive, what="the end")
        for stranger in strangers:
            stranger.close()
        group.wait()
        await_that(lambda: lab.router is not first, what="another router")
    assert first.wait() not in (0, 2)
    assert "memory" in first.output().splitlines()[-1].lower(), first.output()
    lab.await_ready("worker-1", version="v2")
    lab.judge()
