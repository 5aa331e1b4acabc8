"""The group of all commands: each is imported when it is called, and ends in one place."""

import logging
import os
from importlib import import_module
from types import MappingProxyType
from typing import Any

import click

from pipeline_client.cli import exits
from pipeline_client.cli.output import OUTPUT, CommandOutput
from pipeline_client.errors import PipelineError
from pipeline_protocol.log_format import LogFormat, LogLevel, log_formatter
from pipeline_protocol.names import nearest

COMMANDS = MappingProxyType(
    {
        "test": "solutions",
        "analyse": "solutions",
        "recommend": "solutions",
        "represent": "solutions",
        "batch": "batches",
        "compare": "batches",
        "build": "builds",
        "deploy": "deployments",
        "unload": "deployments",
        "versions": "versions",
        "workers": "fleet",
        "status": "fleet",
        "watch": "watch",
        "drain": "fleet",
        "dismiss": "fleet",
        "restart": "fleet",
        "forget-images": "fleet",
        "cancel": "fleet",
        "audit": "audit",
        "ping": "fleet",
        "completion": "completion",
    }
)
"""Command to the module that has it under its name, with `_` for `-`."""

_COMMON = MappingProxyType({"--address": True, "--timeout": True, "--keys": True, "--json": False})
"""Options of every command, and whether a value follows; see `Root.parse_args`."""


class Root(click.Group):
    """Finds commands lazily, proposes the nearest one, and turns errors into exit statuses."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, as people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"pipeline_client.cli.commands.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let the common options stand in front of the command too."""
        moved: list[str] = []
        while args and args[0].split("=")[0] in _COMMON:
            values = 2 if _COMMON[args[0].split("=")[0]] and "=" not in args[0] else 1
            moved, args = [*moved, *args[:values]], args[values:]
        return super().parse_args(ctx, [*args[:1], *moved, *args[1:]] if args else args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one may be meant."""
        if not ctx.resilient_parsing and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"there is no command {args[0]!r}{nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; its errors are printed here, and nowhere else."""
        try:
            return super().invoke(ctx)
        except PipelineError as error:
            out: CommandOutput = ctx.meta.get(OUTPUT) or CommandOutput(as_json=False)
            out.error(error)
            ctx.exit(exits.exit_status(error))
        except KeyboardInterrupt:
            ctx.exit(exits.INTERRUPTED)


@click.group(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  pipeline test ruby two-fer ./my-solution
  pipeline watch

\b
Exit status:
  0    done; for `test`: all tests passed
  1    an error: the request is wrong, or the system cannot do it now
  2    a wrong call
  3    the router does not answer, or does not let this side's key in
  4    the job failed: tests failed, a tool or a build failed or passed a limit,
       a version that was waited for could not be prepared; for `compare`: results differ
  5    of `status`: workers keep images that are not wanted until you say more
  130  interrupted

\b
--json: stdout is one JSON object: the response as the router gives it, for jobs in
{"response": ..., "context": ...}; or {"error": {"code", "message", "error", "retryable",
"context"}}. Progress is on stderr, a {"progress": ...} a line.
Colours and bars are for terminals only; NO_COLOR=1 turns colours off.
Options may be set in the environment too, as their help says.""",
)
@click.option(
    "--log-format",
    type=click.Choice([how.value for how in LogFormat]),
    default=LogFormat.TEXT.value,
    envvar="PIPELINE_LOG_FORMAT",
    show_envvar=True,
    help="How each line of the log on stderr is written.",
)
@click.option(
    "--log-level",
    type=click.Choice([level.value for level in LogLevel]),
    default=LogLevel.WARNING.value,
    envvar="PIPELINE_LOG_LEVEL",
    show_envvar=True,
    help="The least that the log has; info: what is tried again, and why.",
)
@click.version_option(package_name="pipeline-client")
@click.pass_context
def root(ctx: click.Context, log_format: str, log_level: str) -> None:
    """Try solutions, build and deploy what runs them, look after workers."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    writer = logging.StreamHandler()
    writer.setFormatter(log_formatter(LogFormat(log_format)))
    log = logging.getLogger("pipeline_client")
    log.handlers = [writer]
    log.setLevel(LogLevel(log_level).number)
