"""The command that looks at a host."""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import click

from pipeline_containers.cli.options import BUILDER, JSON, WORK, on_host
from pipeline_containers.cli.output import echo
from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.host.options import HostOptions


@click.command()
@click.option("--builds", is_flag=True, help="Look at what builders need, too.")
@BUILDER
@WORK
@on_host
@JSON
def doctor(builds: bool, builder: str, work: Path, host: HostOptions, as_json: bool) -> None:
    """Say whether this host can run jobs, what each need is met by, and what mends it.

    Exit status: 0 it can, 1 a worker would refuse to start.
    """
    look(work, host, builds=builds, builder=builder, as_json=as_json)


def look(work: Path, host: HostOptions, *, builds: bool, builder: str, as_json: bool) -> None:
    """Examine this host, print what is found, and exit."""
    from pipeline_containers.doctor import Need, examine
    from pipeline_containers.sandbox.host.rootless import enter

    try:
        enter()
        needs = list(examine(work, host, builds=builds, builder=builder))
    except SandboxError as error:
        how, _, remedy = str(error).partition(": ")
        needs = [Need("rights", False, how, remedy)]
    if as_json:
        click.echo(json.dumps([asdict(need) for need in needs]))
    else:
        for line in _lines((need.name, need.holds, need.how, need.remedy) for need in needs):
            echo(line)
    sys.exit(1 if any(need.is_lacking for need in needs) else 0)


def _lines(needs: Iterable[tuple[str, bool, str, str]]) -> Iterable[str]:
    for name, holds, how, remedy in needs:
        yield f"{'ok' if holds else 'NO':3} {name:10} {how}"
        if remedy:
            yield f"{'':14} do: {remedy}"


COMMANDS = (doctor,)
