"""Why a call did not get what it asked for: one class for each row of blame in the status table."""

from types import MappingProxyType

from pipeline_protocol import status
from pipeline_protocol.replies import Context
from pipeline_protocol.status import STATUSES, Blame, Retry


class PipelineError(Exception):
    """A call without a result. Its text says what went wrong and what to do next."""

    def __init__(self, code: int, error: str, context: Context | None = None) -> None:
        super().__init__(code, error, context)  # all of them, or it could not be pickled
        self.code = code
        """The status, as in the table of `pipeline_protocol.status`."""
        self.error = error
        self.context = context or Context()
        """What ran, where, and what it left: logs, usage, exit status; or who was busy."""

    @property
    def retryable(self) -> bool:
        """Whether the same call may well succeed later."""
        row = STATUSES.get(self.code)
        return row is not None and row.retry is not Retry.NEVER

    @property
    def is_forbidden(self) -> bool:
        """Whether the key is not good for what it was asked with: the router's own 403."""
        return self.code == status.LIMIT_EXCEEDED and not self.context.worker

    @property
    def retry_after_s(self) -> float | None:
        """How long the router thinks that is, in seconds; None if it did not say."""
        return self.context.retry_after_s or None

    def __str__(self) -> str:
        row = STATUSES.get(self.code)
        return f"{self.code} {row.message if row else 'Unknown status'}: {self.error}"


class RequestError(PipelineError):
    """The request is at fault; the same one will fail again (400, 501, 502, 505)."""


class LimitError(PipelineError):
    """What was run passed a limit (401, 402, 403); `is_forbidden`: the key may not ask for it."""


class ToolError(PipelineError):
    """What was run failed, or left no usable result (513, 514)."""


class PlatformError(PipelineError):
    """The system could not do it now (429, 500, 503, 504, 510, 511, 512)."""


class CallerError(PipelineError):
    """The caller took it back (499), or its own side failed (101, 102, 103)."""


class ClientTimedOut(CallerError):
    """101: no answer in time."""


class MissingReply(CallerError):
    """102: an answer with nothing in it."""


class MalformedReply(CallerError):
    """103: an answer that cannot be understood."""


_OF_BLAME = MappingProxyType(
    {
        Blame.REQUEST: RequestError,
        Blame.LIMIT: LimitError,
        Blame.TOOL: ToolError,
        Blame.PLATFORM: PlatformError,
        Blame.CALLER: CallerError,
    }
)
_OF_CODE = MappingProxyType(
    {
        status.CLIENT_TIMED_OUT: ClientTimedOut,
        status.MISSING_REPLY: MissingReply,
        status.MALFORMED_REPLY: MalformedReply,
    }
)


def error_of(code: int, error: str, context: Context | None = None) -> PipelineError:
    """Return the error of a status; one that this version does not know is the platform's."""
    row = STATUSES.get(code)
    of_blame = _OF_BLAME.get(row.blame, PlatformError) if row else PlatformError
    return _OF_CODE.get(code, of_blame)(code, error, context)
