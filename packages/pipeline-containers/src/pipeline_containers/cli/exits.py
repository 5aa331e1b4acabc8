"""What the exit statuses mean: the same as of the other commands (docs/operating.md)."""

from pipeline_containers.errors import (
    BuildFailed,
    BuildOutputLimit,
    BuildTimedOut,
    ImageInvalid,
)

DONE = 0
ERROR = 1
JOB_FAILED = 4
"""The tool, the build or the image is at fault, not the call and not this host."""

_JOB_FAILED = (BuildFailed, BuildOutputLimit, BuildTimedOut, ImageInvalid)


def exit_status(error: Exception) -> int:
    """Return the exit status of a command that ended with the error."""
    return JOB_FAILED if isinstance(error, _JOB_FAILED) else ERROR
