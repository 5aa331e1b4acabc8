"""Images on this host: pulled once, each layer kept once, the unwanted collected.

    FOLDER/root/   containers-storage, filled by skopeo
    FOLDER/run/    its runtime state
    FOLDER/tmp/    blobs on their way
    FOLDER/unfinished/  pulls to be gone on with
    FOLDER/empty/  the lowest folder of what is mounted by hand
    FOLDER/lock    shared by pulls; exclusive for the removal of what a failed or killed one left

An image is in the store when skopeo has written its record, which it does last: half a pull is no
image. It is named after its manifest's digest, which skopeo checks on the way. Whole layers of a
failed pull stay for an hour, for the next try, unless the image is not wanted any more or the disk
is full. What the disk did not have yet when the host died (`settle`) is removed when the store is
opened again.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline_containers.errors import RegistryError, SandboxError, StoreError
from pipeline_containers.images.image import StoredImage, is_digest
from pipeline_containers.images.manifest import Manifest
from pipeline_containers.images.mounted import copy_of, mount_source, mounted_images
from pipeline_containers.images.pull_limits import PullLimits
from pipeline_containers.images.skopeo import delete_image, reason
from pipeline_containers.images.storage import Storage, stored_name
from pipeline_containers.registries.registry import ImageSource
from pipeline_containers.sandbox.container.layers import mount_root
from pipeline_containers.store.garbage import Garbage
from pipeline_containers.store.progress import OnProgress
from pipeline_containers.store.pull import PULL_ERRORS, Pull
from pipeline_containers.store.sharing import Sharing
from pipeline_containers.store.unfinished import Unfinished
from pipeline_containers.store.watch import disk_trouble, too_large
from pipeline_containers.system import syscalls
from pipeline_containers.system.command import CancelFlag, OnStart
from pipeline_containers.system.deadline import Deadline
from pipeline_containers.system.disk import folder_bytes
from pipeline_containers.system.mountinfo import unmount

_DELETE_S = 60.0


class Store:
    """The images of one host folder; several threads and processes at a time."""

    def __init__(
        self, folder: Path, limits: PullLimits | None = None, on_start: OnStart | None = None
    ) -> None:
        """`on_start` is told which process copies, from the thread that pulls."""
        self.folder = folder.resolve()
        if any(character in str(self.folder) for character in ":,+[]"):
            raise StoreError(f"{self.folder} has one of :,+[] in it, which skopeo cannot take")
        self._limits = limits or PullLimits()
        self._on_start = on_start
        self._storage = Storage(self.folder / "root", self.folder / "run")
        self._tmp = self.folder / "tmp"
        self._unfinished = Unfinished(self.folder / "unfinished")
        self._sharing = Sharing()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_doubtful()

    def pull(
        self,
        registry: ImageSource,
        repository: str,
        reference: str,
        on_progress: OnProgress | None = None,
        *,
        timeout_s: float = 900,
        cancelled: CancelFlag | None = None,
    ) -> str:
        """Bring an image here, by tag or digest, unless it is here; its manifest digest.

        Raises `RegistryError` when there is no such image, or what comes is not what it should be;
        raises `StoreError` when it could not be written, took too long or was cancelled.
        """
        if is_digest(reference) and self.has(reference):
            return reference  # the registry may be down
        deadline = Deadline(timeout_s, cancelled, PULL_ERRORS)
        pull = Pull(
            registry,
            repository,
            reference,
            self._storage,
            self._limits,
            deadline,
            on_progress,
            self._on_start,
        )
        try:
            manifest = pull.manifest()
            if not self.has(manifest.digest):
                self._fetch(pull, manifest, deadline)
            pull.finish()
            return manifest.digest
        except (RegistryError, StoreError) as error:
            sign = "@" if is_digest(reference) else ":"
            what = f"pulling {repository}{sign}{reference} from {registry.place} failed"
            raise type(error)(f"{what}: {error}") from error

    def settle(self) -> None:
        """Wait until the disk has what was pulled; from then on it outlives the host's crash.

        Apart from `pull`, for jobs can have an image before. Raises `OSError` if the disk fails.
        """
        landed = self._unfinished.digests().intersection(self.digests())
        if landed:
            folder = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                syscalls.syncfs(folder)
            finally:
                os.close(folder)
        for digest in landed:
            self._unfinished.end(digest)

    def digests(self) -> list[str]:
        """List the images that are here and whole, by their manifests' digests."""
        return sorted(
            digest for name, digest in self._storage.names() if name == stored_name(digest)
        )

    def has(self, digest: str) -> bool:
        """Return whether an image is here and whole."""
        return digest in self.digests()

    def image(self, digest: str) -> StoredImage:
        """Return an image's layers, the top one first, and its configuration."""
        return self._storage.load(self._id(digest))

    def layers_of(self, digest: str) -> tuple[Path, ...]:
        """Return an image's layers alone, whatever its configuration is."""
        return self._storage.layers_of(self._id(digest))

    def _id(self, digest: str) -> str:
        if not is_digest(digest):
            raise StoreError(f"{digest!r} is not a digest")
        for image, found in self._storage.images():
            if found == digest:
                return image
        raise StoreError(f"{digest} is not in {self.folder}: pull it first")

    def mount(self, digest: str, target: Path) -> None:
        """Mount an image as a read-only root at an empty folder, to look at; ids as they are."""
        layers = self.layers_of(digest)
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise StoreError(f"{target} is not empty: give an empty folder, or a new one")
        bottom = self.folder / "empty"  # of a single layer there is no overlay
        bottom.mkdir(exist_ok=True)
        try:
            source = mount_source(digest, layers)
            mount_root((*layers, bottom), target.resolve(), None, source)
        except SandboxError as error:
            is_forbidden = isinstance(error.__cause__, PermissionError)
            why = "only root can mount" if is_forbidden else error
            raise StoreError(f"{digest} cannot be mounted: {why}") from error

    @staticmethod
    def unmount(target: Path) -> str:
        """Unmount what `mount` mounted at a folder; its digest."""
        for mounted in mounted_images():
            if mounted.place == target.resolve():
                unmount(mounted.place)
                return mounted.digest
        raise StoreError(f"no image is mounted at {target}")

    def layers(self) -> frozenset[Path]:
        """List the folders of all layers, as `image` gives them."""
        return frozenset(folder / "diff" for folder in self._storage.layers())

    def garbage(self, keep: Collection[str]) -> Garbage:
        """Return what `collect` would remove."""
        here = self.digests()
        kept = {*keep, *self._mounted(here)}
        used = {layer for digest in here if digest in kept for layer in self.layers_of(digest)}
        layers = {
            folder: folder_bytes(folder)
            for folder in self._storage.layers()
            if folder / "diff" not in used
        }
        return Garbage(tuple(digest for digest in here if digest not in kept), layers)

    def collect(self, keep: Collection[str]) -> list[str]:
        """Remove all images but those to be kept, and the layers that are only theirs; which.

        To be kept is also what a failed pull of such an image has brought. Unmount images before
        (`Sandbox.forget`); what somebody has mounted by hand stays.
        """
        removed = []
        here = self.digests()
        keep = {*keep, *self._mounted(here)}
        for digest in here:
            if digest not in keep:
                self._remove(digest)
                removed.append(digest)
        self._clear(keep)
        return removed

    def collect_orphans(self) -> int:
        """Remove layers that no image has, half-written or of use to no unfinished pull; how many.

        None while a pull is going on: the last one to end sees to it.
        """
        return self._clear()

    def _mounted(self, digests: Collection[str]) -> set[str]:
        """Return those of these images of which this very copy is mounted anywhere."""
        mounted = {(one.digest, one.copy) for one in mounted_images()}
        known = {digest for digest, _ in mounted}.intersection(digests)
        return {digest for digest in known if (digest, copy_of(self.layers_of(digest))) in mounted}

    def _fetch(self, pull: Pull, manifest: Manifest, deadline: Deadline) -> None:
        """Lay an image down; what failed leaves whole layers at most."""
        if disk_trouble(self.folder, self._limits, 2 * pull.left_bytes(manifest)):
            self._clear({manifest.digest, *self.digests()})
        is_first = False
        try:
            with self._locked(fcntl.LOCK_SH), self._aside() as folder:
                pull.announce(manifest)
                is_first = self._unfinished.begin(manifest)
                with self._sharing.held(lambda: self._wanted(pull, manifest), deadline.left_s):
                    if not self.has(manifest.digest):
                        pull.fetch(manifest, folder)
            if not self.has(manifest.digest):
                raise StoreError(f"it gave another image than {manifest.digest}")
            if self._storage.unpacked_bytes(manifest.digest) > self._limits.unpacked_bytes:
                self._remove(manifest.digest)
                raise too_large(self._limits)
        finally:
            is_here = self.has(manifest.digest)
            if is_first and not is_here and pull.brought_nothing(manifest):
                self._unfinished.end(manifest.digest)
            self.collect_orphans()

    def _clear(self, keep: Collection[str] | None = None) -> int:
        """Remove orphans; with `keep`, what was brought for other images is no use to any pull.

        Never the note of a pull that is going on: what it lays down may not be on the disk.
        """
        try:
            with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
                if keep is not None:
                    self._unfinished.keep(keep)
                shutil.rmtree(self._tmp, ignore_errors=True)
                return self._storage.remove_orphans(self._unfinished.layers())
        except BlockingIOError:
            return 0

    def _remove_doubtful(self) -> None:
        """Remove what a crash of the host may have kept from the disk."""
        if not self._unfinished.doubtful():
            return
        with suppress(BlockingIOError), self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
            here = self.digests()
            for digest in self._unfinished.doubtful():
                if digest in here:
                    self._remove(digest)
                self._unfinished.end(digest)
        self.collect_orphans()

    def _wanted(self, pull: Pull, manifest: Manifest) -> set[str]:
        """Return what has to come, the image itself too, by digest."""
        if self.has(manifest.digest):
            return set()
        return {manifest.digest, *(layer.digest for layer in pull.missing(manifest))}

    def _remove(self, digest: str) -> None:
        done = delete_image(self._storage.name(stored_name(digest)), _DELETE_S)
        if not done.ok:
            raise StoreError(f"removing {digest} failed: {reason(done)}")

    @contextmanager
    def _aside(self) -> Iterator[Path]:
        self._tmp.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._tmp) as folder:
            yield Path(folder)

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, kind)
            yield
