"""The command line: build an image, list what is published, run a tool in its sandbox.

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

from pipeline_containers.errors import ContainersError
from pipeline_containers.sandbox.tools import TOOLS

_KIND = click.option(
    "--kind",
    type=click.Choice(list(TOOLS)),
    default="test_runner",
    show_default=True,
    help="The kind of tool.",
)
_REGISTRY = click.option(
    "--registry",
    metavar="FOLDER",
    default="./registry",
    show_default=True,
    help="The folder that is the registry.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_WORK = click.option(
    "--work",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/var/lib/pipeline-containers"),
    show_default=True,
    help="Where clones, caches and images are kept.",
)


@click.group()
@click.version_option(package_name="pipeline-containers")
def commands() -> None:
    """Track tooling: from a git reference to an image, and to a sandboxed run."""


@commands.command()
@click.argument("url")
@click.argument("reference")
@click.option("--repository", required=True, help="The image's name in the registry.")
@_REGISTRY
@_KIND
@_WORK
@click.option(
    "--base-images",
    metavar="FOLDER",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="A read-only containers-storage folder, for FROM without a network.",
)
@click.option(
    "--network",
    type=click.Choice(["private", "none"]),
    default="private",
    show_default=True,
    help="What the build's commands see.",
)
@_JSON
def build(
    url: str,
    reference: str,
    repository: str,
    registry: str,
    kind: str,
    work: Path,
    base_images: Path | None,
    network: str,
    as_json: bool,
) -> None:
    """Build the image of a branch, a tag or a full SHA of the repository at URL; publish it."""
    from pipeline_containers.building.build import BuildRequest, build_and_publish
    from pipeline_containers.building.builder import BuildOptions, open_builder
    from pipeline_containers.images.registry import open_registry

    outcome = build_and_publish(
        BuildRequest(url, reference, repository, TOOLS[kind]),
        open_builder("auto", work / "builder", base_images),
        open_registry("folder", registry),
        work / "sources",
        options=BuildOptions(network="none" if network == "none" else "private"),
        on_line=lambda line: click.echo(line, err=True),
    )
    if as_json:
        click.echo(json.dumps(asdict(outcome)))
    else:
        click.echo(f"{outcome.outcome} {outcome.image}:{outcome.image_tag} {outcome.digest}")


@commands.command("list")
@click.argument("repository")
@_REGISTRY
@_JSON
def list_tags(repository: str, registry: str, as_json: bool) -> None:
    """List the images of a repository, by tag and digest."""
    from pipeline_containers.images.registry import open_registry

    opened = open_registry("folder", registry)
    digests = {tag: opened.digest(repository, tag) for tag in opened.tags(repository)}
    if as_json:
        click.echo(json.dumps(digests))
    else:
        for tag, digest in digests.items():
            click.echo(f"{tag} {digest}")


@commands.command()
@click.argument("image")
@click.argument("slug")
@click.argument("solution", type=click.Path(file_okay=False, exists=True, path_type=Path))
@_REGISTRY
@_KIND
@_WORK
@click.option("--wall-s", type=float, default=20.0, show_default=True, help="Seconds it may take.")
@_JSON
def run(
    image: str,
    slug: str,
    solution: Path,
    registry: str,
    kind: str,
    work: Path,
    wall_s: float,
    as_json: bool,
) -> None:
    """Run a tool on a SOLUTION folder. IMAGE: a root folder, or REPOSITORY:TAG in the registry."""
    from pipeline_containers.images.image import StoredImage
    from pipeline_containers.images.registry import open_registry
    from pipeline_containers.images.store import Store
    from pipeline_containers.sandbox.limits import Limits
    from pipeline_containers.sandbox.run import Sandbox, ToolRun

    if Path(image).is_dir():
        stored = StoredImage(digest=f"folder:{image}", layers=(Path(image).resolve(),))
    else:
        store = Store(work / "store")
        repository, _, reference = image.partition("@" if "@" in image else ":")
        stored = store.image(store.pull(open_registry("folder", registry), repository, reference))

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


def main() -> NoReturn:
    """Run the command line."""
    try:
        commands(standalone_mode=True)
    except (ContainersError, PermissionError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(3)
    sys.exit(0)
