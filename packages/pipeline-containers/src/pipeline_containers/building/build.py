"""From a git reference to a published image: the whole of a build, in order.

Resolve to a commit; done already? Check out, build, validate, publish. The checkout is gone
afterwards, and the registry has the image whole or not at all.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pipeline_containers.building.builder import BuildOptions, BuiltImage
from pipeline_containers.building.builders import Builders
from pipeline_containers.building.cell.cgroup import open_build_cgroup
from pipeline_containers.building.log import BuildLog
from pipeline_containers.building.source.checkout import Checkout
from pipeline_containers.building.source.git import GitSources, fetched
from pipeline_containers.building.source.reference import Reference, check_url
from pipeline_containers.building.validate import ImageCandidate, validate
from pipeline_containers.building.validation import Validation
from pipeline_containers.building.watch import FreeDiskWatch
from pipeline_containers.errors import ContainersError, RegistryError
from pipeline_containers.registries.registry import Registry
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tools import ToolKind
from pipeline_containers.system.command import CancelFlag, OnLine
from pipeline_containers.system.deadline import Deadline
from pipeline_containers.system.scratch import scratch_folder


@dataclass(frozen=True, slots=True)
class BuildOutcome:
    """What came of a build: `built`, or `ignored` because the image was there.

    `image` is the repository's name, `image_tag` `git-` and the SHA, `digest` the registry's.
    `warnings` are of what was built: how the tool does on its own fixtures.
    """

    outcome: Literal["built", "ignored"]
    image: str
    image_tag: str
    digest: str
    git_sha: str
    log_tail: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What is to be built, as what kind of tool, and where it is published.

    `limits` are the track's: its fixtures are tried under them.
    """

    url: str
    reference: str
    repository: str
    kind: ToolKind
    limits: Limits = field(default_factory=Limits)
    validation: Validation = Validation.REQUIRE


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a host builds with: a builder, a sandbox to try the tools in, and repositories.

    Checkouts lie in `folder` while they are built.
    """

    builders: Builders
    sandbox: Sandbox
    sources: GitSources
    folder: Path


def build_and_publish(
    request: BuildRequest,
    workshop: Workshop,
    registry: Registry,
    *,
    options: BuildOptions | None = None,
    on_line: OnLine | None = None,
    cancelled: CancelFlag | None = None,
) -> BuildOutcome:
    """Build an image and publish it, unless it is there.

    `options.timeout_s` is for the whole of it. Raises `BadReference`, `SourceError`,
    `SourceRefused`, the kinds of `BuildError`, `ImageInvalid`, `RegistryError`; each has the end of
    the log.
    """
    options = options or BuildOptions()
    name = f"{request.repository} {request.reference[:80]}"
    log = BuildLog(name, options.log_tail_bytes, on_line)
    workshop.folder.mkdir(parents=True, exist_ok=True)
    disk = FreeDiskWatch(workshop.folder, options, cancelled)
    deadline = Deadline(options.timeout_s, disk)
    try:
        outcome = _Build(request, workshop, registry, options, log, deadline).perform()
    except ContainersError as error:
        if disk.failure is not None:
            disk.failure.log_tail = log.tail
            raise disk.failure from error
        error.log_tail = log.tail
        raise
    log.step(f"{outcome.outcome} {outcome.image}:{outcome.image_tag} {outcome.digest}")
    return replace(outcome, log_tail=log.tail)


@dataclass(frozen=True, slots=True)
class _Build:
    """One build on its way."""

    request: BuildRequest
    workshop: Workshop
    registry: Registry
    options: BuildOptions
    log: BuildLog
    deadline: Deadline

    def perform(self) -> BuildOutcome:
        """Go all the way, or only as far as it takes to see that the image is there."""
        wanted = Reference.parse(self.request.reference)
        check_url(self.request.url)
        if wanted.is_sha:  # what has been published came from the repository: no need to ask it
            there = self._published(wanted.text)
            if there is not None:
                return there
        with scratch_folder(self.workshop.folder.resolve() / "checkouts") as aside:
            context = aside / "context"
            there, sha = self._check_out(context)
            if there is not None:
                return there
            return self._build(sha, context, aside)

    def _published(self, sha: str) -> BuildOutcome | None:
        repository, tag = self.request.repository, f"git-{sha}"
        digest = self.registry.digest(repository, tag)
        return None if digest is None else BuildOutcome("ignored", repository, tag, digest, sha)

    def _check_out(self, context: Path) -> tuple[BuildOutcome | None, str]:
        """Resolve the reference, and write the commit's files unless its image is there."""
        request = self.request
        self.log.step(f"fetching {request.url}")
        line, root = self.log.line, self.workshop.sandbox.cgroup_root
        with open_build_cgroup(root, self.options) as cgroup:
            sources = replace(self.workshop.sources, within=cgroup.enter())
            checkout = Checkout(request.url, sources, context, self.deadline, line)
            with fetched(request.url, request.reference, sources, self.deadline, line) as commit:
                there = self._published(commit.sha)
                if there is None:
                    checkout.write(commit)
            checkout.complete()
        return there, commit.sha

    def _build(self, sha: str, context: Path, aside: Path) -> BuildOutcome:
        request, log, deadline = self.request, self.log, self.deadline
        log.step(f"building {sha}")
        with self.workshop.builders.of(request.url).build(
            context,
            f"localhost/{request.repository}:git-{sha}",
            replace(self.options, timeout_s=deadline.left_s()),
            on_line=log.line,
            cancelled=deadline.cancelled,
        ) as image:
            log.step("validating")
            candidate = ImageCandidate(
                image.stored, request.kind, context, aside, request.limits, request.validation
            )
            warnings = validate(candidate, self.workshop.sandbox, deadline, log.line)
            log.step(f"publishing {request.repository}:git-{sha}")
            return replace(self._publish(sha, image), warnings=warnings)

    def _publish(self, sha: str, image: BuiltImage) -> BuildOutcome:
        """Push the image, unless another builder was faster."""
        repository, tag, deadline = self.request.repository, f"git-{sha}", self.deadline
        lock = self.workshop.folder / f"publishing-{sha[0]}.lock"  # one of sixteen
        with deadline.locked(lock):
            there = self._published(sha)
            if there is not None:
                return there
            try:
                digest = self.registry.push(
                    image.source,
                    repository,
                    tag,
                    timeout_s=deadline.left_s(),
                    on_line=self.log.line,
                    cancelled=deadline.cancelled,
                )
            except RegistryError:
                deadline.left_s()  # out of time, or cancelled, are other errors
                there = self._published(sha)
                if there is None:
                    raise
                return there
        return BuildOutcome("built", repository, tag, digest, sha)
