"""The commands that run a tool over many solutions: batch, compare."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pipeline_client.cli import completers, exits, values
from pipeline_client.cli.batches.comparison import Comparison
from pipeline_client.cli.batches.job import BatchJob
from pipeline_client.cli.commands.solutions import chosen
from pipeline_client.cli.options import CHANNEL, TRACK, command, common, option
from pipeline_client.cli.session import Session
from pipeline_client.cli.values import Seconds, channel_name, named
from pipeline_client.cli.views import batches as views
from pipeline_client.errors import error_of
from pipeline_protocol import names, status

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
        type=named(names.ExerciseSlug),
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
    job = BatchJob.of(session, track, channel, **options)
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
    job = BatchJob.of(session, track, channel, **options)
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
