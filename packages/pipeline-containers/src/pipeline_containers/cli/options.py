"""Options that several commands share."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from pipeline_containers.building.builder import BuildOptions
from pipeline_containers.building.builders import BUILDERS
from pipeline_containers.building.cell.egress import parse_network
from pipeline_containers.errors import RegistryError
from pipeline_containers.registries.kinds import open_registry
from pipeline_containers.registries.registry import Registry
from pipeline_containers.sandbox.host.enforcement import NAMES
from pipeline_containers.sandbox.host.options import HostOptions
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_containers.system.units import split_unit


def _work_folder() -> Path:
    """Choose a folder that this user can have."""
    if os.geteuid() == 0:
        return Path("/var/lib/pipeline-containers")
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(data) / "pipeline-containers"


class RegistryType(click.ParamType[Registry]):
    """A folder, `docker://HOST[/PREFIX]`, `ecr` for that of the AWS account: `KIND://LOCATION`."""

    name = "registry"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Registry:
        """Open it."""
        text = str(value)
        try:
            if text == "ecr":
                return open_registry("ecr", "")
            kind, separator, location = text.partition("://")
            return open_registry(kind, location) if separator else open_registry("folder", text)
        except RegistryError as error:
            self.fail(str(error), param, ctx)


class UnenforcedType(click.ParamType[frozenset[str]]):
    """Names of limits, with commas between them."""

    name = "limits"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> frozenset[str]:
        """Take them apart."""
        if isinstance(value, frozenset):
            return value
        names = frozenset(filter(None, (name.strip() for name in str(value).split(","))))
        if unknown := names - set(NAMES):
            self.fail(f"{', '.join(sorted(unknown))}: none of {', '.join(NAMES)}", param, ctx)
        return names


_RUNTIME = click.option(
    "--runtime",
    default="runc",
    show_default=True,
    metavar="PROGRAM",
    envvar="PIPELINE_RUNTIME",
    help="The OCI runtime: runc or crun, or one that takes their commands.",
)


class CgroupType(click.ParamType[str]):
    """A cgroup's path, from the top of its hierarchy."""

    name = "cgroup"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Refuse what leads elsewhere; an empty one stands for none."""
        path = str(value)
        if path and (not path.startswith("/") or {"", ".", ".."} & set(path[1:].split("/"))):
            self.fail(f"{path!r}: not of the form /NAME/NAME", param, ctx)
        return path


_CGROUP_PARENT = click.option(
    "--cgroup-parent",
    type=CgroupType(),
    default="",
    metavar="PATH",
    envvar="PIPELINE_CGROUP_PARENT",
    help="Have jobs' cgroups below this one (/NAME/NAME), not below this process' own.",
)
_ALLOW_UNENFORCED = click.option(
    "--allow-unenforced",
    type=UnenforcedType(),
    default=frozenset(),
    metavar="NAME,...",
    envvar="PIPELINE_ALLOW_UNENFORCED",
    help=f"Run even if these do not hold: {', '.join(NAMES)}.",
)


def on_host(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a host; it gets them as `host`, a `HostOptions`."""

    @functools.wraps(command)
    def gathered(
        *arguments: Any,
        runtime: str,
        cgroup_parent: str,
        allow_unenforced: frozenset[str],
        **others: Any,
    ) -> Any:
        host = HostOptions(runtime, cgroup_parent, allow_unenforced)
        return command(*arguments, host=host, **others)

    for decorate in (_ALLOW_UNENFORCED, _CGROUP_PARENT, _RUNTIME):
        gathered = decorate(gathered)
    return gathered


class SizeType(click.ParamType[int]):
    """Bytes, or KiB, MiB or GiB."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Count the bytes."""
        number, unit_bytes = split_unit(str(value))
        if not number.isdecimal() or not int(number):
            self.fail(f"{value!r} is not a size like 512MiB or 20GiB", param, ctx)
        return int(number) * unit_bytes


class NetworkType(click.ParamType[str]):
    """An address or a range of IPv4."""

    name = "network"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Check it."""
        try:
            return parse_network(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


_NETWORK = click.option(
    "--network",
    type=click.Choice(["egress", "none"]),
    default="egress",
    show_default=True,
    envvar="PIPELINE_BUILD_NETWORK",
    help="What a whole build can reach: the internet, or nothing.",
)
_ALLOW_NETWORK = click.option(
    "--allow-network",
    type=NetworkType(),
    multiple=True,
    metavar="ADDRESS[/BITS]",
    envvar="PIPELINE_BUILD_ALLOW_NETWORK",
    help="Let builds reach this private network too: a mirror's. May be given again.",
)
_BUILD_DISK = click.option(
    "--build-disk",
    type=SizeType(),
    default="20GiB",
    show_default=True,
    metavar="SIZE",
    envvar="PIPELINE_BUILD_DISK",
    help="What a build may write to the disk.",
)


def on_builds(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of builds; it gets them as `options`, a `BuildOptions`."""

    @functools.wraps(command)
    def gathered(
        *arguments: Any,
        network: Literal["egress", "none"],
        allow_network: tuple[str, ...],
        build_disk: int,
        **others: Any,
    ) -> Any:
        options = BuildOptions(
            disk_bytes=build_disk, network=network, allowed_networks=allow_network
        )
        return command(*arguments, options=options, **others)

    for decorate in (_BUILD_DISK, _ALLOW_NETWORK, _NETWORK):
        gathered = decorate(gathered)
    return gathered


BUILDER = click.option(
    "--builder",
    type=click.Choice(["auto", *BUILDERS]),
    default="auto",
    show_default=True,
    envvar="PIPELINE_BUILDER",
    help="The program that builds; auto is the first that is installed.",
)
KIND = click.option(
    "--kind",
    type=click.Choice(list(TOOLS)),
    default="test_runner",
    show_default=True,
    help="The kind of tool.",
)
REGISTRY = click.option(
    "--registry",
    type=RegistryType(),
    metavar="REGISTRY",
    default="./registry",
    show_default=True,
    help="A folder, docker://HOST[/PREFIX], or ecr.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
STORE = click.option(
    "--store",
    "folder",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    default=lambda: _work_folder() / "store",
    show_default="store/ in the folder that the other commands work in",
    help="Where images are kept; a worker's is store/ in its own folder.",
)
WORK = click.option(
    "--work",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    default=_work_folder,
    show_default="/var/lib/pipeline-containers, or a user's own ~/.local/share",
    help="Where clones, caches and images are kept.",
)
