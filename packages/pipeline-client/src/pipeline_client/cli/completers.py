"""Completion in a shell: names that the router knows.

A router that does not answer at once completes nothing: a shell must not hang.
"""

from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from pipeline_client.cli.reaching import reach
from pipeline_protocol import BadAddress, RouterAddress
from pipeline_protocol.channels import CHANNEL_OF_ACTION, CHANNELS

_ANSWER_S = 0.5
"""For the connection, and for the router; the client adds its second."""

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completer(known: Callable[[Any, click.Context], Iterable[str]]) -> Completer:
    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from pipeline_client import PipelineClient, PipelineError

        address = ctx.params.get("address") or "tcp://127.0.0.1:5555"
        try:
            parsed = RouterAddress.parse(str(address))
            keys = ctx.params.get("keys")
            reach(parsed, _ANSWER_S, keys)
            with PipelineClient(str(parsed), timeout_s=_ANSWER_S, keys=keys) as client:
                found = sorted(set(known(client, ctx)))
        except (PipelineError, BadAddress, ValueError):
            return []
        return [CompletionItem(name) for name in found if name.startswith(incomplete)]

    return complete


def _tracks(client: Any, ctx: click.Context) -> Iterable[str]:
    versions = client.current_config()["versions"]
    return (track for tracks in versions.values() for track in tracks)


def _versions(client: Any, ctx: click.Context) -> Iterable[str]:
    """Those that are deployed, and for a deploy those that the registry has.

    Click knows no arguments while an option waits for its value: then all tracks' are completed.
    """
    track, channel = ctx.params.get("track"), ctx.params.get("channel")
    if ctx.info_name == "deploy":
        return tuple(client.list_available_containers(track, channel).versions)
    channel = channel or CHANNEL_OF_ACTION.get(f"{ctx.info_name}_solution")
    tracks = client.current_config()["versions"].get(channel, {})
    return (v for name, found in tracks.items() if track in (None, name) for v in found)


def _identities(client: Any, ctx: click.Context) -> Iterable[str]:
    return (worker.identity for worker in client.workers().workers)


def _missing(client: Any, ctx: click.Context) -> Iterable[str]:
    return (worker.identity for worker in client.workers().missing)


def channels(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a channel; no router is needed for that."""
    known = [row for row in CHANNELS.values() if row.scopable]
    return [CompletionItem(row.name) for row in known if row.name.startswith(incomplete)]


tracks = _completer(_tracks)
versions = _completer(_versions)
identities = _completer(_identities)
missing = _completer(_missing)
