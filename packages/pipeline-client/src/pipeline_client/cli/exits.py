"""How a command ends: the exit statuses, and an error in words that say what to do next. Pure."""

from types import MappingProxyType
from typing import Any

import msgspec

from pipeline_client.cli.views.text import block, clean
from pipeline_client.errors import PipelineError
from pipeline_protocol import status
from pipeline_protocol.replies import Context
from pipeline_protocol.status import STATUSES, Blame

DONE = 0
ERROR = 1
USAGE = 2
UNREACHABLE = 3
JOB_FAILED = 4
UNDECIDED = 5
"""Of `status`: workers keep images that are not wanted, and wait for an operator's word."""
INTERRUPTED = 130

STATUSES_IN_SHORT = (
    "Exit status: 0 done, 1 error, 2 usage, 3 the router does not answer, 4 the job failed."
)

_HINTS = MappingProxyType(
    {
        status.CLIENT_TIMED_OUT: "another router is named by --address or PIPELINE_ADDRESS",
        status.TIMED_OUT: "--execution-timeout asks for more, up to the track's ceiling",
        status.NO_WORKER: "`pipeline workers` shows who is there, `pipeline status` what waits",
        status.QUOTA_USED: "`pipeline status` shows who has how many, "
        "`pipeline-router keys add --quota` sets how many may be",
        status.DEADLINE_PASSED: "--timeout waits longer; `pipeline status` shows what is waiting",
        status.UNKNOWN_VERSION: "`pipeline versions TRACK` shows what there is, "
        "`pipeline deploy TRACK CHANNEL VERSION` deploys one",
        status.NOT_READY: "`pipeline versions TRACK` and `pipeline workers` show how far it is",
        status.SETUP_FAILED: "`pipeline workers` shows which worker is in trouble, and why",
    }
)


_KEYS_HINT = "another file of keys is named by --keys or PIPELINE_KEYS"


def exit_status(error: PipelineError) -> int:
    """Return the exit status of a command that ended with the error."""
    if error.code == status.CLIENT_TIMED_OUT:
        return UNREACHABLE
    row = STATUSES.get(error.code)
    if error.is_forbidden:
        return ERROR
    return JOB_FAILED if row and row.blame in (Blame.LIMIT, Blame.TOOL) else ERROR


def explained(error: PipelineError) -> list[str]:
    """Return the lines that tell a person of the error: what it printed, why, what to do next."""
    lines = []
    for name, text in _logs(error.context).items():
        lines += [f"--- {name}", *block(text, "  ")]
    own = error.code == status.CLIENT_TIMED_OUT  # its name would say less than its text
    lines += block(f"pipeline: {error.error if own else error}")
    hint = _KEYS_HINT if error.is_forbidden else _HINTS.get(error.code)
    # by the command itself, which knew more; or it is the router's own host
    said = "`pipeline " in error.error or "the router could not" in error.error
    return [*lines, f"          {hint}"] if hint and not said else lines


def _logs(context: Context) -> dict[str, str]:
    if not context.logs:
        return {}
    streams = {"stdout": context.logs.stdout, "stderr": context.logs.stderr}
    return {name: text for name, text in streams.items() if clean(text).strip()}


def error_data(error: PipelineError) -> dict[str, Any]:
    """Return what ``--json`` prints in place of a response."""
    row = STATUSES.get(error.code)
    return {
        "error": {
            "code": error.code,
            "message": row.message if row else "Unknown status",
            "error": error.error,
            "retryable": error.retryable,
            "context": msgspec.to_builtins(error.context),
        }
    }
