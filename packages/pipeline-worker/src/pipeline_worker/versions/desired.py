"""Which versions a worker is to have, how far it is with each, and when to try one again."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from pipeline_protocol.link import PreparingPhase, Readiness, VersionState
from pipeline_protocol.settings import WantedVersion

RETRY_S = 5.0
"""Before a failed version is tried again; doubled each time."""
RETRY_MOST_S = 120.0

Key = tuple[str, str]
"""Track and version."""


class WantedChange(Struct, frozen=True):
    """What a new configuration means."""

    prepare: tuple[WantedVersion, ...]
    changed: tuple[VersionState, ...]
    """To be told to the router."""


class _Version(Struct):
    wanted: WantedVersion
    state: VersionState
    retry_at: float | None = None
    failures: int = 0
    is_news: bool = False
    """Whether it is further than the router was told."""


class DesiredVersions:
    """Wanted and present versions of one worker. No I/O: the version manager does the work."""

    def __init__(self, topics: tuple[str, ...]) -> None:
        self._topics = frozenset(topics)
        self._versions: dict[Key, _Version] = {}

    def want(self, versions: Iterable[WantedVersion]) -> WantedChange:
        """Take in what is wanted now; a scoped worker leaves out other tracks."""
        wanted = {
            (one.track, one.version): one
            for one in versions
            if not self._topics or one.track in self._topics
        }
        removed = [
            VersionState(track, version, Readiness.REMOVED)
            for track, version in self._versions.keys() - wanted.keys()
        ]
        for gone in removed:
            del self._versions[gone.track, gone.version]
        prepare = [one for key, one in wanted.items() if self._must_prepare(key, one)]
        for one in prepare:
            state = VersionState(
                one.track, one.version, Readiness.PREPARING, phase=PreparingPhase.QUEUED
            )
            self._versions[one.track, one.version] = _Version(one, state)
        changed = [*removed, *(self._versions[one.track, one.version].state for one in prepare)]
        return WantedChange(tuple(prepare), tuple(changed))

    def _must_prepare(self, key: Key, wanted: WantedVersion) -> bool:
        known = self._versions.get(key)
        if known is None:
            return True
        # The router learnt the digest meanwhile; usually it is ours too.
        known.wanted = wanted
        ready = known.state.state is Readiness.READY
        return ready and wanted.digest not in (None, known.state.digest)

    def moved(self, state: VersionState, now: float) -> VersionState | None:
        """Note how far a version is; return what to tell the router at once, None for nothing."""
        known = self._versions.get((state.track, state.version))
        if known is None:
            return None
        if state.state is Readiness.PREPARING:
            # one that failed stays failed until it is ready: nobody should wait for it
            percent = max(state.percent, known.state.percent)
            known.state = replace(known.state, percent=percent, phase=state.phase)
            known.is_news = True
            return None
        digest, tag_moved = known.wanted.digest, False
        if state.state is Readiness.READY and digest not in (None, state.digest):
            reason = f"the tag led to {state.digest}, but {digest} is deployed"
            state = VersionState(state.track, state.version, Readiness.FAILED, reason=reason)
            tag_moved = known.failures == 0
        known.state = state
        known.retry_at, known.is_news = None, False
        if state.state is Readiness.FAILED:
            wait_s = min(RETRY_MOST_S, RETRY_S * 2**known.failures)
            known.retry_at = now if tag_moved else now + wait_s  # by its digest it will be right
            known.failures += 1
        else:
            known.failures = 0
        return state

    def progress(self) -> tuple[VersionState, ...]:
        """Return what got further since the router was told."""
        further = [version for version in self._versions.values() if version.is_news]
        for version in further:
            version.is_news = False
        return tuple(version.state for version in further)

    def due(self, now: float) -> list[WantedVersion]:
        """Return the failed versions whose time has come to be tried again."""
        ready = [v for v in self._versions.values() if v.retry_at is not None and v.retry_at <= now]
        for version in ready:
            version.retry_at = None
        return [version.wanted for version in ready]

    def states(self) -> tuple[VersionState, ...]:
        """Return every version's state, for a hello."""
        return tuple(version.state for version in self._versions.values())

    def wanted(self) -> tuple[WantedVersion, ...]:
        """Return what is to be kept."""
        return tuple(version.wanted for version in self._versions.values())

    def settled(self) -> bool:
        """Whether every version is ready or failed."""
        states = (Readiness.READY, Readiness.FAILED)
        return all(version.state.state in states for version in self._versions.values())

    def all_ready(self) -> bool:
        """Whether every version is ready."""
        return all(v.state.state is Readiness.READY for v in self._versions.values())

    def report(self) -> str:
        """Say in a line how many versions are ready, and why others are not."""
        failed = [v.state for v in self._versions.values() if v.state.state is Readiness.FAILED]
        ready = sum(v.state.state is Readiness.READY for v in self._versions.values())
        reasons = "".join(f"; {s.track} {s.version} failed: {s.reason}" for s in failed)
        return f"{ready} of {len(self._versions)} versions ready{reasons}"
