"""A job that somebody waits for: an interrupt takes it back."""

from collections.abc import Callable
from typing import TypeVar
from uuid import uuid4

from pipeline_client.cli.options import Session
from pipeline_client.errors import PipelineError

T = TypeVar("T")

_TAKE_BACK_S = 2.0


def awaited(session: Session, action: str, ask: Callable[[str], T], job: str | None = None) -> T:
    """Call `ask` with the job's id, or a new one, and return what it returns; Ctrl-C cancels it."""
    job = job or uuid4().hex
    try:
        return ask(job)
    except KeyboardInterrupt:
        try:
            taken_back = session.client.cancel(job, action, timeout_s=_TAKE_BACK_S).cancelled
        except PipelineError as error:
            session.out.line(f"interrupted; the job could not be cancelled: {error}")
            session.out.line(f"it may run on: pipeline cancel {job} --action {action}")
        else:
            done = "the job is cancelled" if taken_back else "the job was not under way any more"
            session.out.line(f"interrupted: {done}")
        raise
