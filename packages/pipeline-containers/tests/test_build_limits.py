"""What a build may use, and what it is: nobody's root, that sees no limit and can raise none."""

import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.pace import paced

from pipeline_containers.building.build import (
    BuildOutcome,
    BuildRequest,
    Workshop,
    build_and_publish,
)
from pipeline_containers.building.builder import BuildOptions
from pipeline_containers.building.builders import open_builders
from pipeline_containers.building.cell.cell import BuildHost
from pipeline_containers.building.cell.config import FIRST_BUILD_ID
from pipeline_containers.building.source.git import GitSources
from pipeline_containers.errors import (
    BuildFailed,
    BuildLimitExceeded,
    ContainersError,
    ImageInvalid,
    SourceError,
    StoreError,
)
from pipeline_containers.registries.folder import FolderRegistry
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_containers.system.units import GIB, MIB

BASE = "FROM localhost/pipeline-base/busybox:1\n"
REST = "COPY bin/run.sh /opt/test-runner/bin/run.sh\n"
RUN = '#!/bin/sh\nprintf \'{"version": 2, "status": "pass"}\' > "$3/results.json"\n'
OPTIONS = BuildOptions(network="none", timeout_s=paced(60))
Build = Callable[..., BuildOutcome]
pytestmark = pytest.mark.e2e


@pytest.fixture
def build(
    work: Path,
    commit: Callable[..., str],
    repository: Path,
    base_images: Path,
    sandbox: Sandbox,
) -> Build:
    """Build a Dockerfile that begins with a base image."""
    builders = open_builders("buildah", work / "builder", BuildHost.of(sandbox), base_images)
    workshop = Workshop(builders, sandbox, GitSources(work / "clones"), work / "sources")

    def do(steps: str, **options: object) -> BuildOutcome:
        commit({"Dockerfile": BASE + steps, "bin/run.sh": RUN})
        return build_and_publish(
            BuildRequest(f"file://{repository}", "main", "tool", TOOLS["test_runner"]),
            workshop,
            FolderRegistry(work / "registry"),
            options=replace(OPTIONS, **options),  # type: ignore[arg-type]
        )

    return do


@pytest.mark.parametrize(
    ("steps", "options", "text"),
    [
        (
            "RUN head -c 600m /dev/zero | tail -c 500m >/dev/null\n",
            {"memory_bytes": 256 * MIB},
            f"more than {256 * MIB} bytes of memory",
        ),
        (
            "RUN dd if=/dev/zero of=/x bs=1M count=900; sleep 600\n",
            {"disk_bytes": 64 * MIB},
            f"{64 * MIB} are allowed",
        ),
        (
            "RUN --mount=type=cache,target=/x dd if=/dev/zero of=/x/x bs=1M count=900; sleep 600\n",
            {"disk_bytes": 64 * MIB},
            f"{64 * MIB} are allowed",
        ),
        (
            "RUN for a in $(seq 20000); do : >/$a; done; sleep 600\n",
            {"disk_files": 5_000},
            "files to the disk, and 5000 are allowed",
        ),
    ],
    ids=["memory", "disk", "cache", "files"],
)
def test_a_build_that_uses_too_much(
    build: Build, steps: str, options: dict[str, int], text: str
) -> None:
    with pytest.raises(BuildLimitExceeded, match=text) as caught:
        build(steps, **options)
    assert "building" in caught.value.log_tail
    assert build(REST).outcome == "built", "the next one has all of it"


def test_processes_are_counted(build: Build) -> None:
    with pytest.raises(BuildFailed, match="status") as caught:
        build("RUN for i in $(seq 300); do sleep 600 & done\n", pids=100)
    assert "fork" in caught.value.log_tail


def test_one_file_is_no_larger_than_all_may_be(build: Build) -> None:
    with pytest.raises(BuildFailed):
        build("RUN truncate -s 2T /x\n", disk_bytes=GIB)


def test_an_image_that_is_too_large_is_not_taken(build: Build) -> None:
    with pytest.raises(ImageInvalid, match="make it smaller"):
        build(f"RUN dd if=/dev/zero of=/x bs=1M count=30\n{REST}", image_bytes=20 * MIB)


def test_a_disk_that_is_nearly_full_is_left_as_it_is(build: Build) -> None:
    with pytest.raises(StoreError, match=r"the disk of .* is full"):
        build(REST, free_bytes=1 << 50)


def test_git_is_held_to_the_same_limits(build: Build) -> None:
    with pytest.raises(SourceError):
        build(REST, memory_bytes=6 * MIB, pids=1)


def test_its_root_is_nobody_and_its_limits_are_out_of_reach(build: Build) -> None:
    look = (
        "cat /proc/self/uid_map; find /sys/fs/cgroup -type f -exec sh -c "
        "'for file; do (echo 1 >>\"$file\") 2>/dev/null && echo writable: $file; done; true' "
        "_ {} +; cat /proc/self/cgroup; "
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max; "
        "mount -o remount,rw /sys/fs/cgroup; mount -t cgroup2 none /mnt; true"
    )
    said = build(f"RUN {look}\n{REST}", memory_bytes=512 * MIB).log_tail
    assert f"0 {FIRST_BUILD_ID}" in " ".join(said.split())
    assert "writable: /" not in said
    assert str(512 * MIB) not in said, "the limit lies above what is seen"
    cgroups = [line for line in said.splitlines() if line.count(":") == 2 and line[0].isdigit()]
    assert cgroups
    assert all(line.endswith(":/") for line in cgroups), cgroups


def test_no_file_and_no_socket_of_the_host_is_seen(build: Build, repository: Path) -> None:
    """Not even by what buildah 1.28 lets out of a repository, by a link in it."""
    secret = repository.parent / "secret"
    secret.write_text("of the host")
    (repository / "out").symlink_to("/")
    heard: list[object] = []
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0pipeline-build-test")
        abstract.listen()
        abstract.settimeout(0.1)
        listening = threading.Thread(target=lambda: heard.append(_accepted(abstract)))
        listening.start()
        mounted = "RUN --mount=type=bind,source=out,target=/mnt"
        steps = f"{mounted} cat /mnt{secret} /mnt/etc/shadow /mnt/root/.ssh/*; ls /mnt; true\n"
        try:
            said = build(steps + REST, allow_run_mounts=True).log_tail
        except ContainersError as error:  # a newer one does not follow it
            said = error.log_tail
        listening.join()
    assert "of the host" not in said
    assert "root:" not in said
    assert heard == [None]


def _accepted(listener: socket.socket) -> object:
    try:
        return listener.accept()
    except TimeoutError:
        return None
