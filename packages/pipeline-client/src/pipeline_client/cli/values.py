"""What is typed as an argument or an option, and what it has to be.

Functions, not click's `ParamType`: that is generic in some of the versions that are supported and
not in others.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
from click.shell_completion import CompletionItem

from pipeline_client._keys_file import read_keys
from pipeline_client._plans.uploads import parse_prefix
from pipeline_protocol import BadAddress, RouterAddress
from pipeline_protocol.channels import CHANNEL_OF_ALIAS, CHANNELS
from pipeline_protocol.keys import BadKeys
from pipeline_protocol.names import nearest

CHANNELS_WITH_TOOLS = tuple(row.name for row in CHANNELS.values() if row.scopable)

_ALSO = {
    **{row.flavour.replace("-", "_"): row.name for row in CHANNELS.values() if row.scopable},
    **CHANNEL_OF_ALIAS,
}
_URI_SCHEMES = ("s3://", "file://")


def router_address(text: str) -> RouterAddress:
    """Read ``tcp://HOST:PORT``."""
    try:
        return RouterAddress.parse(text)
    except BadAddress as error:
        raise click.BadParameter(str(error)) from None


def keys_file(text: str) -> Path:
    """Take a file of keys that is of use."""
    try:
        read_keys(text)
    except BadKeys as error:
        raise click.BadParameter(str(error)) from None
    return Path(text)


def channel_name(text: str) -> str:
    """Take a channel's name, an alias, or what a worker of it is called: ``test-runner``."""
    said = text.replace("-", "_")
    channel = _ALSO.get(said, said)
    if channel not in CHANNELS_WITH_TOOLS:
        near = nearest(said, (*CHANNELS_WITH_TOOLS, *_ALSO))
        known = ", ".join(CHANNELS_WITH_TOOLS)
        raise click.BadParameter(f"unknown channel {text!r}{near}; channels are {known}")
    return channel


def named(kind: Any) -> Callable[[str], str]:
    """Take a name of `pipeline_protocol.names`; another is refused in the words of the router."""
    what = next(meta.description for meta in get_args(kind)[1:])

    def name(text: str) -> str:
        try:
            taken: str = msgspec.convert(text, kind)
        except msgspec.ValidationError:
            raise click.BadParameter(f"{text!r} is not {what}") from None
        return taken

    return name


def solution(text: str) -> dict[str, Any]:
    """Take a folder, or a URI that workers can read: what the client takes, by its name there."""
    if text.startswith(_URI_SCHEMES):
        return {"s3_uri": text}
    path = Path(text)
    if not path.is_dir():
        what = "is a file: name the folder that it is in" if path.exists() else "is not there"
        raise click.BadParameter(
            f"{text!r} {what}; needed is a folder, s3://BUCKET/PREFIX/ or file:///FOLDER/"
        )
    return {"folder": path}


def folders(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Have the shell complete a folder."""
    return click.Path(file_okay=False).shell_complete(ctx, param, incomplete)


def s3_prefix(text: str) -> str:
    """Take ``s3://BUCKET/PREFIX/``."""
    try:
        parse_prefix(text)
    except ValueError as error:
        raise click.BadParameter(str(error).removeprefix("upload_to ")) from None
    return text


class Seconds(click.FloatRange):
    """A time; `nan`, which every comparison lets through, is none."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Take it, or say what it should be."""
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return seconds
