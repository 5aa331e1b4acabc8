"""Whether an image may be released: what its files show, what a probe finds, what the tool does."""

import re
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline_containers.building.fixtures import find_fixtures, judge
from pipeline_containers.building.probe import DONE, probe_run
from pipeline_containers.errors import ImageInvalid, SandboxError
from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox.container.layers import mount_root
from pipeline_containers.sandbox.container.roots import user_of
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.program import check_program
from pipeline_containers.sandbox.result.report import RunReport
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

    `tests` is where its repository may have fixtures, `folder` where it may be mounted.
    """

    image: StoredImage
    kind: ToolKind
    tests: Path
    folder: Path


def validate(candidate: ImageCandidate, sandbox: Sandbox, deadline: Deadline, say: OnLine) -> None:
    """Raise `ImageInvalid` with the problems of an image; those found first hide the later ones."""
    with _trials(candidate.image, sandbox, deadline) as trials:
        for examine in (_files, _surroundings, _behaviour):
            problems = list(examine(candidate, trials, say))
            if problems:
                raise ImageInvalid(
                    f"not a usable {candidate.kind.name} image: {'; '.join(problems)}"
                )


@dataclass(frozen=True, slots=True)
class _Trials:
    """Runs of a candidate, under a name that no other run of the image has."""

    image: StoredImage
    sandbox: Sandbox
    deadline: Deadline

    def run(self, run: ToolRun) -> RunReport:
        """Run it; raises when the build's time is up, or when it is cancelled."""
        left_s = self.deadline.left_s()
        if self.deadline.cancelled is not None:
            run = replace(run, cancelled=self.deadline.cancelled)
        wall_s = min(run.limits.wall_s, left_s)
        run = replace(run, limits=replace(run.limits, wall_s=wall_s), is_trial=True)
        report = self.sandbox.run(run)
        self.deadline.left_s()
        return report


@contextmanager
def _trials(image: StoredImage, sandbox: Sandbox, deadline: Deadline) -> Iterator[_Trials]:
    own = replace(image, digest=f"candidate:{uuid.uuid4()}")
    try:
        yield _Trials(own, sandbox, deadline)
    finally:
        sandbox.forget(own.digest)


def _files(candidate: ImageCandidate, _: _Trials, __: OnLine) -> Iterator[str]:
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


def _surroundings(candidate: ImageCandidate, trials: _Trials, _: OnLine) -> Iterator[str]:
    """Have a probe look around where the tool would run."""
    report = trials.run(probe_run(trials.image, candidate.kind, candidate.folder))
    *found, last = report.stdout.splitlines() or [""]
    yield from found
    if last != DONE:
        yield f"a probe in it did not get to its end: {report.stderr.strip()[:200] or report}"


def _behaviour(candidate: ImageCandidate, trials: _Trials, say: OnLine) -> Iterator[str]:
    """Start the tool; on its repository's own fixtures, if there are any."""
    fixtures = find_fixtures(candidate.tests, candidate.kind)
    for fixture in fixtures:
        run = ToolRun(trials.image, candidate.kind, fixture.slug, fixture.fill)
        say(f"fixture {fixture.name}")
        try:
            for problem in judge(fixture, candidate.kind, trials.run(run)):
                yield f"tests/{fixture.name}: {problem}"
        except (OSError, SandboxError) as error:  # the probe went the same way before it
            yield f"tests/{fixture.name}: the tool does not start: {error}"
    if not fixtures:
        names = " or ".join(f"expected_{output.file}" for output in candidate.kind.outputs)
        say(f"warning: no tests/*/ with {names}: nothing is known of what the tool does")
        yield from _start(candidate, trials)


def _start(candidate: ImageCandidate, trials: _Trials) -> Iterator[str]:
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
