"""Wanted versions to proved images, in the background, while jobs run on others.

A version is ready when its image is here, whole, and has been tried; until then, and whatever
fails on the way, what was ready before goes on serving. What is kept is what is wanted, or in use
by a job that still runs; the rest is collected, when nothing is being prepared.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from pipeline_containers.errors import ContainersError, RegistryError
from pipeline_containers.images.image import StoredImage
from pipeline_containers.images.manifest import digest_of
from pipeline_containers.registries.registry import Registry
from pipeline_containers.store.store import Store
from pipeline_containers.system.command import CancelFlag
from pipeline_protocol.channels import CHANNELS
from pipeline_protocol.settings import Credentials, Settings, WantedVersion
from pipeline_worker.events import Event
from pipeline_worker.thread_pool import ThreadPool
from pipeline_worker.versions.memory_file import MemoryFile
from pipeline_worker.versions.preparing import PreparingVersion, explain
from pipeline_worker.versions.registry import OpenRegistry
from pipeline_worker.versions.retention import Memory

_log = logging.getLogger(__name__)

AT_A_TIME = 3
"""Versions: one that hangs leaves the others their way."""
_CLOSE_S = 10.0

Key = tuple[str, str]
"""Track and version."""

Prove = Callable[[StoredImage, CancelFlag], None]
"""Tries an image. Raises ContainersError or OSError if it does not do."""


class Preparer(Protocol):
    """What a worker's core has its versions prepared by."""

    def report_to(self, post: Callable[[Event], None]) -> None:
        """Say how far versions are there, from any thread."""

    def adopt(self, settings: Settings, credentials: Credentials | None) -> None:
        """Work by these settings from now on."""

    def prepare(self, wanted: WantedVersion) -> None:
        """Get a version ready, in the background."""

    def keep(self, versions: Iterable[WantedVersion], digests: Iterable[str] = ()) -> None:
        """Forget every version but these; leave the images of these digests alone, too."""

    def remember(self, memory: Memory) -> None:
        """Write down what the next start is to know."""


class NoVersions:
    """Of builders: they run no versions."""

    def report_to(self, post: Callable[[Event], None]) -> None:
        """Nothing is ever reported."""

    def adopt(self, settings: Settings, credentials: Credentials | None) -> None:
        """Nothing depends on the settings."""

    def prepare(self, wanted: WantedVersion) -> None:
        """Refuse: the router sends builders no versions."""
        raise ValueError(f"builders prepare no versions, not even {wanted.version}")

    def keep(self, versions: Iterable[WantedVersion], digests: Iterable[str] = ()) -> None:
        """Nothing is there to be forgotten."""

    def remember(self, memory: Memory) -> None:
        """Nothing is kept that would have to be known again."""


class VersionManager:
    """The versions of one channel on this host."""

    def __init__(
        self,
        channel: str,
        store: Store,
        prove: Prove,
        forget: Callable[[str], None],
        notes: MemoryFile,
    ) -> None:
        """Use `store` for images; `forget` is told a digest before its layers are removed.

        `notes` is where the next start finds what it is to know.
        """
        self._tool = CHANNELS[channel].tool or "{track}"
        self._channel = channel
        self._store = store
        self._prove = prove
        self._forget = forget
        self._notes = notes
        self._settings = Settings()
        self._registry = OpenRegistry()
        self._post: Callable[[Event], None] = lambda _: None
        self._lock = threading.Condition()
        self._wanted: dict[Key, str | None] = {}
        self._underway: dict[Key, PreparingVersion] = {}
        self._here: dict[Key, str] = {}
        """What a wanted version was last found to be: what has come of it is not fetched again."""
        self._ready: dict[Key, StoredImage] = {}
        self._unwanted: set[str] = set()
        """Digests that are kept all the same."""
        self._used: Counter[str] = Counter()
        self._preparing = 0
        self._collecting = False
        self._gc_pending = False
        self._threads = ThreadPool("release", AT_A_TIME)

    def report_to(self, post: Callable[[Event], None]) -> None:
        """Say how far versions are there, from any thread."""
        self._post = post

    def adopt(self, settings: Settings, credentials: Credentials | None) -> None:
        """Work by these settings from the next version on."""
        self._settings = settings
        self._registry.adopt(settings, credentials)

    def prepare(self, wanted: WantedVersion) -> None:
        """Get a version ready, in the background; an attempt that is under way is given up."""
        release = PreparingVersion(wanted, self._post)
        with self._lock:
            former = self._underway.get(release.key)
            self._underway[release.key] = release
            self._wanted[release.key] = wanted.digest
            self._preparing += 1
        if former is not None:
            former.cancelled.set()
        self._threads.submit(lambda: self._carry_out(release))

    def keep(self, versions: Iterable[WantedVersion], digests: Iterable[str] = ()) -> None:
        """Forget every version but these; what still runs keeps its image until it ends.

        Images of `digests` stay, whether a version of these is one or not.
        """
        with self._lock:
            self._unwanted = set(digests)
            self._wanted = {(one.track, one.version): one.digest for one in versions}
            for key in self._underway.keys() - self._wanted.keys():
                self._underway.pop(key).cancelled.set()
            for known in (self._ready, self._here):
                for key in known.keys() - self._wanted.keys():
                    del known[key]
            self._gc_pending = True
        self._threads.submit(self._collect)

    def remember(self, memory: Memory) -> None:
        """Write down what the next start is to know, in the background."""
        self._notes.write(memory)

    @contextmanager
    def use(self, track: str, version: str) -> Iterator[StoredImage | None]:
        """Return a ready version's image, held while the block lasts; None if it is not."""
        with self._lock:
            image = self._ready.get((track, version))
            if image is not None:
                self._used[image.digest] += 1
        try:
            yield image
        finally:
            if image is not None:
                self._let_go(image.digest)

    def is_wanted(self, track: str, version: str) -> bool:
        """Return whether a version is to be had here, ready or not."""
        with self._lock:
            return (track, version) in self._wanted

    def close(self) -> None:
        """Give up what is being prepared; begin nothing more."""
        with self._lock:
            for release in self._underway.values():
                release.cancelled.set()
        self._notes.close(_CLOSE_S)
        if not self._threads.close(_CLOSE_S):
            _log.warning("what is being prepared does not end: leaving it behind")

    def _let_go(self, digest: str) -> None:
        with self._lock:
            self._used[digest] -= 1
            if self._used[digest] or digest in self._kept():
                return
            self._gc_pending = True
        self._threads.submit(self._collect)

    def _carry_out(self, release: PreparingVersion) -> None:
        with self._lock:
            self._lock.wait_for(lambda: not self._collecting)
        image, reason = None, ""
        try:
            if not release.cancelled.is_set():
                image = self._bring(release)
        except (ContainersError, OSError) as error:
            reason = explain(error)
        except Exception as error:
            _log.exception("preparing %s broke off", release)
            reason = explain(error)
        with self._lock:
            self._preparing -= 1
            is_current = self._underway.get(release.key) is release
            if is_current:
                del self._underway[release.key]
                if image is not None:
                    self._ready[release.key] = image
        if is_current and image is not None:
            _log.info("%s is ready", release)
            release.ready(image.digest)
        elif is_current and not release.cancelled.is_set():
            _log.warning("%s failed: %s", release, reason)
            release.failed(reason)
        self._settle()
        self._collect()

    def _bring(self, release: PreparingVersion) -> StoredImage:
        """Pull an image, and try it."""
        wanted, settings = release.wanted, self._settings
        tool = settings.tools.get(self._channel, self._tool).replace("{track}", wanted.track)
        repository = settings.registry.image.replace("{tool}", tool)
        registry = self._registry.get()
        release.begun()
        digest = wanted.digest or self._resolve(registry, repository, release)
        with self._lock:
            if self._underway.get(release.key) is release:
                self._gc_pending |= self._here.get(release.key, digest) != digest
                self._here[release.key] = digest
        self._store.pull(registry, repository, digest, release.pulling, cancelled=release.cancelled)
        image = self._store.image(digest)
        release.checking()
        self._prove(image, release.cancelled)
        return image

    def _settle(self) -> None:
        """Have what was pulled outlive the host's crash; no job waits for that."""
        try:
            self._store.settle()
        except (ContainersError, OSError) as error:
            _log.warning("the disk may not have all that was pulled: %s", error)

    def _resolve(self, registry: Registry, repository: str, release: PreparingVersion) -> str:
        """Find out what a tag stands for, once: it may move while the image is on its way."""
        tag = release.wanted.version
        manifest = registry.manifest(repository, tag, cancelled=release.cancelled)
        if manifest is None:
            raise RegistryError(f"{registry.place}/{repository} has no {tag}: build it first")
        return digest_of(manifest)

    def _kept(self) -> set[str]:
        """Return what wanted versions need, by digest; the lock is held."""
        ready = (image.digest for image in self._ready.values())
        wanted = filter(None, self._wanted.values())
        return {*ready, *self._here.values(), *wanted, *self._unwanted}

    def _collect(self) -> None:
        """Remove what is neither wanted nor in use; not while a pull may be laying it down."""
        while (keep := self._begin_collecting()) is not None:
            try:
                for digest in set(self._store.digests()) - keep:
                    self._forget(digest)
                self._store.collect(keep)
            except (ContainersError, OSError) as error:
                _log.warning("old versions could not be removed: %s", error)
                self._end_collecting(is_pending=True)
                return
            self._end_collecting(is_pending=False)

    def _begin_collecting(self) -> set[str] | None:
        """Return what to keep; None: there is nothing to remove, or now is not the time."""
        with self._lock:
            if self._preparing or self._collecting or not self._gc_pending:
                return None
            self._collecting, self._gc_pending = True, False
            return self._kept() | set(+self._used)

    def _end_collecting(self, *, is_pending: bool) -> None:
        """Have others go on; what has become due meanwhile is still to be removed."""
        with self._lock:
            self._collecting = False
            self._gc_pending |= is_pending
            self._lock.notify_all()
