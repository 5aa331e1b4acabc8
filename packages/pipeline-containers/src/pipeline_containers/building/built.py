"""What a build left, taken as it comes from a stranger: an image in a file or folder of his.

It is looked at when nothing of the build runs any more, and pulled into a store of this host, as
from a registry that may lie. Layers that came with another build are there already.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from pipeline_containers.building.builder import BuildOptions, BuiltImage
from pipeline_containers.errors import ImageInvalid, RegistryError
from pipeline_containers.images.pull_limits import PullLimits
from pipeline_containers.images.skopeo import LOOK_S, CopyWatcher, read_manifest, reason, watch_copy
from pipeline_containers.store.store import Store
from pipeline_containers.system.command import CancelFlag, Completed
from pipeline_containers.system.deadline import Deadline

_MOST_FILES = 300
"""Of an image in a folder: a manifest, a configuration, an index, and its layers."""


def take(
    place: Path, source: str, folder: Path, options: BuildOptions, deadline: Deadline
) -> BuiltImage:
    """Pull the image at `place`, which skopeo finds as `source`, into the store in `folder`.

    Raises `ImageInvalid` if it is none, or too large.
    """
    _check_files(place)
    limits = PullLimits(
        compressed_bytes=options.image_bytes,
        unpacked_bytes=options.image_bytes,
        free_bytes=options.free_bytes,
        tries=1,
    )
    store = Store(folder, limits)
    try:
        digest = store.pull(
            _Left(source),
            "image",
            "built",
            timeout_s=deadline.left_s(),
            cancelled=deadline.cancelled,
        )
    except RegistryError as error:
        raise ImageInvalid(f"what was built is of no use: {error}") from error
    finally:
        deadline.left_s()
    return BuiltImage(store.image(digest), source)


def _check_files(place: Path) -> None:
    """Refuse what leads elsewhere, and what is no file."""
    count, places = 0, [place]
    while places:
        here = places.pop()
        mode = here.lstat().st_mode
        if stat.S_ISDIR(mode):
            places += [here / name for name in os.listdir(here)]
        elif not stat.S_ISREG(mode):
            raise ImageInvalid(f"what was built has {here.name!r} in it, which is no file")
        count += 1
        if count > _MOST_FILES:
            raise ImageInvalid(f"what was built is in more than {_MOST_FILES} files")


@dataclass(frozen=True, slots=True)
class _Left:
    """The one image that a build left, in the place of a registry."""

    source: str
    place: str = "the build"

    def manifest(
        self,
        repository: str,
        reference: str,
        *,
        timeout_s: float = LOOK_S,
        cancelled: CancelFlag | None = None,
    ) -> bytes | None:
        """Read its manifest."""
        done = read_manifest(self.source, timeout_s=timeout_s, cancelled=cancelled)
        if not done.ok:
            raise RegistryError(reason(done))
        return done.stdout.encode()

    def pull(
        self,
        repository: str,
        digest: str,
        destination: str,
        *,
        timeout_s: float,
        watch: CopyWatcher,
    ) -> Completed:
        """Copy it."""
        options = ["--preserve-digests"]
        return watch_copy(self.source, destination, options, timeout_s=timeout_s, watch=watch)
