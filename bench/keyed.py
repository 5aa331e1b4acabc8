"""What keys cost: the same load with CURVE on both sockets and without; deaths; strangers."""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import report
import sides
import zmq
from faults.lab import FaultLab
from faults.returning import kill_and_return
from loads import Load
from msgspec.structs import replace
from rounds import Rounds
from sides import Side
from support.keyring import show_key
from support.processes import machine

from pipeline_protocol.requests import Role

CROWD = (1000, 5000)
"""Workers and clients that come back after the router's death."""
LIVENESS_S = 3.0
STRANGERS = 300
"""A second."""
RATE = 1000.0
"""Jobs a second of those that strangers are to leave alone."""


@contextmanager
def strangers(address: str, keys: Path, number: float) -> Iterator[Callable[[], int]]:
    """Have so many connections a second come that show a key nobody knows.

    They expect the right key of the router, so that it has all the work of a handshake. Their own
    half of it is done when nobody else here has anything to do: they have hosts of their own, else.
    What is given tells how many have come.
    """
    over = threading.Event()
    came = 0

    def come() -> None:
        nonlocal came
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # this thread, and its context's
        public, secret = zmq.curve_keypair()
        with zmq.Context() as context:
            context.set(zmq.MAX_SOCKETS, 10_000)
            there: list[zmq.Socket[bytes]] = []
            began = time.monotonic()
            while not over.wait(0.005):
                while came < (time.monotonic() - began) * number:
                    socket = context.socket(zmq.DEALER)
                    socket.linger = 0
                    show_key(socket, keys)
                    socket.set(zmq.CURVE_PUBLICKEY, public)
                    socket.set(zmq.CURVE_SECRETKEY, secret)
                    socket.connect(address)
                    there.append(socket)
                    came += 1
                while len(there) > number:  # each has a second
                    there.pop(0).close()
            for socket in there:
                socket.close()

    thread = threading.Thread(target=come)
    thread.start()
    try:
        yield lambda: came
    finally:
        over.set()
        thread.join()


class KeysBench:
    """Sides that are measured in turn."""

    def __init__(self, folder: Path, seconds: float, crowd: tuple[int, int]) -> None:
        self._workers, self._clients = crowd
        self.rounds = Rounds()
        self._folder = folder
        self._seconds = seconds
        self._warm_s = min(0.3, seconds / 2)

    def throughput(self, side: Side) -> None:
        """Two workers, 200 jobs in flight."""
        measured = Load(self._seconds, self._warm_s).on(side)
        self.rounds.add(f"{side.name} jobs_per_s", measured.jobs_per_s)
        self.rounds.add(f"{side.name} cpu_us_per_job", measured.cpu_us_per_job)

    def strangers(self, side: Side, other: Side) -> None:
        """Jobs at a steady rate: beside nobody, and beside strangers, at this router or another.

        Strangers at another router take as much of the machine's time: what they add here is what
        they cost others at their own router.
        """
        load = Load(3 * self._seconds, self._warm_s, rate=RATE)
        assert side.keys is not None
        assert other.keys is not None
        quiet = load.on(side)
        key = other.keys[Role.CLIENT]
        with strangers(other.front, key, STRANGERS):
            elsewhere = load.on(side)
        began = time.monotonic()
        with strangers(side.front, side.keys[Role.CLIENT], STRANGERS) as came:
            here = load.on(side)
            self.rounds.add("strangers_per_s", came() / (time.monotonic() - began))
        for name, measured in (("quiet", quiet), ("elsewhere", elsewhere), ("here", here)):
            self.rounds.add(f"{name} p50_ms", measured.served.p50_ms)
            self.rounds.add(f"{name} p99_ms", measured.served.p99_ms)

    def comeback(self, number: int, *, has_keys: bool) -> None:
        """Kill a router that has a crowd, and start it again."""
        folder = self._folder / f"comeback-{number}-{has_keys}"
        folder.mkdir()
        crowd = {"workers": self._workers, "clients": self._clients}
        name = "keyed" if has_keys else "plain"
        with machine(folder) as own:
            lab = FaultLab(own, 1, has_keys=has_keys)
            try:
                back = kill_and_return(lab, **crowd, liveness_s=LIVENESS_S, seconds=120)
            finally:
                lab.close()
        self.rounds.add(f"{name} workers_back_s", back.workers_s - back.listens_s)
        self.rounds.add(f"{name} clients_back_s", back.clients_s - back.listens_s)
        self.rounds.add(f"{name} workers_lost", len(back.lost))
        self.rounds.add(f"{name} crowd_silent_s", back.silent_s)

    def run(self, rounds: int, say: Callable[[str], None]) -> None:
        """Measure everything, that many times."""
        with ExitStack() as stack:
            plain = stack.enter_context(sides.router(self._folder, "plain"))
            own = [self._folder / name for name in ("own", "other")]
            for folder in own:
                folder.mkdir()
            keyed, other = (
                replace(stack.enter_context(sides.router(folder, has_keys=True)), name="keyed")
                for folder in own
            )
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}: throughput, strangers")
                self.throughput(plain)
                self.throughput(keyed)
                self.strangers(keyed, other)
        for number in range(max(1, rounds // 3)):
            say(f"{self._workers} workers and {self._clients} clients come back, {number + 1}")
            self.comeback(number, has_keys=False)
            self.comeback(number, has_keys=True)

    def ratios(self) -> None:
        """Hold keys against none, round by round."""
        ratio = self.rounds.ratio
        ratio("keyed cpu_us_per_job", "plain cpu_us_per_job", "keys_cpu_ratio")
        ratio("keyed jobs_per_s", "plain jobs_per_s", "keys_jobs_ratio")
        ratio("here p99_ms", "quiet p99_ms", "strangers_p99_ratio")
        ratio("here p99_ms", "elsewhere p99_ms", "strangers_own_p99_ratio")
        ratio("here p50_ms", "elsewhere p50_ms", "strangers_own_p50_ratio")


TARGETS = {
    "keys_cpu_ratio": ("CPU a job with keys over without", "at most 1.6"),
    "keys_jobs_ratio": ("jobs/s with keys over without", "-"),
    "plain cpu_us_per_job": ("CPU a job without, us", "-"),
    "keyed cpu_us_per_job": ("CPU a job with keys, us", "-"),
    "strangers_per_s": ("strangers a second", str(STRANGERS)),
    "strangers_p99_ratio": ("p99 beside strangers over p99 beside nobody", "below 1.2"),
    "strangers_own_p99_ratio": ("the same over p99 beside strangers at another router", "-"),
    "strangers_own_p50_ratio": ("the same, p50", "-"),
    "keyed workers_back_s": ("all workers back after the router listens, s", "-"),
    "plain workers_back_s": ("the same without keys", "-"),
    "keyed clients_back_s": ("all clients back after the router listens, s", "-"),
    "plain clients_back_s": ("the same without keys", "-"),
    "keyed workers_lost": ("live workers lost meanwhile", "0"),
    "keyed crowd_silent_s": ("the crowd's own longest silence then, s", "below 1"),
}


def main(rounds: int, seconds: float, crowd: tuple[int, int], results: Path) -> None:
    """Run it, and show what came of it."""
    facts = report.machine()
    with tempfile.TemporaryDirectory(prefix="pipeline-bench-") as folder:
        bench = KeysBench(Path(folder), seconds, crowd)
        bench.run(rounds, lambda line: print(line, flush=True))
    bench.ratios()
    medians, spread = bench.rounds.medians(), bench.rounds.spread()
    print("\n" + ", ".join(f"{name} {value}" for name, value in facts.items()) + "\n")
    rows = [
        [meaning, report.ranged(medians[name], spread[name], ".2f"), target]
        for name, (meaning, target) in TARGETS.items()
    ]
    print(report.table(["", "median (spread)", "to reach"], rows))
    found = {name.replace(" ", "_"): medians[name] for name in TARGETS}
    found_more = {"rounds": bench.rounds.values, "spread": spread, "machine": facts}
    print(f"\n{report.save('router-keys', {**found, **found_more}, results)}")
