"""A job in the sandbox, cold and warm, held against a bare `runc run` of the same bundle.

The sandbox starts jobs by runc, and by its native launcher; beside it, where they are installed,
run `bwrap`, which gives some of the guarantees, and `crun`, where cgroups are of version 2 only.
All sides run the same tool over the same image in one process, job by job in turn, round by round.
Waiting counts without the tool's own time, which is measured on the host. CPU is this process' and
its children's: the kernel's threads, which clear networks and cgroups away, are counted for nobody.
Needs root.
"""

import argparse
import itertools
import json
import os
import resource
import shutil
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
from rounds import Rounds
from support.processes import machine

from pipeline_containers.images.image import ImageConfig, StoredImage
from pipeline_containers.sandbox.container import mounts
from pipeline_containers.sandbox.container.bundle import Bundle, runtime_config
from pipeline_containers.sandbox.container.identities import open_user_namespace
from pipeline_containers.sandbox.container.layers import mount_root
from pipeline_containers.sandbox.container.roots import Roots
from pipeline_containers.sandbox.container.seccomp import load_filter
from pipeline_containers.sandbox.container.users import User
from pipeline_containers.sandbox.host import cgroups
from pipeline_containers.sandbox.host.enforcement import host_ceilings
from pipeline_containers.sandbox.host.hierarchies import find_cgroup_mounts, find_hierarchies
from pipeline_containers.sandbox.host.id_ranges import FIRST_HOST_ID
from pipeline_containers.sandbox.host.ids import host_range
from pipeline_containers.sandbox.host.options import NATIVE, RUNC
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import JOB_FOLDER, TOOLS, tool_command, tool_program
from pipeline_containers.system.mountinfo import unmount

AT_A_TIME = 2
KERNEL_S = 0.02
KIND = TOOLS["test_runner"]
SLUG = "two-fer"
SCRIPT = """\
#!/bin/sh
printf '{"version": 1, "status": "pass"}' > "$3results.json"
"""
LIMITS = Limits()

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
    "idle_worker_rss_mb": ("an idle worker's memory, MB", "below 60"),
}
_BUNDLE = "the bundle's alone: no deadline, output not read, no result, no account, folders stay"
GUARANTEES = {
    "bare": _BUNDLE,
    "crun": _BUNDLE,
    "bwrap": "namespaces, read-only root, no cgroup, no masks but its own, no filter",
    "cold": "all of the sandbox's, by runc",
    "warm": "all of the sandbox's, by runc",
    "native cold": "all of the sandbox's, by the native launcher",
    "native warm": "all of the sandbox's, by the native launcher",
}


def make_image(folder: Path) -> StoredImage:
    """Make an image of busybox with a tool that does next to nothing."""
    script = folder / KIND.folder.strip("/") / "bin/run.sh"
    script.parent.mkdir(parents=True)
    script.write_text(SCRIPT)
    script.chmod(0o755)
    (folder / "bin").mkdir()
    shutil.copy("/bin/busybox", folder / "bin/sh")
    folder.chmod(0o755)
    return StoredImage(digest="bench", layers=(folder,))


class Bare:
    """What `runc run` takes for the bundle that the sandbox makes; nothing else."""

    def __init__(self, folder: Path, image: StoredImage) -> None:
        self._folder = folder
        self._names = (f"bare-{number}" for number in itertools.count())
        self._bundles: list[Path] = []
        self._parent = f"/pipeline-bench-{os.getpid()}"
        namespace = open_user_namespace()
        self._roots = Roots(folder, host_range(FIRST_HOST_ID), namespace)
        root = self._roots.mount(image)
        self._root = folder / "mapped"
        self._root.mkdir()
        mount_root(root.layers, self._root, namespace)
        os.close(namespace)

    def bundle(self) -> Path:
        """Make a bundle, with an empty job folder; not part of what is measured."""
        place = self._folder / next(self._names)
        job = place / "job"
        job.mkdir(parents=True)
        first = FIRST_HOST_ID
        mounts.mount_job_folder(job, LIMITS, first, first)
        self._bundles.append(place)
        (place / "tmp").mkdir()
        tmp = mounts.mount_tmp(place / "tmp", LIMITS, first, (first, first), has_home=False)
        bundle = Bundle(
            root=self._root,
            job_folder=job,
            tmp=tmp,
            command=tool_command(tool_program(KIND, ImageConfig()), SLUG),
            cwd=KIND.folder,
            env=(),
            user=User(),
            cgroup=f"{self._parent}/{place.name}",
            ids=host_range(first),
            seccomp=load_filter(),
            swap_is_counted=cgroups.swap_is_counted(find_hierarchies(), "/"),
            ceilings=host_ceilings(),
        )
        (place / "config.json").write_text(json.dumps(runtime_config(bundle, LIMITS)))
        return place

    def run(self, bundle: Path, runtime: str = "runc") -> None:
        """Run it."""
        state = str(self._folder / f"state-{runtime}")
        self._run([runtime, "--root", state, "run", "--bundle", str(bundle), bundle.name])

    def run_bwrap(self, bundle: Path) -> None:
        """Run the tool in what `bwrap` makes of it, in a folder of this user's own."""
        job = bundle / "plain"
        job.mkdir()
        places = ("--ro-bind", str(self._root), "/", "--bind", str(job), JOB_FOLDER)
        own = ("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp")
        limits = ("--unshare-all", "--die-with-parent", "--new-session", "--chdir", KIND.folder)
        tool = tool_command(tool_program(KIND, ImageConfig()), SLUG)
        self._run(["bwrap", *limits, *places, *own, *tool])

    @staticmethod
    def _run(command: list[str]) -> None:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)

    def close(self) -> None:
        """Unmount everything."""
        for bundle in self._bundles:
            for name in ("job", "tmp"):
                if (bundle / name).is_mount():
                    unmount(bundle / name)
        unmount(self._root)
        self._roots.close()
        cgroups.remove_tree(find_hierarchies(), self._parent)


class Bench:
    """The sides, open."""

    def __init__(self, folder: Path) -> None:
        self.rounds = Rounds()
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
        self.others = dict(self._others())
        self._job = ToolRun(image, KIND, SLUG, lambda _: None, LIMITS)
        for name, sandbox in self.sandboxes.items():
            if "warm" in name:
                sandbox.run(self._job)  # so that it expects more of them

    def _others(self) -> Iterator[tuple[str, Callable[[Path], None]]]:
        """List what runs a bundle without the sandbox."""
        yield "bare", self.bare.run
        has_version_1 = "memory" in find_cgroup_mounts()
        if shutil.which("crun") and not has_version_1:
            yield "crun", partial(self.bare.run, runtime="crun")
        if shutil.which("bwrap"):
            yield "bwrap", self.bare.run_bwrap

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
        """Measure the jobs a second of two loops, and the CPU time of each job."""
        self._together("own", jobs, self._run_own)
        for name, run in self.others.items():
            bundles = iter([self.bare.bundle() for _ in range(jobs)])
            self._together(name, jobs, partial(self._run_next, run, bundles))
        for name, sandbox in self.sandboxes.items():
            self._together(name, jobs, partial(sandbox.run, self._job))

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

    def _together(self, name: str, jobs: int, job: Callable[[], object]) -> None:
        self._settle()
        before, began = cpu_s(), time.monotonic()
        with ThreadPoolExecutor(AT_A_TIME) as threads:
            for done in [threads.submit(job) for _ in range(jobs)]:
                done.result()
        elapsed = time.monotonic() - began
        for sandbox in self.sandboxes.values():
            sandbox.settle()  # what is cleared away later is part of a job's CPU time
        self.rounds.add(f"{name} jobs_per_s", jobs / elapsed)
        self.rounds.add(f"{name} cpu_ms_per_job", 1000 * (cpu_s() - before) / jobs)


def timed(job: Callable[[], object]) -> float:
    began = time.monotonic()
    job()
    return time.monotonic() - began


def cpu_s() -> float:
    """Sum up the CPU time of this process and of all its children that have ended."""
    usages = (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN),
    )
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


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
    rows = [
        [side, cell(f"{side} jobs_per_s"), cell(f"{side} cpu_ms_per_job")]
        for side in ("own", *sides)
    ]
    print(report.table(["two at a time", "jobs/s", "CPU ms/job"], rows) + "\n")
    rows = [[meaning, cell(name), target] for name, (meaning, target) in TARGETS.items()]
    print(report.table(["", "median (spread)", "to reach"], rows))
    keys = {name: medians[name] for name in TARGETS}
    results = {**keys, "rounds": rounds.values, "spread": spread, "machine": machine}
    print(f"\n{report.save('containers', results, given.results)}")


if __name__ == "__main__":
    main()
