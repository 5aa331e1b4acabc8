"""The img builder, with a stand-in that refuses what the real program refuses."""

import json
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.pace import paced

from pipeline_containers.building.buildah import Buildah
from pipeline_containers.building.builder import BuildOptions, BuiltImage
from pipeline_containers.building.builders import open_builders
from pipeline_containers.building.cell.cell import BuildHost
from pipeline_containers.building.img import Img
from pipeline_containers.errors import (
    BuildCancelled,
    BuildFailed,
    BuildTimedOut,
    ContainersError,
    ToolMissing,
)
from pipeline_containers.images.skopeo import copy_image
from pipeline_containers.images.storage import Storage
from pipeline_containers.registries.folder import FolderRegistry
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.system.mountinfo import mounts_below

URL = "https://git.test/tool"
BASE_NAME = "localhost/pipeline-base/busybox:1"
BASE = f"FROM {BASE_NAME}\n"
Build = Callable[..., None]


@pytest.fixture
def place(work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-in lies, first on PATH."""
    folder = work / "bin"
    folder.mkdir()
    shutil.copy(Path(__file__).with_name("img_standin.py"), folder / "img")
    (folder / "img").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


@pytest.fixture
def builder(work: Path, place: Path, sandbox: Sandbox) -> Img:
    builder = open_builders("auto", work / "builder", BuildHost.of(sandbox)).of(URL)
    assert isinstance(builder, Img)
    return builder


@pytest.fixture
def build(work: Path, base_images: Path, builder: Img) -> Build:
    """Build a Dockerfile and do something with the image; nothing is left of it."""

    def do(
        dockerfile: str,
        use: Callable[[BuiltImage], object] = lambda _: None,
        options: BuildOptions | None = None,
        **watched: Any,
    ) -> None:
        context = work / f"context-{threading.get_ident()}"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(dockerfile)
        if not (context / ".base").exists():
            stored = Storage(base_images, work / "run").name(BASE_NAME)
            copied = copy_image(stored, f"oci:{context}/.base:{BASE_NAME}", timeout_s=paced(60))
            assert copied.ok, copied.tail
        options = options or BuildOptions(timeout_s=paced(60))
        with builder.build(context, "localhost/tool:git-1", options, **watched) as image:
            use(image)

    return do


@pytest.fixture
def left(work: Path) -> Callable[[], list[Path]]:
    def find() -> list[Path]:
        cells = (work / "builder").glob("*/builds/scratch-*")
        return [*cells, *mounts_below(work / "builder")]

    return find


def calls(work: Path) -> list[dict[str, Any]]:
    (made,) = (work / "builder").glob("*/state/calls")
    return [json.loads(line) for line in made.read_text().splitlines()]


@pytest.mark.e2e
def test_what_it_builds_can_be_mounted_and_pushed(
    build: Build, work: Path, left: Callable[[], list[Path]]
) -> None:
    lines: list[str] = []
    registry = FolderRegistry(work / "registry")
    found: list[object] = []

    def use(image: BuiltImage) -> None:
        found.append((image.stored.layers[0] / "new").read_text())
        found.append(registry.push(image.source, "tool", "v1"))

    build(f"{BASE}RUN echo hello && echo text >/new && rm /bin/vi\n", use, on_line=lines.append)
    assert found == ["text\n", registry.digest("tool", "v1")]
    assert "hello" in lines
    assert left() == []
    made, saved = calls(work)
    assert made["arguments"][:5] == ["--backend", "native", "--state", "/state", "build"]
    assert "--no-console" in made["arguments"]
    assert saved["arguments"][4] == "save"
    assert made["login"] == "{}"


@pytest.mark.e2e
def test_a_login_is_a_file_and_no_argument(build: Build, work: Path) -> None:
    (work / "auth.json").write_text('{"auths": {"host": {"auth": "c2VjcmV0"}}}')
    build(BASE, options=BuildOptions(timeout_s=paced(60), authfile=work / "auth.json"))
    for call in calls(work):
        assert "c2VjcmV0" in call["login"]
        assert "c2VjcmV0" not in str(call["arguments"])


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("dockerfile", "text"),
    [
        (f"{BASE}RUN echo the reason >&2; exit 7\n", "the reason"),
        (f"{BASE}COPY --chmod=755 a b\n", "--chmod is not known"),
        (f"{BASE}ADD x.tar /\n", ".tar is not known"),
        ("FROM localhost/pipeline-base/nothing:1\n", "nothing"),
    ],
)
def test_what_fails_has_its_log(
    build: Build, left: Callable[[], list[Path]], dockerfile: str, text: str
) -> None:
    with pytest.raises(BuildFailed, match="status 1") as caught:
        build(dockerfile)
    assert text in caught.value.log_tail
    assert left() == []


@pytest.mark.e2e
def test_deadline_and_cancel_leave_nothing(build: Build, left: Callable[[], list[Path]]) -> None:
    with pytest.raises(BuildTimedOut):
        build(f"{BASE}RUN sleep 63.5\n", options=BuildOptions(timeout_s=paced(2)))
    assert left() == []
    event = threading.Event()

    def stop(line: str) -> None:
        if line == "now":
            event.set()

    with pytest.raises(BuildCancelled):
        build(f"{BASE}RUN echo now; sleep 64.5\n", on_line=stop, cancelled=event)
    assert left() == []


@pytest.mark.e2e
def test_one_at_a_time_and_waiting_has_an_end(build: Build, work: Path) -> None:
    began = threading.Event()

    def slow(line: str) -> None:
        if line == "slow":
            began.set()

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(build, f"{BASE}RUN echo slow; sleep 2\n", on_line=slow)
        assert began.wait(paced(30))
        since = time.monotonic()
        with pytest.raises(BuildTimedOut):
            build(BASE, options=BuildOptions(timeout_s=0.3))
        assert time.monotonic() - since < paced(1.5)
        build(BASE)
        first.result()


@pytest.mark.e2e
def test_pruning(build: Build, builder: Img, work: Path) -> None:
    build(f"{BASE}RUN echo x\n")
    assert calls(work)
    builder.prune()
    assert not list((work / "builder").glob("*/state"))


def test_what_it_cannot_do_is_said(
    builder: Img, work: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = BuildHost.of(sandbox)
    options = BuildOptions(network="none")
    with (
        pytest.raises(ContainersError, match="without a network: use buildah"),
        builder.build(work, "localhost/a:1", options),
    ):
        pass
    with pytest.raises(ContainersError, match="from registries only"):
        open_builders("img", work / "other", host, work)
    assert isinstance(open_builders("auto", work / "other", host, work).of(URL), Buildah)
    monkeypatch.setenv("PATH", "/nowhere")
    (work / "Dockerfile").write_text(BASE)
    with pytest.raises(ToolMissing), builder.build(work, "localhost/a:1", BuildOptions()):
        pass
