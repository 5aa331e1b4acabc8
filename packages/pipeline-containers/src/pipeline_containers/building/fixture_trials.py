"""A tool is tried on its repository's own fixtures."""

from pathlib import Path

from pipeline_containers.building.comparison import MAX_LINES, compare, shortened
from pipeline_containers.building.fixtures import Fixture, find_fixtures
from pipeline_containers.building.own_tests import own_script, own_tests_run
from pipeline_containers.building.trials import Trials
from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.result.report import Ending, RunReport
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import ToolKind
from pipeline_containers.system.command import OnLine

_DIFFERENCES = 10
"""How many are shown."""


class FixtureTrials:
    """The fixtures of a checkout, tried under a track's limits."""

    def __init__(
        self, trials: Trials, kind: ToolKind, source: Path, folder: Path, limits: Limits
    ) -> None:
        """`folder` is for what the repository's own script needs."""
        self._trials = trials
        self._kind = kind
        self._source = source
        self._folder = folder
        self._limits = limits
        self._cases = 0
        self.has_results = False
        """Whether the tool made something valid of one at least."""

    def perform(self, say: OnLine, warn: OnLine) -> list[str]:
        """Try them; return which yield no valid result. What is not as expected is a warning."""
        found = find_fixtures(self._source, self._kind)
        self._cases = len(found.fixtures)
        for text in found.warnings:
            warn(text)
        if not found.fixtures:
            names = " or ".join(f"expected_{output.file}" for output in self._kind.outputs)
            warn(f"no folder in tests/ has {names}: nothing is known of what the tool does")
        problems: list[str] = []
        different: dict[str, str] = {}
        for fixture in found.fixtures:
            say(f"fixture {fixture.name}")
            try:
                report = self._run(fixture)
            except (OSError, SandboxError) as error:  # the probe went the same way before it
                problems.append(f"{fixture.name}: the tool does not start: {error}")
                continue
            if not _has_result(report):
                problems.append(f"{fixture.name}: {_failure(report)}")
                continue
            if not report.succeeded:
                warn(
                    f"{fixture.name}: the tool exits with status {report.exit_status} beside a "
                    "valid result: a job would get 513"
                )
            self.has_results = True
            if difference := compare(fixture, self._kind, report.outputs or {}):
                different[fixture.name] = difference
        if different and not self._own_script_passes(len(different), say, warn):
            self._show(different, warn)
        return problems

    def _run(self, fixture: Fixture) -> RunReport:
        image, kind = self._trials.image, self._kind
        return self._trials.run(ToolRun(image, kind, fixture.slug, fixture.fill, self._limits))

    def _own_script_passes(self, differing: int, say: OnLine, warn: OnLine) -> bool:
        """Have the repository's own script judge, if it has one."""
        script = own_script(self._source)
        if not script:
            return False
        say(f"{differing} of {self._cases} fixtures differ: trying {script}")
        run = own_tests_run(
            self._trials.image, self._kind, self._source, self._folder, self._limits, self._cases
        )
        try:
            report = self._trials.run(run)
        except (OSError, SandboxError) as error:
            warn(f"{script} cannot be run: {error}")
            return False
        if report.ending is Ending.EXITED and report.exit_status == 0:
            say(f"{script} passes: the fixtures are as they should be")
            return True
        printed = f"{report.stdout}\n{report.stderr}".strip().splitlines()[-MAX_LINES:]
        how = report.which_limit or f"exit status {report.exit_status}"
        warn("\n".join((f"{script} does not pass ({how}):", *map(shortened, printed))))
        return False

    @staticmethod
    def _show(different: dict[str, str], warn: OnLine) -> None:
        for number, (name, difference) in enumerate(different.items()):
            if number == _DIFFERENCES:
                warn(f"{len(different) - number} more fixtures are not as expected")
                return
            warn(f"{name} is not as expected:\n{difference}")


def _has_result(report: RunReport) -> bool:
    """Return whether there is a valid result, and no limit was met on the way to it."""
    return report.succeeded or (report.outputs is not None and report.ending is Ending.EXITED)


def _failure(report: RunReport) -> str:
    how = report.which_limit or f"exit status {report.exit_status}"
    said = (report.stderr.strip() or report.stdout.strip() or "it said nothing").splitlines()
    return f"{report.output_problem or report.ending.value}, {how}: {said[-1][:200]}"
