"""`RUN --mount`: empty folders of the build's own, and nothing else. No I/O.

`type=cache` and `type=tmpfs` bring nothing into a step. All the others show it something: a bind
follows a link out of the repository (the class of CVE-2024-1753 and CVE-2024-9407; buildah 1.28
showed the builder's /etc to a step), secrets and ssh are the host's. What is passed on is written
anew from what was understood, so that no builder can read anything else in it.
"""

import hashlib
import re
from dataclasses import dataclass

from pipeline_containers.system.units import GIB, KIB, MIB

TMPFS_BYTES = GIB
"""The most that a tmpfs has, in memory, unless the file says less."""
_FLAGS = {"ro", "readonly", "rw", "readwrite"}
_NAMES = {"target", "dst", "destination"}
_OF_CACHE = {"id", "sharing", "mode", "uid", "gid"}
_KEYS = {"cache": _OF_CACHE, "tmpfs": {"size", "tmpfs-size", "mode", "tmpfs-mode"}}
_TARGET = re.compile(r"/[A-Za-z0-9_./+@:~-]*")
_SIZE = re.compile(r"(\d{1,15})(?:([kmg])(?:i?b)?|b)?", re.IGNORECASE)
_UNITS = {"k": KIB, "m": MIB, "g": GIB, None: 1}


@dataclass(frozen=True, slots=True)
class RunMount:
    """An empty folder that a step has for itself; `size` in bytes, of a tmpfs."""

    kind: str
    target: str
    read_only: bool = False
    name: str = ""
    mode: str = ""
    uid: str = ""
    gid: str = ""
    size: int = TMPFS_BYTES

    def flag(self) -> str:
        """Write it as buildah takes it."""
        parts = [f"type={self.kind}", f"target={self.target}"]
        if self.kind == "tmpfs":
            parts.append(f"tmpfs-size={self.size}")
            parts += [f"tmpfs-mode={self.mode}"] if self.mode else []
        else:
            parts.append(f"id={hashlib.sha256(self.name.encode()).hexdigest()[:32]}")
            own = {"mode": self.mode, "uid": self.uid, "gid": self.gid}
            parts += [f"{key}={value}" for key, value in own.items() if value]
        return "--mount=" + ",".join([*parts, *(["ro"] if self.read_only else [])])


def read_mount(text: str) -> RunMount:
    """Read the value of `--mount`; raises `ValueError` saying why it is refused."""
    options: dict[str, str] = {}
    read_only = False
    for part in text.split(","):
        key, has_value, value = part.partition("=")
        key = key.strip().lower()
        if key in _FLAGS:
            said = value.lower() not in ("false", "0", "f") if has_value else True
            read_only = said == (key in ("ro", "readonly"))
        else:
            options["target" if key in _NAMES else key] = value
    kind = options.pop("type", "bind").lower()
    if kind not in _KEYS:
        raise ValueError(
            f"the Dockerfile asks for RUN --mount=type={kind[:20]}, which can reach the host: only "
            "cache and tmpfs are mounted; use COPY instead"
        )
    for source in ("from", "source", "src"):
        if source in options:
            raise ValueError(
                f"the Dockerfile asks for RUN --mount=type={kind} with {source}=: it is an empty "
                "folder here, and nothing can be in it; use COPY instead"
            )
    return _mount(kind, options, read_only=read_only)


def _mount(kind: str, options: dict[str, str], *, read_only: bool) -> RunMount:
    where = f"RUN --mount=type={kind}"
    target = options.pop("target", "")
    if not _TARGET.fullmatch(target) or ".." in target.split("/"):
        raise ValueError(
            f"{where} has the target {target[:80]!r}: write a folder from / on, in letters, digits "
            "and . _ - + @ : ~; variables are not read there"
        )
    for key in options:
        if key not in _KEYS[kind]:
            raise ValueError(f"{where} does not know {key[:40]!r}")
    numbers = {"uid": options.get("uid", ""), "gid": options.get("gid", "")}
    for key, value in numbers.items():
        if value and not re.fullmatch(r"\d{1,9}", value):
            raise ValueError(f"{where} takes a number for {key}, not {value[:40]!r}")
    mode = options.get("mode") or options.get("tmpfs-mode", "")
    if mode and not re.fullmatch("[0-7]{1,4}", mode):
        raise ValueError(f"{where} takes an octal number for mode, not {mode[:40]!r}")
    size = _size(options.get("size") or options.get("tmpfs-size", ""), where)
    name = options.get("id") or target
    return RunMount(kind, target, read_only, name, mode, numbers["uid"], numbers["gid"], size)


def _size(text: str, where: str) -> int:
    if not text:
        return TMPFS_BYTES
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{where} takes a size like 64m, not {text[:40]!r}")
    size = int(match[1]) * _UNITS[match[2].lower() if match[2] else None]
    return min(size, TMPFS_BYTES) if size else TMPFS_BYTES
