"""`pipeline-router keys`: who may connect to the router, and by which keys."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from msgspec.structs import replace

from pipeline_protocol.channels import channel_named
from pipeline_protocol.keys import BadKeys, in_short, read_member_keys
from pipeline_protocol.names import Identity, described
from pipeline_protocol.requests import Role
from pipeline_router.access.keys_file import (
    changing,
    check_curve,
    new_pair,
    read_file,
    read_router_file,
    write_secret,
    written,
)
from pipeline_router.failure import Failure
from pipeline_router.keys import KeyEntry, RouterKeys, describe

F = TypeVar("F", bound=Callable[..., Any])

TAKEN = "A running router takes it within a second."
_PATH = click.Path(path_type=Path, dir_okay=False)


class _NameType(click.ParamType[str]):
    name = "name"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        try:
            return msgspec.convert(value, Identity)
        except msgspec.ValidationError as error:
            self.fail(described(str(error)), param, ctx)


class _ChannelType(click.ParamType[str]):
    name = "channel"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        try:
            return channel_named(value).name
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _on_file(command: F) -> F:
    return click.option(
        "--keys",
        "path",
        type=_PATH,
        required=True,
        envvar="PIPELINE_KEYS",
        show_envvar=True,
        help="The router's file of keys.",
    )(command)


class _Keys(click.Group):
    """Ends in one place, with one line."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (BadKeys, OSError) as error:
            raise Failure(str(error)) from None


@click.group(cls=_Keys, context_settings={"help_option_names": ["-h", "--help"]})
def keys() -> None:
    r"""Say who may connect to the router, by which keys, and as what.

    \b
    Set-up:
      export PIPELINE_KEYS=/etc/pipeline/router.keys
      pipeline-router keys init
      pipeline-router keys add --role worker worker-1 --output worker-1.keys
      pipeline-router keys add --role operator olga --output olga.keys
      pipeline-router pipeline.yml --bind 0.0.0.0

    Whoever connects is given its one file, for --keys or PIPELINE_KEYS. A change is in force within
    a second, whether the router runs or is started later. Exit status: 0 done, 1 an error, 2 usage.
    """


@keys.command()
@_on_file
def init(path: Path) -> None:
    """Make the router's file, with a key of its own and the next one."""
    own = RouterKeys(router=(new_pair(), new_pair()))
    write_secret(path, written(own), anew=True)
    click.echo(f"{path}: made. The router's public key is {own.routers[0]}")


@keys.command()
@_on_file
@click.option(
    "--role", required=True, type=click.Choice([role.value for role in Role]), help="What for."
)
@click.option(
    "--channel",
    "channels",
    multiple=True,
    type=_ChannelType(),
    help="A worker's: one that it may serve, again for more; else all.",
)
@click.option(
    "--identity", default="", metavar="PREFIX", help="A worker's: what its names begin with."
)
@click.option(
    "--quota",
    type=click.IntRange(1, 1_000_000),
    help="A client's: how many of its jobs may be in flight.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Where the file for whoever it is goes, by default NAME.keys; '-': to stdout.",
)
@click.argument("name", type=_NameType())
def add(
    path: Path,
    role: str,
    channels: tuple[str, ...],
    identity: str,
    quota: int | None,
    output: Path | None,
    name: str,
) -> None:
    """Let NAME in, by a key of its own; write the one file that it needs.

    The router's file keeps the public key alone: what is written now cannot be had again.
    """
    pair = new_pair()
    with changing(path) as change:
        before = read_router_file(path)
        try:
            entry = KeyEntry(
                name=name,
                role=Role(role),
                public=pair.public,
                added=_today(),
                channels=tuple(dict.fromkeys(channels)),
                identity=identity,
                quota=quota,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        after = before.with_key(entry)
        member = written(after.member(entry, pair.secret))
        if str(output) != "-":
            write_secret(output or Path(f"{name}.keys"), member, anew=True)
        change(after)
    if str(output) == "-":
        click.echo(member, nl=False)
    else:
        click.echo(f"{output or f'{name}.keys'}: for {name}, and nobody else. {TAKEN}")


@keys.command()
@_on_file
@click.argument("name", type=_NameType())
def revoke(path: Path, name: str) -> None:
    """Let NAME in no more, and end its connections."""
    with changing(path) as change:
        change(read_router_file(path).without(name, _today()))
    click.echo(f"{name}: revoked. {TAKEN}")


@keys.command("list")
@_on_file
@click.option("--json", "as_json", is_flag=True, help="Print JSON, without any secret.")
def list_keys(path: Path, as_json: bool) -> None:
    """Show the keys that are good, and those that were."""
    known = read_router_file(path)
    if as_json:
        entries = [replace(entry) for entry in known.keys]
        click.echo(msgspec.json.encode({"routers": known.routers, "keys": entries}))
        return
    for number, public in enumerate(known.routers):
        click.echo(f"the router's {'own' if number == 0 else 'next'}: {public}")
    for entry in known.keys:
        click.echo(describe(entry))


@keys.command()
@_on_file
@click.option(
    "--all",
    "all_keys",
    is_flag=True,
    help="The next one too, where the file itself was stolen: nobody gets in until refreshed.",
)
def rotate(path: Path, all_keys: bool) -> None:
    """Have the router go over to its next key, and make a new next one.

    Whoever connects has both in its file, and goes over by itself. `refresh` its file before the
    next time.
    """
    with changing(path) as change:
        after = read_router_file(path).rotated(new_pair())
        if all_keys:
            after = after.rotated(new_pair())
        change(after)
    click.echo(f"the router's key is {after.routers[0]} now. {TAKEN}")
    click.echo("Before the next time: `pipeline-router keys refresh FILE`, each file given out")


@keys.command()
@_on_file
@click.argument("files", nargs=-1, required=True, type=_PATH)
def refresh(path: Path, files: tuple[Path, ...]) -> None:
    """Write the router's present keys into FILES that `add` has written."""
    check_curve()
    routers = read_router_file(path).routers
    for file in files:
        member = read_member_keys(read_file(file), str(file))
        write_secret(file, written(replace(member, routers=routers)))
        click.echo(f"{file}: {member.name} expects {', '.join(map(in_short, routers))}")


def _today() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
