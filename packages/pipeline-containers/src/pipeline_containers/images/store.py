"""Images on this host: pulled once, each layer kept once, the unwanted collected.

    FOLDER/root/   containers-storage, filled by skopeo
    FOLDER/run/    its runtime state
    FOLDER/lock    shared by pulls; exclusive for the removal of what a killed pull left

An image is in the store when skopeo has written its record, which it does last: half a pull is no
image. It is named after its manifest's digest, which skopeo checks on the way.
"""

import fcntl
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline_containers.command import Cancelled
from pipeline_containers.errors import RegistryError, StoreError
from pipeline_containers.images.image import StoredImage, is_digest
from pipeline_containers.images.progress import OnProgress, PullProgress
from pipeline_containers.images.registry import Registry
from pipeline_containers.images.skopeo import delete_image, reason
from pipeline_containers.images.storage import Storage, stored_name

_DELETE_S = 60.0


class Store:
    """The images of one host folder; several threads and processes at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        if any(character in str(self.folder) for character in ":,+[]"):
            raise StoreError(f"{self.folder} has one of :,+[] in it, which skopeo cannot take")
        self._storage = Storage(self.folder / "root", self.folder / "run")
        self.folder.mkdir(parents=True, exist_ok=True)

    def pull(
        self,
        registry: Registry,
        repository: str,
        reference: str,
        on_progress: OnProgress | None = None,
        *,
        timeout_s: float = 900,
        cancelled: Cancelled | None = None,
    ) -> str:
        """Bring an image here, by tag or digest, unless it is here; its manifest digest.

        `RegistryError` when there is no such image, `StoreError` when it could not be written.
        """
        if is_digest(reference) and self.has(reference):
            return reference  # the registry may be down
        digest = registry.digest(repository, reference)
        if digest is None:
            raise RegistryError(f"{repository} has no {reference}: build it first")
        if self.has(digest):
            return digest
        with self._locked(fcntl.LOCK_SH):
            done = registry.pull(
                repository,
                digest,
                self._storage.name(stored_name(digest)),
                timeout_s=timeout_s,
                cancelled=cancelled,
            )
        if not done.ok:
            self.collect_orphans()
            raise StoreError(f"pulling {repository}@{digest} failed: {reason(done)}")
        if not self.has(digest):
            raise StoreError(f"{repository} gave another image than {digest}")
        if on_progress is not None:
            on_progress(PullProgress(0, 0))
        return digest

    def digests(self) -> list[str]:
        """List the images that are here and whole, by their manifests' digests."""
        return sorted(
            digest for name, digest in self._storage.names() if name == stored_name(digest)
        )

    def has(self, digest: str) -> bool:
        """Say whether an image is here and whole."""
        return digest in self.digests()

    def image(self, digest: str) -> StoredImage:
        """Give an image's layers, the top one first, and its configuration."""
        if not is_digest(digest):
            raise StoreError(f"{digest!r} is not a digest")
        for image, found in self._storage.images():
            if found == digest:
                return self._storage.load(image)
        raise StoreError(f"{digest} is not in {self.folder}: pull it first")

    def collect(self, keep: Collection[str]) -> list[str]:
        """Remove all images but those to be kept, and the layers that are only theirs; which.

        Unmount them first (`Sandbox.forget`).
        """
        removed = []
        for digest in self.digests():
            if digest not in keep:
                done = delete_image(self._storage.name(stored_name(digest)), _DELETE_S)
                if not done.ok:
                    raise StoreError(f"removing {digest} failed: {done.tail.strip()}")
                removed.append(digest)
        self.collect_orphans()
        return removed

    def collect_orphans(self) -> int:
        """Remove layers that a failed or killed pull left, unless a pull is going on; how many."""
        try:
            with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
                return self._storage.remove_orphans()
        except BlockingIOError:
            return 0

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, kind)
            yield
