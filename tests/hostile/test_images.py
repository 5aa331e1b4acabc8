"""Images that strangers built: whatever is in their layers, the host stays as it is."""

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hostile.arena import Arena
from hostile.case import Case
from hostile.test_families import check
from hostile.traces import Traces
from support.images import Layer

pytestmark = pytest.mark.e2e

OUTSIDE = "OUTSIDE"
"""In a name: a folder of the host's, which nothing may get to."""
UP = "../" * 25 + OUTSIDE
TOOL = "opt/test-runner"
RUN = f"{TOOL}/bin/run.sh"

Entry = tuple[str, bytes, Mapping[str, Any]]
"""A name in a layer, its type, and what else there is to it."""


def entry(name: str, kind: bytes = tarfile.REGTYPE, /, **fields: Any) -> Entry:
    return name, kind, fields


def link(name: str, target: str) -> Entry:
    return entry(name, tarfile.SYMTYPE, linkname=target)


@dataclass(frozen=True)
class Hostile:
    """A layer on top of the tool's image, a configuration, and what may come of a job with it."""

    name: str
    entries: tuple[Entry, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    program: str = "pass ran"
    codes: frozenset[int] = frozenset([200])
    says: tuple[str, ...] = ()


REFUSED = frozenset([511, 512])
"""By the pull, or by the first job that would run it."""

IMAGES = (
    Hostile("an entry above the root", (entry(f"{UP}/new"),)),
    Hostile("an entry by an absolute name", (entry(f"{OUTSIDE}/new"),)),
    Hostile("a whiteout above the root", (entry(f"{UP}/.wh.secret"),)),
    Hostile("a whiteout of the folder above", (entry("opt/.wh..."),), codes=REFUSED),
    Hostile("a whiteout of everything", (entry(".wh.bin"), entry(".wh.opt")), codes=REFUSED),
    Hostile(
        "an entry through a link out",
        (link("opt/out", OUTSIDE), entry("opt/out/new")),
        codes=REFUSED,
    ),
    Hostile(
        "an entry through a link up",
        (link("opt/out", UP), entry("opt/out/new")),
        codes=REFUSED,
    ),
    Hostile(
        "a hard link to a file of the host",
        (entry("opt/secret", tarfile.LNKTYPE, linkname=f"{UP}/secret"),),
        program="cat /opt/secret",
        codes=REFUSED,
    ),
    Hostile(
        "a hard link through a link out",
        (link("opt/out", OUTSIDE), entry("opt/s", tarfile.LNKTYPE, linkname="opt/out/secret")),
        program="cat /opt/s",
        codes=REFUSED,
    ),
    Hostile(
        "a link to a file of the host",
        (link("opt/secret", f"{OUTSIDE}/secret"), link("opt/up", f"/{UP}/secret")),
        program="cat /opt/secret /opt/up; pass tried",
        says=("No such file", "^tried$"),
    ),
    Hostile(
        "links in the places of mounts",
        tuple(link(name, OUTSIDE) for name in ("tmp", "proc", "dev", "sys", "mnt")),
        program="touch /tmp/new /dev/shm/new new; pass ran",
        says=("^ran$",),
    ),
    Hostile(
        "device nodes",
        (
            entry("disk", tarfile.BLKTYPE, mode=0o666, devmajor=254),
            entry("memory", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=1),
        ),
        program="head -c 1 /disk; head -c 1 /memory; echo > /disk; pass tried",
        says=("/disk: Permission denied", "/memory: Permission denied", "^tried$"),
    ),
    Hostile(
        "a tool that is a link to a shell", (link(RUN, "/bin/busybox"),), codes=frozenset([513])
    ),
    Hostile("a tool that is a link out", (link(RUN, f"{UP}/secret"),), codes=REFUSED),
    Hostile("a tool that is a FIFO", (entry(RUN, tarfile.FIFOTYPE, mode=0o755),), codes=REFUSED),
    Hostile("a tool that is a folder", (entry(RUN, tarfile.DIRTYPE, mode=0o755),), codes=REFUSED),
    Hostile("a tool that is not executable", (entry(RUN, mode=0o644),), codes=REFUSED),
    # A descriptor that the runtime left open would be a way out: CVE-2024-21626.
    *(
        Hostile(
            f"a tool's folder that is the runtime's descriptor {number}",
            (
                link(TOOL, f"/proc/self/fd/{number}"),
                entry(f"proc/self/fd/{number}/bin/run.sh", mode=0o755, content=b"#!/bin/sh\n"),
            ),
            codes=REFUSED,
        )
        for number in (6, 7, 8)
    ),
    Hostile(
        "a working folder that is the runtime's descriptor",
        config={"WorkingDir": "/proc/self/fd/7"},
        program="ls ../../../..; pass ran",
        says=("^ran$",),
    ),
    # The runtime would execute itself, within reach of the tool: CVE-2019-5736.
    Hostile(
        "a tool that is run by the runtime itself",
        (entry(RUN, mode=0o755, content=b"#!/proc/self/exe\n"),),
        codes=frozenset([512, 513]),
    ),
    Hostile(
        "an entry point that is the runtime", config={"Entrypoint": ["/proc/self/exe", "init"]}
    ),
    Hostile("an entry point of its own", config={"Entrypoint": ["sh", "-c", "echo got through"]}),
    Hostile("a user that there is not", config={"User": "99999"}, codes=REFUSED),
    Hostile("a user that is a path", config={"User": "../../etc/passwd"}, codes=REFUSED),
    Hostile(
        "a user beyond what is mapped",
        (entry("etc/passwd", content=b"big:x:4294967295:-1::/:\n", mode=0o644),),
        {"User": "big"},
        codes=REFUSED,
    ),
    Hostile(
        "accounts without an end", (link("etc/passwd", "/dev/zero"),), {"User": "x"}, codes=REFUSED
    ),
    Hostile(
        "accounts that are waited for",
        (entry("etc/passwd", tarfile.FIFOTYPE, mode=0o644),),
        {"User": "x"},
        codes=REFUSED,
    ),
    Hostile(
        "an environment for the runtime",
        config={
            "Env": ["PATH=/bin", "LD_PRELOAD=/x", "_LIBCONTAINER_INITPIPE=3", "A=1\nB=2", "=", "C"]
        },
        says=("^ran$",),
    ),
    Hostile(
        "an environment that is too large",
        config={"Env": ["PATH=/bin", f"LARGE={'x' * 300_000}"]},
        codes=frozenset([511, 512, 513]),
    ),
)


@pytest.fixture(scope="module")
def outside(module_folder: Path) -> Path:
    """A folder of the host's, which a container's root could get to, and write to."""
    folder = module_folder / "outside"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "secret").write_text("got through\n")
    return folder


@pytest.fixture(scope="module")
def versions() -> Iterator[str]:
    return (f"hostile-{number}" for number in count(1))


@pytest.mark.parametrize(
    "hostile", [pytest.param(one, id=one.name.replace(" ", "-")) for one in IMAGES]
)
def test_whatever_an_image_is(
    arena: Arena, before: Traces, outside: Path, versions: Iterator[str], hostile: Hostile
) -> None:
    layer = Layer()
    for name, kind, fields in hostile.entries:
        aimed: dict[str, Any] = {
            key: value.replace(OUTSIDE, str(outside)) if isinstance(value, str) else value
            for key, value in fields.items()
        }
        layer.add(name.replace(OUTSIDE, str(outside)), kind, **aimed)
    version = next(versions)
    arena.deploy("hostile", arena.image.on_top(layer, **hostile.config), version)
    answer = arena.ask(arena.request(files={"program": hostile.program}, container_version=version))
    assert answer.code in hostile.codes, answer.reply
    check(Case(hostile.name, "", answer.code, hostile.says), answer)
    arena.unload("hostile", version)
    arena.honest_everywhere()
    assert arena.settle(before) == before
    assert [file.name for file in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "got through\n"


def test_a_layer_that_is_another_than_it_says(
    arena: Arena, before: Traces, versions: Iterator[str]
) -> None:
    version = next(versions)
    layer = Layer().file("opt/x", "as it was published")
    digests = arena.blobs()
    arena.image.on_top(layer).publish(arena.registry, "hostile-test-runner", version)
    for blob in arena.blobs() - digests:
        content = blob.read_bytes()
        blob.write_bytes(content.replace(b"as it was published", b"as somebody made it"))
    arena.want("hostile", version)
    answer = arena.ask(arena.request(files={"program": "pass ran"}, container_version=version))
    assert answer.code == 511, answer.reply
    arena.unload("hostile", version)
    arena.honest_everywhere()
    assert arena.settle(before) == before
