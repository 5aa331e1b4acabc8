"""Arguments and options that several commands share."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pipeline_client.cli import completers
from pipeline_client.cli.exits import STATUSES_IN_SHORT
from pipeline_client.cli.output import OUTPUT, CommandOutput
from pipeline_client.cli.session import Session
from pipeline_client.cli.values import (
    Seconds,
    channel_name,
    keys_file,
    named,
    router_address,
)
from pipeline_protocol import RouterAddress, names

Function = TypeVar("Function", bound=Callable[..., Any])


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
        address: RouterAddress,
        timeout: float | None,
        keys: Path | None,
        as_json: bool,
        **more: Any,
    ) -> None:
        out = CommandOutput(as_json=as_json)
        click.get_current_context().meta[OUTPUT] = out
        function(Session(address, timeout, out, keys), **more)

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
            "--keys",
            type=keys_file,
            metavar="FILE",
            help="The file that you were given, for a router with keys.",
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


TRACK = click.argument("track", type=named(names.Slug), shell_complete=completers.tracks)
CHANNEL = click.argument("channel", type=channel_name, shell_complete=completers.channels)
OPTIONAL_CHANNEL = click.argument(
    "channel", type=channel_name, required=False, shell_complete=completers.channels
)
