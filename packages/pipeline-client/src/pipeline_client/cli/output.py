"""What a command prints, and where: the result on stdout, everything on the way on stderr.

With ``--json`` stdout gets one JSON object, whatever the end; stderr gets one JSON object a line,
``{"progress": ...}``.
"""

import json
import os
import sys
from collections.abc import Iterable
from typing import Any

import click
import msgspec

from pipeline_client.cli import exits
from pipeline_client.cli.views.text import block, coloured
from pipeline_client.errors import PipelineError

OUTPUT = "pipeline_client.cli.output"
"""Where in click's `Context.meta` the command's output is, for whoever handles its errors."""


class CommandOutput:
    """Prints for people or, `as_json`, for programs."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    @property
    def is_interactive(self) -> bool:
        """Whether bars may move: people only, at a terminal that can."""
        return not self.as_json and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def result(self, data: object, lines: Iterable[str]) -> None:
        """Print what was asked for: the data, or the lines that tell people of it."""
        if self.as_json:
            self._json(data)
        else:
            for line in lines:
                click.echo(line)

    def line(self, text: str) -> None:
        """Print a line of progress that a stranger wrote, or that names what one did."""
        if self.as_json:
            self.progress({"lines": [text]})
        else:
            for line in block(text):
                click.echo(line, err=True)

    def progress(self, data: object) -> None:
        """Print progress for programs."""
        self._json({"progress": data}, err=True)

    def error(self, error: PipelineError) -> None:
        """Print why there is no result."""
        if self.as_json:
            self._json(exits.error_data(error))
            return
        for line in exits.explained(error):
            click.echo(coloured(line, "red" if line.startswith("pipeline:") else ""), err=True)

    def _json(self, data: object, *, err: bool = False) -> None:
        # escaped to ASCII: safe for a terminal too, and for every encoding
        click.echo(json.dumps(builtins(data)), err=err)


def builtins(data: object) -> Any:
    """Return structs as the wire has them."""
    return msgspec.to_builtins(data)
