"""The commands that run a tool: once, with a report; or a shell in its place, to look around.

Both are under exactly the limits of production, but for those that are said to be others.
"""

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import click

from pipeline_containers.cli import exits
from pipeline_containers.cli.limits import LIMIT, LimitChanges, limits_with
from pipeline_containers.cli.options import JSON, KIND, REGISTRY, WORK, on_host
from pipeline_containers.cli.output import echo
from pipeline_containers.cli.sandbox import command_sandbox
from pipeline_containers.images.image import StoredImage
from pipeline_containers.registries.registry import Registry
from pipeline_containers.sandbox.host.options import HostOptions
from pipeline_containers.sandbox.host.rootless import enter
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.result.report import RunReport
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import TOOLS, tool_command, tool_program
from pipeline_containers.system.units import MIB

_IMAGE = click.argument("image")
_SLUG = click.argument("slug")
_SOLUTION = click.argument(
    "solution", type=click.Path(file_okay=False, exists=True, path_type=Path)
)


@click.command()
@_IMAGE
@_SLUG
@_SOLUTION
@REGISTRY
@KIND
@WORK
@LIMIT
@on_host
@JSON
def run(
    image: str,
    slug: str,
    solution: Path,
    registry: Registry,
    kind: str,
    work: Path,
    changes: LimitChanges,
    host: HostOptions,
    as_json: bool,
) -> None:
    """Run a tool on a SOLUTION folder. IMAGE: a root folder, or REPOSITORY:TAG in the registry."""
    enter()
    tool_run = _tool_run(image, slug, solution, registry, kind, work, changes)
    with command_sandbox(work, host) as sandbox:
        report = sandbox.run(tool_run)
    if as_json:
        invocation = {
            "command": _command(tool_run),
            "image_digest": tool_run.image.digest,
            "limits": asdict(tool_run.limits),
        }
        told = asdict(report) | {"ending": report.ending.value, "invocation": invocation}
        click.echo(json.dumps(told))
    else:
        _tell(report, tool_run.limits)
    sys.exit(exits.DONE if report.succeeded else exits.JOB_FAILED)


@click.command()
@_IMAGE
@_SLUG
@_SOLUTION
@REGISTRY
@KIND
@WORK
@LIMIT
@on_host
def shell(
    image: str,
    slug: str,
    solution: Path,
    registry: Registry,
    kind: str,
    work: Path,
    changes: LimitChanges,
    host: HostOptions,
) -> None:
    """Look around where `run` would run the tool: a shell in its place, without a time limit."""
    from pipeline_containers.sandbox.container.console import Relay

    enter()
    tool_run = _tool_run(image, slug, solution, registry, kind, work, changes)
    echo(f"the tool is called: {' '.join(_command(tool_run))}", err=True)
    with command_sandbox(work, host) as sandbox:
        relay = Relay(sys.stdin.fileno(), sys.stdout.fileno())
        sys.exit(sandbox.shell(tool_run, relay.attach))


COMMANDS = (run, shell)


def _tool_run(
    image: str,
    slug: str,
    solution: Path,
    registry: Registry,
    kind: str,
    work: Path,
    changes: LimitChanges,
) -> ToolRun:
    def fill(job_folder: Path) -> None:
        shutil.copytree(solution, job_folder, symlinks=True, dirs_exist_ok=True)

    limits = limits_with(changes)
    return ToolRun(_stored(image, registry, work), TOOLS[kind], slug, fill, limits)


def _stored(image: str, registry: Registry, work: Path) -> StoredImage:
    from pipeline_containers.store.store import Store

    if Path(image).is_dir():
        return StoredImage(digest=f"folder:{image}", layers=(Path(image).resolve(),))
    store = Store(work / "store")
    repository, _, reference = image.partition("@" if "@" in image else ":")
    return store.image(store.pull(registry, repository, reference))


def _command(run: ToolRun) -> tuple[str, ...]:
    return tool_command(tool_program(run.kind, run.image.config), run.slug)


def _tell(report: RunReport, limits: Limits) -> None:
    """Print what the tool printed, then how it ended and what it used, then its result."""
    echo(report.stdout, new_line=False)
    echo(report.stderr, new_line=False, err=True)
    used = report.usage
    ending = report.ending.value.replace("_", " ")
    if report.which_limit:
        ending += f" ({report.which_limit})"
    lines = {
        "ending": f"{ending}, status {report.exit_status}",
        "time": f"{used.wall_s:.3f} s of {limits.wall_s:g}; {_number(used.cpu_s, 3)} s of cpu",
        "memory": f"{_mib(used.peak_memory_bytes)} MiB of {_mib(limits.memory_bytes)}"
        + (f", {used.oom_kills} processes killed for want of it" if used.oom_kills else ""),
        "processes": f"{_number(used.peak_pids, 0)} of {limits.pids}",
        "output": f"{used.stdout_bytes} bytes of {limits.stdout_bytes},"
        f" {used.stderr_bytes} bytes of {limits.stderr_bytes}",
    }
    if report.unenforced:
        lines["unenforced"] = ", ".join(report.unenforced)
    if report.replaced:
        lines["replaced"] = f"what is no text, by U+FFFD, in {', '.join(report.replaced)}"
    for name, text in lines.items():
        echo(f"{name + ':':11}{text}", err=True)
    for warning in report.warnings:
        echo(f"warning: {warning}", err=True)
    result = report.output_problem or json.dumps(report.outputs, indent=2, ensure_ascii=False)
    echo(result)


def _number(value: float | None, digits: int) -> str:
    return "?" if value is None else f"{value:.{digits}f}"


def _mib(value: int | None) -> str:
    return "?" if value is None else f"{value / MIB:.0f}"
