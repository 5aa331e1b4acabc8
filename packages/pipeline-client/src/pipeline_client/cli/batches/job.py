"""What the commands over many solutions have in common: finding them, running them, showing it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from pipeline_client import Retries
from pipeline_client.cli.batches.records import RunVerdict
from pipeline_client.cli.batches.results_file import BadResultsFile, ResultsFile, opened
from pipeline_client.cli.batches.runner import BatchRunner, Ended
from pipeline_client.cli.batches.solutions import BadSolutions, Solutions, solutions_in
from pipeline_client.cli.batches.tally import Run, runs_of, status_of
from pipeline_client.cli.output import CommandOutput
from pipeline_client.cli.session import Session
from pipeline_client.cli.views import batches as views
from pipeline_client.cli.views.batches import BatchReport, RunWithoutResult
from pipeline_client.cli.views.text import cell, count
from pipeline_client.errors import PipelineError, error_of
from pipeline_protocol import status
from pipeline_protocol.channels import CHANNELS

_TIMEOUT_S = 600.0
"""Of a run: background work waits for all other."""
_TELL_S = 5.0
"""Between two lines of progress, where there is no bar."""


class BatchJob:
    """What the two commands have in common: solutions, a results file, runs."""

    def __init__(
        self,
        session: Session,
        place: tuple[str, str],
        solutions: Solutions,
        out: Path,
        in_flight: int,
        execution_timeout: float | None,
    ) -> None:
        self.session = session
        self.track, self.channel = place
        self.solutions = solutions
        self._out = out
        self._in_flight = in_flight
        self._execution_timeout = execution_timeout

    @classmethod
    def of(
        cls,
        session: Session,
        track: str,
        channel: str,
        *,
        solutions: Path,
        out: Path | None,
        exercise: str | None,
        in_flight: int,
        attempts: int,
        execution_timeout: float | None,
        upload_to: str | None,
    ) -> "BatchJob":
        """Find the solutions; a wrong call if there are none, or some cannot be told apart."""
        try:
            found = solutions_in(solutions, exercise)
        except BadSolutions as error:
            raise click.BadParameter(str(error)) from None
        if found.repeated:
            session.out.line(f"{count(found.repeated, 'solution')} came again, and run once")
        if found.left_out:
            named = ", ".join(
                f"{cell(name)} ({number})" for name, number in sorted(found.left_out.items())[:10]
            )
            session.out.line(f"left out: {named}")
        session = replace(
            session,
            timeout_s=session.timeout_s or _TIMEOUT_S,
            upload_to=upload_to,
            retries=Retries(attempts=attempts, base_s=0.5, most_s=30.0),
        )
        out = out or Path(f"{track}-{channel}.jsonl")
        return cls(session, (track, channel), found, out, in_flight, execution_timeout)

    @contextmanager
    def results(self) -> Iterator[ResultsFile]:
        """Open the results file; no file of results is a wrong call."""
        began = False
        try:
            with opened(self._out) as results:
                began = True
                yield results
        except BadResultsFile as error:
            if not began:
                raise click.BadParameter(str(error), param_hint="--out") from None
            raise error_of(status.UNUSABLE, f"the results cannot be kept: {error}") from None

    def runs(self, versions: tuple[str, ...]) -> list[Run]:
        """Return all runs there are to be by these versions."""
        named = [(it.id, it.exercise, it.name) for it in self.solutions.found]
        return runs_of(named, self.track, self.channel, versions)

    def run(self, versions: tuple[str, ...], results: ResultsFile) -> BatchReport:
        """Run what has no result yet, and show how far it is."""
        runs = self.runs(versions)
        left = [run for run in runs if run.key not in results.ran]
        report = BatchReport(
            track=self.track,
            channel=self.channel,
            versions=versions,
            out=str(self._out),
            runs=len(runs),
            before=len(runs) - len(left),
        )
        for run in runs:
            if run.key in results.ran:
                ran = results.ran[run.key]
                report.tally.add(ran.code, ran.status)
        if left:
            self._run_left(left, results, report)
        return report

    def _run_left(self, left: list[Run], results: ResultsFile, report: BatchReport) -> None:
        (action,) = CHANNELS[self.channel].actions
        runner = BatchRunner(
            self.session.client,
            action,
            {it.id: it for it in self.solutions.found},
            in_flight=self._in_flight,
            execution_timeout=self._execution_timeout,
        )
        out = self.session.out
        began = time.monotonic()
        with _shown(out, report) as show:

            def hear(ended: Ended) -> None:
                report.seconds = time.monotonic() - began
                if ended.verdict is RunVerdict.RESULT:
                    report.tally.add(ended.code, status_of(ended.response))
                elif ended.error is not None:
                    _note(ended.run, ended.error, report, out)
                show()

            try:
                runner.run(left, results, hear)
            except (KeyboardInterrupt, PipelineError) as end:
                why = "interrupted" if isinstance(end, KeyboardInterrupt) else "stopped"
                out.line(f"{why}: {views.progress_words(report)}")
                if runner.under_way:
                    number = count(runner.under_way, "run")
                    out.line(f"{number} could not be taken back, and may go on for a while")
                where = f"the same command goes on from there, as {self._out} has it"
                out.line(f"{where} (version {', '.join(report.versions)})")
                raise


def _note(run: Run, error: PipelineError, report: BatchReport, out: CommandOutput) -> None:
    """Take in, and say, that a run came to nothing; one that was taken back is no news."""
    taken_back = error.code == status.CANCELLED
    found = RunWithoutResult(run.exercise, run.solution, run.key.version, error.code, error.error)
    report.unfinished.append(found)
    if not taken_back:
        out.line(f"not run: {cell(run.solution)} by {run.key.version}: {cell(error, 1000)}")


@contextmanager
def _shown(out: CommandOutput, report: BatchReport) -> Iterator[Callable[[], None]]:
    """Show how far a batch is: by a bar, or by a line every few seconds."""
    if out.is_interactive:
        with _bar(report) as show:
            yield show
        return
    told = time.monotonic()

    def tell() -> None:
        nonlocal told
        if time.monotonic() - told >= _TELL_S:
            told = time.monotonic()
            if out.as_json:
                out.progress(views.progress_data(report))
            else:
                out.line(views.progress_words(report))

    yield tell


@contextmanager
def _bar(report: BatchReport) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    told = Column(no_wrap=True, overflow="ellipsis")
    columns = (
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[counts]}", markup=False, table_column=told),
    )
    with Progress(*columns, console=Console(stderr=True, markup=False)) as bar:
        done = report.tally.total
        task = bar.add_task("", total=report.runs, completed=done, counts="")

        def draw() -> None:
            counts = views.counted_words(report.tally)
            bar.update(task, completed=report.tally.total, counts=counts)

        yield draw
