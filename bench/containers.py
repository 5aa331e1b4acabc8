"""A job in the sandbox, cold and warm, held against a bare `runc run` of the same bundle.

The sandbox starts jobs by runc, and by its native launcher; beside it, where they are installed,
run `bwrap` and `isolate`, which give some of the guarantees, and `crun`, where cgroups are of
version 2 only. All sides run the same tool over the same image in one process, job by job in turn,
round by round. Waiting counts without the tool's own time, which is measured on the host. CPU is
this process' and its children's, and that of the kernel's threads beside it. Needs root.
"""

import argparse
import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import report
from bare_jobs import KIND, LIMITS, SLUG, Bare, make_image
from cpu import CpuMeter
from rounds import Rounds
from support.processes import machine

from pipeline_containers.sandbox.host.options import NATIVE, RUNC
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun

AT_A_TIME = 2
LOOPS = {1: "_alone", 2: ""}
"""Jobs at a time, and what figures of theirs are called after."""
KERNEL_S = 0.02

PHASES = {
    "prepare_s": "job folder, bundle; warm: limits, slug",
    "fill_s": "the input, and whose it is",
    "create_s": "the container",
    "run_s": "from the start to the tool's end",
    "collect_s": "counters, the result file",
}
TARGETS = {
    "warm_ratio": ("a job waits, warm, over bare runc run", "at most 0.4"),
    "cold_ratio": ("the same, cold", "at most 1.3"),
    "throughput_ratio": ("jobs/s, two at a time, over bare runc run", "at least 0.9"),
    "cpu_ratio": ("CPU a job then, clean-up included, over bare runc run", "-"),
    "native_warm_ratio": ("a job waits, warm, by the native launcher", "at most 0.4"),
    "native_cold_ratio": ("the same, cold", "at most 0.35"),
    "native_throughput_ratio": (
        "jobs/s, two at a time, cold, by the native launcher",
        "at least 4",
    ),
    "native_cpu_ratio": ("CPU a job then, clean-up included", "at most 0.25"),
    "native_cpu_ms": (
        "CPU a job beyond the tool's, ms, one at a time, the kernel's threads included",
        "at most 9",
    ),
    "native_cpu_over_isolate": ("the same, over isolate's", "at most 1"),
    "idle_worker_rss_mb": ("an idle worker's memory, MB", "below 60"),
}
_BUNDLE = "the bundle's alone: no deadline, output not read, no result, no account, folders stay"
GUARANTEES = {
    "bare": _BUNDLE,
    "crun": _BUNDLE,
    "bwrap": "namespaces, read-only root, no cgroup, no masks but its own, no filter",
    "isolate": "namespaces, a root of given folders, deadline, a cgroup with version 2, few calls "
    "refused",
    "cold": "all of the sandbox's, by runc",
    "warm": "all of the sandbox's, by runc",
    "native cold": "all of the sandbox's, by the native launcher",
    "native warm": "all of the sandbox's, by the native launcher",
}


class Bench:
    """The sides, open."""

    def __init__(self, folder: Path) -> None:
        self.rounds = Rounds()
        self._own_cpu = 0.0
        image = make_image(folder / "image")
        self._own = folder / "own"
        self._own.mkdir()
        self._script = image.layers[0] / KIND.folder.strip("/") / "bin/run.sh"
        self.bare = Bare(folder / "bare", image)
        self.sandboxes = {
            f"{prefix}{kind}": Sandbox(
                folder / f"{launcher}-{kind}",
                slots=AT_A_TIME,
                warm=warm,
                launcher=launcher,
            )
            for launcher, prefix in ((RUNC, ""), (NATIVE, "native "))
            for kind, warm in (("cold", 0), ("warm", AT_A_TIME))
        }
        self.others = dict(self.bare.others())
        self._job = ToolRun(image, KIND, SLUG, lambda _: None, LIMITS)
        for name, sandbox in self.sandboxes.items():
            if "warm" in name:
                sandbox.run(self._job)  # so that it expects more of them

    def waiting(self, jobs: int) -> None:
        """Measure each side's time for a job, one job at a time."""
        seconds: dict[str, list[float]] = defaultdict(list)
        phases: dict[str, list[float]] = defaultdict(list)
        for _ in range(jobs):
            seconds["own"].append(timed(self._run_own))
            for name, run in self.others.items():
                bundle = self.bare.bundle()
                self._settle()
                seconds[name].append(timed(partial(run, bundle)))
                self.bare.discard(bundle)
            for name, sandbox in self.sandboxes.items():
                self._settle()
                began = time.monotonic()
                done = sandbox.run(self._job)
                seconds[name].append(time.monotonic() - began)
                assert done.succeeded
                assert done.was_made_ahead == ("warm" in name)
                for phase in PHASES:
                    phases[f"{name} {phase}"].append(done.timing[phase])
        for name, values in seconds.items():
            self.rounds.add(f"{name} ms", 1000 * median(values))
        for name, values in phases.items():
            self.rounds.add(name, 1000 * median(values))
        own = self.rounds.values["own ms"][-1]
        for name in seconds:
            if name != "own":
                self.rounds.add(f"{name} waits", self.rounds.values[f"{name} ms"][-1] - own)

    def throughput(self, jobs: int) -> None:
        """Measure the jobs a second of one loop and of two, and the CPU time of each job."""
        for loops, at in LOOPS.items():
            self._loops("own", jobs, loops, at, self._run_own)
            for name, run in self.others.items():
                bundles = [self.bare.bundle() for _ in range(jobs)]
                self._loops(name, jobs, loops, at, partial(self._run_next, run, iter(bundles)))
                for bundle in bundles:
                    self.bare.discard(bundle)
            for name, sandbox in self.sandboxes.items():
                self._loops(name, jobs, loops, at, partial(sandbox.run, self._job))

    @staticmethod
    def _run_next(run: Callable[[Path], None], bundles: Iterator[Path]) -> None:
        run(next(bundles))

    def close(self) -> None:
        """Leave nothing."""
        for sandbox in self.sandboxes.values():
            sandbox.close()
        self.bare.close()

    def _settle(self) -> None:
        """Let no side pay for what another left to be done: the kernel clears networks late."""
        for sandbox in self.sandboxes.values():
            sandbox.settle()
        time.sleep(KERNEL_S)

    def _run_own(self) -> None:
        place = f"{self._own}/"
        subprocess.run(["/bin/busybox", "sh", self._script, SLUG, place, place], check=True)

    def _loops(self, name: str, jobs: int, loops: int, at: str, job: Callable[[], object]) -> None:
        self._settle()
        meter, began = CpuMeter(), time.monotonic()
        with ThreadPoolExecutor(loops) as threads:
            for done in [threads.submit(job) for _ in range(jobs)]:
                done.result()
        elapsed = time.monotonic() - began
        for sandbox in self.sandboxes.values():
            sandbox.settle()  # what is cleared away later is part of a job's CPU time
        processes, kernel = (1000 * seconds / jobs for seconds in meter.stop())
        self.rounds.add(f"{name} jobs_per_s{at}", jobs / elapsed)
        self.rounds.add(f"{name} cpu_ms_per_job{at}", processes)
        self.rounds.add(f"{name} kernel_ms_per_job{at}", kernel)
        if name == "own":
            self._own_cpu = processes + kernel
        self.rounds.add(f"{name} all_cpu_ms{at}", processes + kernel - self._own_cpu)


def timed(job: Callable[[], object]) -> float:
    began = time.monotonic()
    job()
    return time.monotonic() - began


def idle_worker_rss_mb(folder: Path) -> float:
    """Start a router and a worker that has nothing to do; the memory that it has in use."""
    seed = folder / "seed.yml"
    seed.write_text("registry: {kind: folder, location: ./registry}\n")
    with machine(folder) as own:
        own.router(seed)
        worker = own.worker("worker-1", "test_runners", "--slots", str(AT_A_TIME))
        time.sleep(2)
        pages = int(Path(f"/proc/{worker.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Run it."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--jobs", type=int, default=12, help="of each side in each round")
    options.add_argument("--results", type=Path, default=report.RESULTS, help="folder")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is mounted does not stay
    runc = subprocess.run(["runc", "--version"], capture_output=True, text=True, check=True).stdout
    machine = report.machine() | {"runc": runc.split()[2]}
    with TemporaryDirectory(prefix="pipeline-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # containers have no rights on the host
        bench = Bench(folder)
        try:
            for number in range(given.rounds):
                print(f"round {number + 1} of {given.rounds}", flush=True)
                bench.waiting(given.jobs)
                bench.throughput(4 * given.jobs)
        finally:
            bench.close()
        bench.rounds.add("idle_worker_rss_mb", idle_worker_rss_mb(folder))
    rounds = bench.rounds
    for prefix in ("", "native "):
        key = prefix.replace(" ", "_")
        rounds.ratio(f"{prefix}warm waits", "bare waits", f"{key}warm_ratio")
        rounds.ratio(f"{prefix}cold waits", "bare waits", f"{key}cold_ratio")
        one = f"{prefix}{'cold' if prefix else 'warm'}"
        rounds.ratio(f"{one} jobs_per_s", "bare jobs_per_s", f"{key}throughput_ratio")
        rounds.ratio(f"{one} cpu_ms_per_job", "bare cpu_ms_per_job", f"{key}cpu_ratio")
    rounds.values["native_cpu_ms"] = rounds.values["native cold all_cpu_ms_alone"]
    if "isolate" in bench.others:
        over = ("native cold all_cpu_ms_alone", "isolate all_cpu_ms_alone")
        rounds.ratio(*over, "native_cpu_over_isolate")
    medians, spread = rounds.medians(), rounds.spread()

    def cell(name: str) -> str:
        low, high = spread[name]
        return f"{medians[name]:.2f} ({low:.2f} to {high:.2f})"

    print("\n" + ", ".join(f"{name} {value}" for name, value in machine.items()))
    own = f"{medians['own ms']:.2f} ms by itself"
    print(
        f"medians of {given.rounds} rounds of {given.jobs} jobs; the tool: a shell script, {own}\n"
    )
    sides = [*bench.others, *bench.sandboxes]
    rows = [[side, cell(f"{side} ms"), GUARANTEES[side]] for side in sides]
    print(report.table(["a job", "ms", "guarantees"], rows) + "\n")
    kinds = list(bench.sandboxes)
    rows = [
        [phase.removesuffix("_s"), *(cell(f"{kind} {phase}") for kind in kinds), text]
        for phase, text in PHASES.items()
    ]
    print(report.table(["where it waits, ms", *kinds, ""], rows) + "\n")
    for loops, at in LOOPS.items():
        columns = ("jobs_per_s", "cpu_ms_per_job", "kernel_ms_per_job", "all_cpu_ms")
        rows = [
            [side, *(cell(f"{side} {column}{at}") for column in columns)]
            for side in ("own", *sides)
        ]
        heads = ("jobs/s", "CPU ms/job", "the kernel's threads", "both, without the tool's")
        print(report.table([f"{loops} at a time", *heads], rows) + "\n")
    targets = {name: row for name, row in TARGETS.items() if name in medians}
    rows = [[meaning, cell(name), target] for name, (meaning, target) in targets.items()]
    print(report.table(["", "median (spread)", "to reach"], rows))
    keys = {name: medians[name] for name in targets}
    results = {**keys, "rounds": rounds.values, "spread": spread, "machine": machine}
    print(f"\n{report.save('containers', results, given.results)}")


if __name__ == "__main__":
    main()
