"""Options that several commands share."""

from pathlib import Path

import click

from pipeline_containers.errors import RegistryError
from pipeline_containers.images.registry import Registry, open_registry
from pipeline_containers.sandbox.tools import TOOLS


class RegistryType(click.ParamType[Registry]):
    """A folder, `docker://HOST[/PREFIX]`, or `ecr` for the registry of the AWS account."""

    name = "registry"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Registry:
        """Open it."""
        text = str(value)
        try:
            if text == "ecr":
                return open_registry("ecr", "")
            if text.startswith("docker://"):
                return open_registry("docker", text.removeprefix("docker://"))
            return open_registry("folder", text)
        except RegistryError as error:
            self.fail(str(error), param, ctx)


KIND = click.option(
    "--kind",
    type=click.Choice(list(TOOLS)),
    default="test_runner",
    show_default=True,
    help="The kind of tool.",
)
REGISTRY = click.option(
    "--registry",
    type=RegistryType(),
    metavar="REGISTRY",
    default="./registry",
    show_default=True,
    help="A folder, docker://HOST[/PREFIX], or ecr.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
WORK = click.option(
    "--work",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/var/lib/pipeline-containers"),
    show_default=True,
    help="Where clones, caches and images are kept.",
)
