"""What nobody wants of a store any more, and what is looked at by somebody meanwhile."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline_containers.images.image import is_digest
from pipeline_containers.system.mountinfo import place_of


@dataclass(frozen=True, slots=True)
class Garbage:
    """Images by digest, and folders of layers with the bytes of disk that each gives back."""

    digests: tuple[str, ...]
    layers: Mapping[Path, int]


def mounts_by_hand() -> dict[str, list[Path]]:
    """List where images are mounted to be looked at, by digest."""
    found: dict[str, list[Path]] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, source, *_ = after.split()
        if kind == "overlay" and is_digest(source):
            found.setdefault(source, []).append(place_of(before))
    return found


def disk_bytes(folder: Path) -> int:
    """Add up what a folder takes on the disk, each file once."""
    seen: set[int] = set()
    total = 0
    for parent, _, files in os.walk(folder):
        for name in ("", *files):
            status = os.lstat(os.path.join(parent, name))
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                total += status.st_blocks * 512
    return total
