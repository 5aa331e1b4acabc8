"""Wanted versions to unpacked images, in the background, while jobs run on others."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

from pipeline_containers.errors import ContainersError
from pipeline_containers.images.image import StoredImage
from pipeline_containers.images.registry import open_registry
from pipeline_containers.images.store import Store
from pipeline_protocol.channels import CHANNELS
from pipeline_protocol.link import Readiness, VersionState
from pipeline_protocol.settings import Credentials, Settings, WantedVersion
from pipeline_worker.events import Event, VersionMoved

_log = logging.getLogger(__name__)

_AT_A_TIME = 2

Key = tuple[str, str]
"""Track and version."""


class Preparer(Protocol):
    """What a worker's core has its versions prepared by."""

    def report_to(self, post: Callable[[Event], None]) -> None:
        """Say how far versions are there, from any thread."""

    def adopt(self, settings: Settings, credentials: Credentials | None) -> None:
        """Work by these settings from now on."""

    def prepare(self, wanted: WantedVersion) -> None:
        """Get a version ready, in the background."""

    def keep(self, versions: frozenset[Key]) -> None:
        """Forget every version but these."""


class NoReleases:
    """Of builders: they run no versions."""

    def report_to(self, post: Callable[[Event], None]) -> None:
        """Nothing is ever reported."""

    def adopt(self, settings: Settings, credentials: Credentials | None) -> None:
        """Nothing depends on the settings."""

    def prepare(self, wanted: WantedVersion) -> None:
        """Refuse: the router sends builders no versions."""
        raise ValueError(f"builders prepare no versions, not even {wanted.version}")

    def keep(self, versions: frozenset[Key]) -> None:
        """Nothing is there to be forgotten."""


class Releases:
    """The versions of one channel on this host."""

    def __init__(self, channel: str, store: Store, forget: Callable[[str], None]) -> None:
        """Use `store` for images; `forget` is told a digest before its layers are removed."""
        self._tool = CHANNELS[channel].tool or "{track}"
        self._channel = channel
        self._store = store
        self._forget = forget
        self._settings = Settings()
        self._post: Callable[[Event], None] = lambda _: None
        self._lock = threading.Condition()
        self._wanted: frozenset[Key] = frozenset()
        self._ready: dict[Key, StoredImage] = {}
        self._used: Counter[str] = Counter()
        self._preparing = 0
        self._collecting = False
        self._litter = False
        self._pool = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="release")

    def report_to(self, post: Callable[[Event], None]) -> None:
        """Say how far versions are there, from any thread."""
        self._post = post

    def adopt(self, settings: Settings, credentials: Credentials | None) -> None:
        """Work by these settings from the next version on."""
        self._settings = settings

    def prepare(self, wanted: WantedVersion) -> None:
        """Get a version ready, in the background."""
        self._pool.submit(self._prepare, wanted)

    def keep(self, versions: frozenset[Key]) -> None:
        """Forget every version but these; what still runs keeps its image until it ends."""
        with self._lock:
            self._wanted = versions
            for key in self._ready.keys() - versions:
                del self._ready[key]
            self._litter = True
        self._pool.submit(self._collect)

    @contextmanager
    def use(self, track: str, version: str) -> Iterator[StoredImage | None]:
        """Give a ready version's image, held for as long as the block lasts; None if it is not."""
        with self._lock:
            image = self._ready.get((track, version))
            if image is not None:
                self._used[image.digest] += 1
        try:
            yield image
        finally:
            if image is not None:
                with self._lock:
                    self._used[image.digest] -= 1
                    self._litter |= not self._used[image.digest] and not self._is_wanted(image)
                if self._litter:
                    self._pool.submit(self._collect)

    def close(self) -> None:
        """Wait for what is being prepared; begin nothing more."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _is_wanted(self, image: StoredImage) -> bool:
        return any(ready.digest == image.digest for ready in self._ready.values())

    def _prepare(self, wanted: WantedVersion) -> None:
        key = (wanted.track, wanted.version)
        with self._lock:
            if key not in self._wanted:
                return
            self._lock.wait_for(lambda: not self._collecting)
            self._preparing += 1
        try:
            image = self._pull(wanted)
            with self._lock:
                if key in self._wanted:
                    self._ready[key] = image
            state = VersionState(*key, Readiness.READY, digest=image.digest, percent=100)
            _log.info("%s %s is ready", *key)
        except (ContainersError, OSError) as error:
            state = VersionState(*key, Readiness.FAILED, reason=str(error)[:1000])
            _log.warning("%s %s failed: %s", *key, error)
        except Exception as error:
            state = VersionState(*key, Readiness.FAILED, reason=repr(error)[:1000])
            _log.exception("%s %s failed", *key)
        with self._lock:
            self._preparing -= 1
        self._post(VersionMoved(state))
        self._collect()

    def _pull(self, wanted: WantedVersion) -> StoredImage:
        settings = self._settings
        tool = settings.tools.get(self._channel, self._tool).replace("{track}", wanted.track)
        repository = settings.registry.image.replace("{tool}", tool)
        registry = open_registry(settings.registry.kind, settings.registry.location)

        digest = self._store.pull(registry, repository, wanted.digest or wanted.version)
        return self._store.image(digest)

    def _collect(self) -> None:
        """Remove what is neither wanted nor in use; not while a pull may be laying it down."""
        with self._lock:
            if self._preparing or self._collecting or not self._litter:
                return
            self._collecting, self._litter = True, False
            keep = {image.digest for image in self._ready.values()} | set(+self._used)
        try:
            for digest in set(self._store.digests()) - keep:
                self._forget(digest)
            self._store.collect(keep)
        except (ContainersError, OSError) as error:
            _log.warning("old versions could not be removed: %s", error)
        finally:
            with self._lock:
                self._collecting = False
                self._lock.notify_all()
