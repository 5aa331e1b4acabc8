"""A command's way to the router: the client, where answers are printed, what an interrupt does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import click

from pipeline_client import PipelineClient, Retries
from pipeline_client.cli.output import CommandOutput
from pipeline_client.cli.reaching import reach
from pipeline_client.errors import PipelineError
from pipeline_protocol import RouterAddress

_REACH_S = 5.0
"""How long a connection may take to come about."""

_TAKE_BACK_S = 2.0
"""How long an interrupted command waits for the job to be cancelled."""

T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """A router to ask, and where the answers are printed."""

    address: RouterAddress
    timeout_s: float | None
    out: CommandOutput
    keys: Path | None = None
    """The file of keys, for a router with keys."""
    upload_to: str | None = None
    """Where folders are uploaded that are too large to be sent along."""
    retries: Retries | None = None
    """Once: a person is told at once what is missing, a script can try again."""

    @cached_property
    def client(self) -> PipelineClient:
        """The router's client, once it is known that somebody listens there."""
        reach(self.address, min(self.timeout_s or _REACH_S, _REACH_S), self.keys)
        client = PipelineClient(
            str(self.address),
            timeout_s=self.timeout_s,
            retries=self.retries,
            upload_to=self.upload_to,
            keys=self.keys,
        )
        click.get_current_context().call_on_close(client.close)
        return client

    @contextmanager
    def said(self, on_interrupt: str) -> Iterator[None]:
        """Say what an interrupt leaves behind."""
        try:
            yield
        except KeyboardInterrupt:
            self.out.line(on_interrupt)
            raise


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
