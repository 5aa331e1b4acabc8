"""The command line: what is made of images is in `build_cli`, running a tool is here.

Exit statuses: 0 done; 1 the tool did not succeed; 2 a wrong call; 3 an error, said in one line.
"""

import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

import click

from pipeline_containers import build_cli
from pipeline_containers.errors import ContainersError
from pipeline_containers.images.registry import Registry
from pipeline_containers.options import JSON, KIND, REGISTRY, WORK
from pipeline_containers.sandbox.tools import TOOLS


@click.group()
@click.version_option(package_name="pipeline-containers")
def commands() -> None:
    """Track tooling: from a git reference to an image, and to a sandboxed run."""


@commands.command()
@click.argument("image")
@click.argument("slug")
@click.argument("solution", type=click.Path(file_okay=False, exists=True, path_type=Path))
@REGISTRY
@KIND
@WORK
@click.option("--wall-s", type=float, default=20.0, show_default=True, help="Seconds it may take.")
@JSON
def run(
    image: str,
    slug: str,
    solution: Path,
    registry: Registry,
    kind: str,
    work: Path,
    wall_s: float,
    as_json: bool,
) -> None:
    """Run a tool on a SOLUTION folder. IMAGE: a root folder, or REPOSITORY:TAG in the registry."""
    from pipeline_containers.images.image import StoredImage
    from pipeline_containers.images.store import Store
    from pipeline_containers.sandbox.limits import Limits
    from pipeline_containers.sandbox.run import Sandbox, ToolRun

    if Path(image).is_dir():
        stored = StoredImage(digest=f"folder:{image}", layers=(Path(image).resolve(),))
    else:
        store = Store(work / "store")
        repository, _, reference = image.partition("@" if "@" in image else ":")
        stored = store.image(store.pull(registry, repository, reference))

    def fill(job_folder: Path) -> None:
        shutil.copytree(solution, job_folder, symlinks=True, dirs_exist_ok=True)

    sandboxes = work / "sandboxes"
    sandboxes.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=sandboxes) as folder, Sandbox(Path(folder)) as sandbox:
        limits = Limits(wall_s=wall_s)
        report = sandbox.run(ToolRun(stored, TOOLS[kind], slug, fill, limits))
    if as_json:
        click.echo(json.dumps(asdict(report) | {"ending": report.ending.value}))
    else:
        click.echo(report.stdout, nl=False)
        click.echo(report.stderr, nl=False, err=True)
        limit = f" ({report.which_limit})" if report.which_limit else ""
        ending = f"{report.ending.value}{limit}, status {report.exit_status}"
        click.echo(f"{ending}, {report.usage.wall_s:.3f} s", err=True)
        result = report.output_problem or json.dumps(report.outputs, indent=2, ensure_ascii=False)
        click.echo(result)
    sys.exit(0 if report.succeeded else 1)


for command in build_cli.COMMANDS:
    commands.add_command(command)


def main() -> NoReturn:
    """Run the command line."""
    try:
        commands(standalone_mode=True)
    except (ContainersError, PermissionError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(3)
    sys.exit(0)
