"""What `/status.json` of a router's monitor has; all that is timed is seconds until now."""

from msgspec import Struct

from pipeline_protocol.responses import ClientStatus, DeployState, MissingWorker


class TrackState(Struct, frozen=True, omit_defaults=True):
    """One track's part of a channel; builders have one, without a name."""

    demand_slots: float
    """Waiting, running and, of those refused lately for want of a slot, what they would need."""
    waiting: int = 0
    running: int = 0
    refused_slots: float = 0.0
    ready_slots: int = 0
    """Of workers that have any of its wanted versions ready."""
    versions: dict[str, int] = {}
    """Each wanted version, and how many workers have it ready."""


class ChannelState(Struct, frozen=True):
    """A channel, its workers and its jobs."""

    workers: dict[str, int]
    """By state; the missing ones are not there."""
    slots: int
    ready_slots: int
    """Of workers that have any version ready."""
    running: int
    """Slots in use."""
    waiting: dict[str, int]
    """By rank."""
    oldest_waiting_s: float
    demand_slots: float
    tracks: dict[str, TrackState]


class Laggard(Struct, frozen=True, omit_defaults=True):
    """A worker that has a version not ready."""

    identity: str
    state: str
    percent: int = 0
    phase: str = ""
    reason: str = ""


class UnreadyVersion(Struct, frozen=True):
    """A wanted version that not every worker has ready."""

    channel: str
    track: str
    version: str
    state: DeployState
    since_s: float
    workers: int
    """That serve the track."""
    ready: int
    failed: int
    laggards: tuple[Laggard, ...]
    """Some of the others."""


class WorkerState(Struct, frozen=True, omit_defaults=True):
    """One worker in session."""

    identity: str
    channel: str
    state: str
    slots: int
    topics: tuple[str, ...] = ()
    running: dict[str, int] = {}
    """Slots in use by track."""
    ready: int = 0
    """Versions."""
    failed: int = 0
    silent_s: float = 0.0
    load: float = 0.0
    trouble: str = ""
    keeps: str = ""


class FileState(Struct, frozen=True):
    """How reading or writing the configuration went."""

    done: int
    failed: int
    failing_s: float | None
    """Since when it fails; null: the last time it did not."""
    error: str


class RouterStatus(Struct, frozen=True):
    """All of it."""

    router: str
    """Its release."""
    uptime_s: float
    serving: bool
    stopping: bool
    loop_lag_s: float
    """The longest that anything had to wait for the loop in the last minute."""
    save: FileState
    reload: FileState
    channels: dict[str, ChannelState]
    workers: tuple[WorkerState, ...]
    workers_left_out: int
    missing: tuple[MissingWorker, ...]
    unready: tuple[UnreadyVersion, ...]
    unready_left_out: int
    answered: dict[str, dict[str, int]]
    """By action, then by code."""
    refused: tuple[tuple[str, str, int], ...]
    """What, where and how often."""
    turned_away: dict[str, int]
    clients: dict[str, ClientStatus] | None
    """With keys: what each has in flight."""
