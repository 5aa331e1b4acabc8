"""What router and worker say to each other: a msgpack header, and for some a body frame.

Headers are arrays, their tag first: fields may be added at the end, with a default, and an older
peer ignores them. Bodies are opaque to the router: a job's is the request's JSON, a result's the
finished reply's, a progress' its lines'.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from pipeline_protocol.names import Digest, Identity, Installation, Slug, Version
from pipeline_protocol.settings import Credentials, Seconds, Settings

PROTOCOL = 2
"""Raised when an older peer would misunderstand: a new tag, or another form of a field.

What the two find out by that they differ keeps its form for ever: a hello's tag and its fields up
to `protocol`, and `Refused`.
"""

MAX_LINK_BYTES = 4 << 20
"""The largest frame on the link."""

MAX_LOG_BYTES = 64_000
"""The most of each stream in a reply."""

JobId = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
"""The router's epoch in the upper bits, a counter in the lower."""
Attempt = Annotated[int, Meta(ge=1, le=1000)]
Count = Annotated[int, Meta(ge=0, le=100_000)]
Milliseconds = Annotated[int, Meta(ge=0, le=86_400_000)]
Text = Annotated[str, Meta(max_length=4096)]
HostFacts = Annotated[dict[Annotated[str, Meta(max_length=32)], Text], Meta(max_length=16)]


class _Header(Struct, frozen=True, array_like=True, gc=False):
    pass


class Readiness(StrEnum):
    """How far a worker is with a version."""

    PREPARING = "preparing"
    READY = "ready"
    FAILED = "failed"
    REMOVED = "removed"


class PreparingPhase(StrEnum):
    """What is done about a version that is being prepared, or tried again."""

    NONE = ""
    QUEUED = "queued"
    PULLING = "pulling"
    CHECKING = "checking"

    @classmethod
    def _missing_(cls, value: object) -> "PreparingPhase":
        """Take a newer peer's phase for none: it is for people to read."""
        return cls.NONE


class VersionState(_Header, frozen=True):
    """One version on one worker."""

    track: Slug
    version: Version
    state: Readiness
    digest: Digest | None = None
    """Of a ready one."""
    reason: Text = ""
    """Of a failed one."""
    percent: Annotated[int, Meta(ge=0, le=100)] = 0
    """How much has arrived of one being prepared; of a failed one, in the next try."""
    phase: PreparingPhase = PreparingPhase.NONE


class HeldJob(_Header, frozen=True):
    """A job that a worker runs, or one whose result it holds until that is acknowledged."""

    key: bytes
    """The request's, as the job brought it: how a new router knows it again."""
    job: JobId
    attempt: Attempt
    remaining_ms: Milliseconds
    done: bool = False
    """Whether its result is there and will be sent after the welcome."""


# --- worker to router


class Hello(_Header, frozen=True, tag="hello"):
    """The first message of a connection, and the answer to 'unknown session'."""

    identity: Identity
    instance: Annotated[str, Meta(min_length=1, max_length=64)]
    """Made anew at each start of the process."""
    channel: Annotated[str, Meta(max_length=64)]
    topics: Annotated[tuple[Slug, ...], Meta(max_length=100)]
    slots: Annotated[int, Meta(ge=1, le=4096)]
    protocol: int = PROTOCOL
    versions: Annotated[tuple[VersionState, ...], Meta(max_length=20_000)] = ()
    jobs: Annotated[tuple[HeldJob, ...], Meta(max_length=20_000)] = ()
    epoch: int = 0
    """Of the router that it last served; 0: none. Another router's workers may be restarted."""
    draining: bool = False
    """It takes no jobs: it is about to leave, or only came to prepare its versions."""
    trouble: Text = ""
    """Why it takes none, where its host is to blame."""
    host: HostFacts = {}
    """How its host runs jobs, for people to read: kernel, runtime, layers, cgroups."""


class WorkerHeartbeat(_Header, frozen=True, tag="heartbeat"):
    """Every second, from the loop that supervises the jobs."""

    running: Count
    load: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    """The host's load average over a minute."""
    draining: bool = False
    """It was asked to leave where it runs, or its host is in trouble: no more jobs."""
    trouble: Text = ""
    """What is the matter with its host; when that is over, it begins a session anew."""
    keeps: Text = ""
    """Why it keeps images that are not wanted; empty: it keeps none."""


class Versions(_Header, frozen=True, tag="versions"):
    """What changed."""

    changed: Annotated[tuple[VersionState, ...], Meta(max_length=20_000)]


class Progress(_Header, frozen=True, tag="progress"):
    """Lines of a job that asked for progress; body: their JSON."""

    job: JobId
    attempt: Attempt


class Result(_Header, frozen=True, tag="result"):
    """A job's end; body: the finished reply. Held until `ResultAck`."""

    job: JobId
    attempt: Attempt
    code: int
    """The reply's status."""


class Goodbye(_Header, frozen=True, tag="goodbye"):
    """After a drain: nothing runs, nothing more is taken."""

    reason: Text = ""


# --- router to worker


class RefusalReason(StrEnum):
    """Why a worker is not let in."""

    IDENTITY_ALIVE = "identity_alive"
    UNKNOWN_CHANNEL = "unknown_channel"
    TOPICS_ON_BUILDERS = "topics_on_builders"
    PROTOCOL = "protocol"
    ROLE = "role"
    UNKNOWN_SESSION = "unknown_session"
    """Say hello again."""
    MALFORMED = "malformed"


class Welcome(_Header, frozen=True, tag="welcome"):
    """The worker is known from now on."""

    session: int
    epoch: int
    liveness_s: Seconds = 3.0
    """How long the router waits for a silent worker; a worker waits a little longer for it."""
    installation: Installation = ""
    """Whose versions are wanted; a worker removes nothing at another one's word."""


class Refused(_Header, frozen=True, tag="refused"):
    """The worker is not let in; only for `UNKNOWN_SESSION` does it help to ask again at once."""

    why: RefusalReason
    error: Text


class RouterHeartbeat(_Header, frozen=True, tag="heartbeat"):
    """Every second."""

    epoch: int


class Job(_Header, frozen=True, tag="job"):
    """Work; body: the request's JSON."""

    job: JobId
    attempt: Attempt
    remaining_ms: Milliseconds
    queued_ms: Milliseconds
    key: bytes = b""
    """To be given back in `HeldJob`; empty: the request is not known again."""
    alone: bool = False
    """A suspect: nothing else runs on the worker meanwhile."""


class CancelJob(_Header, frozen=True, tag="cancel"):
    """Nobody waits for this any more."""

    job: JobId
    attempt: Attempt


class ResultAck(_Header, frozen=True, tag="result_ack"):
    """These results may be forgotten: all that came in one turn of the router's."""

    results: Annotated[tuple[tuple[JobId, Attempt], ...], Meta(max_length=20_000)]


class Configure(_Header, frozen=True, tag="configure"):
    """What to have ready, and how to work."""

    settings: Settings
    credentials: Credentials | None = None


class Drain(_Header, frozen=True, tag="drain"):
    """Finish what runs, say goodbye, exit."""


class Restart(_Header, frozen=True, tag="restart"):
    """Finish what runs, then bootstrap again."""


class Forget(_Header, frozen=True, tag="forget"):
    """Remove the images that are kept although they are not wanted."""


def mismatch(router: int, worker: int) -> str:
    """Say which protocols the two speak, and which of them is to be upgraded."""
    older = "router" if router < worker else "worker"
    return (
        f"the router speaks protocol {router}, the worker {worker}: upgrade the {older} to a "
        f"release that speaks {max(router, worker)}"
    )


FromWorker = Hello | WorkerHeartbeat | Versions | Progress | Result | Goodbye
ToWorker = (
    Welcome
    | Refused
    | RouterHeartbeat
    | Job
    | CancelJob
    | ResultAck
    | Configure
    | Drain
    | Restart
    | Forget
)
