"""What is recorded of a change: one entry of the audit file. No I/O.

Only what changes something is recorded, and only when it was let in: a stranger, or a key of
another role, could push everything else out of the file by asking often enough. Those are counted
in the log.
"""

from pipeline_protocol.responses import AuditEntry
from pipeline_router.commands import Record
from pipeline_router.deployments import DeploymentChange
from pipeline_router.events import ConfigRead, ConfigUnusable, KeysRead, Requested
from pipeline_router.model import Worker
from pipeline_router.principals import Sender

DONE = "done"


def of_deployment(change: DeploymentChange, error: str = "") -> Record:
    """Record that other versions of a track are wanted, or could not be saved."""
    request = change.request
    subject = {"channel": request.channel, "track_slug": request.track_slug}
    after = change.before if error else change.after
    return _record(change.sender, action_of(request), subject, change.before, after, error or DONE)


def of_worker(event: Requested, worker: Worker, becomes: str) -> Record:
    """Record what a worker is told to be."""
    subject = {"worker": worker.identity, "channel": worker.channel}
    return _of_request(event, subject, (state_of(worker),), (becomes,))


def of_dismissal(event: Requested, identity: str) -> Record:
    """Record that a worker is missed no longer."""
    return _of_request(event, {"worker": identity}, ("missing",), ())


def of_cancelling(event: Requested, owner: str, action: str) -> Record:
    """Record that somebody took another's request back."""
    subject = {"id": getattr(event.request, "id", ""), "of_action": action}
    if event.sender is not None:  # else it is a connection's number
        subject["owner"] = owner
    return _of_request(event, subject, ("in flight",), ("cancelled",))


def of_keys(event: KeysRead) -> Record:
    """Record which keys are good no longer, and which ones are now."""
    subject = {"router": "another key of its own"} if event.rekeyed else {}
    return _record(None, "keys_changed", subject, event.revoked, event.added)


def of_config(event: ConfigRead | ConfigUnusable) -> Record:
    """Record that the configuration was read again."""
    outcome = event.error if isinstance(event, ConfigUnusable) else DONE
    return _record(None, "config_reloaded", {}, (), (), outcome)


def state_of(worker: Worker) -> str:
    """Return in a word what a worker does."""
    if worker.restarting:
        return "restarting"
    if worker.draining:
        return "draining"
    return worker.keeps or "serving"


def action_of(request: object) -> str:
    """Return the name by which something was asked for."""
    return str(request.__struct_config__.tag)  # type: ignore[attr-defined] # each has one


def _of_request(
    event: Requested, subject: dict[str, str], before: tuple[str, ...], after: tuple[str, ...]
) -> Record:
    return _record(event.sender, action_of(event.request), subject, before, after)


def _record(
    sender: Sender,
    action: str,
    subject: dict[str, str],
    before: tuple[str, ...],
    after: tuple[str, ...],
    outcome: str = DONE,
) -> Record:
    name = None if sender is None else sender.name
    return Record(AuditEntry("", name, action, subject, before, after, outcome))
