"""How the command ends when it cannot go on."""

import click

from pipeline_protocol.text import clean


class Failure(click.ClickException):
    """An end with one line."""

    exit_code = 1

    def show(self, file: object = None) -> None:
        """Print the line."""
        click.echo(f"pipeline-router: {clean(self.message)}", err=True)


class Unusable(Failure):
    """Options or a configuration that are of no use."""

    exit_code = 2
