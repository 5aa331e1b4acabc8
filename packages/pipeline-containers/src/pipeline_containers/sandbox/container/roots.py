"""Images made ready to be root folders.

Each is mounted once, for this process to look at: containers make an overlay of their own of the
same layers, whose files have watches and locks apart from all others'.
"""

import contextlib
import hashlib
import logging
import os
import shutil
import stat
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline_containers.errors import SandboxError
from pipeline_containers.images.image import StoredImage, is_digest
from pipeline_containers.images.mounted import mount_source
from pipeline_containers.sandbox.container.layers import (
    LayerIds,
    can_stack,
    find_layer_ids,
    give_layer,
    mount_root,
    take_layer_back,
)
from pipeline_containers.sandbox.container.places import WritablePlace, plan_volumes
from pipeline_containers.sandbox.container.skeleton import make_skeleton, takes_files
from pipeline_containers.sandbox.container.users import User, resolve_user
from pipeline_containers.sandbox.host.ids import IdMap
from pipeline_containers.system.files import FileRefused, look_at_folder, read_in_root
from pipeline_containers.system.mountinfo import unmount

_log = logging.getLogger(__name__)

_ACCOUNTS_BYTES = 1024 * 1024
_VOLUMES = ".volumes"
"""Ends the name of an image's own skeleton, with folders for its VOLUMEs to be bound over."""


@dataclass(frozen=True, slots=True)
class ImageRoot:
    """A root folder: its layers, the top one first, and where they are to be looked at together.

    `volumes` can be bound over folders of it.
    """

    place: Path
    layers: tuple[Path, ...]
    volumes: tuple[WritablePlace, ...] = ()


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
            if target.suffix != _VOLUMES:
                self._unmount(target)
        for target in folder.glob(f"*{_VOLUMES}"):
            shutil.rmtree(target)
        self.layer_ids, self.why_not_mapped = (
            find_layer_ids(folder, ids, user_namespace) if layer_ids is None else (layer_ids, "")
        )
        self.can_stack = can_stack(folder)
        self._owned = folder / "owned"
        """There if layers may have been given to the containers' ids, by whatever owner."""

    def mount(self, image: StoredImage) -> ImageRoot:
        """Return the image's root folder, mounting it when it is not yet."""
        key = _key(image)
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
        # Listed as this image: whoever collects images by hand sees that it is in use. Containers
        # are not: one that is being cleared away would keep an image that was forgotten.
        source = mount_source(image.digest, own) if own else "overlay"
        root = ImageRoot(self._folder / key, (skeleton, *image.layers))
        root.place.mkdir(exist_ok=True)
        try:
            mount_root(root.layers, root.place, None, source)
        except BaseException:
            root.place.rmdir()
            raise
        try:
            return self._with_volumes(root, image)
        except BaseException:
            self._unmount(root.place)
            raise

    def _with_volumes(self, root: ImageRoot, image: StoredImage) -> ImageRoot:
        """Find out which VOLUMEs there can be, and have the folders that they need."""
        plan = plan_volumes(root.place, image.config.volumes)
        for problem in plan.passed_over:
            _log.warning("%s: a VOLUME is passed over: %s", image.digest, problem)
        if not plan.missing:
            return replace(root, volumes=plan.places)
        skeleton = self._volumes_of(root.place)
        if skeleton.exists():  # of an earlier owner: the image's files may have other ids now
            shutil.rmtree(skeleton)
        make_skeleton(skeleton, has_files=takes_files(image.layers))
        for folder in plan.missing:
            self._make_like(root.place, skeleton, folder)
        if self.layer_ids is LayerIds.OWNED:
            give_layer(skeleton, self._ids)
        return replace(root, layers=(skeleton, *root.layers[1:]), volumes=plan.places)

    @staticmethod
    def _make_like(root: Path, skeleton: Path, missing: str) -> None:
        """Make a folder in a skeleton; those above it are as the image has them, or made too."""
        parents = list(Path(missing.lstrip("/")).parents)[-2::-1]
        for folder in (*map(str, parents), missing.lstrip("/")):
            place = skeleton / folder
            if place.exists():
                continue
            place.mkdir()
            try:
                status, _ = look_at_folder(root, folder)
            except FileNotFoundError:
                place.chmod(0o755)
            else:
                os.chown(place, status.st_uid, status.st_gid)
                place.chmod(stat.S_IMODE(status.st_mode))

    @staticmethod
    def _volumes_of(place: Path) -> Path:
        return place.with_suffix(_VOLUMES)

    def _unmount(self, target: Path) -> None:
        unmount(target)
        with contextlib.suppress(OSError):
            target.rmdir()
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._volumes_of(target))


def user_of(image: StoredImage, root: Path) -> User:
    """Resolve the image's USER by the accounts in its root folder."""
    return resolve_user(image.config.user, _read(root, "etc/passwd"), _read(root, "etc/group"))


def _read(root: Path, path: str) -> str:
    try:
        return read_in_root(root, path, _ACCOUNTS_BYTES).decode(errors="replace")
    except (FileNotFoundError, FileRefused):
        return ""


def _prefix(digest: str) -> str:
    return hashlib.sha256(digest.encode()).hexdigest()[:16] + "-"


def _key(image: StoredImage) -> str:
    """Name a root by what it is made of: a digest may be a made-up one, of a plain folder."""
    made_of = "\0".join((*map(str, image.layers), "", *image.config.volumes))
    return _prefix(image.digest) + hashlib.sha256(made_of.encode()).hexdigest()[:16]
