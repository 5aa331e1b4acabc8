"""The router under load, held against bare forwarders in Python and a C broker.

Every side gets the same 200-byte requests from the same load, in turn, round by round. What each
figure means and what it is to reach: README.md beside this.
"""

import argparse
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import keyed
import plot
import report
import sides
from loads import Load
from msgspec.structs import replace
from rounds import Rounds
from scraping import scraped
from sides import Side

MANY_WORKERS = 1000
"""Workers."""
WAITING = 10_000
IN_FLIGHT = 200
SCRAPED_S = 2.5
"""At least, of a load that is scraped every second."""
QUEUE = 100
"""Under overload: the default."""
OVERLOAD = 10
OVERLOAD_SLOTS, SERVICE_MS = 5, 10.0
"""Of its two workers: about 1,000 jobs a second."""


class Bench:
    """Sides that are measured in turn."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.rounds = Rounds()
        self._folder = folder
        self._seconds = seconds
        self._warm_s = min(0.3, seconds / 2)

    def throughput(self, side: Side) -> None:
        """Two workers, 200 jobs in flight."""
        measured = Load(self._seconds, self._warm_s).on(side)
        self.rounds.add(f"{side.name} jobs_per_s", measured.jobs_per_s)
        self.rounds.add(f"{side.name} cpu_us_per_job", measured.cpu_us_per_job)
        self.rounds.add(f"{side.name} rss_mb", measured.rss_mb)

    def monitored(self, bare: Side, side: Side) -> None:
        """The same beside a router whose monitor is scraped every second, in turn."""
        load = Load(max(self._seconds, SCRAPED_S), self._warm_s)
        sides_in_turn = [bare, side] if len(self.rounds.values["scrape_ms"]) % 2 else [side, bare]
        with scraped(side):
            measured = {one.name: load.on(one) for one in sides_in_turn}
        without, beside = measured[bare.name], measured[side.name]
        self.rounds.add("monitor_cpu_ratio", beside.cpu_us_per_job / without.cpu_us_per_job)
        self.rounds.add("monitor_p99_ratio", beside.served.p99_ms / without.served.p99_ms)
        with scraped(side) as scrapes:
            Load(load.seconds, self._warm_s, workers=MANY_WORKERS, slots=1, rate=500).on(side)
        self.rounds.add("scrape_ms", max(scrape.ms for scrape in scrapes))
        self.rounds.add("monitor_rss_mb", max(scrape.rss_mb for scrape in scrapes))

    def round_trip(self, side: Side) -> None:
        """One job at a time."""
        measured = Load(self._seconds, self._warm_s, in_flight=1).on(side)
        self.rounds.add(f"{side.name} rtt_ms", measured.served.p50_ms)

    def many_workers(self) -> None:
        """Two workers as ever, then beside 998 that are busy and with 10,000 jobs waiting.

        One after the other, so that the store of replies is about as full for both.
        """
        with sides.router(self._folder, "crowded", queue=2 * WAITING) as side:
            idle = Load(self._seconds, self._warm_s, workers=MANY_WORKERS, slots=1, rate=500).on(
                side
            )
            self.rounds.add("rss_mb_1000_workers", idle.rss_mb)
            Load(self._seconds, self._warm_s).on(side)  # fills the store of replies
            full = Load(self._seconds, self._warm_s, workers=MANY_WORKERS, slots=1, rate=500).on(
                side
            )
            self.rounds.add("rss_mb_replies_stored", full.rss_mb)
            all_at_work = Load(
                self._seconds,
                0.5 + self._warm_s,
                workers=MANY_WORKERS,
                slots=1,
                in_flight=MANY_WORKERS + WAITING,
            ).on(side)
            few = Load(self._seconds, self._warm_s).on(side)
            many = Load(
                self._seconds,
                0.5 + self._warm_s,
                workers=MANY_WORKERS,
                active=2,
                in_flight=IN_FLIGHT + MANY_WORKERS - 2 + WAITING,
            ).on(side)
        growth = many.cpu_us_per_job / few.cpu_us_per_job
        self.rounds.add("cpu_growth", growth)
        self.rounds.add("cpu_growth_all_at_work", all_at_work.cpu_us_per_job / few.cpu_us_per_job)

    def overload(self, side: Side) -> None:
        """Ten times the requests that the workers can serve."""
        load = Load(
            self._seconds, self._warm_s, in_flight=20, slots=OVERLOAD_SLOTS, service_ms=SERVICE_MS
        )
        fitting = load.on(side)
        over = replace(load, rate=OVERLOAD * fitting.jobs_per_s).on(side)
        self.rounds.add("reject_ms_p50", over.refused.p50_ms)
        self.rounds.add("reject_ms_p99", over.refused.p99_ms)
        self.rounds.add("goodput", over.jobs_per_s / fitting.jobs_per_s)
        asked = (over.served.count + over.refused.count) / over.seconds
        self.rounds.add("overload", asked / fitting.jobs_per_s)

    def run(self, rounds: int, say: Callable[[str], None]) -> dict[str, str]:
        """Measure everything, that many times; return what each side guarantees."""
        with ExitStack() as stack:
            router = stack.enter_context(sides.router(self._folder))
            watched = stack.enter_context(sides.router(self._folder, "watched", monitored=True))
            crowded = stack.enter_context(sides.router(self._folder, "overloaded", queue=QUEUE))
            guarantees = {router.name: router.guarantees}
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}")
                self.throughput(router)
                self.monitored(router, watched)
                for start in (sides.forwarder, sides.proxy, sides.broker):
                    with start(self._folder) as bare:
                        self.throughput(bare)
                        guarantees[bare.name] = bare.guarantees
                self.round_trip(router)
                with sides.forwarder(self._folder) as bare:
                    self.round_trip(bare)
                self.overload(crowded)
                self.many_workers()
        return guarantees

    def ratios(self) -> None:
        """Hold the router against the forwarders, round by round."""
        rounds = self.rounds
        rounds.ratio("router jobs_per_s", "forwarder jobs_per_s", "jobs_ratio")
        rounds.ratio("router cpu_us_per_job", "forwarder cpu_us_per_job", "cpu_ratio")
        rounds.ratio("router jobs_per_s", "proxy jobs_per_s", "proxy_jobs_ratio")
        rounds.ratio("router cpu_us_per_job", "proxy cpu_us_per_job", "proxy_cpu_ratio")
        rounds.ratio("router rtt_ms", "forwarder rtt_ms", "rtt_ratio")


TARGETS = {
    "jobs_ratio": ("jobs/s over the forwarder's", "at least 2.5"),
    "cpu_ratio": ("CPU a job over the forwarder's", "at most 0.4"),
    "proxy_jobs_ratio": ("jobs/s over the proxy's", "-"),
    "proxy_cpu_ratio": ("CPU a job over the proxy's", "-"),
    "rtt_ratio": ("idle round trip over the forwarder's", "at most 1.3"),
    "cpu_growth": ("CPU a job, 998 busy workers and 10,000 waiting over none", "at most 1.2"),
    "cpu_growth_all_at_work": ("the same, 1,000 workers all at work", "-"),
    "reject_ms_p50": ("503 under ten-fold overload, ms, median", "below 5"),
    "reject_ms_p99": ("the same, 99 of 100", "-"),
    "goodput": ("jobs/s then, over what the workers can", "at least 0.9"),
    "rss_mb_1000_workers": ("router's memory with 1,000 workers, MB", "below 100"),
    "rss_mb_replies_stored": ("the same when the store of replies is full", "below 100"),
    "monitor_cpu_ratio": ("CPU a job with the monitor scraped every second", "at most 1.03"),
    "monitor_p99_ratio": ("p99 then, over that without", "at most 1.1"),
    "scrape_ms": ("the slowest scrape, 1,000 workers, ms", "below 100"),
    "monitor_rss_mb": ("memory of the monitor's process then, MB", "below 60"),
    "router rss_mb": ("router's memory after the most jobs, MB", "-"),
}


def main() -> None:
    """Run it."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    options.add_argument("--results", type=Path, default=report.RESULTS, help="folder")
    options.add_argument("--keys", action="store_true", help="what keys cost, and nothing else")
    options.add_argument(
        "--crowd", type=int, nargs=2, default=keyed.CROWD, help="workers and clients, with --keys"
    )
    given = options.parse_args()
    if given.keys:
        workers, clients = given.crowd
        keyed.main(given.rounds, given.seconds, (workers, clients), given.results)
        return
    machine = report.machine()
    with tempfile.TemporaryDirectory(prefix="pipeline-bench-") as folder:
        bench = Bench(Path(folder), given.seconds)
        guarantees = bench.run(given.rounds, lambda line: print(line, flush=True))
    bench.ratios()
    medians, spread = bench.rounds.medians(), bench.rounds.spread()

    print("\n" + ", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"medians of {given.rounds} rounds; 200-byte jobs, 200 in flight, two workers in C\n")
    rows = [
        [
            name,
            _range(medians, spread, f"{name} jobs_per_s", ",.0f"),
            _range(medians, spread, f"{name} cpu_us_per_job", ".1f"),
            guarantee,
        ]
        for name, guarantee in guarantees.items()
    ]
    print(report.table(["", "jobs/s", "CPU us/job", "guarantees"], rows) + "\n")
    rows = [
        [meaning, _range(medians, spread, name, ".2f"), target]
        for name, (meaning, target) in TARGETS.items()
    ]
    print(report.table(["", "median (spread)", "to reach"], rows))

    keys = {
        "jobs_per_s": medians["router jobs_per_s"],
        "cpu_us_per_job": medians["router cpu_us_per_job"],
        "forwarder_jobs_per_s": medians["forwarder jobs_per_s"],
        "forwarder_cpu_us_per_job": medians["forwarder cpu_us_per_job"],
        "proxy_jobs_per_s": medians["proxy jobs_per_s"],
        "proxy_cpu_us_per_job": medians["proxy cpu_us_per_job"],
        "broker_jobs_per_s": medians["C broker jobs_per_s"],
        "broker_cpu_us_per_job": medians["C broker cpu_us_per_job"],
    }
    keys |= {name: medians[name] for name in (*TARGETS, "overload") if " " not in name}
    results = {**keys, "rounds": bench.rounds.values, "spread": spread, "machine": machine}
    print(f"\n{report.save('router', results, given.results)}")
    drawn = given.results / "router.png"
    if plot.dots(drawn, _panels(bench.rounds, guarantees), ", ".join(machine.values())):
        print(drawn)


def _range(medians: dict[str, float], spread: dict[str, list[float]], name: str, form: str) -> str:
    return report.ranged(medians[name], spread[name], form)


def _panels(rounds: Rounds, names: dict[str, str]) -> dict[str, dict[str, list[float]]]:
    values = rounds.values
    ratios = ("jobs_ratio", "cpu_ratio", "rtt_ratio", "cpu_growth")
    return {
        "jobs/s": {name: values[f"{name} jobs_per_s"] for name in names},
        "CPU, us a job": {name: values[f"{name} cpu_us_per_job"] for name in names},
        "ratios": {name.replace("_", "\n"): values[name] for name in ratios},
    }


if __name__ == "__main__":
    main()
