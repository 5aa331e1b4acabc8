"""Which images a worker keeps although they are not wanted: at the word of whom it removes none.

A router says what is wanted, and an image that is not is removed: it may take an hour to bring all
of them back. So a router that has lost its state, or another one, is not believed at once. An
operator has it removed by a deploy of the track, or by `pipeline forget-images`.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from pipeline_protocol.names import Digest, Installation, Slug, Version
from pipeline_protocol.settings import WantedVersion

Key = tuple[str, str]
"""Track and version."""


class KeptImage(Struct, frozen=True):
    """A version that is or was wanted, and the image that it was found to be."""

    track: Slug
    version: Version
    digest: Digest | None = None
    """None: it was never ready, and there is nothing to keep."""


class Memory(Struct, frozen=True):
    """What a worker remembers, beside its store, from one start to the next."""

    installation: Installation = ""
    """Of the router that it last served; empty: none."""
    epoch: int = 0
    """Of that router's start."""
    wanted: tuple[KeptImage, ...] = ()
    kept: tuple[KeptImage, ...] = ()
    """Not wanted any more, but nobody said that they may go."""
    why: str = ""
    """Why they are kept; empty if none are."""


class Retention:
    """Decides what is kept. No I/O: `memory` is to be written down whenever it changes."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._installation = memory.installation
        self._epoch = memory.epoch

    def welcome(self, installation: str, epoch: int) -> None:
        """Note whose word the next `want` is."""
        self._installation, self._epoch = installation, epoch

    def want(self, versions: Iterable[WantedVersion]) -> None:
        """Take in what a router wants of this worker."""
        before = self.memory
        same_names = before.installation in ("", self._installation)
        known = {_key(one): one.digest for one in (*before.kept, *before.wanted) if same_names}
        wanted = tuple(
            KeptImage(one.track, one.version, one.digest or known.get(_key(one)))
            for one in versions
        )
        kept, why = before.kept, before.why
        distrust = self._distrust(len(wanted))
        if distrust:
            kept, why = (*before.wanted, *kept), distrust
        elif (self._installation, self._epoch) == (before.installation, before.epoch):
            spoken_for = _changed_tracks(before.wanted, wanted)
            kept = tuple(one for one in kept if one.track not in spoken_for)
        self.memory = _whole(Memory(self._installation, self._epoch, wanted, kept, why))

    def found(self, track: str, version: str, digest: str | None) -> None:
        """Note which image a wanted version is."""
        wanted = tuple(
            KeptImage(track, version, digest) if _key(one) == (track, version) else one
            for one in self.memory.wanted
        )
        self.memory = _whole(replace(self.memory, wanted=wanted))

    def forget(self) -> int:
        """Keep nothing any more but what is wanted; return how many images that lets go."""
        many = len(self.memory.kept)
        self.memory = _whole(replace(self.memory, kept=()))
        return many

    def digests(self) -> tuple[str, ...]:
        """Return the images that are kept."""
        return tuple(one.digest for one in self.memory.kept if one.digest)

    def words(self) -> str:
        """Say what is kept, why, and how that ends; empty: nothing is."""
        many = len(self.memory.kept)
        if not many:
            return ""
        images = "1 image that is" if many == 1 else f"{many} images that are"
        return (
            f"keeps {images} not wanted: {self.memory.why}. A deploy of a track lets its images "
            "go, `pipeline forget-images` all"
        )

    def _distrust(self, many: int) -> str:
        """Say why this router's word is not enough to remove what was wanted before."""
        before = self.memory
        if before.installation not in ("", self._installation):
            return (
                f"the router is of installation {self._installation or 'unknown'}, the one served "
                f"before of {before.installation}"
            )
        if before.epoch != self._epoch and 2 * many < len(before.wanted):
            return (
                f"{len(before.wanted)} versions were wanted, and {many} are since the router "
                "started again"
            )
        return ""


def _whole(memory: Memory) -> Memory:
    """Return it without what is kept for nothing: no image, the same one twice, or a wanted one."""
    needless = {one.digest for one in memory.wanted} | {None}
    kept = {one.digest: one for one in memory.kept if one.digest not in needless}
    return replace(memory, kept=tuple(kept.values()), why=memory.why if kept else "")


def _key(one: KeptImage | WantedVersion) -> Key:
    return one.track, one.version


def _changed_tracks(before: Iterable[KeptImage], now: Iterable[KeptImage]) -> set[str]:
    """Return the tracks of which other versions are wanted than before."""
    return {track for track, _ in {_key(one) for one in before} ^ {_key(one) for one in now}}
