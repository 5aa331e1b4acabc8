"""What a worker of each flavour needs on its host, opened and proved."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct

from pipeline_containers.building.build import Workshop
from pipeline_containers.building.builder import BuildOptions
from pipeline_containers.building.builders import find_builder, open_builders
from pipeline_containers.building.cell.cell import BuildHost
from pipeline_containers.building.source.git import GitSources
from pipeline_containers.errors import SandboxError, ToolMissing
from pipeline_containers.images.pull_limits import PullLimits
from pipeline_containers.sandbox.host.options import HostOptions
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_containers.store.store import Store
from pipeline_protocol.channels import CHANNELS
from pipeline_worker.build_jobs import BuildJobs
from pipeline_worker.executor import Jobs
from pipeline_worker.host.cache import CacheKeeper
from pipeline_worker.host.health_checker import HealthChecker
from pipeline_worker.host.workfolder import WorkFolder
from pipeline_worker.inputs.fetch import Inputs
from pipeline_worker.run_counters import RunCounters
from pipeline_worker.tool_jobs import ToolJobs
from pipeline_worker.versions.check import ImageCheck
from pipeline_worker.versions.manager import NoVersions, Preparer, VersionManager
from pipeline_worker.versions.memory_file import MemoryFile
from pipeline_worker.versions.retention import Memory

_log = logging.getLogger(__name__)

PULLS = PullLimits(tries=3)
"""An operator hears of what fails soon: a worker tries its versions again by itself."""


class Means(Struct, frozen=True):
    """What the command line gives a worker beyond its working folder."""

    host: HostOptions
    file_inputs: Path | None = None
    """The folder beneath which file:// inputs are read."""
    base_images: Path | None = None
    """An image store that builders may take base images from, without a registry."""
    git_credentials: Path | None = None
    """What builders get at private repositories by."""
    builder: str = "auto"
    """The program that builders build with, as the table of builders calls it."""
    builds: BuildOptions = BuildOptions()
    """What builders let a build reach and use; its time and memory, the router says."""
    warm: int | None = None
    """How many containers to make ahead of their jobs, at most one a slot; None: one a slot."""


class Flavour(Struct, frozen=True):
    """What does the jobs, what prepares versions, and what proves that jobs can be done."""

    jobs: Jobs
    version_manager: Preparer
    health_checker: HealthChecker
    host: dict[str, str] = {}
    """How this host runs jobs."""
    memory: Memory = Memory()
    """What an earlier start knew of its router."""


@contextmanager
def open_flavour(
    channel: str,
    identity: str,
    slots: int,
    folder: WorkFolder,
    means: Means,
    runs: RunCounters | None = None,
) -> Iterator[Flavour]:
    """Open what the channel's workers need; raises ContainersError if the host lacks something."""
    kind = CHANNELS[channel].tool_kind
    _require(*(("git", "skopeo") if kind is None else ("skopeo",)), means.host.runtime)
    if kind is None:
        find_builder(means.builder, with_base_images=means.base_images is not None)
    most = slots if means.warm is None else min(means.warm, slots)
    with ExitStack() as opened:
        health_checker = HealthChecker(lambda: sandbox.prove())
        sandbox = opened.enter_context(
            Sandbox(
                folder.folder("run"),
                slots=slots,
                warm=0 if kind is None else most,
                runtime=means.host.runtime,
                launcher=means.host.launcher,
                allow_unenforced=means.host.allow_unenforced,
                cgroup_parent=means.host.cgroup_parent,
                on_trouble=health_checker.doubt,
            )
        )
        opened.callback(health_checker.close)
        if kind is None and sandbox.is_rootless:
            raise SandboxError("builders need root: start this worker as root")
        facts = sandbox.facts()
        _log.info("jobs run here by %s", "; ".join(f"{key}: {it}" for key, it in facts.items()))
        for note in sandbox.notes():
            _log.warning("%s", note)
        for name, why in sandbox.enforcement.missing.items():
            _log.warning("not enforced here, as allowed: %s: %s", name, why)
        sandbox.self_test()
        if kind is None:
            builders = open_builders(
                means.builder, folder.folder("builder"), BuildHost.of(sandbox), means.base_images
            )
            builds = folder.folder("builds")
            sources = GitSources(builds / "clones", means.git_credentials)
            workshop = Workshop(builders, sandbox, sources, builds)
            cache = CacheKeeper(folder.folder("builder"), builders.prune)
            opened.callback(cache.close)
            yield Flavour(
                BuildJobs(identity, workshop, cache, means.builds),
                NoVersions(),
                health_checker,
                facts,
            )
            return
        image_check = ImageCheck(
            sandbox, TOOLS[kind], folder.folder("proofs"), health_checker.doubt
        )
        store = Store(folder.folder("store"), PULLS, sandbox.background.take)
        notes = MemoryFile(folder.path / "served.json")
        memory = notes.read()
        version_manager = VersionManager(
            channel, store, image_check.prove, image_check.forget, notes
        )
        opened.callback(version_manager.close)
        inputs = Inputs(means.file_inputs)
        opened.callback(inputs.close)
        jobs = ToolJobs(identity, TOOLS[kind], sandbox, version_manager, inputs, runs)
        yield Flavour(jobs, version_manager, health_checker, facts, memory)


def _require(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            raise ToolMissing(program)
