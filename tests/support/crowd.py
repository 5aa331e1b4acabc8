"""Workers and clients by the thousand, each with a connection of its own, in a few threads.

Workers are the real core and the real sockets, which decide when to ask anew, to say hello and to
open another connection; they have every version at once. Clients ask whether the router is there.
"""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import zmq

from pipeline_protocol.address import WorkerAddress
from pipeline_protocol.link import Readiness, VersionState
from pipeline_worker import commands as do
from pipeline_worker import events
from pipeline_worker.core import WorkerCore
from pipeline_worker.keys_file import read_keys
from pipeline_worker.sockets import RouterSockets
from support.keyring import show_key

TICK_S = 0.1
ASK_AGAIN_S = 2.0
"""What was sent into a connection whose end was not noticed yet is lost."""
_DIGEST = f"sha256:{'0' * 64}"
_PING = b'{"action": "ping"}'
_TURN = 1000


class _Worker:
    """One worker, but for the work."""

    def __init__(self, name: str, address: WorkerAddress, keys: Path | None) -> None:
        self.core = WorkerCore(name, secrets.token_hex(8), address, 1)
        self.sockets = RouterSockets(address, partial(read_keys, keys) if keys else None)
        self.left: do.Leave | None = None

    def turn(self, now: float, *, tick: bool) -> None:
        """Take in what has come, and the time."""
        for event in self.sockets.events():
            self._handle(event, now)
        if tick:
            self._handle(events.Tick(), now)

    def _handle(self, event: events.Event, now: float) -> None:
        if self.left is not None:
            return
        for command in self.core.handle(event, now):
            match command:
                case do.AskRouter():
                    self.sockets.ask()
                case do.Connect(port):
                    self.sockets.connect(port)
                case do.Send(message, body):
                    self.sockets.send(message, body)
                case do.Prepare(wanted):
                    ready = VersionState(wanted.track, wanted.version, Readiness.READY, _DIGEST)
                    self._handle(events.VersionMoved(ready), now)
                case do.Leave():
                    self.left = command


class Crowd:
    """All of them; `workers` serve from the start, `clients` ask when they are told to."""

    def __init__(
        self,
        address: str,
        *,
        workers: int,
        clients: int,
        worker_keys: Path | None = None,
        client_keys: Path | None = None,
    ) -> None:
        link = WorkerAddress.parse(f"{address}/test_runners")
        self._workers = [_Worker(f"crowd-{n}", link, worker_keys) for n in range(workers)]
        self._clients = clients
        self._address, self._keys = address, client_keys
        self._answered: set[bytes] = set()
        self.longest_turn_s = 0.0
        """So long the workers were all silent at most, for want of this machine's time."""
        self._asked = threading.Event()
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        if clients:
            self._threads.append(threading.Thread(target=self._ask, daemon=True))
        for thread in self._threads:
            thread.start()

    @property
    def left(self) -> list[do.Leave]:
        """How workers have ended; none should."""
        return [worker.left for worker in self._workers if worker.left is not None]

    def epochs(self) -> set[int]:
        """Return the epochs of the routers that welcomed workers last; 0: none did."""
        return {worker.core.epoch for worker in self._workers}

    def serves_other_than(self, epoch: int) -> bool:
        """Return whether a router has welcomed every worker, and not that one."""
        return not {0, epoch} & self.epochs()

    def ask(self) -> None:
        """Have each client ask once, as soon as it is connected; the first time it connects."""
        self._answered = set()
        self.longest_turn_s = 0.0
        self._asked.set()

    @property
    def answered(self) -> int:
        """How many clients were answered since they were told to ask."""
        return len(self._answered)

    def close(self) -> None:
        self._closing.set()
        self._asked.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    # --- the threads

    def _serve(self) -> None:
        first = time.monotonic()
        ticks = [first + TICK_S * n / len(self._workers) for n in range(len(self._workers))]
        while not self._closing.is_set():
            began = time.monotonic()
            for number, worker in enumerate(self._workers):
                now = time.monotonic()
                due = now >= ticks[number]
                if due:
                    ticks[number] = now + TICK_S
                worker.turn(now, tick=due)
            self._closing.wait(max(0.001, began + 0.02 - time.monotonic()))
            self.longest_turn_s = max(self.longest_turn_s, time.monotonic() - began)
        for worker in self._workers:
            worker.sockets.close()

    def _ask(self) -> None:
        with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
            # one socket, and yet a connection for each; what it calls them the router never hears
            socket.linger = 0
            socket.sndhwm = socket.rcvhwm = 0
            socket.reconnect_ivl, socket.reconnect_ivl_max = 100, 1000
            show_key(socket, self._keys)
            names = [f"client-{number}".encode() for number in range(self._clients)]
            self._asked.wait()
            for name in [] if self._closing.is_set() else names:
                socket.set(zmq.CONNECT_ROUTING_ID, name)
                socket.connect(self._address)
            ask_at = 0.0
            while not self._closing.is_set():
                if self._asked.is_set() or time.monotonic() >= ask_at:
                    self._asked.clear()
                    ask_at = time.monotonic() + ASK_AGAIN_S
                    for name in set(names) - self._answered:
                        socket.send_multipart([name, b"", _PING])
                if socket.poll(20):
                    self._read(socket)

    def _read(self, socket: "zmq.Socket[bytes]") -> None:
        for _ in range(_TURN):
            try:
                self._answered.add(socket.recv_multipart(zmq.NOBLOCK)[0])
            except zmq.Again:
                return


@contextmanager
def leaving(crowd: Crowd) -> Iterator[Crowd]:
    """Give a crowd that is gone afterwards."""
    try:
        yield crowd
    finally:
        crowd.close()
