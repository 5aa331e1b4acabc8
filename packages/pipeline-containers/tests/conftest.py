"""Real parts for the tests: a busybox image, a sandbox that leaves nothing, a git repository."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from support.descriptors import open_descriptors
from support.hostile_registry import HostileRegistry, lying_registry
from support.pace import paced
from support.runtime import LAUNCHER, RUNTIME

from pipeline_containers.images.image import ImageConfig, StoredImage
from pipeline_containers.registries.docker import DockerRegistry
from pipeline_containers.sandbox.host.id_ranges import FIRST_HOST_ID
from pipeline_containers.sandbox.host.ids import ID_COUNT
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.result.report import RunReport
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_containers.system.mountinfo import mounts_below
from pipeline_containers.system.units import MIB

_RANGES = 64
_PARTS = 64
"""More ranges of ids than any sandbox of these tests takes."""
QUICK = Limits(
    wall_s=paced(10),
    memory_bytes=64 * MIB,
    pids=32,
    stdout_bytes=64 * 1024,
    stderr_bytes=64 * 1024,
    job_folder_bytes=8 * MIB,
    job_folder_files=1000,
    tmp_bytes=4 * MIB,
)


def own_cgroups(work: Path) -> list[Path]:
    """List the cgroups, one a hierarchy, that a test's sandboxes have theirs below."""
    root = Path("/sys/fs/cgroup")
    return [*root.glob(work.name), *root.glob(f"*/{work.name}")]


@pytest.fixture
def work() -> Iterator[Path]:
    """A folder that containers can get through to; pytest's own are closed to others."""
    # as images may be named: what mkdtemp makes up may begin or end with an underscore
    folder = Path(tempfile.gettempdir(), f"pipeline-test-{uuid4().hex[:12]}")
    folder.mkdir(0o755)
    yield folder
    assert list(mounts_below(folder)) == []
    for parent in own_cgroups(folder):
        parent.rmdir()  # empty, or this fails
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def busybox_layer() -> Iterator[Path]:
    """A root folder with every tool of busybox."""
    folder = Path(tempfile.mkdtemp(prefix="pipeline-busybox-"))
    folder.chmod(0o755)
    (folder / "bin").mkdir()
    (folder / "etc").mkdir()
    shutil.copy("/bin/busybox", folder / "bin/busybox")
    names = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True)
    for name in names.stdout.split():
        if name != "busybox":
            (folder / "bin" / name).symlink_to("/bin/busybox")
    (folder / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/:/bin/sh\n")
    (folder / "etc/group").write_text("root:x:0:\nstaff:x:50:\n")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def make_image(work: Path, busybox_layer: Path) -> Callable[..., StoredImage]:
    """Make an image whose tool is a shell script."""

    def make(
        script: str, kind: str = "test_runner", config: ImageConfig | None = None
    ) -> StoredImage:
        layer = Path(tempfile.mkdtemp(prefix="layer-", dir=work))
        layer.chmod(0o755)
        run = layer / TOOLS[kind].folder.strip("/") / "bin/run.sh"
        run.parent.mkdir(parents=True)
        run.write_text(f"#!/bin/sh\n{script}\n")
        run.chmod(0o755)
        return StoredImage(f"test:{layer.name}", (layer, busybox_layer), config or ImageConfig())

    return make


@pytest.fixture(scope="session")
def first_host_id() -> Iterator[int]:
    """Where this test process' own ids begin: others may run containers at the same time.

    Other tests hold theirs by a lock; those of workers are taken from the first one on.
    """
    with contextlib.ExitStack() as held:
        for part in range(_PARTS - 1, 7, -1):
            lock = held.enter_context(open(f"/tmp/pipeline-test-ids-{part}.lock", "w"))
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield FIRST_HOST_ID + ID_COUNT * _RANGES * part
                return
        pytest.fail(f"{_PARTS - 8} others run these tests")


def children() -> set[int]:
    """List this process' children, dead ones too."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


@pytest.fixture
def traces(first_host_id: int) -> Callable[[Path], list[str]]:
    """List what runs have left on the host: nothing is the right answer.

    Children that were there before the test are others': an earlier test killed their parent.
    """
    earlier = children()

    def guests() -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    status = (entry / "stat").read_text().rpartition(")")[2].split()
                    is_ours = status[1] == str(os.getpid()) and int(entry.name) not in earlier
                    zombie_of_ours = status[0] == "Z" and is_ours
                    guest = entry.stat().st_uid - first_host_id in range(ID_COUNT * _RANGES)
                    if guest or zombie_of_ours:
                        found.append(int(entry.name))
        return found

    def find(folder: Path) -> list[str]:
        found = [
            *(job for own in own_cgroups(folder.parent) for job in own.glob("*/job-*")),
            *mounts_below(folder / "jobs"),
            *(folder / "jobs").iterdir(),
            # but for what crun keeps of filters that it has compiled
            *(place for place in (folder / "runtime").iterdir() if place.name != ".cache"),
        ]
        return [str(place) for place in found] + [f"process {pid}" for pid in guests()]

    return find


@pytest.fixture
def troubles() -> list[str]:
    """What could not be cleared away."""
    return []


@pytest.fixture
def open_sandbox(work: Path, first_host_id: int, troubles: list[str]) -> Callable[..., Sandbox]:
    """Open a sandbox of this test's own."""

    def do(warm: int = 0, runtime: str = RUNTIME, launcher: str = LAUNCHER) -> Sandbox:
        return Sandbox(
            work / "sandbox",
            warm=warm,
            runtime=runtime,
            launcher=launcher,
            # The test's own: others may run containers at the same time.
            cgroup_parent=f"/{work.name}",
            first_host_id=first_host_id,
            on_trouble=troubles.append,
        )

    return do


@pytest.fixture
def sandbox(
    work: Path, open_sandbox: Callable[..., Sandbox], traces: Callable[[Path], list[str]]
) -> Iterator[Sandbox]:
    """A sandbox that must leave nothing, whatever the test did in it."""
    descriptors = open_descriptors()
    with open_sandbox() as opened:
        yield opened
        opened.settle()
        assert traces(opened.folder) == []
    assert open_descriptors() - descriptors == Counter(), "what others had may go meanwhile"


@pytest.fixture
def run(sandbox: Sandbox, make_image: Callable[..., StoredImage]) -> Callable[..., RunReport]:
    """Run a script as a tool."""

    def do(
        script: str,
        *,
        kind: str = "test_runner",
        limits: Limits = QUICK,
        files: dict[str, str] | None = None,
        config: ImageConfig | None = None,
        slug: str = "two-fer",
        cancelled: threading.Event | None = None,
    ) -> RunReport:
        def fill(folder: Path) -> None:
            for name, text in (files or {}).items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text)

        image = make_image(script, kind, config)
        event = cancelled or threading.Event()
        return sandbox.run(ToolRun(image, TOOLS[kind], slug, fill, limits, event))

    return do


@pytest.fixture
def quick_limits() -> Limits:
    """Limits that tests reach quickly."""
    return QUICK


@pytest.fixture
def git(work: Path) -> Callable[..., str]:
    """Call git in a repository of the test's own, which is made on the first call."""
    repository = work / "repository"
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    identity += ["-c", "maintenance.auto=false"]  # it would go on in the background

    def call(*arguments: str, stdin: str = "") -> str:
        options = [*identity, "-c", "protocol.file.allow=always", "-C", str(repository)]
        done = subprocess.run(
            ["git", *options, *arguments], input=stdin, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    repository.mkdir()
    call("init", "--quiet", "--initial-branch=main")
    return call


@pytest.fixture
def repository(work: Path, git: Callable[..., str]) -> Path:
    """The folder of that repository."""
    return work / "repository"


@pytest.fixture
def commit(repository: Path, git: Callable[..., str]) -> Callable[..., str]:
    """Write files, commit them, and give the SHA."""

    def make(files: dict[str, str], message: str = "change") -> str:
        for name, text in files.items():
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            (repository / name).write_text(text)
            (repository / name).chmod(0o755 if name.endswith(".sh") else 0o644)
        git("add", "--all")
        git("commit", "--quiet", "--allow-empty", "--message", message)
        return git("rev-parse", "HEAD")

    return make


@pytest.fixture(scope="session")
def base_images(busybox_layer: Path) -> Iterator[Path]:
    """A read-only store with one base image, as a host without a hub keeps it."""
    folder = Path(tempfile.mkdtemp(prefix="pipeline-bases-"))
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY root /\nENV BASE=busybox\n")
    shutil.copytree(busybox_layer, folder / "root", symlinks=True)
    options = ["--storage-driver", "overlay", "--storage-opt", "overlay.skip_mount_home=true"]
    places = ["--root", str(folder / "store"), "--runroot", str(folder / "run")]
    build = ["bud", "--network", "none", "--tag", "localhost/pipeline-base/busybox:1", str(folder)]
    subprocess.run(
        ["buildah", *places, *options, *build],
        check=True,
        capture_output=True,
    )
    yield folder / "store"
    shutil.rmtree(folder)


@pytest.fixture
def lying() -> Iterator[HostileRegistry]:
    """A registry that does as a test says."""
    with lying_registry() as registry:
        yield registry


@pytest.fixture
def registry(lying: HostileRegistry) -> DockerRegistry:
    """The same, as those who pull see it."""
    return DockerRegistry(lying.location)
