"""A version on its way to a worker, held against `skopeo copy` and `umoci unpack`.

Both sides take the same image from the same registry of this machine, each into an empty folder,
in turn, round by round. Then a router and a worker: how soon a deployed version can be used, and
what its preparation costs the jobs that run meanwhile. Needs root.
"""

import argparse
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import report
from plain_registry import PlainRegistry
from rounds import Rounds
from stores import Other, Own
from support.bare import say
from support.processes import Machine, machine
from versions import MIB, TOOL_BYTES, Versions

TARGETS = {
    "second_time_ratio": (
        "a second version on the same base, time over the first's",
        "at most 0.2",
    ),
    "second_disk_ratio": ("the same, disk", "at most 0.2"),
    "first_time_ratio": ("a first version, time over skopeo + umoci", "at most 1.0"),
    "usable_after_s": ("from a deploy to the first result, its base there, s", "at most 5"),
    "latency_ratio": (
        "a job's latency while a first version is prepared, over idle",
        "at most 1.3",
    ),
}
GUARANTEES = {
    "pipeline": "by digest, layers kept once, mounted read-only, whole or not there",
    "skopeo + umoci": "by digest, a folder of its own for each version",
}


def prepare_two(side: Callable[[Path, str], Own | Other], name: str, bench: "Bench") -> None:
    """Prepare a first version and a second one that shares its base, in an empty folder.

    The folder stays until the end: file systems differ in how dear a new file is where others have
    just been removed.
    """
    folder = Path(mkdtemp(dir=bench.folder))
    folder.chmod(0o755)
    opened = side(folder, bench.host)
    try:
        before = 0
        for which, version in zip(("first", "second"), bench.two, strict=True):
            os.sync()  # what others wrote is not to be waited for here
            began = time.monotonic()
            opened.prepare(version)
            bench.rounds.add(f"{name} {which} s", time.monotonic() - began)
            bench.rounds.add(f"{name} {which} MB", (opened.disk() - before) / 1e6)
            before = opened.disk()
    finally:
        opened.close()


class Bench:
    """What is measured, and with what."""

    def __init__(self, folder: Path, host: str, base_bytes: int, layers: int) -> None:
        self.folder = folder
        self.host = host
        self.rounds = Rounds()
        self._versions = Versions(folder, f"http://{host}", base_bytes, layers)
        self.two = (self._versions.publish(), self._versions.publish())

    def stores(self) -> None:
        """Hold the store against skopeo and umoci."""
        prepare_two(Own, "own", self)
        prepare_two(Other, "other", self)

    def system(self, rounds: int, jobs: int) -> None:
        """Deploy to a worker that works."""
        seed = self.folder / "seed.yml"
        seed.write_text(f'registry: {{kind: docker, location: "http://{self.host}"}}\n')
        with machine(self.folder) as own:
            own.router(seed)
            own.worker("worker-1", "test_runners", "--slots", "2")
            track = Track(own)
            track.deploy(self.two[0])
            track.use(self.two[0])
            for number in range(rounds):
                print(f"deployment {number + 1} of {rounds}", flush=True)
                on_base = self._versions.publish()
                began = time.monotonic()
                track.deploy(on_base)
                track.use(on_base)
                self.rounds.add("usable_after_s", time.monotonic() - began)
                self._latency(track, jobs)

    def _latency(self, track: "Track", jobs: int) -> None:
        """Compare jobs while nothing is prepared with those while a first version is."""
        self._versions.change_base()
        new = self._versions.publish()
        track.use(self.two[0])
        os.sync()  # what was published is not to be waited for here
        idle = [track.job(self.two[0]) for _ in range(jobs)]
        track.deploy(new)
        busy = []
        while not track.is_ready(new):
            busy.append(track.job(self.two[0]))
        self.rounds.add("idle ms", 1000 * median(idle))
        self.rounds.add("meanwhile ms", 1000 * median(busy))
        self.rounds.add("jobs meanwhile", len(busy))


class Track:
    """One track's test runner, asked over a bare socket."""

    def __init__(self, own: Machine) -> None:
        self._address = own.address
        self._asked = 0

    def deploy(self, version: str) -> None:
        """Want one more version."""
        self._must("deploy_container_version", new_version=version)

    def is_ready(self, version: str) -> bool:
        """Whether the worker has it."""
        response = self._must("deployment_check")
        states = {v["version"]: v["workers"][0] for v in response["versions"]}
        assert states[version]["state"] != "failed", states[version]
        return bool(states[version]["state"] == "ready")

    def use(self, version: str) -> None:
        """Ask until there is a result."""
        while self._ask(version)["status"]["code"] != 200:
            time.sleep(0.01)

    def job(self, version: str) -> float:
        """Run a job; the seconds until its answer."""
        began = time.monotonic()
        answer = self._ask(version)
        elapsed = time.monotonic() - began
        assert answer["status"]["code"] == 200, answer
        return elapsed

    def _ask(self, version: str) -> dict[str, Any]:
        self._asked += 1
        request = {"action": "test_solution", "id": str(self._asked), "track_slug": "bash"}
        solution = {"exercise_slug": "two-fer", "files": {"two_fer.sh": "echo"}}
        return say(self._address, {**request, **solution, "container_version": version})

    def _must(self, action: str, **fields: str) -> dict[str, Any]:
        request = {"action": action, "track_slug": "bash", "channel": "test_runners", **fields}
        answer = say(self._address, request)
        assert answer["status"]["code"] == 200, answer
        response = answer["response"]
        assert isinstance(response, dict)
        return response


def tools() -> dict[str, str]:
    """Return the versions of what both sides stand on."""
    said = {name: subprocess.check_output([name, "--version"], text=True) for name in COMMANDS}
    return {name: text.split()[2].strip(",") for name, text in said.items()}


COMMANDS = ("skopeo", "umoci")


def main() -> None:
    """Run it."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--jobs", type=int, default=20, help="while nothing is prepared")
    options.add_argument("--base", type=int, default=95, help="how large it is, MiB")
    options.add_argument("--layers", type=int, default=4, help="of the base")
    options.add_argument("--results", type=Path, default=report.RESULTS, help="folder")
    given = options.parse_args()
    machine = report.machine() | tools()
    with TemporaryDirectory(prefix="pipeline-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)  # containers have no rights on the host
        registry = PlainRegistry(folder)
        try:
            bench = Bench(folder, registry.host, given.base * MIB, given.layers)
            for number in range(given.rounds):
                print(f"round {number + 1} of {given.rounds}", flush=True)
                bench.stores()
            bench.system(given.rounds, given.jobs)
        finally:
            registry.stop()
    show(bench.rounds, given, machine)


def show(rounds: Rounds, given: argparse.Namespace, machine: dict[str, str]) -> None:
    """Print the tables, and write the JSON."""
    rounds.ratio("own second s", "own first s", "second_time_ratio")
    rounds.ratio("own second MB", "own first MB", "second_disk_ratio")
    rounds.ratio("own first s", "other first s", "first_time_ratio")
    rounds.ratio("meanwhile ms", "idle ms", "latency_ratio")
    medians, spread = rounds.medians(), rounds.spread()

    def cell(name: str) -> str:
        low, high = spread[name]
        return f"{medians[name]:.2f} ({low:.2f} to {high:.2f})"

    print("\n" + ", ".join(f"{name} {value}" for name, value in machine.items()))
    base = f"a base of {given.base} MiB in {given.layers} layers"
    sizes = f"{base}, a tool of {TOOL_BYTES // MIB} MiB on it"
    print(f"medians of {given.rounds} rounds; {sizes}\n")
    columns = ("first s", "second s", "first MB", "second MB")
    rows = [
        [name, *(cell(f"{side} {column}") for column in columns), GUARANTEES[name]]
        for side, name in (("own", "pipeline"), ("other", "skopeo + umoci"))
    ]
    print(report.table(["a version", *columns, "guarantees"], rows) + "\n")
    rows = [[cell("idle ms"), cell("meanwhile ms"), cell("jobs meanwhile"), ""]]
    print(report.table(["idle, ms a job", "meanwhile", "jobs meanwhile", ""], rows) + "\n")
    rows = [[meaning, cell(name), target] for name, (meaning, target) in TARGETS.items()]
    print(report.table(["", "median (spread)", "to reach"], rows))
    keys = {name: medians[name] for name in TARGETS}
    results = {**keys, "rounds": rounds.values, "spread": spread, "machine": machine}
    print(f"\n{report.save('deploy', results, given.results)}")


if __name__ == "__main__":
    main()
