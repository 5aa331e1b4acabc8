"""Arguments and options that several commands share, and what they become: a `Session`."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import click

from pipeline_client import PipelineClient
from pipeline_client.cli import completion
from pipeline_client.cli.exits import STATUSES_IN_SHORT
from pipeline_client.cli.output import OUTPUT, CommandOutput
from pipeline_client.cli.reach import reach
from pipeline_client.cli.values import Seconds, channel_name, named, router_address
from pipeline_protocol import RouterAddress, names

_REACH_S = 5.0
"""How long a connection may take to come about."""

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Session:
    """A router to ask, and where the answers are printed."""

    address: RouterAddress
    timeout_s: float | None
    out: CommandOutput
    upload_to: str | None = None
    """Where folders are uploaded that are too large to be sent along."""

    @cached_property
    def client(self) -> PipelineClient:
        """The router's client, once it is known that somebody listens there."""
        reach(self.address, min(self.timeout_s or _REACH_S, _REACH_S))
        # tried once: a person is told at once what is missing, a script can try again
        client = PipelineClient(
            str(self.address), timeout_s=self.timeout_s, retries=None, upload_to=self.upload_to
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


def command(*examples: str) -> Callable[[Callable[..., None]], click.Command]:
    """Return a command whose help ends with examples and the exit statuses."""
    shown = "".join(f"  {example}\n" for example in examples)
    epilog = f"\b\nExamples:\n{shown}\n" if examples else ""
    return click.command(epilog=epilog + STATUSES_IN_SHORT)


def option(*names: str, **settings: Any) -> Callable[[Function], Function]:
    """Return an option that may also be set in the environment, as PIPELINE_ and its name."""
    longest = max(names, key=len).split("/")[0]
    variable = f"PIPELINE_{longest.lstrip('-').replace('-', '_').upper()}"
    return click.option(*names, **{"envvar": variable, "show_envvar": True, **settings})


def common(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command its `Session` in place of the options that all commands have."""

    @functools.wraps(function)
    def with_session(
        address: RouterAddress, timeout: float | None, as_json: bool, **more: Any
    ) -> None:
        out = CommandOutput(as_json=as_json)
        click.get_current_context().meta[OUTPUT] = out
        function(Session(address, timeout, out), **more)

    decorated: Callable[..., None] = with_session
    for decorate in (
        option("--json", "as_json", envvar="PIPELINE_JSON", is_flag=True, help="Print JSON."),
        option(
            "--timeout",
            type=Seconds(0, 86_400, min_open=True),
            metavar="SECONDS",
            help="How long an answer may take; by default 60 for runs, 1800 for builds, else 10.",
        ),
        option(
            "--address",
            type=router_address,
            metavar="ADDRESS",
            default="tcp://127.0.0.1:5555",
            show_default=True,
            help="The router's.",
        ),
    ):
        decorated = decorate(decorated)
    return decorated


TRACK = click.argument("track", type=named(names.Slug), shell_complete=completion.tracks)
CHANNEL = click.argument("channel", type=channel_name, shell_complete=completion.channels)
OPTIONAL_CHANNEL = click.argument(
    "channel", type=channel_name, required=False, shell_complete=completion.channels
)
