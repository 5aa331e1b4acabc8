"""Whether an image may be released: what its files show, what a probe finds, what the tool does."""

import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline_containers.building.fixture_trials import FixtureTrials
from pipeline_containers.building.probe import DONE, probe_run
from pipeline_containers.building.trials import Trials, open_trials
from pipeline_containers.building.validation import Validation
from pipeline_containers.errors import ImageInvalid, SandboxError
from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox.container.layers import mount_root
from pipeline_containers.sandbox.container.roots import user_of
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.program import check_program
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import ToolKind, tool_program
from pipeline_containers.system.command import OnLine
from pipeline_containers.system.deadline import Deadline
from pipeline_containers.system.mountinfo import unmount

_NOT_EXECUTED = re.compile(
    r"exec \S+: [a-z ]+\n?|"
    r'\{"msg":"exec container process [^\n]+\}\n?'  # crun's, in the format of its log
)  # all that the runtime's last process says, with 1
_CANNOT_EXECUTE = (126, 127)  # a shell's exit statuses
START = Limits(wall_s=5.0)
"""Of a tool that is only to start: what hangs has started."""


@dataclass(frozen=True, slots=True)
class ImageCandidate:
    """An image that wants to be released as a kind of tool.

    `source` is a checkout of its repository, for its fixtures, if there is one; `folder` is where
    it may be mounted. Fixtures are tried under the track's `limits`.
    """

    image: StoredImage
    kind: ToolKind
    source: Path | None
    folder: Path
    limits: Limits = field(default_factory=Limits)
    validation: Validation = Validation.REQUIRE


def validate(
    candidate: ImageCandidate, sandbox: Sandbox, deadline: Deadline, say: OnLine
) -> tuple[str, ...]:
    """Return warnings, each of one or several lines.

    Raises `ImageInvalid` with the problems of an image; those found first hide the later ones.
    """
    warnings: list[str] = []

    def warn(text: str) -> None:
        warnings.append(text)
        for line in f"warning: {text}".splitlines():
            say(line)

    with open_trials(candidate.image, sandbox, deadline) as trials:
        for problems in (
            _files(candidate),
            _surroundings(candidate, trials),
            _behaviour(candidate, trials, say, warn),
        ):
            if found := list(problems):
                raise ImageInvalid(f"not a usable {candidate.kind.name} image: {'; '.join(found)}")
    return tuple(warnings)


def _files(candidate: ImageCandidate) -> Iterator[str]:
    """Look at the image's files, without running any."""
    empty, root = candidate.folder / "empty", candidate.folder / "root"
    empty.mkdir()
    root.mkdir()
    mount_root((empty, *candidate.image.layers), root, user_namespace=None)
    try:
        for check in CHECKS:
            yield from check(candidate, root)
    finally:
        unmount(root)


def has_its_program(candidate: ImageCandidate, root: Path) -> Iterator[str]:
    """Look for the tool in the kind's own folder, a file that can be called."""
    program = tool_program(candidate.kind, candidate.image.config)
    try:
        check_program(root, candidate.kind, program)
    except ImageInvalid as error:
        yield str(error)


def has_plain_folders(_: ImageCandidate, root: Path) -> Iterator[str]:
    """See that what the container's own mounts cover is a folder, if there, and no link."""
    for name in ("dev", "proc", "sys", "tmp", "mnt"):
        try:
            status = (root / name).lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            yield f"/{name} is not a folder"


def has_its_user(candidate: ImageCandidate, root: Path) -> Iterator[str]:
    """See that the USER which the image asks for is one that it has."""
    try:
        user_of(candidate.image, root)
    except SandboxError as error:
        yield str(error)


CHECKS: tuple[Callable[[ImageCandidate, Path], Iterator[str]], ...] = (
    has_its_program,
    has_plain_folders,
    has_its_user,
)
"""Every check of the files, in the order of their problems."""


def _surroundings(candidate: ImageCandidate, trials: Trials) -> Iterator[str]:
    """Have a probe look around where the tool would run."""
    report = trials.run(probe_run(trials.image, candidate.kind, candidate.folder))
    *found, last = report.stdout.splitlines() or [""]
    yield from found
    if last != DONE:
        yield f"a probe in it did not get to its end: {report.stderr.strip()[:200] or report}"


def _behaviour(
    candidate: ImageCandidate, trials: Trials, say: OnLine, warn: OnLine
) -> Iterator[str]:
    """Start the tool; on its repository's own fixtures, if there are any."""
    has_started = False
    if candidate.source is not None and candidate.validation is not Validation.OFF:
        tried = FixtureTrials(
            trials, candidate.kind, candidate.source, candidate.folder, candidate.limits
        )
        problems = tried.perform(say, warn)
        has_started = tried.has_results
        if candidate.validation is Validation.REQUIRE:
            yield from problems
        else:
            for problem in problems:
                warn(problem)
    if not has_started:
        yield from _start(candidate, trials)


def _start(candidate: ImageCandidate, trials: Trials) -> Iterator[str]:
    """See whether the tool starts, on an empty folder; what it makes of it is its own affair."""
    run = ToolRun(trials.image, candidate.kind, "validation", lambda _: None, START)
    try:
        report = trials.run(run)
    except SandboxError as error:
        yield f"the tool does not start: {error}"
        return
    runtime_gave_up = report.exit_status == 1 and _NOT_EXECUTED.fullmatch(report.stderr)
    if report.exit_status in _CANNOT_EXECUTE or runtime_gave_up:
        yield f"the tool does not start: {report.stderr.strip()[:500] or report.stdout[:500]}"
