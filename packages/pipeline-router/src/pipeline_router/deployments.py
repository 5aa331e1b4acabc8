"""Wanted and present versions: what is deployed, what changes, and how far the workers are.

A change takes effect when it is on disk. Changes that come while one is being written are
written together, next.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from pipeline_protocol import status
from pipeline_protocol.link import Readiness
from pipeline_protocol.requests import (
    DeployContainerVersion,
    UnloadContainerVersion,
    UpdateContainerVersions,
)
from pipeline_protocol.responses import Deployment, DeployState, VersionDeployment, WorkerVersion
from pipeline_protocol.settings import WantedVersion
from pipeline_router.config import Versions
from pipeline_router.events import Envelope
from pipeline_router.model import Inquiry, Worker
from pipeline_router.principals import Sender
from pipeline_router.refusals import Refusal

MAX_VERSIONS = 100
"""Of one track's tool."""

DeployRequest = DeployContainerVersion | UnloadContainerVersion | UpdateContainerVersions


class DeploymentChange(Struct, frozen=True):
    """A deploy, unload or update that has not been answered."""

    envelope: Envelope
    request: DeployRequest
    sender: Sender = None
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    """The track's versions, when it is saved."""

    @property
    def what(self) -> str:
        """What was asked for, in words."""
        request = self.request
        if isinstance(request, DeployContainerVersion):
            return f"deploy {request.new_version}"
        if isinstance(request, UnloadContainerVersion):
            return f"unload {request.version}"
        return "update versions"

    def apply(self, present: Iterable[str]) -> tuple[str, ...]:
        """Return the versions of the track that are wanted after it."""
        request = self.request
        if isinstance(request, DeployContainerVersion):
            return tuple(dict.fromkeys((*present, request.new_version)))
        if isinstance(request, UnloadContainerVersion):
            return tuple(version for version in present if version != request.version)
        return tuple(dict.fromkeys(request.versions))


class Deployments:
    """The versions that are wanted, and the changes of them under way."""

    def __init__(self, versions: Versions) -> None:
        self.wanted = _copy(versions)
        self._planned = self.wanted
        self._affected: set[str] = set()
        self._waiting: list[DeploymentChange] = []
        self._saving: list[DeploymentChange] | None = None
        self._pinned: set[str] = set()
        """Channels with digests that are not on disk yet."""

    # --- changes

    def ask(self, change: DeploymentChange) -> Refusal | None:
        """Take a change in, to be saved next; or say why not."""
        request = change.request
        present = self.wanted.get(request.channel, {}).get(request.track_slug, {})
        if len(change.apply(present)) > MAX_VERSIONS:
            return Refusal(
                status.UNUSABLE,
                f"{request.track_slug} has {MAX_VERSIONS} versions on {request.channel} already: "
                "unload one first",
            )
        self._waiting.append(change)
        return None

    def pin(self, channel: str, track: str, version: str, digest: str) -> bool:
        """Want this digest of a version from now on, if it is wanted and none was known yet."""
        wanted = self.of_track(channel, track)
        if version not in wanted or wanted[version] is not None:
            return False
        wanted[version] = digest
        self._pinned.add(channel)
        return True

    def next_save(self) -> Versions | None:
        """Return what to write to disk now; None while a write is under way, or nothing changed."""
        if self._saving is not None or not (self._waiting or self._pinned):
            return None
        self._saving, self._waiting = self._waiting, []
        self._affected = self._pinned | {change.request.channel for change in self._saving}
        self._pinned = set()
        self._planned = _copy(self.wanted)
        for number, change in enumerate(self._saving):
            tracks = self._planned.setdefault(change.request.channel, {})
            present = tracks.get(change.request.track_slug, {})
            versions = {version: present.get(version) for version in change.apply(present)}
            self._saving[number] = replace(change, before=tuple(present), after=tuple(versions))
            tracks[change.request.track_slug] = versions
            if not versions:
                del tracks[change.request.track_slug]
        return _copy(self._planned)

    def saved(self) -> tuple[list[DeploymentChange], set[str]]:
        """Put what is on disk into effect; return the changes to answer, and the channels."""
        changes = self._end_save()
        for channel, tracks in self._planned.items():
            for track, versions in tracks.items():
                present = self.wanted.get(channel, {}).get(track, {})
                # a digest may have become known while the write was under way
                versions.update({v: present[v] for v in versions if present.get(v) is not None})
        self.wanted = self._planned
        return changes, self._affected

    def not_saved(self) -> list[DeploymentChange]:
        """Forget the changes that could not be written, and return them to be answered.

        Digests are still known, and are written with the next change.
        """
        return self._end_save()

    def _end_save(self) -> list[DeploymentChange]:
        changes, self._saving = self._saving or [], None
        return changes

    @property
    def busy(self) -> bool:
        """Whether somebody still waits for an answer."""
        return bool(self._waiting or self._saving)

    # --- what is wanted

    def of_channel(self, channel: str) -> tuple[WantedVersion, ...]:
        """Return all wanted versions of a channel, as workers are told them."""
        return tuple(
            WantedVersion(track, version, digest)
            for track, versions in self.wanted.get(channel, {}).items()
            for version, digest in versions.items()
        )

    def of_track(self, channel: str, track: str) -> dict[str, str | None]:
        """Return a track's wanted versions and their digests."""
        return self.wanted.get(channel, {}).get(track, {})

    def unpinned(self) -> Iterator[Inquiry]:
        """List the versions of which no digest is known."""
        for channel, tracks in self.wanted.items():
            for track, versions in tracks.items():
                for version, digest in versions.items():
                    if digest is None:
                        yield Inquiry(channel, track, version)

    def digest(self, channel: str, track: str, version: str) -> str | None:
        """Return the digest that a version must have, if one is known."""
        return self.of_track(channel, track).get(version)

    # --- how far they are

    def check(self, channel: str, track: str, workers: Iterable[Worker]) -> Deployment:
        """Return how far each wanted version is on the workers that serve the track."""
        serving = sorted(workers)
        versions = tuple(
            _version(track, version, digest, serving)
            for version, digest in self.of_track(channel, track).items()
        )
        if not versions:
            state = DeployState.NOTHING_WANTED
        else:
            state = max((version.state for version in versions), key=_WORSE.index)
        return Deployment(channel, track, state, versions)


_WORSE = (
    DeployState.DEPLOYED,
    DeployState.PARTLY,
    DeployState.PREPARING,
    DeployState.FAILED,
    DeployState.NO_WORKERS,
)


def _version(
    track: str, version: str, digest: str | None, workers: list[Worker]
) -> VersionDeployment:
    states = tuple(_state(track, version, worker) for worker in workers)
    ready = sum(state.state == Readiness.READY for state in states)
    if not states:
        overall = DeployState.NO_WORKERS
    elif ready == len(states):
        overall = DeployState.DEPLOYED
    elif ready:
        overall = DeployState.PARTLY
    elif all(state.state == Readiness.FAILED for state in states):
        overall = DeployState.FAILED
    else:
        overall = DeployState.PREPARING
    return VersionDeployment(version, overall, digest, states)


def _state(track: str, version: str, worker: Worker) -> WorkerVersion:
    known = worker.versions.get((track, version))
    if known is None:  # told of it, but not heard from yet
        return WorkerVersion(worker.identity, Readiness.PREPARING)
    return WorkerVersion(worker.identity, known.state, known.percent, known.reason, known.phase)


def _copy(versions: Versions) -> dict[str, dict[str, dict[str, str | None]]]:
    return {
        channel: {track: dict(wanted) for track, wanted in tracks.items()}
        for channel, tracks in versions.items()
    }
