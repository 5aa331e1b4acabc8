"""The commands that run a tool over many solutions: batch, compare."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from pipeline_client import Retries
from pipeline_client.cli import completers, exits, values
from pipeline_client.cli.batches.comparison import Comparison
from pipeline_client.cli.batches.records import RunVerdict, verdict_of
from pipeline_client.cli.batches.results_file import BadResultsFile, ResultsFile, opened
from pipeline_client.cli.batches.runner import BatchRunner, Ended
from pipeline_client.cli.batches.solutions import BadSolutions, Solutions, solutions_in
from pipeline_client.cli.batches.tally import Run, runs_of, status_of
from pipeline_client.cli.commands.solutions import chosen
from pipeline_client.cli.options import CHANNEL, TRACK, command, common, option
from pipeline_client.cli.output import CommandOutput
from pipeline_client.cli.session import Session
from pipeline_client.cli.values import Seconds, channel_name, named
from pipeline_client.cli.views import batches as views
from pipeline_client.cli.views.batches import BatchReport, RunWithoutResult
from pipeline_client.cli.views.text import cell, count
from pipeline_client.errors import PipelineError, error_of
from pipeline_protocol import names, status
from pipeline_protocol.channels import CHANNELS

_TIMEOUT_S = 600.0
"""Of a run: background work waits for all other."""
_TELL_S = 5.0
"""Between two lines of progress, where there is no bar."""

_OPTIONS = (
    click.argument(
        "solutions",
        type=click.Path(exists=True, path_type=Path),
        metavar="SOLUTIONS",
    ),
    option(
        "--out",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Where results are appended, and found again; else TRACK-CHANNEL.jsonl.",
    ),
    option(
        "--exercise",
        type=named(names.Slug),
        metavar="EXERCISE",
        help="Of all solutions: the folders are SOLUTION/ then, not EXERCISE/SOLUTION/.",
    ),
    option(
        "--in-flight",
        type=click.IntRange(1, 1000),
        default=16,
        show_default=True,
        metavar="N",
        help="How many at a time. What the slots do not take waits in the router's queue.",
    ),
    option(
        "--attempts",
        type=click.IntRange(1, 1000),
        default=12,
        show_default=True,
        metavar="N",
        help="How often each is tried while the system cannot do it.",
    ),
    option(
        "--execution-timeout",
        type=Seconds(0, min_open=True),
        metavar="SECONDS",
        help="How long the tool may run, up to the track's ceiling.",
    ),
    option(
        "--upload-to",
        type=values.s3_prefix,
        metavar="S3-URI",
        help="Where large folders are uploaded: s3://BUCKET/PREFIX/, as the router allows.",
    ),
)


def _over_solutions(function: Callable[..., None]) -> Callable[..., None]:
    for decorate in reversed(_OPTIONS):
        function = decorate(function)
    return function


@command(
    "pipeline batch ruby ./solutions",
    "pipeline batch ruby solutions.jsonl --channel analyser --out analyses.jsonl --in-flight 40",
)
@TRACK
@_over_solutions
@option(
    "--channel",
    type=channel_name,
    default="test_runners",
    show_default=True,
    metavar="CHANNEL",
    shell_complete=completers.channels,
    help="Whose tool.",
)
@option(
    "--version",
    type=named(names.Version),
    metavar="VERSION",
    envvar="PIPELINE_CONTAINER_VERSION",
    shell_complete=completers.versions,
    help="The tool's; else the newest deployed one that is ready.",
)
@common
def batch(session: Session, track: str, channel: str, version: str | None, **options: Any) -> None:
    """Run a tool over many solutions, in the background.

    SOLUTIONS is a folder of folders, EXERCISE/SOLUTION/, or a file with a JSON object a line:
    {"exercise": "two-fer", "files": {"two_fer.rb": "..."}}, or "s3_uri" in place of "files", and a
    "solution" to call it by. Results are appended to a file, an object a line, as they come. What
    has one there is not run again: after an interrupt or a crash the same command goes on.

    Exits with 0 if every run ended with a result, be it pass or fail; with 4 if a tool failed or a
    limit was passed; with 1 if some came to nothing.
    """
    job = _Job.of(session, track, channel, **options)
    with job.results() as results:
        if version is None:
            version, why = chosen(job.session.client.deployment_check(track, channel))
            session.out.line(f"version {version} ({why})")
        report = job.run((version,), results)
    session.out.result(views.batch_data(report), views.batch_lines(report))
    failed = any(code != status.OK for code in report.tally.codes)
    _exit(exits.ERROR if report.unfinished else exits.JOB_FAILED if failed else exits.DONE)


@command(
    "pipeline compare ruby test_runners v1 v2 ./solutions --html changes.html",
    "pipeline compare ruby test_runners v1 v2 ./solutions && pipeline unload ruby test_runners v1",
)
@TRACK
@CHANNEL
@click.argument("old", type=named(names.Version), shell_complete=completers.versions)
@click.argument("new", type=named(names.Version), shell_complete=completers.versions)
@_over_solutions
@option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it all as a page too, which needs nothing beside it.",
)
@common
def compare(
    session: Session,
    track: str,
    channel: str,
    old: str,
    new: str,
    html: Path | None,
    **options: Any,
) -> None:
    """Run two versions over many solutions, and show what changed.

    Both have to be deployed. SOLUTIONS and the file of results are those of `pipeline batch`; what
    has a result of a version there is not run again with it.

    Exits with 0 if no result changed, though messages or outputs may have; with 4 if some did; with
    1 if some could not be compared.
    """
    if old == new:
        raise click.BadParameter(f"both versions are {old}")
    job = _Job.of(session, track, channel, **options)
    with job.results() as results:
        report = job.run((old, new), results)
        comparison = Comparison(
            track=track, channel=channel, old=old, new=new, solutions=len(job.solutions.found)
        )
        for before, after in zip(job.runs((old,)), job.runs((new,)), strict=True):
            if before.key in results.ran and after.key in results.ran:
                comparison.add(results.read(before.key), results.read(after.key))
    comparison.sort()
    if html is not None:
        from pipeline_client.cli.views.page import comparison_page

        _write_whole(html, comparison_page(comparison))
    data = views.comparison_data(comparison, report)
    session.out.result(data, views.comparison_lines(comparison))
    changed = bool(comparison.weighty)
    _exit(exits.ERROR if report.unfinished else exits.JOB_FAILED if changed else exits.DONE)


def _exit(code: int) -> None:
    click.get_current_context().exit(code)


class _Job:
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
    ) -> "_Job":
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
                if verdict_of(ended.code) is RunVerdict.RESULT:
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


def _write_whole(path: Path, text: str) -> None:
    """Write a file whole, or leave what was there."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            aside.write_text(text, encoding="utf-8")
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise error_of(status.UNUSABLE, f"{path} cannot be written: {error.strerror}") from None
