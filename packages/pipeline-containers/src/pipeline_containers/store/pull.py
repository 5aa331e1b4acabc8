"""One image on its way here: what it is made of is read, then what is missing is fetched.

What has arrived whole stays for the next try: a layer is fetched once, however often it takes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pipeline_containers.errors import ContainersError, RegistryError, StoreError
from pipeline_containers.images.manifest import Manifest, Part, parse_manifest
from pipeline_containers.images.pull_limits import PullLimits
from pipeline_containers.images.skopeo import LOOK_S, reason
from pipeline_containers.images.skopeo_errors import is_disk_full, is_passing, remedy
from pipeline_containers.images.storage import Storage, stored_name
from pipeline_containers.registries.registry import ImageSource
from pipeline_containers.store.progress import OnProgress, PullProgress
from pipeline_containers.store.watch import CopyWatch, disk_full, disk_trouble
from pipeline_containers.system.command import OnStart, Stop
from pipeline_containers.system.deadline import Deadline, DeadlineErrors

_LONGEST_PAUSE_S = 30.0

_Got = TypeVar("_Got")


PULL_ERRORS = DeadlineErrors(
    lambda _: StoreError("it took longer than it may"), lambda: StoreError("it was cancelled")
)


class Pull:
    """An image of a registry, by tag or digest, and how patiently it is fetched."""

    def __init__(
        self,
        registry: ImageSource,
        repository: str,
        reference: str,
        storage: Storage,
        limits: PullLimits,
        deadline: Deadline,
        on_progress: OnProgress | None,
        on_start: OnStart | None,
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._reference = reference
        self._storage = storage
        self._limits = limits
        self._deadline = deadline
        self._on_progress = on_progress
        self._on_start = on_start
        self._told = -1
        self._total_bytes = 0

    def manifest(self) -> Manifest:
        """Read what the image is made of.

        Raises `RegistryError` if it is none that may come here.
        """
        content = self._tried(self._look, lambda: 0)
        if content is None:
            raise RegistryError(f"{self._repository} has no {self._reference}: build it first")
        manifest = parse_manifest(content)
        manifest.check(self._limits)
        return manifest

    def missing(self, manifest: Manifest) -> list[Part]:
        """List the layers that are not here, each once."""
        here = self._storage.layer_sizes()
        return list(
            {part.digest: part for part in manifest.layers if part.digest not in here}.values()
        )

    def brought_nothing(self, manifest: Manifest) -> bool:
        """Return whether as much is missing as when the pull was announced."""
        return self.left_bytes(manifest) >= self._total_bytes

    def left_bytes(self, manifest: Manifest) -> int:
        """Count what has to come yet."""
        return sum(layer.size_bytes for layer in self.missing(manifest))

    def announce(self, manifest: Manifest) -> None:
        """Tell how much is to come."""
        self._total_bytes = self.left_bytes(manifest)
        self._report(0)

    def fetch(self, manifest: Manifest, folder: Path) -> None:
        """Copy what is missing into the storage, over a folder for blobs of its own."""
        self._tried(lambda: self._copy(manifest, folder), lambda: len(self.missing(manifest)))

    def finish(self) -> None:
        """Tell that the image is here, and whole."""
        if self._on_progress is not None:
            self._on_progress(PullProgress(self._total_bytes, self._total_bytes))

    def _look(self) -> bytes | None:
        return self._registry.manifest(
            self._repository,
            self._reference,
            timeout_s=min(LOOK_S, self._deadline.left_s()),
            cancelled=self._deadline.cancelled,
        )

    def _copy(self, manifest: Manifest, folder: Path) -> None:
        left_bytes = self.left_bytes(manifest)
        here = self._storage.layer_sizes()
        before_bytes = max(0, self._total_bytes - left_bytes)
        # What is missing lies there packed, and is then unpacked, which takes as much at least.
        if trouble := disk_trouble(folder, self._limits, 2 * left_bytes):
            raise trouble
        watch = CopyWatch(
            folder,
            self._limits,
            left_bytes,
            sum(here.get(layer.digest, 0) for layer in manifest.layers),
            lambda arrived: self._report(before_bytes + arrived),
            self._deadline.cancelled,
            self._on_start,
        )
        done = self._registry.pull(
            self._repository,
            manifest.digest,
            self._storage.name(stored_name(manifest.digest)),
            timeout_s=self._deadline.left_s(),
            watch=watch,
        )
        if done.ok:
            return
        if watch.failure is not None:
            raise watch.failure
        if done.stop is Stop.TIMED_OUT:
            raise StoreError(
                "it took longer than it may: it had "
                f"{max(0, self._told)} bytes of {self._total_bytes}"
            )
        if done.stop is Stop.CANCELLED:
            raise StoreError("it was cancelled")
        if is_disk_full(done):
            raise disk_full(folder, self._limits.free_bytes + 2 * left_bytes)
        raise RegistryError(f"{reason(done)}{remedy(done)}", passing=is_passing(done))

    def _tried(self, attempt: Callable[[], _Got], left: Callable[[], int]) -> _Got:
        """Try, and again after a pause for what may pass, as long as it gets further."""
        pause_s, tries, best = self._limits.pause_s, 0, left()
        while True:
            try:
                return attempt()
            except RegistryError as error:
                tries += 1
                if (now_left := left()) < best:
                    pause_s, tries, best = self._limits.pause_s, 1, now_left
                if not error.passing or tries >= self._limits.tries:
                    raise
                try:
                    self._deadline.pause(pause_s)
                except ContainersError as end:
                    raise StoreError(f"{end}; before that, {error}") from error
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _report(self, done_bytes: int) -> None:
        done_bytes = min(done_bytes, self._total_bytes - 1)  # the whole is told by `finish`
        if done_bytes > self._told:
            self._told = done_bytes
            if self._on_progress is not None:
                self._on_progress(PullProgress(done_bytes, self._total_bytes))
