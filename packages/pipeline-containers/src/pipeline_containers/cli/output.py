"""What commands print: on a terminal, nothing that a stranger's words could have it do.

Tools, builds, registries and images are strangers'. What goes into a pipe or a file stays as it is,
for scripts.
"""

import json
import sys

import click

from pipeline_containers.system.text import clean


def echo(text: str, *, err: bool = False, new_line: bool = True, bold: bool = False) -> None:
    """Print text, made safe where a person reads it."""
    stream = sys.stderr if err else sys.stdout
    if stream.isatty():
        text = clean(text)
    click.echo(click.style(text, bold=True) if bold else text, nl=new_line, err=err)


def print_result(as_json: bool, data: object, text: str) -> None:
    """Print a command's result, for a script or for a person."""
    if as_json:
        click.echo(json.dumps(data))
    else:
        echo(text)
