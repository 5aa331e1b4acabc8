"""Builds with real git, buildah and skopeo, into a registry that is a folder."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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
from pipeline_containers.building.builders import Builders, open_builders
from pipeline_containers.building.cell.cell import BuildHost
from pipeline_containers.building.source.git import GitSources
from pipeline_containers.errors import (
    BadReference,
    BuildCancelled,
    BuildFailed,
    BuildOutputLimit,
    BuildTimedOut,
    ContainersError,
    ImageInvalid,
    RegistryError,
    SourceRefused,
    StoreError,
)
from pipeline_containers.images.skopeo import copy_image
from pipeline_containers.registries.folder import FolderRegistry
from pipeline_containers.registries.kinds import open_registry
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_containers.store.progress import PullProgress
from pipeline_containers.store.store import Store
from pipeline_containers.system.mountinfo import mounts_below

RUN = '#!/bin/sh\nprintf \'{"version": 2, "status": "pass"}\' > "$3/results.json"\n'
DOCKERFILE = """\
FROM localhost/pipeline-base/busybox:1
RUN echo building && rm /bin/vi
COPY . /opt/test-runner
WORKDIR /opt/test-runner
ENTRYPOINT ["/opt/test-runner/bin/run.sh"]
"""
OPTIONS = BuildOptions(network="none", timeout_s=paced(60))
Commit = Callable[..., str]
Build = Callable[..., BuildOutcome]


@pytest.fixture
def registry(work: Path) -> FolderRegistry:
    return FolderRegistry(work / "registry")


@pytest.fixture
def builder(work: Path, base_images: Path, sandbox: Sandbox) -> Builders:
    return open_builders("auto", work / "builder", BuildHost.of(sandbox), base_images)


@pytest.fixture
def build(
    work: Path, repository: Path, builder: Builders, registry: FolderRegistry, sandbox: Sandbox
) -> Build:
    """Build a reference of the test's repository; whatever comes of it, nothing else stays."""

    def do(
        reference: str = "main",
        options: BuildOptions = OPTIONS,
        on_line: Callable[[str], None] | None = None,
        cancelled: threading.Event | None = None,
        alone: bool = True,
        url: str = f"file://{repository}",
    ) -> BuildOutcome:
        request = BuildRequest(url, reference, "ruby-test-runner", TOOLS["test_runner"])
        try:
            return build_and_publish(
                request,
                Workshop(builder, sandbox, GitSources(work / "clones"), work / "sources"),
                registry,
                options=options,
                on_line=on_line,
                cancelled=cancelled,
            )
        finally:
            assert not alone or left() == []

    def left() -> list[Path]:
        return [
            *(work / "sources/checkouts").glob("scratch-*"),
            *(work / "builder").glob("*/builds/scratch-*"),
            *(work / "registry").glob("*/.push-*"),
            *mounts_below(work / "builder"),
        ]

    return do


@pytest.mark.e2e
def test_built_then_ignored_then_run(
    build: Build,
    commit: Commit,
    registry: FolderRegistry,
    work: Path,
    sandbox: Sandbox,
    quick_limits: Limits,
) -> None:
    sha = commit({"Dockerfile": DOCKERFILE, "bin/run.sh": RUN})
    lines: list[str] = []
    outcome = build(on_line=lines.append)
    assert outcome.outcome == "built"
    assert (outcome.image, outcome.image_tag) == ("ruby-test-runner", f"git-{sha}")
    assert outcome.git_sha == sha
    assert "building" in lines
    assert "building" in outcome.log_tail
    assert registry.tags("ruby-test-runner") == [f"git-{sha}"]
    assert registry.digest("ruby-test-runner", f"git-{sha}") == outcome.digest

    again = build(sha)
    assert (again.outcome, again.digest) == ("ignored", outcome.digest)

    store = Store(work / "store")
    progress: list[PullProgress] = []
    digest = store.pull(registry, "ruby-test-runner", f"git-{sha}", progress.append)
    assert digest == outcome.digest
    assert [done.percent for done in progress][-1] == 100
    image = store.image(digest)
    assert image.config.entrypoint == ("/opt/test-runner/bin/run.sh",)
    assert "BASE=busybox" in image.config.env
    run = ToolRun(image, TOOLS["test_runner"], "two-fer", lambda _: None, quick_limits)
    report = sandbox.run(run)
    assert report.succeeded, report
    script = RUN + "ls /bin/vi /bin/ls; exit 0"
    commit({"Dockerfile": DOCKERFILE, "bin/run.sh": script})
    newer = store.image(store.pull(registry, "ruby-test-runner", build().image_tag))
    report = sandbox.run(replace(run, image=newer))
    assert report.stdout == "/bin/ls\n", "a file that a layer removed stays removed"


@pytest.mark.e2e
def test_layers_are_shared_and_collected(
    build: Build, commit: Commit, registry: FolderRegistry, work: Path
) -> None:
    commit({"Dockerfile": DOCKERFILE, "bin/run.sh": RUN})
    first = build()
    commit({"bin/run.sh": RUN + "\n# newer"})
    second = build()
    blobs = work / "registry/ruby-test-runner/blobs/sha256"
    before = len(list(blobs.iterdir()))
    assert before < 2 * 7  # config, manifest, base, three steps: all but three shared
    store = Store(work / "store")
    for outcome in (first, second):
        store.pull(registry, "ruby-test-runner", outcome.digest)
    one, two = store.image(first.digest), store.image(second.digest)
    assert one.layers[-1] == two.layers[-1], "the base lies there once"
    assert one.layers[0] != two.layers[0]
    assert store.digests() == sorted([first.digest, second.digest])
    assert store.collect(keep=[second.digest]) == [first.digest]
    assert store.digests() == [second.digest]
    assert all(layer.is_dir() for layer in two.layers)
    assert not one.layers[0].exists()
    with pytest.raises(StoreError, match="pull it first"):
        store.image(first.digest)


@pytest.mark.e2e
def test_builds_are_reproducible_and_may_race(build: Build, commit: Commit) -> None:
    commit({"Dockerfile": DOCKERFILE, "bin/run.sh": RUN})
    with ThreadPoolExecutor(2) as threads:
        builds = [threads.submit(build, alone=False) for _ in "ab"]
    outcomes = [future.result() for future in builds]
    assert len({outcome.digest for outcome in outcomes}) == 1
    assert sorted(outcome.outcome for outcome in outcomes) == ["built", "ignored"]


@pytest.mark.e2e
def test_a_failing_command_is_told_with_the_log(build: Build, commit: Commit) -> None:
    commit({"Dockerfile": f"{DOCKERFILE}RUN echo the reason >&2; exit 7\n", "bin/run.sh": RUN})
    with pytest.raises(BuildFailed, match="status 7") as caught:
        build()
    assert caught.value.exit == 7
    assert "the reason" in caught.value.log_tail
    assert isinstance(caught.value, ContainersError)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("dockerfile", "error", "text"),
    [
        ("FROM localhost/pipeline-base/nothing:1\n", BuildFailed, "nothing"),
        (f"{DOCKERFILE}NONSENSE\n", SourceRefused, "line 6: 'NONSENSE' is not an instruction"),
        (f"#Syntax = x\n{DOCKERFILE}", SourceRefused, "foreign front end"),
        ("FROM localhost/pipeline-base/busybox:1\n", ImageInvalid, r"run\.sh is missing"),
        (f"{DOCKERFILE}RUN chmod -x bin/run.sh\n", ImageInvalid, "not executable"),
        (f"{DOCKERFILE}RUN --mount=type=bind,source=etc,target=/y id\n", SourceRefused, "--mount"),
        (f"{DOCKERFILE}USER nobody\n", ImageInvalid, "USER 'nobody'"),
    ],
)
def test_what_is_not_published(
    build: Build,
    commit: Commit,
    registry: FolderRegistry,
    dockerfile: str,
    error: type[ContainersError],
    text: str,
) -> None:
    commit({"Dockerfile": dockerfile, "bin/run.sh": RUN})
    with pytest.raises(error, match=text):
        build()
    assert registry.tags("ruby-test-runner") == []


@pytest.mark.e2e
def test_a_base_image_is_no_folder(
    build: Build, commit: Commit, registry: FolderRegistry, repository: Path
) -> None:
    """Those of the host are not seen; one of the repository's own is refused by the policy."""
    commit({"Dockerfile": DOCKERFILE, "bin/run.sh": RUN})
    published = registry.source("ruby-test-runner", build().digest)
    commit({"Dockerfile": f"FROM {published}\n"})
    with pytest.raises(BuildFailed, match=r"(?i)no such file|not found"):
        build()
    copy = copy_image(published, f"dir:{repository}/image", timeout_s=paced(60))
    assert copy.ok, copy.tail
    commit({"Dockerfile": "FROM dir:/context/image\n"})
    with pytest.raises(BuildFailed, match="rejected by policy"):
        build()


@pytest.mark.e2e
def test_a_repository_without_a_dockerfile_or_with_a_link(
    build: Build, commit: Commit, repository: Path
) -> None:
    commit({"bin/run.sh": RUN})
    with pytest.raises(SourceRefused, match="no Dockerfile"):
        build()
    (repository / "Dockerfile").symlink_to("/etc/passwd")
    commit({})
    with pytest.raises(SourceRefused, match="Dockerfile is a link"):
        build()
    with pytest.raises(BadReference):
        build("--upload-pack=x")


@pytest.mark.e2e
def test_a_build_that_takes_too_long_leaves_nothing(
    build: Build, commit: Commit, traces: Callable[[Path], list[str]]
) -> None:
    commit({"Dockerfile": f"{DOCKERFILE}RUN sleep 61.5\n", "bin/run.sh": RUN})
    began = time.monotonic()
    with pytest.raises(BuildTimedOut, match="longer than"):
        build(options=replace(OPTIONS, timeout_s=paced(3)))
    assert time.monotonic() - began < paced(6)
    assert _processes("61.5") == []


@pytest.mark.e2e
def test_a_cancelled_build_leaves_nothing(build: Build, commit: Commit) -> None:
    commit({"Dockerfile": f"{DOCKERFILE}RUN echo now; sleep 62.5\n", "bin/run.sh": RUN})
    event = threading.Event()
    with pytest.raises(BuildCancelled):
        build(on_line=lambda line: event.set() if line == "now" else None, cancelled=event)
    assert _processes("62.5") == []


@pytest.mark.e2e
def test_a_killed_builder_takes_its_build_along_and_the_next_one_clears_up(
    build: Build, commit: Commit, repository: Path, work: Path, base_images: Path
) -> None:
    commit({"Dockerfile": f"{DOCKERFILE}RUN echo now; sleep 65.5\n", "bin/run.sh": RUN})
    program = "import pipeline_containers.cli.root as cli; cli.main()"
    options = ["--base-images", str(base_images), "--work", str(work), "--network", "none"]
    with subprocess.Popen(
        [sys.executable, "-c", program, "build", f"file://{repository}", "main", *options],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            assert any(line == "now\n" for line in process.stderr)
            _await(lambda: bool(_processes("65.5")))
        finally:
            process.kill()
    _await(lambda: not _processes("65.5"))
    until = time.monotonic() + paced(10)
    with suppress(ChildProcessError):
        while time.monotonic() < until:  # its orphans are ours: a sandbox made us their reaper
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.01)
    assert list((work / "checkouts").glob("scratch-*"))
    assert list((work / "builder").glob("*/builds/scratch-*"))
    commit({"Dockerfile": DOCKERFILE})
    (work / "sources").symlink_to(work)
    assert build().outcome == "built"


@pytest.mark.e2e
def test_a_build_that_prints_too_much_is_ended(build: Build, commit: Commit) -> None:
    commit({"Dockerfile": f"{DOCKERFILE}RUN yes\n", "bin/run.sh": RUN})
    with pytest.raises(BuildOutputLimit) as caught:
        build(options=replace(OPTIONS, log_bytes=100_000, log_tail_bytes=1_000))
    assert 900 < len(caught.value.log_tail) <= 1_000


@pytest.mark.e2e
def test_a_build_has_no_network_when_told_so(build: Build, commit: Commit) -> None:
    commit({"Dockerfile": f"{DOCKERFILE}RUN ls /sys/class/net | tr '\\n' '.'\n", "bin/run.sh": RUN})
    assert "lo." in build().log_tail


@pytest.mark.e2e
def test_the_cache_outlives_a_build_and_goes_when_pruned(
    build: Build, commit: Commit, builder: Builders
) -> None:
    commit({"Dockerfile": DOCKERFILE, "bin/run.sh": RUN})
    build()
    commit({"bin/run.sh": RUN + "\n"})
    assert "Using cache" in build().log_tail
    builder.prune()
    commit({"bin/run.sh": RUN + "\n\n"})
    assert "Using cache" not in build().log_tail


@pytest.mark.e2e
@pytest.mark.parametrize("step", ["COPY --from=IMAGE /secret /secret", "FROM IMAGE"])
def test_a_build_sees_no_image_of_another_repository(
    build: Build, commit: Commit, repository: Path, work: Path, step: str
) -> None:
    """Nor what a build of that one left in a cache."""
    commit({"Dockerfile": f"{DOCKERFILE}RUN echo mine > /secret\n", "bin/run.sh": RUN})
    outcome = build()
    image = f"localhost/{outcome.image}:{outcome.image_tag}"
    stolen = step.replace("IMAGE", image)
    dockerfile = f"{stolen}\n" if step.startswith("FROM") else f"{DOCKERFILE}{stolen}\n"
    commit({"Dockerfile": f"{dockerfile}RUN cat /secret\n"})
    (work / "another").symlink_to(repository)
    with pytest.raises(BuildFailed) as caught:
        build(url=f"file://{work}/another")
    assert "mine" not in caught.value.log_tail
    assert "mine" in build().log_tail, "its own it may have"


def test_a_cache_that_cannot_be_pruned_keeps_no_other(work: Path) -> None:
    pruned: list[str] = []

    class Stuck:
        def __init__(self, folder: Path) -> None:
            self.folder = folder

        def prune(self) -> None:
            pruned.append(self.folder.name)
            raise ContainersError(f"{self.folder.name} is stuck")

    for name in ("one", "two"):
        (work / "builder" / name).mkdir(parents=True)
    with pytest.raises(ContainersError, match="one is stuck"):
        Builders(work / "builder", Stuck).prune()  # type: ignore[arg-type]  # it builds nothing
    assert pruned == ["one", "two"]


@pytest.mark.e2e
def test_pruning_does_nothing_to_a_build_that_is_going_on(
    build: Build, commit: Commit, builder: Builders
) -> None:
    commit({"Dockerfile": DOCKERFILE, "bin/run.sh": RUN})
    pruned: list[str] = []

    def prune(line: str) -> None:
        if line.startswith("==> validating"):
            builder.prune()
            pruned.append(line)

    assert build(on_line=prune).outcome == "built"
    assert pruned


@pytest.mark.e2e
def test_a_published_tag_never_changes(
    build: Build, commit: Commit, builder: Builders, registry: FolderRegistry
) -> None:
    commit({"Dockerfile": DOCKERFILE, "bin/run.sh": RUN})
    first = build()
    commit({"bin/run.sh": RUN + "\n"})
    second = build()
    source = registry.source("ruby-test-runner", second.digest)
    with pytest.raises(RegistryError, match="is there already"):
        registry.push(source, "ruby-test-runner", first.image_tag)
    assert registry.push(source, "ruby-test-runner", second.image_tag) == second.digest
    assert registry.push(source, "another/place", "v1") == second.digest
    assert registry.tags("another/place") == ["v1"]


@pytest.mark.e2e
def test_content_that_is_not_what_its_digest_says_is_refused(
    build: Build, commit: Commit, registry: FolderRegistry, work: Path
) -> None:
    commit({"Dockerfile": DOCKERFILE, "bin/run.sh": RUN})
    outcome = build()
    blobs = work / "registry/ruby-test-runner/blobs/sha256"
    manifest = json.loads((blobs / outcome.digest.removeprefix("sha256:")).read_text())
    layer = blobs / manifest["layers"][-1]["digest"].removeprefix("sha256:")
    layer.write_bytes(layer.read_bytes()[:-1] + b"x")
    store = Store(work / "store")
    with pytest.raises(RegistryError, match=r"pulling .*push the image again"):
        store.pull(registry, "ruby-test-runner", outcome.digest)
    assert store.digests() == []
    with pytest.raises(RegistryError, match="does not hold what its name says"):
        registry.push(registry.source("ruby-test-runner", outcome.digest), "ruby-test-runner", "v2")
    (blobs / outcome.digest.removeprefix("sha256:")).unlink()
    assert not registry.exists("ruby-test-runner", outcome.image_tag)


@pytest.mark.e2e
def test_several_pulls_at_once_and_one_cancelled(
    build: Build, commit: Commit, registry: FolderRegistry, work: Path
) -> None:
    digests = []
    for number in range(3):
        commit({"Dockerfile": DOCKERFILE, "bin/run.sh": f"{RUN}\n# {number}"})
        digests.append(build().digest)
    store = Store(work / "store")
    event = threading.Event()
    event.set()
    with pytest.raises(StoreError, match="cancelled"):
        store.pull(registry, "ruby-test-runner", digests[0], cancelled=event)
    with ThreadPoolExecutor(6) as threads:
        pulls = [
            threads.submit(store.pull, registry, "ruby-test-runner", digest)
            for digest in digests * 2
        ]
        assert [pull.result() for pull in pulls] == digests * 2
    assert store.digests() == sorted(digests)


def test_unknown_kinds_are_named(work: Path, sandbox: Sandbox) -> None:
    with pytest.raises(RegistryError, match="is not one of: folder, docker, ecr"):
        open_registry("nonsense", str(work))
    with pytest.raises(ContainersError, match="is not one of: auto, img, buildah"):
        open_builders("nonsense", work, BuildHost.of(sandbox))


@pytest.mark.parametrize("name", ["../a", "A", "/a", "-a", "a b", "a//b", ""])
def test_names_that_are_no_repository_reach_no_path(work: Path, name: str) -> None:
    registry = FolderRegistry(work)
    with pytest.raises(RegistryError, match="not the name of a repository"):
        registry.tags(name)
    with pytest.raises(RegistryError, match="not the name of a repository"):
        registry.push("oci:/a:b", name, "v1")


@pytest.mark.parametrize("index", ["", "[]", "{", "[" * 9999])
def test_an_index_that_is_broken_on_purpose(work: Path, index: str) -> None:
    (work / "a").mkdir()
    (work / "a/index.json").write_text(index)
    with pytest.raises(RegistryError, match=r"index\.json"):
        FolderRegistry(work).tags("a")


def test_entries_of_an_index_that_name_nothing_are_passed_over(work: Path) -> None:
    (work / "a").mkdir()
    entry = {
        "digest": f"sha256:{'0' * 64}",
        "annotations": {"org.opencontainers.image.ref.name": "v"},
    }
    wrong: list[object] = [None, {}, [1, {}, {"digest": 3}, {"annotations": 1}, entry]]
    for manifests in wrong:
        (work / "a/index.json").write_text(json.dumps({"manifests": manifests}))
        assert FolderRegistry(work).tags("a") == []


def _await(what: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + paced(seconds)
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def _processes(argument: str) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = file.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if argument in arguments:
            found.append(" ".join(arguments))
    return found
