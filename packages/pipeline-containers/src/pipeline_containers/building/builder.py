"""Builders of images: the interface, and the table of them."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pipeline_containers.command import Cancelled, OnLine
from pipeline_containers.errors import ContainersError
from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox.limits import GIB, MIB

Network = Literal["private", "none"]
"""What a build has: a network of its own behind the host's, or none. Without one, images named by
`FROM` must be on the host."""


@dataclass(frozen=True, slots=True)
class Caps:
    """What a builder can do."""

    network_off: bool
    reproducible: bool
    concurrent: bool
    plain_http: bool


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What one build may use, and what it may do."""

    timeout_s: float = 1_800.0
    memory_bytes: int = 6 * GIB
    log_bytes: int = 16 * MIB
    log_tail_bytes: int = 64 * 1024
    network: Network = "private"
    allow_syntax_directive: bool = False
    allow_run_mounts: bool = False


class Builder(Protocol):
    """Makes images from folders with a Dockerfile. Runs strangers' code."""

    @property
    def caps(self) -> Caps:
        """Say what it can do."""
        ...

    def build(
        self,
        context: Path,
        reference: str,
        options: BuildOptions,
        *,
        on_line: OnLine | None = None,
        cancelled: Cancelled | None = None,
    ) -> tuple[str, str]:
        """Build an image and name it; its id, and the end of the log.

        `BuildFailed`, `BuildTimedOut`, `BuildOutputLimit` or `BuildCancelled` when there is none.
        """
        ...

    def inspect(self, image: str) -> StoredImage:
        """Give the layers and the configuration of an image that it built, by its id."""
        ...

    def source(self, image: str) -> str:
        """Name an image that it built the way skopeo takes it, to be pushed from."""
        ...

    def prune(self) -> None:
        """Drop all images and the layer cache, while no build is going on."""
        ...


def open_builder(kind: str, folder: Path, base_images: Path | None = None) -> Builder:
    """Open a builder of a kind (`auto`: the first that is installed) with a state folder.

    `base_images` is a containers-storage root that is only read: `FROM` finds its images in it
    without any network.
    """
    if kind == "auto":
        kind = next((name for name in BUILDERS if shutil.which(name)), "buildah")
    if kind not in BUILDERS:
        raise ContainersError(f"builder {kind!r} is not one of: auto, {', '.join(BUILDERS)}")
    return BUILDERS[kind](folder, base_images)


def _open_buildah(folder: Path, base_images: Path | None) -> Builder:
    from pipeline_containers.building.buildah import Buildah

    return Buildah(folder, base_images)


BUILDERS: Mapping[str, Callable[[Path, Path | None], Builder]] = {"buildah": _open_buildah}
"""How each builder is opened, the preferred first: `img` joins here, before buildah."""
