"""What a call does on its way, whoever carries it out: it says something, pauses, or works.

A plan is a generator of steps. It decides and does not wait: the sync client waits in the caller's
thread, the async one in its event loop, and both send the outcome back into the generator.
"""

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from pipeline_client._plans.options import ClientOptions

T_co = TypeVar("T_co", covariant=True)

OnLine = Callable[[str], object]
"""Called with each line of output on the way, where the call was made: in its thread or task."""


class Exchange(Struct, frozen=True):
    """Send a request; the outcome is the bytes of its final reply."""

    body: bytes
    deadline: float
    """Of the options' clock; then it is given up, with 101."""
    too_late: str
    """What that 101 says."""
    on_line: OnLine | None = None
    resendable: bool = True
    """Whether it does no more harm twice than once."""


class Pause(Struct, frozen=True):
    """Let time pass."""

    seconds: float


class BlockingCall(Struct, frozen=True):
    """Call something that reads files or waits for a network; the outcome is what it returns."""

    do: Callable[[], Any]


Step = Exchange | Pause | BlockingCall


class CallPlan(Protocol[T_co]):
    """What can be carried out: a call, or several with a purpose."""

    def steps(self, options: ClientOptions) -> Generator[Step, Any, T_co]:
        """Go through the steps; the generator's return value is the result."""
        ...
