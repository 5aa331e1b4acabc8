"""Images that strangers built: whatever is in their layers, the host stays as it is."""

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hostile.case import Case
from hostile.image import BUSYBOX
from hostile.lab import MADE_UP, HostileLab
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


def folder(name: str, **attributes: str) -> Entry:
    return entry(name, tarfile.DIRTYPE, mode=0o755, pax_headers=attributes_of(**attributes))


def attributes_of(**attributes: str) -> dict[str, str]:
    """Extended attributes as archives carry them; `__` stands for the dot in a name."""
    return {f"SCHILY.xattr.{name.replace('__', '.')}": value for name, value in attributes.items()}


@dataclass(frozen=True)
class Hostile:
    """Layers on top of the tool's image, a configuration, and what may come of a job with it."""

    name: str
    entries: tuple[Entry, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    program: str = "pass ran"
    codes: frozenset[int] = frozenset([200])
    says: tuple[str, ...] = ()
    lower: tuple[Entry, ...] = ()
    """What lies in a layer between."""


REFUSED = frozenset([511, 512])
"""By the pull, when it is tried, or by the first job that would run it."""
EITHER = REFUSED | {200}
"""The job does what its program says, harmlessly, or the image is refused."""

WORDS = f"x\n{MADE_UP} ERROR made up\r\x1b]0;title\x07\x9b2J\u202e\u2028{MADE_UP} ERROR made up"
"""For a log: a line of its own, what a terminal obeys, other ends of lines."""

IMAGES = (
    Hostile("an entry above the root", (entry(f"{UP}/new"),)),
    Hostile("a folder above the root", (folder(UP), entry(f"{UP}/new"))),
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
        "an entry through a link out in the layer below",
        (entry("opt/out/new", content=b"new"), entry("etc/new", content=b"new")),
        lower=(link("opt/out", OUTSIDE), link("etc", OUTSIDE)),
        program="cat /opt/out/new /etc/new; pass tried",
        says=("^newnew",),
    ),
    Hostile(
        "a whiteout through a link out in the layer below",
        (entry("opt/out/.wh.secret"), entry("opt/out/.wh..wh..opq")),
        lower=(link("opt/out", OUTSIDE),),
    ),
    Hostile(
        "a file, a link out and a file again by one name",
        (
            entry("opt/x", content=b"one"),
            link("opt/x", f"{OUTSIDE}/new"),
            entry("opt/x", mode=0o644),
        ),
        codes=REFUSED,
    ),
    Hostile(
        "files that a layer removed do not come back",
        (
            entry("opt/kept/.wh.gone"),
            folder("opt/emptied"),
            entry("opt/emptied/.wh..wh..opq"),
            entry("opt/emptied/new", mode=0o644),
            entry(".wh.secret"),
            entry("bin/vi", tarfile.CHRTYPE, devmajor=0, devminor=0),  # the kernel's own whiteout
        ),
        lower=(
            entry("opt/kept/gone", mode=0o644),
            entry("opt/kept/stays", mode=0o644),
            entry("opt/emptied/old", mode=0o644),
        ),
        program="ls -A /opt/kept /opt/emptied /secret /bin/vi; pass tried",
        says=(
            "^/opt/kept:\nstays$",
            "^/opt/emptied:\nnew$",
            "/secret: No such file",
            "/bin/vi: No such file",
        ),
    ),
    *(
        Hostile(f"a whiteout by the name of {name}", (entry(f"opt/{name}"),), codes=EITHER)
        for name in (".wh.", ".wh..", ".wh..wh.", ".wh..wh..wh.x", ".wh.a/b")
    ),
    Hostile(
        "attributes of the overlay's own",
        (
            folder("opt/elsewhere", trusted__overlay__redirect="/bin"),
            folder("opt/outside", trusted__overlay__redirect=OUTSIDE),
            folder("opt/emptied", trusted__overlay__opaque="y", user__overlay__opaque="y"),
            entry(
                "opt/passwd",
                mode=0o644,
                pax_headers=attributes_of(
                    trusted__overlay__metacopy="", trusted__overlay__redirect="/etc/passwd"
                ),
            ),
            entry(
                "opt/stays", mode=0o644, pax_headers=attributes_of(trusted__overlay__whiteout="y")
            ),
        ),
        lower=(entry("opt/outside/x", mode=0o644),),
        program="ls -A /opt/elsewhere /opt/outside; cat /opt/passwd; pass tried",
        says=("^tried$",),
    ),
    Hostile(
        "rights in a file's attributes",
        (
            entry(
                "opt/busybox",
                mode=0o6755,
                content=BUSYBOX.read_bytes(),
                pax_headers=attributes_of(
                    # Version 2, effective, all of the lower 32 capabilities; little-endian.
                    security__capability="\x01\0\0\x02\x7f\x7f\x7f\x7f\0\0\0\0\0\0\0\0\0\0\0\0"
                ),
            ),
        ),
        program="/opt/busybox grep -E 'Cap(Eff|Prm)' /proc/self/status; pass tried",
        says=("CapPrm:\t0000000000000000", "CapEff:\t0000000000000000"),
    ),
    Hostile(
        "names of all kinds",
        tuple(
            entry(f"opt/names/{name}", mode=0o644)
            for name in ("a\nb", "x" * 255, "\udcff\udcfe", "-rf", " ", "\x1b[2J", "a\\b")
        ),
        program="ls -A /opt/names | wc -l; pass tried",
        says=("^7$",),
    ),
    Hostile("a name that is too long", (entry(f"opt/{'x' * 256}"),), codes=REFUSED),
    Hostile(
        "files in the places of devices",
        (
            folder("dev"),
            entry("dev/null", mode=0o666, content=b"full"),
            link("dev/zero", f"{OUTSIDE}/secret"),
            entry("proc/self/status", mode=0o644, content=b"Uid: none"),
        ),
        program="echo lost > /dev/null; cat /dev/null; head -c 9 /dev/zero; pass ran",
        says=("^ran$",),
    ),
    Hostile(
        "a FIFO and a socket's name",
        (entry("opt/fifo", tarfile.FIFOTYPE, mode=0o666),),
        program="timeout 1 cat /opt/fifo; pass ran",
        says=("^ran$",),
    ),
    Hostile(
        "a hard link to a file of the layer below",
        (entry("opt/s", tarfile.LNKTYPE, linkname="secret"),),
        program="cat /opt/s; pass tried",
        codes=EITHER,
    ),
    Hostile(
        "a hard link to a folder, and to itself",
        (folder("opt/f"), entry("opt/f/up", tarfile.LNKTYPE, linkname="opt/f")),
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
        codes=EITHER,
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
        "a tool that is a link to a shell",
        (link(RUN, "/bin/busybox"),),
        codes=frozenset([511, 513]),
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
        codes=frozenset([511, 512, 513]),
    ),
    Hostile(
        "an entry point that is the runtime", config={"Entrypoint": ["/proc/self/exe", "init"]}
    ),
    Hostile("an entry point of its own", config={"Entrypoint": ["sh", "-c", "echo got through"]}),
    Hostile("a user that there is not", config={"User": "99999"}, codes=REFUSED),
    Hostile("a user of negative number", config={"User": "-1:-1"}, codes=REFUSED),
    Hostile("a user of huge number", config={"User": f"{2**64}:{2**32}"}, codes=REFUSED),
    Hostile("a working folder that is above", config={"WorkingDir": "../../../.."}),
    Hostile(
        "a configuration of other types",
        config={
            "Env": {"A": "b"},
            "Entrypoint": "sh -c x",
            "User": 0,
            "WorkingDir": ["/"],
            "Cmd": 3,
        },
        codes=EITHER,
    ),
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
        codes=REFUSED,
    ),
    Hostile(
        "an environment of 30,000 variables",
        config={"Env": ["PATH=/bin", *(f"A{number}=" for number in range(30_000))]},
        codes=REFUSED,
    ),
    Hostile(
        "an entry point of 30,000 words",
        config={"Entrypoint": ["sh"] * 30_000},
        codes=REFUSED,
    ),
    Hostile("a user's name of 100,000 characters", config={"User": "x" * 100_000}, codes=REFUSED),
    *(
        Hostile(f"a line of the log, in {field}", config={field: words}, codes=EITHER)
        for field, words in (
            ("User", WORDS),
            ("WorkingDir", f"/{WORDS}"),
            ("Entrypoint", [f"/{WORDS}/bin/run.sh"]),
            ("Env", [f"{WORDS}=x"]),
        )
    ),
    Hostile(
        "lines of the log that a tool prints when it is tried",
        (
            entry("words", mode=0o644, content=WORDS.encode()),
            entry(RUN, mode=0o755, content=b"#!/bin/sh\ncat /words >&2\nexit 127\n"),
        ),
        codes=REFUSED,
    ),
    *(
        Hostile(
            f"a VOLUME {where}",
            (link("out", OUTSIDE), link("opt/up", UP), entry("file", mode=0o644)),
            {"Volumes": {path: {}, "/good": {}}},
            # the sandbox' own mounts are as ever, and what can be had is
            program="echo x > /good/new || exit 1; [ -e /proc/self ] || exit 1\n"
            "for p in /out /out/new /opt/up /opt/up/new /file /proc /etc; do\n"
            "touch $p/made && echo got through; done; pass tried",
            says=("^tried$",),
        )
        for where, path in {
            "at the root": "/",
            "on /proc": "/proc",
            "below /proc": "/proc/sys/kernel",
            "on /sys": "/sys",
            "on /dev": "/dev",
            "on the host's devices": "/dev/null",
            "above the job folder": "/mnt",
            "in the job folder": "/mnt/exercism-iteration/x",
            "on /etc/hosts": "/etc/hosts",
            "that leads up": "/../../../etc",
            "with a way up within": "/opt/../../proc",
            "without a root": "relative",
            "on a link out": "/out",
            "below a link out": "/out/new",
            "below a link up": "/opt/up/new",
            "on a file": "/file",
            "below a file": "/file/new",
            "with a line of the log": f"/{WORDS}",
            "of a long name": "/" + "x" * 5000,
        }.items()
    ),
    Hostile(
        "a VOLUME over its own tool",
        config={"Volumes": {"/opt/test-runner": {}, "/bin": {}}},
        says=("^ran$",),
    ),
    Hostile(
        "a HOME that its own tool lies in",
        config={"Env": ["PATH=/bin", "HOME=/opt"]},
        program="echo x > /opt/test-runner/new || exit 1; pass ran",
        says=("^ran$",),
    ),
    Hostile(
        "more VOLUMEs than can be", (), {"Volumes": {f"/{n}": {} for n in range(33)}}, codes=REFUSED
    ),
    Hostile(
        "a HOME on a link out",
        (link("out", OUTSIDE),),
        {"Env": ["PATH=/bin", "HOME=/out"]},
        program="echo x > $HOME/new || exit 1; pass $HOME",
        says=("^/tmp/home$",),
    ),
    Hostile(
        "a configuration of over a megabyte",
        config={"Labels": {"x": "y" * 1_100_000}},
        codes=REFUSED,
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


def aimed(entries: tuple[Entry, ...], outside: Path) -> Layer:
    """Make a layer whose names lead to that folder."""

    def aim(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: aim(inner) for key, inner in value.items()}
        return value.replace(OUTSIDE, str(outside)) if isinstance(value, str) else value

    layer = Layer()
    for name, kind, fields in entries:
        layer.add(aim(name), kind, **{key: aim(value) for key, value in fields.items()})
    return layer


@pytest.mark.parametrize(
    "hostile", [pytest.param(one, id=one.name.replace(" ", "-")) for one in IMAGES]
)
def test_whatever_an_image_is(
    lab: HostileLab, before: Traces, outside: Path, versions: Iterator[str], hostile: Hostile
) -> None:
    version = next(versions)
    image = lab.image
    if hostile.lower:
        image = image.on_top(aimed(hostile.lower, outside))
    image = image.on_top(aimed(hostile.entries, outside), **hostile.config)
    lab.deploy("hostile", image, version)
    try:
        files = {"program": hostile.program}
        answer = lab.ask(lab.request(files=files, container_version=version))
    finally:
        lab.unload("hostile", version)
    assert answer.code in hostile.codes, answer.reply
    told = hostile.says if answer.code not in REFUSED else ()
    check(Case(hostile.name, "", answer.code, told), answer)
    lab.honest_everywhere()
    assert lab.settle(before) == before
    assert [file.name for file in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "got through\n"


def test_a_layer_that_is_another_than_it_says(
    lab: HostileLab, before: Traces, versions: Iterator[str]
) -> None:
    version = next(versions)
    layer = Layer().file("opt/x", "as it was published")
    digests = lab.blobs()
    lab.image.on_top(layer).publish(lab.registry, "hostile-test-runner", version)
    for blob in lab.blobs() - digests:
        content = blob.read_bytes()
        blob.write_bytes(content.replace(b"as it was published", b"as somebody made it"))
    lab.want("hostile", version)
    answer = lab.ask(lab.request(files={"program": "pass ran"}, container_version=version))
    assert answer.code == 511, answer.reply
    lab.unload("hostile", version)
    lab.honest_everywhere()
    assert lab.settle(before) == before
