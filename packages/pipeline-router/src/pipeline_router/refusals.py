"""Why a request is not served, in words that say what to do next."""

from msgspec import Struct

from pipeline_protocol import status
from pipeline_protocol.codec import refusal
from pipeline_protocol.replies import Context, WorkerCounts
from pipeline_protocol.requests import Role
from pipeline_router.model import Lane, Worker
from pipeline_router.scheduler import Scheduler

RETRY_AFTER_S = 1.0


class Refusal(Struct, frozen=True):
    """A status with its explanation."""

    code: int
    error: str
    context: Context = Context()

    def reply(self) -> bytes:
        """Write it for the client."""
        return refusal(self.code, self.error, self.context)


STOPPING = Refusal(
    status.NO_WORKER,
    "the router is shutting down: send the request again in a moment",
    Context(retry_after_s=RETRY_AFTER_S),
)
UNLOADED = Refusal(
    status.UNKNOWN_VERSION, "the version was unloaded while the request waited: ask for another"
)
TOO_MANY_SENDERS = Refusal(
    status.NO_WORKER,
    "others have sent the same request, and wait for its answer: ask again in a moment, when it is "
    "stored, or give it an `id` of its own",
    Context(retry_after_s=RETRY_AFTER_S),
)
TAKEN_BACK = Refusal(status.CANCELLED, "taken back by its sender")
REVOKED = Refusal(status.LIMIT_EXCEEDED, "the key that it was asked for with is revoked")


def forbidden(error: str) -> Refusal:
    """403: the sender's key is not good for that."""
    return Refusal(status.LIMIT_EXCEEDED, error)


def other_role(action: str, needed: Role, name: str, role: Role) -> Refusal:
    """403: the sender's key is of a role that may not ask for the action."""
    others = " or operator" if needed is Role.CLIENT else ""
    return forbidden(
        f"{action} needs a key of the role {needed}{others}, and {name!r}, which it came with, is "
        f"of the role {role}: `pipeline-router keys add --role {needed} NAME` makes another"
    )


def anothers(request_id: str) -> Refusal:
    """403: a request that somebody else has asked for."""
    return forbidden(
        f"`id`: the request called {request_id!r} is another key's: to cancel it needs a key of "
        "the role operator"
    )


def not_wanted(scheduler: Scheduler, track: str, version: str) -> Refusal:
    """505: the version is none that is deployed."""
    wanted = [lane.version for lane in scheduler.lanes.values() if lane.track == track]
    known = f"deployed are {', '.join(wanted)}" if wanted else "none is deployed"
    return Refusal(
        status.UNKNOWN_VERSION,
        f"`container_version`: {version!r} of {track} is not deployed on {scheduler.channel} "
        f"({known}): deploy it with deploy_container_version",
    )


def no_possible_worker(scheduler: Scheduler, lane: Lane, address: str) -> Refusal | None:
    """503 or 511, if no worker is there that could ever take the lane's jobs."""
    if lane.scoped or lane.generic:
        return None  # ready somewhere: the usual case, and cheap to see
    serving = sum(scheduler.serving(lane.track))
    if not serving:
        track = f" for {lane.track}" if lane.track else ""
        return Refusal(
            status.NO_WORKER,
            f"no worker of {scheduler.channel} is there{track}: start one with "
            f"`pipeline-worker listen worker-1 {address}/{scheduler.channel} WORK_FOLDER`",
            _counts(scheduler, lane),
        )
    if len(lane.failed) == serving:
        return Refusal(
            status.NOT_READY,
            f"no worker could prepare {lane.version} of {lane.track}: deployment_check says why",
            _counts(scheduler, lane),
        )
    return None


def full(scheduler: Scheduler, lane: Lane, address: str, *, queue: int) -> Refusal:
    """503, or 511 where waiting is off and the version is still being prepared."""
    if not queue and not lane.ready:
        return Refusal(
            status.NOT_READY,
            f"{lane.version} of {lane.track} is still being prepared",
            _counts(scheduler, lane),
        )
    waiting = f"and {scheduler.count} requests wait" if queue else "and none may wait"
    return Refusal(
        status.NO_WORKER,
        f"every suitable worker is busy {waiting}: try again in a moment, or start another with "
        f"`pipeline-worker listen NAME {address}/{scheduler.channel} WORK_FOLDER`",
        _counts(scheduler, lane),
    )


def crowded_out(scheduler: Scheduler, lane: Lane) -> Refusal:
    """503: somebody else needs a share of the queue."""
    return Refusal(
        status.NO_WORKER,
        f"{scheduler.count} requests wait, most of them by this client, and others need room, too: "
        "try again in a moment",
        _counts(scheduler, lane),
    )


def quota_used(owner: str, quota: int) -> Refusal:
    """429: the owner has as many requests in flight as it may."""
    return Refusal(
        status.QUOTA_USED,
        f"{owner!r} has as many requests in flight as its quota allows, {quota}: send this one "
        "again when one of them is answered",
        Context(retry_after_s=RETRY_AFTER_S),
    )


def overdue(lane: Lane, worker: Worker | None) -> Refusal:
    """504, or 511 if it waited for a version that no worker has ready."""
    if worker is not None:
        return Refusal(status.DEADLINE_PASSED, f"its deadline passed while it ran on {worker}")
    if not lane.ready:
        error = f"its deadline passed before a worker had {lane.version} of {lane.track} ready"
        return Refusal(status.NOT_READY, error)
    return Refusal(status.DEADLINE_PASSED, "its deadline passed while it waited for a worker")


def worker_lost(times: int, worker: Worker, attempt: int) -> Refusal:
    """510: lost too often."""
    return Refusal(
        status.WORKER_FAILED,
        f"{times} workers were lost while they ran it, the last one was {worker}",
        Context(worker=worker.identity, attempt=attempt),
    )


def _counts(scheduler: Scheduler, lane: Lane) -> Context:
    """Count whoever could have served; a ready worker that did not is busy."""
    scoped, generic = scheduler.serving(lane.track)
    workers = WorkerCounts(scoped=scoped, generic=generic, busy=lane.ready)
    return Context(workers=workers, retry_after_s=RETRY_AFTER_S)
