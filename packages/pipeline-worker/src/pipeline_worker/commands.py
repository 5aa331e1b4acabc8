"""What a worker's core wants done: the only things that it can bring about."""

from enum import Enum

from msgspec import Struct

from pipeline_protocol.link import FromWorker, Job, JobId
from pipeline_protocol.settings import Credentials, Settings, WantedVersion
from pipeline_worker.versions.retention import Memory


class WorkerEnd(Enum):
    """Why a worker leaves; the value is the process' exit status."""

    DONE = 0
    FAILED = 1
    UNREACHABLE = 3
    RESTART = -1
    """Not the process: everything but its working folder begins anew."""


class AskRouter(Struct, frozen=True):
    """Ask the router's front end where the link is."""


class Connect(Struct, frozen=True):
    """Open the link to that port, closing the one before."""

    port: int


class Send(Struct, frozen=True):
    """Send over the link."""

    message: FromWorker
    body: bytes = b""


class StartRun(Struct, frozen=True):
    """Do a job."""

    job: Job
    body: bytes


class CancelRun(Struct, frozen=True):
    """Stop a job; it ends with a reply all the same."""

    job: JobId
    attempt: int


class Adopt(Struct, frozen=True):
    """Work by these settings from now on."""

    settings: Settings
    credentials: Credentials | None


class Prepare(Struct, frozen=True):
    """Get a version ready, in the background."""

    wanted: WantedVersion


class Keep(Struct, frozen=True):
    """Forget every version but these; what still runs keeps its own until it ends."""

    versions: tuple[WantedVersion, ...]
    digests: tuple[str, ...] = ()
    """Images that are to stay although no version of these is one."""


class Remember(Struct, frozen=True):
    """Write down, beside the store, what the next start is to know."""

    memory: Memory


class ProveHealth(Struct, frozen=True):
    """Prove that jobs can be done on this host, in the background."""


class Say(Struct, frozen=True):
    """Tell the operator."""

    text: str
    warning: bool = False


class Leave(Struct, frozen=True):
    """Stop the loop."""

    ending: WorkerEnd
    reason: str = ""


Command = (
    AskRouter
    | Connect
    | Send
    | StartRun
    | CancelRun
    | Adopt
    | Prepare
    | Keep
    | Remember
    | ProveHealth
    | Say
    | Leave
)
