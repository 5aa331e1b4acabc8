"""The same work through pipeline, Celery, dask, NATS and beanstalkd, side by side.

Jobs of 200 bytes, 200 in flight, two workers that answer at once, results back to the caller.
How far the figures can be compared: README.md beside this.
"""

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import report
from others.outcome import Measure
from rounds import Rounds

PEERS = {
    "pipeline": "pipeline_jobs",
    "pipeline_c_load": "pipeline_load",
    "nats": "nats_request",
    "beanstalkd": "beanstalk_tubes",
    "dask": "dask_distributed",
    "celery_redis": "celery_redis",
}
VERSIONS = ("nats-py", "greenstalk", "distributed", "celery")


def module_of(peer: str) -> ModuleType:
    """Import what runs a peer."""
    return import_module(f"others.{PEERS[peer]}")


def measure(peers: list[str], rounds: int, seconds: float, folder: Path) -> Rounds:
    """Start all of them, and ask each in turn."""
    found = Rounds()
    with ExitStack() as stack:
        asks: dict[str, Measure] = {}
        for peer in peers:
            asks[peer] = stack.enter_context(module_of(peer).running(folder))
            asks[peer](seconds)
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", flush=True)
            for peer, ask in asks.items():
                outcome = ask(seconds)
                found.add(f"{peer} jobs_per_s", outcome.jobs_per_s)
                found.add(f"{peer} p50_ms", outcome.p50_ms)
                found.add(f"{peer} p99_ms", outcome.p99_ms)
    return found


def main() -> None:
    """Run it."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("peers", nargs="*", help=f"of {', '.join(PEERS)}; none: all")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    options.add_argument("--results", type=Path, default=report.RESULTS, help="folder")
    given = options.parse_args()
    peers = given.peers or list(PEERS)
    if unknown := set(peers) - PEERS.keys():
        options.error(f"unknown: {', '.join(sorted(unknown))}")
    machine = report.machine() | {name: version(name) for name in VERSIONS}
    with tempfile.TemporaryDirectory(prefix="pipeline-bench-") as folder:
        rounds = measure(peers, given.rounds, given.seconds, Path(folder))
    for peer in peers[1:]:
        rounds.ratio(f"{peers[0]} jobs_per_s", f"{peer} jobs_per_s", f"over {peer}")
    medians, spread = rounds.medians(), rounds.spread()

    print("\n" + ", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"medians of {given.rounds} rounds; 200-byte jobs, 200 in flight, two workers\n")
    results: dict[str, object] = {}
    rows = []
    for peer in peers:
        module = module_of(peer)
        figures = {key: medians[f"{peer} {key}"] for key in ("jobs_per_s", "p50_ms", "p99_ms")}
        results[peer] = {**figures, "guarantees": module.GUARANTEES, "how": module.HOW}
        low, high = spread[f"{peer} jobs_per_s"]
        over = f"{medians[f'over {peer}']:.1f}" if peer != peers[0] else ""
        rows.append(
            [
                peer,
                f"{figures['jobs_per_s']:,.0f} ({low:,.0f} to {high:,.0f})",
                f"{figures['p50_ms']:.1f}",
                f"{figures['p99_ms']:.1f}",
                over,
                module.HOW,
            ]
        )
    heads = ["", "jobs/s", "p50 ms", "p99 ms", f"{peers[0]} is times", "how it was asked"]
    print(report.table(heads, rows) + "\n")
    print(report.table(["", "guarantees"], [[peer, module_of(peer).GUARANTEES] for peer in peers]))
    results |= {"rounds": rounds.values, "spread": spread, "machine": machine}
    print(f"\n{report.save('peers', results, given.results)}")


if __name__ == "__main__":
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    if sys.argv[1:2] == ["--work"]:
        import_module(f"others.{sys.argv[2]}").work(*sys.argv[3:])
    else:
        main()
