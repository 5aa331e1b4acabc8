"""The command line: images are made in `build_cli`, kept in `images_cli`, run in `run_cli`.

`doctor_cli` says whether the host can.

Exit statuses: 0 done; 1 the tool did not succeed; 2 a wrong call; 3 an error, said in one line.
"""

import sys
from typing import NoReturn

import click

from pipeline_containers.cli import build as build_cli
from pipeline_containers.cli import doctor as doctor_cli
from pipeline_containers.cli import images as images_cli
from pipeline_containers.cli import run as run_cli
from pipeline_containers.errors import ContainersError


@click.group()
@click.version_option(package_name="pipeline-containers")
def commands() -> None:
    """Track tooling: from a git reference to an image, and to a sandboxed run."""


for command in (
    *build_cli.COMMANDS,
    *images_cli.COMMANDS,
    *run_cli.COMMANDS,
    *doctor_cli.COMMANDS,
):
    commands.add_command(command)


def main() -> NoReturn:
    """Run the command line."""
    try:
        commands(standalone_mode=True)
    except (ContainersError, PermissionError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(3)
    sys.exit(0)
