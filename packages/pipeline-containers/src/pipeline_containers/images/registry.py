"""Where published images are: the interface, and the table of kinds behind it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from pipeline_containers.command import Cancelled, OnLine
from pipeline_containers.errors import RegistryError


class Registry(Protocol):
    """A registry of images, by repository and tag or digest. Every call raises `RegistryError`."""

    def exists(self, repository: str, tag: str) -> bool:
        """Say whether an image with this tag is there, and whole."""
        ...

    def digest(self, repository: str, reference: str) -> str | None:
        """Give the manifest digest that a tag, or a digest, stands for; None: not there."""
        ...

    def tags(self, repository: str) -> list[str]:
        """List the tags that people and builds gave, sorted."""
        ...

    def push(
        self,
        source: str,
        repository: str,
        tag: str,
        *,
        timeout_s: float = 900,
        on_line: OnLine | None = None,
        cancelled: Cancelled | None = None,
    ) -> str:
        """Copy an image here, from a place in skopeo's notation; its manifest digest.

        A tag is given once: the same content again is fine, other content an error.
        """
        ...

    def source(self, repository: str, digest: str) -> str:
        """Name an image of it the way skopeo takes it, to be pulled from."""
        ...


def open_registry(kind: str, location: str) -> Registry:
    """Open a registry of a kind at a location; `RegistryError` for a kind that is not known."""
    if kind not in KINDS:
        raise RegistryError(f"registry kind {kind!r} is not one of: {', '.join(KINDS)}")
    return KINDS[kind](location)


def _open_folder(location: str) -> Registry:
    from pipeline_containers.images.folder import FolderRegistry

    return FolderRegistry(Path(location))


KINDS: Mapping[str, Callable[[str], Registry]] = {"folder": _open_folder}
"""How each kind is opened: `docker` and `ecr` join here."""
