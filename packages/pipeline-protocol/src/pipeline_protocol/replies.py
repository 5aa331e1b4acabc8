"""What comes back: a status, a response if the tool ran, and the context it ran in."""

from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType

from pipeline_protocol.status import STATUSES


class StatusLine(Struct, frozen=True, omit_defaults=True):
    """How it went."""

    code: int
    message: str
    error: str | UnsetType = UNSET
    """What went wrong, and what to do next."""

    @classmethod
    def of(cls, code: int, error: str | UnsetType = UNSET) -> "StatusLine":
        """Return the line of a code in the table."""
        return cls(code, STATUSES[code].message, error)


class Timing(Struct, frozen=True):
    """Where the time of a job went, in seconds."""

    queued_s: float = 0.0
    """In the router, until it was sent to the worker that answered."""
    setup_s: float = 0.0
    """In the worker, before the tool started: input, container."""
    run_s: float = 0.0
    """From the tool's start to its end."""
    total_s: float = 0.0
    """In the worker, from the job's arrival to its answer."""


class JobUsage(Struct, frozen=True):
    """What a run used."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    oom_kills: int = 0
    peak_pids: int = 0
    stdout_bytes: int = 0
    stderr_bytes: int = 0


class Logs(Struct, frozen=True, omit_defaults=True):
    """What a run, or a build, printed: at most 64 kB a stream, all of it text without NUL."""

    stdout: str = ""
    stderr: str = ""


class WorkerCounts(Struct, frozen=True):
    """The workers that could have served a request, when none did."""

    scoped: int
    generic: int
    busy: int


class Context(Struct, frozen=True, omit_defaults=True):
    """What surrounded an answer; whatever does not apply is left out."""

    timing: Timing | UnsetType = UNSET
    usage: JobUsage | UnsetType = UNSET
    logs: Logs | UnsetType = UNSET
    exit_status: int | UnsetType = UNSET
    invocation: dict[str, Any] | UnsetType = UNSET
    """The command, its limits and its image, so that the run can be repeated; and which limits the
    worker could not enforce."""
    result: Any = UNSET
    """A result file that was left behind by a tool that failed."""
    replaced: tuple[str, ...] | UnsetType = UNSET
    """Which of ``stdout``, ``stderr`` and ``result`` has U+FFFD where there was NUL, invalid UTF-8
    or half a surrogate pair: what databases take for no text."""
    warnings: tuple[str, ...] | UnsetType = UNSET
    """What was put right in a tool's result, or looks wrong in it; of a build, what its tool makes
    of its own fixtures. Lines for people; a difference is several lines in one."""
    worker: str | UnsetType = UNSET
    attempt: int | UnsetType = UNSET
    image_digest: str | UnsetType = UNSET
    workers: WorkerCounts | UnsetType = UNSET
    retry_after_s: float | UnsetType = UNSET


class Reply(Struct, frozen=True, omit_defaults=True):
    """The one terminal answer to a request."""

    status: StatusLine
    response: Raw | UnsetType = UNSET
    """JSON; only with 200. See `responses`."""
    context: Context = Context()


class ProgressLines(Struct, frozen=True):
    """Lines of output on the way."""

    lines: tuple[str, ...]


class ProgressReply(Struct, frozen=True):
    """What a DEALER that asked for progress gets before its reply."""

    progress: ProgressLines
