"""The commands that make images, or ask for them: build, publish, list, validate."""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click

from pipeline_containers.building.builder import BuildOptions
from pipeline_containers.building.validation import Validation
from pipeline_containers.cli.limits import LIMIT, LimitChanges, limits_with
from pipeline_containers.cli.options import BUILDER, JSON, KIND, REGISTRY, WORK, on_builds, on_host
from pipeline_containers.cli.output import echo, print_result
from pipeline_containers.cli.sandbox import command_sandbox
from pipeline_containers.registries.registry import Registry
from pipeline_containers.sandbox.host.options import HostOptions
from pipeline_containers.sandbox.tools import TOOLS

_FILE = click.Path(dir_okay=False, exists=True, path_type=Path)
_FOLDER = click.Path(file_okay=False, exists=True, path_type=Path)
_VALIDATION = click.option(
    "--validation",
    type=click.Choice([value.value for value in Validation]),
    default=Validation.REQUIRE.value,
    show_default=True,
    help="Of the tool's own fixtures: each must yield a valid result, or all is a warning, or "
    "they are not tried.",
)


@dataclass(frozen=True, slots=True)
class _Means:
    """What the command line says of the way an image is built."""

    builder: str
    base_images: Path | None
    git_credentials: Path | None
    submodules: bool
    lfs: bool
    timeout_s: float
    host: HostOptions
    options: BuildOptions
    validation: str
    changes: LimitChanges


def _means(command: Callable[..., None]) -> Callable[..., None]:
    for decorate in (
        click.option(
            "--timeout-s",
            type=click.FloatRange(min=1),
            default=1800,
            show_default=True,
            help="Seconds that all of it may take.",
        ),
        click.option(
            "--git-credentials",
            type=_FILE,
            envvar="PIPELINE_GIT_CREDENTIALS",
            help="A file of https://NAME:TOKEN@HOST lines, for private repositories.",
        ),
        click.option(
            "--submodules",
            is_flag=True,
            help="Fetch submodules, from where the repository says that they are.",
        ),
        click.option(
            "--lfs",
            is_flag=True,
            help="Fetch Git LFS objects, from the repository's own host; needs git-lfs.",
        ),
        click.option(
            "--base-images",
            type=_FOLDER,
            help="A read-only containers-storage folder, for FROM without a registry.",
        ),
        BUILDER,
        _VALIDATION,
        LIMIT,
        on_builds,
        on_host,
        WORK,
        KIND,
        click.argument("reference"),
        click.argument("url"),
    ):
        command = decorate(command)
    return command


@click.command()
@_means
@JSON
def build(url: str, reference: str, kind: str, work: Path, as_json: bool, **means: Any) -> None:
    """Build the image of a branch, a tag or a full SHA, and validate it; publish nothing.

    What it is made of stays in the layer cache: publishing it afterwards is quick.
    """
    with tempfile.TemporaryDirectory() as nowhere:
        from pipeline_containers.registries.folder import FolderRegistry

        registry = FolderRegistry(Path(nowhere))
        outcome = _perform(url, reference, "local/build", kind, work, registry, _Means(**means))
    told = {"git_sha": outcome["git_sha"], "valid": True, "warnings": outcome["warnings"]}
    print_result(as_json, told, f"valid {outcome['git_sha']}")


@click.command()
@_means
@click.option("--repository", required=True, help="The image's name in the registry.")
@REGISTRY
@JSON
def publish(
    url: str,
    reference: str,
    kind: str,
    work: Path,
    repository: str,
    registry: Registry,
    as_json: bool,
    **means: Any,
) -> None:
    """Build the image of a branch, a tag or a full SHA of the repository at URL; publish it.

    Only if it is valid, and unless it is there already.
    """
    outcome = _perform(url, reference, repository, kind, work, registry, _Means(**means))
    text = f"{outcome['outcome']} {outcome['image']}:{outcome['image_tag']} {outcome['digest']}"
    print_result(as_json, outcome, text)


@click.command("list")
@click.argument("repository")
@REGISTRY
@JSON
def list_tags(repository: str, registry: Registry, as_json: bool) -> None:
    """List the images of a repository, by tag and digest."""
    digests = {tag: registry.digest(repository, tag) for tag in registry.tags(repository)}
    print_result(as_json, digests, "\n".join(f"{tag} {digest}" for tag, digest in digests.items()))


@click.command()
@click.argument("image")
@click.option("--source", type=_FOLDER, help="The tool's own checkout, for its fixtures.")
@REGISTRY
@KIND
@WORK
@_VALIDATION
@LIMIT
@on_host
@JSON
def validate(
    image: str,
    source: Path | None,
    registry: Registry,
    kind: str,
    work: Path,
    validation: str,
    changes: LimitChanges,
    host: HostOptions,
    as_json: bool,
) -> None:
    """Say whether IMAGE, a REPOSITORY:TAG or REPOSITORY@DIGEST in the registry, is of use."""
    from pipeline_containers.building import validate as trying
    from pipeline_containers.store.store import Store
    from pipeline_containers.system.deadline import Deadline

    limits = limits_with(changes)
    store = Store(work / "store")
    repository, _, reference = image.partition("@" if "@" in image else ":")
    digest = store.pull(registry, repository, reference)
    with command_sandbox(work, host) as sandbox, tempfile.TemporaryDirectory() as aside:
        candidate = trying.ImageCandidate(
            store.image(digest),
            TOOLS[kind],
            source,
            Path(aside),
            limits,
            Validation(validation),
        )
        warnings = trying.validate(candidate, sandbox, Deadline(1800), _show)
    told = {"digest": digest, "valid": True, "warnings": warnings}
    print_result(as_json, told, f"valid {digest}")


COMMANDS = (build, publish, list_tags, validate)


def _perform(
    url: str,
    reference: str,
    repository: str,
    kind: str,
    work: Path,
    registry: Registry,
    means: _Means,
) -> dict[str, Any]:
    from pipeline_containers.building.build import BuildRequest, Workshop, build_and_publish
    from pipeline_containers.building.builders import open_builders
    from pipeline_containers.building.cell.cell import BuildHost
    from pipeline_containers.building.source.git import GitSources

    limits = limits_with(means.changes)
    with command_sandbox(work, means.host) as sandbox:
        outcome = build_and_publish(
            BuildRequest(
                url,
                reference,
                repository,
                TOOLS[kind],
                limits,
                Validation(means.validation),
            ),
            Workshop(
                open_builders(
                    means.builder, work / "builder", BuildHost.of(sandbox), means.base_images
                ),
                sandbox,
                GitSources(
                    work / "clones",
                    means.git_credentials,
                    submodules=means.submodules,
                    lfs=means.lfs,
                ),
                work,
            ),
            registry,
            options=replace(means.options, timeout_s=means.timeout_s),
            on_line=_show,
        )
    return {name: value for name, value in asdict(outcome).items() if name != "log_tail"}


def _show(line: str) -> None:
    """Show progress; on a terminal, the steps stand out."""
    echo(line, err=True, bold=line.startswith("==>"))
