"""What nobody wants of a store any more, and what is looked at by somebody meanwhile."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline_containers.images.image import is_digest
from pipeline_containers.system.mountinfo import find_mounts


@dataclass(frozen=True, slots=True)
class Garbage:
    """Images by digest, and folders of layers with the bytes of disk that each gives back."""

    digests: tuple[str, ...]
    layers: Mapping[Path, int]


def mounts_by_hand() -> dict[str, list[Path]]:
    """List where images are mounted to be looked at, by digest."""
    found: dict[str, list[Path]] = {}
    for mount in find_mounts():
        if mount.kind == "overlay" and is_digest(mount.source):
            found.setdefault(mount.source, []).append(mount.place)
    return found
