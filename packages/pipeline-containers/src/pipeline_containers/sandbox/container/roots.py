"""Images made ready to be root folders.

Each is mounted once, for this process to look at: containers make an overlay of their own of the
same layers, whose files have watches and locks apart from all others'.
"""

import contextlib
import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline_containers.errors import SandboxError
from pipeline_containers.images.image import StoredImage, is_digest
from pipeline_containers.sandbox.container.layers import (
    LayerIds,
    find_layer_ids,
    give_layer,
    mount_root,
    take_layer_back,
)
from pipeline_containers.sandbox.container.skeleton import make_skeleton, takes_files
from pipeline_containers.sandbox.container.users import User, resolve_user
from pipeline_containers.sandbox.host.ids import IdMap
from pipeline_containers.system.files import FileRefused, read_in_root
from pipeline_containers.system.mountinfo import unmount

_ACCOUNTS_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ImageRoot:
    """A root folder: its layers, the top one first, and where they are to be looked at together.

    `source` is what the host lists mounts of it by.
    """

    place: Path
    layers: tuple[Path, ...]
    source: str


class Roots:
    """The images of one sandbox."""

    def __init__(
        self,
        folder: Path,
        ids: IdMap,
        user_namespace: int | None,
        layer_ids: LayerIds | None = None,
    ) -> None:
        """Let layers' files come to belong to containers' ids as `layer_ids` says.

        Without that: as this host can, which is tried with a user namespace of such ids.
        """
        self._folder = folder
        self._ids = ids
        self._mounted: dict[str, ImageRoot] = {}
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        for target in folder.glob("*-*"):  # a dead owner's
            self._unmount(target)
        self.layer_ids, self.why_not_mapped = (
            find_layer_ids(folder, ids, user_namespace) if layer_ids is None else (layer_ids, "")
        )
        self._owned = folder / "owned"
        """There if layers may have been given to the containers' ids, by whatever owner."""

    def mount(self, image: StoredImage) -> ImageRoot:
        """Return the image's root folder, mounting it when it is not yet."""
        key = _key(image.digest, image.layers)
        with self._lock:
            if key not in self._mounted:
                self._mounted[key] = self._mount(key, image)
            return self._mounted[key]

    def forget(self, digest: str) -> None:
        """Unmount every root of an image; runs that still have it keep it to their end."""
        with self._lock:
            for key in [key for key in self._mounted if key.startswith(_prefix(digest))]:
                self._unmount(self._mounted.pop(key).place)

    def close(self) -> None:
        """Unmount all."""
        with self._lock:
            while self._mounted:
                self._unmount(self._mounted.popitem()[1].place)

    def _mount(self, key: str, image: StoredImage) -> ImageRoot:
        if not image.layers:
            raise SandboxError(f"{image.digest} has no layers: there is nothing to run")
        has_files = takes_files(image.layers)
        skeleton = self._folder / ("skeleton" if has_files else "mountpoints")
        make_skeleton(skeleton, has_files=has_files)
        # What a store has unpacked is the worker's; a folder of somebody else stays theirs.
        own = image.layers if is_digest(image.digest) else ()
        if self.layer_ids is LayerIds.OWNED:
            self._owned.touch()
            for layer in (skeleton, *own):
                give_layer(layer, self._ids)
        elif self._owned.exists():  # by a kernel that could not map them
            for layer in (skeleton, *own):
                take_layer_back(layer, self._ids)
        # listed by its digest: whoever collects images by hand sees that it is in use
        source = image.digest if is_digest(image.digest) else "overlay"
        root = ImageRoot(self._folder / key, (skeleton, *image.layers), source)
        root.place.mkdir(exist_ok=True)
        try:
            mount_root(root.layers, root.place, None, source)
        except BaseException:
            root.place.rmdir()
            raise
        return root

    def _unmount(self, target: Path) -> None:
        unmount(target)
        with contextlib.suppress(OSError):
            target.rmdir()


def user_of(image: StoredImage, root: Path) -> User:
    """Resolve the image's USER by the accounts in its root folder."""
    if not image.config.user:
        return User()
    return resolve_user(image.config.user, _read(root, "etc/passwd"), _read(root, "etc/group"))


def _read(root: Path, path: str) -> str:
    try:
        return read_in_root(root, path, _ACCOUNTS_BYTES).decode(errors="replace")
    except (FileNotFoundError, FileRefused):
        return ""


def _prefix(digest: str) -> str:
    return hashlib.sha256(digest.encode()).hexdigest()[:16] + "-"


def _key(digest: str, layers: Iterable[Path]) -> str:
    """Name a root by what it is made of: a digest may be a made-up one, of a plain folder."""
    made_of = "\0".join(map(str, layers))
    return _prefix(digest) + hashlib.sha256(made_of.encode()).hexdigest()[:16]
