"""What a build left, taken as it comes from a stranger: an image in a file or folder of his.

It is looked at when nothing of the build runs any more, held to limits, and unpacked as a pull's.
"""

import os
import stat
from pathlib import Path

from pipeline_containers.building.builder import BuildOptions, BuiltImage
from pipeline_containers.errors import ImageInvalid, RegistryError, StoreError
from pipeline_containers.images.manifest import Manifest, parse_manifest
from pipeline_containers.images.pull_limits import PullLimits
from pipeline_containers.images.skopeo import read_manifest, reason, watch_copy
from pipeline_containers.images.storage import Storage, stored_name
from pipeline_containers.store.watch import CopyWatch, too_large
from pipeline_containers.system.deadline import Deadline

_MOST_FILES = 300
"""Of an image in a folder: a manifest, a configuration, an index, and its layers."""


def take(
    place: Path, source: str, folder: Path, options: BuildOptions, deadline: Deadline
) -> BuiltImage:
    """Unpack the image at `place`, which skopeo finds as `source`, into a store in `folder`.

    Raises `ImageInvalid` if it is none, or too large.
    """
    _check_files(place)
    limits = PullLimits(
        compressed_bytes=options.image_bytes,
        unpacked_bytes=options.image_bytes,
        free_bytes=options.free_bytes,
    )
    try:
        manifest = _manifest(source, limits, deadline)
        storage = Storage(folder / "root", folder / "run")
        _unpack(source, manifest, storage, limits, deadline)
    except RegistryError as error:
        raise ImageInvalid(f"what was built cannot be taken: {error}") from error
    (image, _), *_ = storage.images()
    return BuiltImage(storage.load(image), source)


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


def _manifest(source: str, limits: PullLimits, deadline: Deadline) -> Manifest:
    done = read_manifest(source, timeout_s=deadline.left_s(), cancelled=deadline.cancelled)
    if not done.ok:
        deadline.left_s()
        raise StoreError(f"what was built cannot be read: {reason(done)}")
    manifest = parse_manifest(done.stdout.encode())
    manifest.check(limits)
    return manifest


def _unpack(
    source: str, manifest: Manifest, storage: Storage, limits: PullLimits, deadline: Deadline
) -> None:
    folder = storage.root.parent
    folder.mkdir()
    (blobs := folder / "blobs").mkdir()
    announced = sum(layer.size_bytes for layer in manifest.layers)
    watch = CopyWatch(blobs, limits, announced, 0, lambda _: None, deadline.cancelled, None)
    name = storage.name(stored_name(manifest.digest))
    done = watch_copy(source, name, (), timeout_s=deadline.left_s(), watch=watch)
    if watch.failure is not None:
        raise watch.failure
    if not done.ok:
        deadline.left_s()
        raise StoreError(f"what was built cannot be unpacked: {reason(done)}")
    if storage.unpacked_bytes(manifest.digest) > limits.unpacked_bytes:
        raise too_large(limits)
