"""The command line: images are made in `build`, kept in `images`, run in `run`.

`doctor` says whether the host can. `exits` has the exit statuses; click adds 2, a wrong call.
"""

import sys
from typing import NoReturn

import click

from pipeline_containers.cli import build as build_cli
from pipeline_containers.cli import doctor as doctor_cli
from pipeline_containers.cli import exits
from pipeline_containers.cli import images as images_cli
from pipeline_containers.cli import run as run_cli
from pipeline_containers.cli.output import echo
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
        echo(f"error: {error}", err=True)
        sys.exit(exits.exit_status(error))
    sys.exit(exits.DONE)
