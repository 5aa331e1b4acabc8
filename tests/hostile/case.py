"""A case: a program that a stranger sends, and what has to come of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

ROUTER_PORT = "ROUTER_PORT"
"""In a program's text: the port that the router listens on, on the host's loopback."""
BUSY = "busy"
"""What a job makes in its folder when it is at what it does beside another.

It is removed when the other is over.
"""
WALL_S = 3.0
"""Time enough for what is not about time."""


@dataclass(frozen=True)
class Case:
    """One hostile job.

    The program is a script for the image's shell, in the job folder, called as `run.sh` is: SLUG
    INPUT_DIR/ OUTPUT_DIR/. The image has busybox, the helpers of `tool/`, and `pass`, which leaves
    a valid result. `says` and `hides` are regular expressions, held against all that the reply
    says: error, message of the result, stdout and stderr. Whatever gets through says so.
    """

    name: str
    program: str
    code: int | tuple[int, ...] = 200
    """The status; several where chance decides which limit is met first."""
    says: tuple[str, ...] = ()
    hides: tuple[str, ...] = ("got through",)
    wall_s: float = WALL_S
    """The request's `execution_timeout`; the answer must be there a second later.

    As all times here, of a machine that is as fast as it should be.
    """
    asked_s: float = 0.0
    """What the request asks instead, where that is more than it gets."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Beside the program."""
    before: str = ""
    """The program of a job before it, which leaves something for it to find."""
    beside: str = ""
    """The program of a job that is at work while it runs, as long as there is `BUSY`."""
    track: str = "hostile"

    @property
    def codes(self) -> tuple[int, ...]:
        return self.code if isinstance(self.code, tuple) else (self.code,)

    def with_files(self, **files: str) -> "Case":
        return replace(self, files={**self.files, **files})


def refused(name: str, calls: Mapping[str, str]) -> Case:
    """Make a case of system calls, as `call` takes them, each with the errno it must end in."""
    lines = [f"call {call}" for call in calls]
    answers = tuple(f"(?m)^{call.split()[0]}: {errno}$" for call, errno in calls.items())
    return Case(name, "\n".join([*lines, "pass"]), says=answers)
