"""What every builder of images does, and what a build may use."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pipeline_containers.images.image import StoredImage
from pipeline_containers.system.command import CancelFlag, OnLine
from pipeline_containers.system.units import GIB, MIB

Network = Literal["egress", "none"]
"""What a build has, the builder's own downloads too: a way to the internet, or none. Without one,
images named by `FROM` must be on the host."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What one build may use, and what it may do.

    `disk_bytes` and `disk_files` are for all that it writes, `image_bytes` for what comes of it,
    unpacked; `free_bytes` stay free on the disk, or no build goes on. `allowed_networks` are IPv4
    addresses and ranges near the host that it may reach nevertheless. `authfile` lets `FROM` name
    images of private registries: whoever may write a Dockerfile may then read all that this login
    may.
    """

    timeout_s: float = 1_800.0
    memory_bytes: int = 6 * GIB
    pids: int = 4_096
    disk_bytes: int = 20 * GIB
    disk_files: int = 1_000_000
    image_bytes: int = 10 * GIB
    free_bytes: int = 1 * GIB
    log_bytes: int = 16 * MIB
    log_tail_bytes: int = 64 * 1024
    network: Network = "egress"
    allowed_networks: tuple[str, ...] = ()
    authfile: Path | None = None
    allow_run_mounts: bool = False


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image that was built: unpacked, and where skopeo finds it, in its notation."""

    stored: StoredImage
    source: str


class Builder(Protocol):
    """Makes images from folders with a Dockerfile. Runs strangers' code."""

    def build(
        self,
        context: Path,
        reference: str,
        options: BuildOptions,
        *,
        on_line: OnLine | None = None,
        cancelled: CancelFlag | None = None,
    ) -> AbstractContextManager[BuiltImage]:
        """Build an image and name it; it can be used for as long as the block lasts.

        Raises `SourceRefused` if there is no Dockerfile or one that asks for too much, and
        `BuildFailed`, `BuildTimedOut`, `BuildOutputLimit`, `BuildLimitExceeded` or
        `BuildCancelled` when there is none.
        """
        ...

    def prune(self) -> None:
        """Drop all images and the layer cache, while no build is going on."""
        ...
