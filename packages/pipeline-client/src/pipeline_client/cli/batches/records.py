"""The results of a batch as JSON lines: one, whole, for each solution and version. Pure.

A crash leaves at most a torn last line, which is dropped. Whatever else is no result was written
by somebody else, and the file is left as it is.
"""

from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from pipeline_protocol import status
from pipeline_protocol.names import ExerciseSlug, Slug, Version, described
from pipeline_protocol.replies import Context
from pipeline_protocol.status import STATUSES, Blame, Retry

_BEGINS = b'{"id":"'
"""Every line does, so that a torn one can be told from a stranger's text."""


class RunKey(Struct, frozen=True, order=True):
    """What is run once: a solution, by a version of a tool."""

    track: str
    channel: str
    version: str
    id: str
    """The solution's."""


class RunRecord(Struct, frozen=True, omit_defaults=True):
    """A line: what a version of a tool made of a solution."""

    id: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    track: Slug
    channel: str
    version: Version
    exercise: ExerciseSlug
    solution: str
    """What the solution is called."""
    code: int
    """Of `pipeline_protocol.status`."""
    error: str = ""
    response: Any | UnsetType = UNSET
    """The tool's result, which may hold anything; only with 200."""
    context: Context = Context()

    @property
    def key(self) -> RunKey:
        """Return what this is the result of."""
        return RunKey(self.track, self.channel, self.version, self.id)


class BadRecord(ValueError):
    """A line that is no result."""


_decoder = msgspec.json.Decoder(RunRecord)


def record_line(record: RunRecord) -> bytes:
    """Return a result's line, its end included."""
    return msgspec.json.encode(record) + b"\n"


def read_record(line: bytes) -> RunRecord:
    """Read a whole line; raises BadRecord, in words for a person."""
    try:
        return _decoder.decode(line)
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"no result of a batch: {described(str(error))}") from None


def is_torn(rest: bytes) -> bool:
    """Whether bytes after the last line's end are the beginning of a result's line.

    A computer that lost its power may have left NUL in place of what it had not written yet.
    """
    begin = rest[: len(_BEGINS)].rstrip(b"\0")
    return _BEGINS.startswith(begin)


class RunVerdict(StrEnum):
    """What the end of a run means for its batch."""

    RESULT = "result"
    """It tells of the solution or the tool: it is written, and not run again."""
    UNFINISHED = "unfinished"
    """It tells of the system: nothing is written, and the same command runs it again."""
    HOPELESS = "hopeless"
    """No other run of the batch can do better."""


def verdict_of(code: int, *, is_forbidden: bool = False) -> RunVerdict:
    """Return which it is, for the code that a run ended with after all tries.

    `is_forbidden`: the key is not good for it, and will not be for the next one.
    """
    row = STATUSES.get(code)
    if is_forbidden or code in (
        status.UNKNOWN_ACTION,
        status.UNKNOWN_VERSION,
        status.MALFORMED_REPLY,
    ):
        return RunVerdict.HOPELESS
    if row is None or row.retry is Retry.LATER:
        return RunVerdict.UNFINISHED
    if row.retry is Retry.ONCE:  # tried again, alone: perhaps it is what ends workers
        return RunVerdict.RESULT
    ours = row.blame in (Blame.PLATFORM, Blame.CALLER)
    return RunVerdict.UNFINISHED if ours else RunVerdict.RESULT
