"""Where published images are: what every kind of registry does."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pipeline_containers.images.skopeo import LOOK_S, CopyWatcher
from pipeline_containers.system.command import CancelFlag, Completed, OnLine


class ImageSource(Protocol):
    """Where images can be pulled from, by repository and tag or digest; raises `RegistryError`."""

    @property
    def place(self) -> str:
        """Where it is, as people know it."""
        ...

    def manifest(
        self,
        repository: str,
        reference: str,
        *,
        timeout_s: float = LOOK_S,
        cancelled: CancelFlag | None = None,
    ) -> bytes | None:
        """Read the manifest of the image that a tag, or a digest, stands for; None: not there.

        Of several platforms, this host's.
        """
        ...

    def pull(
        self,
        repository: str,
        digest: str,
        destination: str,
        *,
        timeout_s: float,
        watch: CopyWatcher,
    ) -> Completed:
        """Copy an image of this digest to a place in skopeo's notation; how the copying ended."""
        ...


class Registry(ImageSource, Protocol):
    """A registry of images, by repository and tag or digest. Every call raises `RegistryError`."""

    def exists(self, repository: str, tag: str) -> bool:
        """Return whether an image with this tag is there, and whole."""
        ...

    def digest(self, repository: str, reference: str) -> str | None:
        """Return the digest of the image that a tag, or a digest, stands for; None: not there.

        Of several platforms, this host's.
        """
        ...

    def tags(self, repository: str) -> list[str]:
        """List the tags that people and builds gave, of all pages, sorted."""
        ...

    def push(
        self,
        source: str,
        repository: str,
        tag: str,
        *,
        timeout_s: float = 900,
        on_line: OnLine | None = None,
        cancelled: CancelFlag | None = None,
    ) -> str:
        """Copy an image here, from a place in skopeo's notation; its manifest digest.

        A tag is given once: the same content again is fine, other content an error. A repository
        that is not there is made.
        """
        ...

    def authfile(self, folder: Path) -> Path | None:
        """Return the file that other programs log in here by, perhaps written into a folder."""
        ...


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """Short-lived AWS credentials that somebody else minted."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
