"""Images that are mounted on this host, as the host lists their mounts.

Each mount of an image is listed by its digest, and by which copy of it that is: stores of other
workers on the host have the same image, and what they have mounted keeps no other store from
removing its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline_containers.images.image import is_digest
from pipeline_containers.system.mountinfo import find_mounts


@dataclass(frozen=True, slots=True)
class MountedImage:
    """A mount of an image; `copy` is as `copy_of` says."""

    digest: str
    copy: str
    place: Path


def copy_of(layers: Sequence[Path]) -> str:
    """Name the copy of an image that has these layers: by its top layer's folder itself."""
    try:
        status = layers[0].stat()
    except FileNotFoundError:
        return "gone"  # it cannot be mounted either
    return f"{status.st_dev:x}-{status.st_ino:x}"


def mount_source(digest: str, layers: Sequence[Path]) -> str:
    """Return what the host is to list a mount of an image by; the layers are the store's own."""
    return f"{digest}@{copy_of(layers)}"


def mounted_images() -> Iterator[MountedImage]:
    """List what is mounted of images, of all stores."""
    for mount in find_mounts():
        digest, sign, copy = mount.source.partition("@")
        if mount.kind == "overlay" and sign and is_digest(digest):
            yield MountedImage(digest, copy, mount.place)
