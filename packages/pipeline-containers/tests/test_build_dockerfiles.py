"""Dockerfiles of today, built by the buildah that there is."""

import hashlib
import io
import json
import shutil
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.pace import paced

from pipeline_containers.building.builder import BuildOptions
from pipeline_containers.building.builders import open_builders
from pipeline_containers.building.cell.cell import BuildHost
from pipeline_containers.errors import BuildFailed, ContainersError, SourceRefused
from pipeline_containers.images.skopeo import copy_image
from pipeline_containers.images.storage import Storage
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.system.files import read_in_root

BASE = "FROM localhost/pipeline-base/busybox:1"
OPTIONS = BuildOptions(network="none", timeout_s=paced(60))
Build = Callable[..., list[str]]
pytestmark = pytest.mark.e2e


@pytest.fixture
def build(work: Path, base_images: Path, sandbox: Sandbox) -> Build:
    """Build files; the lines of the log, and then those of what the image has in `show`."""
    builder = open_builders("buildah", work / "builder", BuildHost.of(sandbox), base_images).of("u")

    def do(
        dockerfile: str, files: dict[str, str] | None = None, name: str = "Dockerfile"
    ) -> list[str]:
        context = work / f"context-{threading.get_ident()}-{len(list(work.iterdir()))}"
        context.mkdir()
        for file, text in {name: dockerfile, **(files or {})}.items():
            (context / file).write_text(text)
        lines: list[str] = []
        with builder.build(context, "localhost/tool:1", OPTIONS, on_line=lines.append) as image:
            for layer in image.stored.layers:
                try:
                    lines += read_in_root(layer, "show", 1 << 20).decode().splitlines()
                except FileNotFoundError:
                    continue
        return lines

    return do


@pytest.fixture
def deep_images(work: Path) -> Path:
    """A store of base images, with one of 88 layers."""
    layout = work / "layout"
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(content: bytes, **about: object) -> dict[str, object]:
        name = hashlib.sha256(content).hexdigest()
        (blobs / name).write_bytes(content)
        return {**about, "digest": f"sha256:{name}", "size": len(content)}

    kind = "application/vnd.oci.image."
    layers = []
    for number in range(88):
        with io.BytesIO() as buffer:
            with tarfile.open(fileobj=buffer, mode="w") as tar:
                if number == 0:
                    tar.add("/bin/busybox", "bin/busybox")
                    tar.add("/bin/busybox", "bin/sh")
                tar.addfile(tarfile.TarInfo(f"layer-{number}"))
            layers.append(put(buffer.getvalue(), mediaType=f"{kind}layer.v1.tar"))
    roots = {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}
    config: dict[str, Any] = {"os": "linux", "architecture": "amd64", "config": {}, "rootfs": roots}
    config["history"] = [{"created_by": "a test"}] * len(layers)
    described = put(json.dumps(config).encode(), mediaType=f"{kind}config.v1+json")
    manifest = {"schemaVersion": 2, "config": described, "layers": layers}
    entry = put(json.dumps(manifest).encode(), mediaType=f"{kind}manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "deep"}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    store = work / "deep"
    named = Storage(store, work / "deep-run").name("localhost/deep:1")
    copied = copy_image(f"oci:{layout}:deep", named, timeout_s=paced(60))
    assert copied.ok, copied.tail
    return store


def test_layers_of_two_stores_are_found_however_many(
    work: Path, deep_images: Path, sandbox: Sandbox
) -> None:
    """From some ninety on they are named relative to one store: buildah 1.28 found no others."""
    builder = open_builders("buildah", work / "builder", BuildHost.of(sandbox), deep_images).of("u")
    context = work / "context"
    context.mkdir()
    steps = "".join(f"COPY Dockerfile /own-{number}\n" for number in range(3))
    last = "RUN [ -e /layer-0 ] && [ -e /layer-87 ] && [ -e /own-2 ] && [ -s /own-0 ]\n"
    (context / "Dockerfile").write_text(f"FROM localhost/deep:1\n{steps}{last}")
    with builder.build(context, "localhost/tool:1", OPTIONS) as image:
        assert len(image.stored.layers) == 88 + 3 + 1


MODERN = f"""\
# syntax=docker/dockerfile:1.7
# escape=`
{BASE} AS made
SHELL ["/bin/sh", "-ec"]
RUN echo kept >/kept && case $- in *e*) echo the shell has -e;; esac

FROM made
RUN case $- in *e*) echo a later stage has it too;; esac
RUN --mount=type=cache,target=/root/.cache,id=pip,sharing=locked `
    # a comment within
    --mount=type=tmpfs,target=/scratch,size=4m `
    echo it >/root/.cache/it && [ -z "$(ls /scratch)" ] && df -k /scratch | tail -n 1
RUN --mount=type=cache,target=/root/.cache,id=pip echo "cached: $(cat /root/.cache/it)"
RUN <<EOF
# a comment of the shell's
for word in several lines; do echo "said $word"; done
EOF
RUN cat >/show <<'A' && cat >>/show <<-B
$HOME \\ stays, "quotes" and é too
A
	$((1 + 1)) is two
	B
RUN <<EOF
#!/bin/busybox sh
echo "run as $0"
EOF
COPY --link --chown=1000:1001 --chmod=u=rwx,go=x <<'EOF' <<-PLAIN notes.txt /texts/
EOF says $this
EOF
	tabs go
PLAIN
COPY --link=true --from=made /kept /again
COPY --chmod=+x notes.txt /program
COPY . /all/
RUN stat -c '%n %a %u:%g' /texts/* /program /again >>/show; cat /texts/* >>/show; ls -A /all >>/show
RUN echo "net $(readlink /proc/self/ns/net)"
RUN --network=none echo "cut $(readlink /proc/self/ns/net) $(cat /proc/net/route | wc -l)"
RUN --network=default --security=sandbox [ ! -e /dev/.pipeline-no-network ] `
    && [ ! -e /root/.cache/it ] && [ ! -e /scratch/it ] && echo "--mount=type=bind" '--network=host'
ONBUILD RUN --mount=type=tmpfs,target=/x true
"""


def test_what_dockerfiles_of_today_say(build: Build) -> None:
    files = {"notes.txt": "a note\n", "left-out": "", ".dockerignore": "*\n!notes.txt\n"}
    said = build(MODERN, files, name="Containerfile")
    text = "\n".join(said)
    for line in (
        *("the shell has -e", "a later stage has it too", "cached: it"),
        *("said several", "said lines", "run as /dev/pipes/EOF"),
        *('$HOME \\ stays, "quotes" and é too', "2 is two"),
        *("EOF says $this", "tabs go", "a note"),
        *(
            "/texts/EOF 711 1000:1001",
            "/texts/PLAIN 711 1000:1001",
            "/texts/notes.txt 711 1000:1001",
        ),
        *("/program 755 0:0", "/again 644 0:0", "--mount=type=bind --network=host"),
    ):
        assert line in said, text
    assert "notes.txt" in said
    assert "left-out" not in said, "what .dockerignore leaves out stays out"
    assert any(line.split()[:2] == ["tmpfs", "4096"] for line in said), text
    (network,) = (line.split()[1] for line in said if line.startswith("net "))
    (cut,) = (line.split()[1] for line in said if line.startswith("cut "))
    assert network != cut, "a step without a network has a namespace of its own"


def test_a_heredoc_that_changed_is_built_anew(build: Build) -> None:
    for text in ("one", "two"):
        lines = f"#!/bin/sh\necho script {text}\n"
        said = build(f"{BASE}\nCOPY <<EOF /show\n{text}\nEOF\nRUN <<EOF\n{lines}EOF\n")
        assert text in said
        assert f"script {text}" in said


@pytest.mark.parametrize(
    ("step", "line"),
    [
        ("RUN --mount=type=bind,source=/,target=/x id", 3),
        ("RUN echo <<A \\\n\n&& x\nRUN --mount=type=ssh x\nA\nRUN --mount=type=secret,id=a id", 8),
        ("RUN --security=insecure id", 3),
    ],
)
def test_what_reaches_the_host_is_refused_with_its_line(build: Build, step: str, line: int) -> None:
    with pytest.raises(SourceRefused, match=f"^Dockerfile, line {line}: the Dockerfile asks for"):
        build(f"{BASE}\n\n{step}\n")


def test_a_long_script_is_whole(build: Build) -> None:
    """A line of 64 KiB has buildah 1.28 stop reading the file, without a word."""
    script = "".join(f"echo {number} >>/lines\n" for number in range(6_000))
    assert 100_000 < len(script) < 128 * 1024
    said = build(f"{BASE}\nRUN <<EOF\n{script}EOF\nRUN wc -l </lines >/show\n")
    assert "6000" in said


def test_a_failing_script_has_its_exit_status(build: Build) -> None:
    with pytest.raises(BuildFailed) as caught:
        build(f"{BASE}\nRUN <<EOF\necho reason\nexit 7\nEOF\n")
    assert caught.value.exit == 7
    assert isinstance(caught.value, ContainersError)


def test_the_buildah_on_the_path_is_the_one_that_builds(
    build: Build, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that lies elsewhere than the host's programs do, too, beside base images of the host."""
    (work / "bin").mkdir()
    script = work / "bin/buildah"
    script.write_text(f'#!/bin/sh\necho "another one" >&2\nexec {shutil.which("buildah")} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(work / "bin"), prepend=":")
    assert "another one" in build(f"{BASE}\n")
