"""THE table of registry kinds, and how each is opened."""

from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline_containers.errors import RegistryError
from pipeline_containers.registries.registry import AwsCredentials, Registry


def open_registry(kind: str, location: str, aws: AwsCredentials | None = None) -> Registry:
    """Open a registry of a kind at a location; raises `RegistryError` for a kind that is not known.

    `location` is a folder, or `host[/prefix]` of a docker registry; AWS says where its own is.
    Without `aws`, the host's own AWS credentials count.
    """
    if kind not in KINDS:
        raise RegistryError(f"registry kind {kind!r} is not one of: {', '.join(KINDS)}")
    return KINDS[kind](location, aws)


def _open_folder(location: str, _: AwsCredentials | None) -> Registry:
    from pipeline_containers.registries.folder import FolderRegistry

    return FolderRegistry(Path(location))


def _open_docker(location: str, _: AwsCredentials | None) -> Registry:
    from pipeline_containers.registries.docker import DockerRegistry

    return DockerRegistry(location)


def _open_ecr(_: str, aws: AwsCredentials | None) -> Registry:
    from pipeline_containers.registries.ecr import EcrRegistry, open_client

    return EcrRegistry(open_client(aws))


KINDS: Mapping[str, Callable[[str, AwsCredentials | None], Registry]] = {
    "folder": _open_folder,
    "docker": _open_docker,
    "ecr": _open_ecr,
}
"""How each kind is opened; what it needs is imported then."""
