"""THE table of statuses: code, message, whose doing it was, worth a retry, kept for a resend."""

from enum import StrEnum
from types import MappingProxyType

from msgspec import Struct


class Blame(StrEnum):
    """Whose doing a status is: what a client's error classes follow."""

    NOBODY = "nobody"
    """The tool ran."""
    REQUEST = "request"
    """The request is at fault; the same one will fail again."""
    LIMIT = "limit"
    """What was run passed a limit."""
    TOOL = "tool"
    """What was run failed, or left no usable result."""
    PLATFORM = "platform"
    """The system could not do it now."""
    CALLER = "caller"
    """The caller took it back, or its own side failed."""


class Retry(StrEnum):
    """Whether to send the same request again."""

    NEVER = "never"
    ONCE = "once"
    LATER = "later"


class Status(Struct, frozen=True):
    """One row."""

    code: int
    message: str
    blame: Blame
    retry: Retry = Retry.NEVER
    stored: bool = False
    """Whether the reply is kept for a while, for the same request sent again."""


OK = 200
UNUSABLE = 400
TIMED_OUT = 401
TOO_MUCH_OUTPUT = 402
LIMIT_EXCEEDED = 403
QUOTA_USED = 429
CANCELLED = 499
INTERNAL_ERROR = 500
UNKNOWN_ACTION = 501
MALFORMED = 502
NO_WORKER = 503
DEADLINE_PASSED = 504
UNKNOWN_VERSION = 505
WORKER_FAILED = 510
NOT_READY = 511
SETUP_FAILED = 512
TOOL_FAILED = 513
BAD_RESULT = 514
CLIENT_TIMED_OUT = 101
MISSING_REPLY = 102
MALFORMED_REPLY = 103

STATUSES = MappingProxyType(
    {
        row.code: row
        for row in (
            Status(OK, "OK", Blame.NOBODY, stored=True),
            Status(UNUSABLE, "Unusable request", Blame.REQUEST),
            Status(TIMED_OUT, "Forced exit: ran too long", Blame.LIMIT, stored=True),
            Status(TOO_MUCH_OUTPUT, "Forced exit: too much output", Blame.LIMIT, stored=True),
            # 403 of a key's role is the router's own answer, and the router stores none of those
            Status(LIMIT_EXCEEDED, "Forced exit: limit exceeded", Blame.LIMIT, stored=True),
            Status(QUOTA_USED, "Quota used up", Blame.PLATFORM, Retry.LATER),
            Status(CANCELLED, "Cancelled", Blame.CALLER),
            Status(INTERNAL_ERROR, "Internal error", Blame.PLATFORM),
            Status(UNKNOWN_ACTION, "Action not recognised", Blame.REQUEST),
            Status(MALFORMED, "Malformed request", Blame.REQUEST),
            Status(NO_WORKER, "No worker available", Blame.PLATFORM, Retry.LATER),
            Status(DEADLINE_PASSED, "Deadline passed", Blame.PLATFORM, Retry.LATER),
            Status(UNKNOWN_VERSION, "Version not deployed", Blame.REQUEST),
            Status(WORKER_FAILED, "Worker failed", Blame.PLATFORM, Retry.ONCE),
            Status(NOT_READY, "Version not ready on any worker", Blame.PLATFORM, Retry.LATER),
            Status(SETUP_FAILED, "Setting up failed", Blame.PLATFORM, Retry.LATER),
            Status(TOOL_FAILED, "The container failed", Blame.TOOL, stored=True),
            Status(BAD_RESULT, "No usable result", Blame.TOOL, stored=True),
            Status(CLIENT_TIMED_OUT, "Client timed out", Blame.CALLER, Retry.LATER),
            Status(MISSING_REPLY, "Missing reply", Blame.CALLER, Retry.LATER),
            Status(MALFORMED_REPLY, "Malformed reply", Blame.CALLER),
        )
    }
)
