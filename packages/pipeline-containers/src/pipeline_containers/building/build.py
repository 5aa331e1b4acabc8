"""From a git reference to a published image: the whole of a build, in order.

Resolve to a commit; done already? Check out, build, validate, publish. The checkout is gone
afterwards, and the registry has the image whole or not at all.
"""

import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pipeline_containers.building.builder import Builder, BuildOptions
from pipeline_containers.building.dockerfile import refusal
from pipeline_containers.building.git import fetched
from pipeline_containers.building.validate import validate
from pipeline_containers.command import Cancelled, OnLine
from pipeline_containers.errors import BuildCancelled, BuildTimedOut, RegistryError, SourceError
from pipeline_containers.files import FileRefused, read_beneath
from pipeline_containers.images.registry import Registry
from pipeline_containers.sandbox.tools import ToolKind

_DOCKERFILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BuildOutcome:
    """What came of a build: `built`, or `ignored` because the image was there.

    `image` is the repository's name, `image_tag` `git-` and the SHA.
    """

    outcome: Literal["built", "ignored"]
    image: str
    image_tag: str
    digest: str
    git_sha: str
    log_tail: str = ""


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What is to be built, as what kind of tool, and where it is published."""

    url: str
    reference: str
    repository: str
    kind: ToolKind


def build_and_publish(
    request: BuildRequest,
    builder: Builder,
    registry: Registry,
    folder: Path,
    *,
    options: BuildOptions | None = None,
    on_line: OnLine | None = None,
    cancelled: Cancelled | None = None,
) -> BuildOutcome:
    """Build an image and publish it, unless it is there; `folder` keeps the clones.

    `options.timeout_s` is for the whole of it. Raises `BadReference`, `SourceError`, the kinds of
    `BuildError`, `ImageInvalid`, `RegistryError`.
    """
    options = options or BuildOptions()
    deadline = _Deadline(options.timeout_s, cancelled)
    checkouts = folder.resolve() / "checkouts"
    checkouts.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=checkouts) as aside:
        context = Path(aside, "context")
        with fetched(
            request.url, request.reference, folder / "clones", deadline.left_s(), on_line, cancelled
        ) as commit:
            sha = commit.sha
            ignored = _published(request, registry, sha)
            if ignored is not None:
                return ignored
            commit.write(context)
        _check_dockerfile(context, options)
        image, log_tail = builder.build(
            context,
            f"localhost/{request.repository}:{_tag(sha)}",
            replace(options, timeout_s=deadline.left_s()),
            on_line=on_line,
            cancelled=cancelled,
        )
        validate(builder.inspect(image), request.kind, Path(aside))
        try:
            digest = registry.push(
                builder.source(image),
                request.repository,
                _tag(sha),
                timeout_s=deadline.left_s(),
                cancelled=cancelled,
            )
        except RegistryError:
            deadline.left_s()  # out of time, or cancelled, are other errors
            ignored = _published(request, registry, sha)
            if ignored is None:
                raise
            return ignored  # another builder was faster
    return BuildOutcome("built", request.repository, _tag(sha), digest, sha, log_tail)


def _published(request: BuildRequest, registry: Registry, sha: str) -> BuildOutcome | None:
    digest = registry.digest(request.repository, _tag(sha))
    if digest is None:
        return None
    return BuildOutcome("ignored", request.repository, _tag(sha), digest, sha)


def _tag(sha: str) -> str:
    return f"git-{sha}"


def _check_dockerfile(context: Path, options: BuildOptions) -> None:
    folder = os.open(context, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        text = read_beneath(folder, "Dockerfile", _DOCKERFILE_BYTES).decode(errors="replace")
    except FileNotFoundError as error:
        raise SourceError("the repository has no Dockerfile in its top folder") from error
    except FileRefused as error:
        raise SourceError(f"the repository's {error}") from error
    finally:
        os.close(folder)
    reason = refusal(
        text, allow_syntax=options.allow_syntax_directive, allow_mounts=options.allow_run_mounts
    )
    if reason:
        raise SourceError(reason)


class _Deadline:
    """The time that is left for all of the steps together."""

    def __init__(self, timeout_s: float, cancelled: Cancelled | None) -> None:
        self._timeout_s = timeout_s
        self._end = time.monotonic() + timeout_s
        self._cancelled = cancelled

    def left_s(self) -> float:
        """Say how much; raises when it is none, or the build is not wanted any more."""
        if self._cancelled is not None and self._cancelled.is_set():
            raise BuildCancelled("the build was cancelled")
        left = self._end - time.monotonic()
        if left <= 0:
            raise BuildTimedOut(f"the build took longer than {self._timeout_s:g} s")
        return left
