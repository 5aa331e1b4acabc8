"""One load on one side, for a while, and what it measured."""

import itertools
import subprocess
from collections.abc import Callable
from typing import Any

import msgspec
from compiled import compiled
from msgspec import Struct
from msgspec.structs import asdict
from sides import Side, Workers
from words import READY, link_words, words

from pipeline_protocol.keys import in_bytes, read_member_keys
from pipeline_protocol.requests import Role

_numbers = itertools.count(1, 100_000_000)
"""Where each load begins to count its requests: no two ever have the same id."""


_WORDS_OF: dict[Workers, Callable[[], dict[str, Any]]] = {
    Workers.LINK: lambda: asdict(link_words()),
    Workers.READY: lambda: {"ready": READY},
    Workers.NOTHING: dict,
}


def _keys_of(side: Side) -> dict[str, bytes]:
    if side.keys is None:
        return {}
    files = (side.keys[role] for role in (Role.CLIENT, Role.WORKER))
    client, worker = (read_member_keys(file.read_bytes(), str(file)) for file in files)
    return {
        "server_key": in_bytes(client.routers[0]),
        "client_public": in_bytes(client.public),
        "client_secret": in_bytes(client.secret),
        "worker_public": in_bytes(worker.public),
        "worker_secret": in_bytes(worker.secret),
    }


class Answers(Struct, frozen=True):
    """Answers of one kind, and how long they took."""

    count: int
    p50_ms: float
    p99_ms: float


class Measured(Struct, frozen=True):
    """What came of a load, and what it cost the process in the middle."""

    seconds: float
    cpu_s: float
    rss_mb: float
    served: Answers
    refused: Answers
    others: int

    @property
    def jobs_per_s(self) -> float:
        return self.served.count / self.seconds

    @property
    def cpu_us_per_job(self) -> float:
        return self.cpu_s / max(1, self.served.count) * 1e6


class Load(Struct, frozen=True):
    """What is to be done to a side."""

    seconds: float
    warm_s: float = 0.3
    in_flight: int = 200
    rate: float = 0.0
    """Requests a second, whatever comes back; 0: one for each that comes back."""
    workers: int = 2
    active: int | None = None
    """How many of them finish their jobs; None: all. The others hold on to theirs for good."""
    slots: int = 100
    """Of an active worker: at most 127, a byte on the wire. The others have one."""
    service_ms: float = 0.0

    def on(self, side: Side) -> Measured:
        """Carry it out; RuntimeError if it cannot be."""
        settings: dict[str, Any] = {
            **asdict(self),
            **asdict(words()),
            **_WORDS_OF[side.workers](),
            **_keys_of(side),
            "active": self.workers if self.active is None else self.active,
            "front": side.front,
            "link": side.link,
            "pid": side.pid,
            "first_number": next(_numbers),
        }
        lines = [
            f"{name} {value.hex() if isinstance(value, bytes) else value}\n"
            for name, value in settings.items()
        ]
        side.await_open()
        done = subprocess.run(
            [str(compiled("load/load.c"))],
            input="".join(lines),
            capture_output=True,
            text=True,
            timeout=self.warm_s + self.seconds + 30,
            check=False,
        )
        if done.returncode or not side.alive:
            raise RuntimeError(f"{side.name}: {done.stderr.strip()}\n{side.output()[-2000:]}")
        measured = msgspec.json.decode(done.stdout, type=Measured)
        if measured.others:
            raise RuntimeError(f"{side.name}: {measured.others} answers were neither 200 nor 503")
        return measured
