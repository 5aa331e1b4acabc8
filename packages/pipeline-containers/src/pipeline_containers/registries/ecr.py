"""Amazon's registry: its own interface for what is there, the common protocol for images.

A login is a token of twelve hours that AWS gives to whom it knows; it is kept until shortly before
it expires. A repository is made when something is first pushed to it, with immutable tags.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pipeline_containers.errors import RegistryError
from pipeline_containers.images.image import is_digest, is_repository, is_tag
from pipeline_containers.images.manifest import INDEXES, digest_of
from pipeline_containers.images.skopeo import LOOK_S, CopyWatcher
from pipeline_containers.registries.docker import DockerRegistry
from pipeline_containers.registries.login import write_authfile
from pipeline_containers.registries.registry import AwsCredentials
from pipeline_containers.system.command import CancelFlag, Completed, OnLine

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecr.type_defs import ImageIdentifierTypeDef

_EARLY_S = 600.0  # a token that expires sooner might do so in the middle of a push
_ABSENT = ("ImageNotFoundException", "RepositoryNotFoundException")


def open_client(aws: AwsCredentials | None = None) -> "ECRClient":
    """Open AWS's interface; with the host's own credentials, unless others are given."""
    patience = Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 3})
    with _told():
        session = boto3.session.Session(
            aws_access_key_id=aws.access_key_id if aws else None,
            aws_secret_access_key=aws.secret_access_key if aws else None,
            aws_session_token=aws.session_token if aws else None,
        )
        return session.client("ecr", config=patience)


class EcrRegistry:
    """The registry of an AWS account in a region."""

    def __init__(self, client: "ECRClient", clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._tokens = _Tokens(client, clock)

    @property
    def place(self) -> str:
        """Where it is: AWS names the host, and may be down."""
        return f"ECR in {self._client.meta.region_name}"

    def exists(self, repository: str, tag: str) -> bool:
        """Return whether an image with this tag is there."""
        return self.digest(repository, tag) is not None

    def digest(self, repository: str, reference: str) -> str | None:
        """Return the digest of the image that a tag, or a digest, stands for; None: not there."""
        _check_repository(repository)
        image: ImageIdentifierTypeDef
        if is_digest(reference):
            image = {"imageDigest": reference}
        elif is_tag(reference):
            image = {"imageTag": reference}
        else:
            raise RegistryError(f"{reference!r} is neither a tag nor a digest")
        try:
            with _told():
                found = self._client.describe_images(repositoryName=repository, imageIds=[image])
        except _Absent:
            return None
        details = found["imageDetails"]
        if not details:
            return None
        if details[0].get("imageManifestMediaType") not in INDEXES:
            return details[0].get("imageDigest")
        content = self.manifest(repository, reference)
        return None if content is None else digest_of(content)

    def manifest(
        self,
        repository: str,
        reference: str,
        *,
        timeout_s: float = LOOK_S,
        cancelled: CancelFlag | None = None,
    ) -> bytes | None:
        """Read the manifest of the image that a tag, or a digest, stands for; None: not there."""
        return self._docker().manifest(
            repository, reference, timeout_s=timeout_s, cancelled=cancelled
        )

    def tags(self, repository: str) -> list[str]:
        """List the tags, of all pages, sorted; of a repository that is not there, none."""
        _check_repository(repository)
        pages = self._client.get_paginator("list_images").paginate(
            repositoryName=repository, filter={"tagStatus": "TAGGED"}
        )
        try:
            with _told():
                images = [image for page in pages for image in page["imageIds"]]
        except _Absent:
            return []
        return sorted({image["imageTag"] for image in images if "imageTag" in image})

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
        """Copy an image here, to a repository that is made if there is none."""
        _check_repository(repository)
        self._ensure_repository(repository)
        return self._docker().push(
            source, repository, tag, timeout_s=timeout_s, on_line=on_line, cancelled=cancelled
        )

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
        return self._docker().pull(
            repository,
            digest,
            destination,
            timeout_s=timeout_s,
            watch=watch,
        )

    def authfile(self, folder: Path) -> Path | None:
        """Write the file that other programs log in here by; it is good for hours, not for ever."""
        return self._tokens.authfile(folder)

    def _docker(self) -> DockerRegistry:
        return DockerRegistry(self._tokens.get().host, self._tokens)

    def _ensure_repository(self, repository: str) -> None:
        try:
            with _told():
                self._client.describe_repositories(repositoryNames=[repository])
            return
        except _Absent:
            pass
        try:
            with _told():
                self._client.create_repository(
                    repositoryName=repository, imageTagMutability="IMMUTABLE"
                )
        except _Present:
            pass  # another builder was faster


@dataclass(frozen=True, slots=True)
class _Token:
    """A login: to which host, base64 of name and password, until when (seconds since the epoch)."""

    host: str
    basic: str = field(repr=False)
    expires_at: float = 0.0


class _Tokens:
    """The current token, and the next one in time; for several threads."""

    def __init__(self, client: "ECRClient", clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._token: _Token | None = None
        self._lock = threading.Lock()

    def get(self) -> _Token:
        with self._lock:
            if self._token is None or self._clock() > self._token.expires_at - _EARLY_S:
                self._token = self._ask()
            return self._token

    def authfile(self, folder: Path) -> Path | None:
        token = self.get()
        return write_authfile(folder, token.host, token.basic)

    def renew(self) -> bool:
        with self._lock:
            self._token = None
        return True

    def _ask(self) -> _Token:
        with _told():
            data = self._client.get_authorization_token()["authorizationData"]
        if not data:
            raise RegistryError("AWS gave no authorisation for its registry")
        return _Token(
            host=data[0]["proxyEndpoint"].removeprefix("https://"),
            basic=data[0]["authorizationToken"],
            expires_at=data[0]["expiresAt"].timestamp(),
        )


class _Absent(Exception):
    """AWS has no such image or repository."""


class _Present(Exception):
    """AWS has that repository already."""


@contextmanager
def _told() -> Iterator[None]:
    """Turn AWS's errors into ours."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        if code in _ABSENT:
            raise _Absent from error
        if code == "RepositoryAlreadyExistsException":
            raise _Present from error
        raise RegistryError(f"AWS refuses: {error}") from error
    except BotoCoreError as error:
        raise RegistryError(f"AWS cannot be asked: {error}") from error


def _check_repository(repository: str) -> None:
    if not is_repository(repository):
        raise RegistryError(f"{repository!r} is not the name of a repository")
