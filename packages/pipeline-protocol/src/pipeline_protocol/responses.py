"""The `response` of each action, where the system makes it.

A test runner's response is the object of its ``results.json``, whatever it holds.
"""

from enum import StrEnum
from typing import Any, Literal

from msgspec import Struct

from pipeline_protocol.link import VersionState
from pipeline_protocol.names import Digest, Version


class Analysis(Struct, frozen=True, omit_defaults=True):
    """Of analyse_solution."""

    analysis: dict[str, Any]
    tags: Any = None


class Recommendations(Struct, frozen=True):
    """Of recommend_solution."""

    recommendations: Any


class Representation(Struct, frozen=True, omit_defaults=True):
    """Of represent_solution."""

    representation: str
    mapping: dict[str, Any]
    representation_json: Any = None


class Build(Struct, frozen=True):
    """Of build_container."""

    outcome: Literal["built", "ignored"]
    """Ignored: the registry had it."""
    image: str
    image_tag: str
    digest: str
    git_sha: str


class AvailableContainers(Struct, frozen=True, omit_defaults=True):
    """Of list_available_containers."""

    image: str
    versions: tuple[str, ...]
    digests: dict[Version, Digest] = {}
    """Of the version that was asked for, if the registry has it."""


class WantedVersions(Struct, frozen=True):
    """Of deploy_, unload_ and update_container_versions: what is wanted from now on."""

    channel: str
    track_slug: str
    versions: tuple[str, ...]
    workers: int
    """How many live workers serve the track."""


class DeployState(StrEnum):
    """How far a version is."""

    NO_WORKERS = "no_workers"
    PREPARING = "preparing"
    PARTLY = "partly_deployed"
    DEPLOYED = "deployed"
    FAILED = "failed"
    NOTHING_WANTED = "nothing_wanted"
    """No version of the track is deployed."""


class WorkerVersion(Struct, frozen=True):
    """One worker's state of one version."""

    worker: str
    state: str
    percent: int = 0
    """Of what has to come, how much is there; of a failed one: the same, of the next try."""
    reason: str = ""
    phase: str = ""
    """What is being done: queued, pulling, checking, or nothing."""


class VersionDeployment(Struct, frozen=True):
    """One wanted version, worker by worker."""

    version: str
    state: DeployState
    digest: str | None
    workers: tuple[WorkerVersion, ...]


class Deployment(Struct, frozen=True):
    """Of deployment_check."""

    channel: str
    track_slug: str
    state: DeployState
    versions: tuple[VersionDeployment, ...]


class ChannelStatus(Struct, frozen=True):
    """A channel's workers and work, in numbers."""

    workers: int
    slots: int
    running: int
    waiting: int
    unready_slots: int = 0
    """Of the slots: those that cannot serve now. Their worker has nothing ready, drains, restarts
    or is in trouble."""
    missing: int = 0
    """Workers that were lost, and have not come back."""
    keeping: int = 0
    """How many of the workers keep images that are not wanted."""


class ClientStatus(Struct, frozen=True, omit_defaults=True):
    """What of one client is in flight."""

    running: int
    waiting: int
    quota: int | None = None
    """How many of its requests may be in flight; None: as many as there is room for."""


class WorkerStatus(Struct, frozen=True):
    """Of current_worker_status."""

    channels: dict[str, ChannelStatus]
    clients: dict[str, ClientStatus] = {}
    """With keys: who has requests in flight, by the key's name."""
    turned_away: dict[str, int] = {}
    """Connections that were not let in since the router's start, by why: strangers' with keys."""


class WorkerDescription(Struct, frozen=True):
    """One worker, as the router sees it."""

    identity: str
    channel: str
    topics: tuple[str, ...]
    slots: int
    running: int
    draining: bool
    silent_s: float
    """Since it was last heard of."""
    load: float
    versions: tuple[VersionState, ...]
    trouble: str = ""
    """Why the worker took itself out of the pool."""
    host: dict[str, str] = {}
    """How its host runs jobs: kernel, runtime, layers, cgroups."""
    keeps: str = ""
    """Why the worker keeps images that are not wanted."""


class MissingWorker(Struct, frozen=True):
    """A worker that was lost: until it comes back, is drained or dismissed, or the router ends."""

    identity: str
    channel: str
    topics: tuple[str, ...]
    slots: int
    missing_s: float
    """Since it was lost."""
    why: str


class Workers(Struct, frozen=True):
    """Of describe_workers."""

    workers: tuple[WorkerDescription, ...]
    missing: tuple[MissingWorker, ...] = ()


class Pong(Struct, frozen=True):
    """Of ping."""

    version: str
    uptime_s: float


class Cancelled(Struct, frozen=True):
    """Of cancel: how many requests it took back."""

    cancelled: int


class Told(Struct, frozen=True):
    """Of restart_workers, drain_worker, dismiss_worker, forget_images: whom it concerned."""

    workers: tuple[str, ...]


class AuditEntry(Struct, frozen=True):
    """One change, as the router's audit file has it, a line each."""

    at: str
    """When, in UTC."""
    principal: str | None
    """The name of the key that asked for it; None: there are no keys, or it was done on the
    router's host."""
    action: str
    """As it was asked for; `keys_changed`, `config_reloaded`: by a file on the router's host."""
    subject: dict[str, str]
    """What it was about: channel, track, worker, request or key."""
    before: tuple[str, ...]
    """How the subject was: the wanted versions, the state of the workers, the keys' names."""
    after: tuple[str, ...]
    outcome: str
    """`done`, or why it was not."""


class Audit(Struct, frozen=True):
    """Of read_audit: the latest changes, the last one last."""

    entries: tuple[AuditEntry, ...]


class LinkAddress(Struct, frozen=True, omit_defaults=True):
    """Of configure_worker."""

    link_port: int
    """On the host that the worker reached the front end by."""
    protocol: int
    """The router's on the link; for a worker that speaks 1, that (`Operations._configure`)."""
    warnings: tuple[str, ...] = ()
