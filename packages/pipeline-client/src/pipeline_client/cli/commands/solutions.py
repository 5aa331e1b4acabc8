"""The commands that run a track's tool over a solution: test, analyse, recommend, represent."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import click

from pipeline_client import Answer
from pipeline_client.cli import completers, exits, values
from pipeline_client.cli.options import TRACK, command, common, option
from pipeline_client.cli.session import Session, awaited
from pipeline_client.cli.values import Seconds, named
from pipeline_client.cli.views import results
from pipeline_client.errors import PipelineError, error_of
from pipeline_protocol import names, status
from pipeline_protocol.channels import CHANNEL_OF_ACTION
from pipeline_protocol.replies import Context
from pipeline_protocol.responses import Deployment, DeployState

_TOOL = (
    TRACK,
    click.argument("exercise", type=named(names.ExerciseSlug)),
    click.argument("solution", type=values.solution, shell_complete=values.folders),
    option(
        "--version",
        type=named(names.Version),
        metavar="VERSION",
        envvar="PIPELINE_CONTAINER_VERSION",
        shell_complete=completers.versions,
        help="The tool's; else the newest deployed one that is ready.",
    ),
    option(
        "--execution-timeout",
        type=Seconds(0, min_open=True),
        metavar="SECONDS",
        help="How long the tool may run, up to the track's ceiling.",
    ),
    option(
        "--priority",
        type=click.Choice(["interactive", "background"]),
        default="interactive",
        show_default=True,
        help="Background work waits for all interactive work.",
    ),
    option(
        "--id",
        "job",
        type=named(names.RequestId),
        metavar="ID",
        envvar=None,
        show_envvar=False,
        help="What the run is called, for `pipeline cancel`; else one is made up.",
    ),
    option(
        "--upload-to",
        type=values.s3_prefix,
        metavar="S3-URI",
        help="Where a large folder is uploaded: s3://BUCKET/PREFIX/, as the router allows.",
    ),
    common,
)


def _tool(*examples: str) -> Callable[[Callable[..., None]], click.Command]:
    def decorated(function: Callable[..., None]) -> click.Command:
        for decorate in reversed(_TOOL):
            function = decorate(function)
        return command(*examples)(function)

    return decorated


@_tool(
    "pipeline test ruby two-fer ./my-solution",
    "pipeline test ruby two-fer s3://bucket/solutions/1/ --json",
)
def test(session: Session, **what: Any) -> None:
    """Run a track's tests over a solution.

    The SOLUTION is a folder with the solution and the tests, or an s3:// or file:// URI that
    workers can read. Exits with 4 if not all tests pass, and if they could not be run.
    """
    answer = _run(session, "test_solution", results.test_lines, **what)
    if not results.tests_passed(answer.response):
        click.get_current_context().exit(exits.JOB_FAILED)


@_tool()
def analyse(session: Session, **what: Any) -> None:
    """Run a track's static analyser over a solution.

    The SOLUTION is a folder, or an s3:// or file:// URI that workers can read.
    """
    _run(session, "analyse_solution", results.analysis_lines, **what)


@_tool()
def recommend(session: Session, **what: Any) -> None:
    """Run a track's recommender over a solution.

    The SOLUTION is a folder, or an s3:// or file:// URI that workers can read.
    """
    _run(session, "recommend_solution", results.recommendation_lines, **what)


@_tool()
def represent(session: Session, **what: Any) -> None:
    """Run a track's representer over a solution.

    The SOLUTION is a folder, or an s3:// or file:// URI that workers can read.
    """
    _run(session, "represent_solution", results.representation_lines, **what)


def _run(
    session: Session,
    action: str,
    lines: Callable[[Any, Context], Iterable[str]],
    *,
    track: str,
    exercise: str,
    solution: dict[str, Any],
    version: str | None,
    execution_timeout: float | None,
    priority: str,
    job: str | None,
    upload_to: str | None,
) -> Answer[Any]:
    session = replace(session, upload_to=upload_to)
    client = session.client
    if version is None:
        version, why = chosen(client.deployment_check(track, CHANNEL_OF_ACTION[action]))
        session.out.line(f"version {version} ({why})")
    run: Callable[..., Answer[Any]] = getattr(client, action)
    options = {"execution_timeout": execution_timeout, "priority": priority, **solution}
    options["on_left_out"] = lambda names: session.out.line(results.left_out(names))
    answer = awaited(
        session, action, lambda named: run(track, exercise, version, id=named, **options), job
    )
    for line in results.warning_lines(answer.context):
        session.out.line(line)
    session.out.result(
        {"response": answer.response, "context": answer.context},
        lines(answer.response, answer.context),
    )
    return answer


def chosen(deployment: Deployment) -> tuple[str, str]:
    """Return the version to run where none is named, and why this one; 505 if none is deployed."""
    versions = deployment.versions
    if not versions:
        raise _nothing_deployed(deployment.track_slug, deployment.channel)
    if len(versions) == 1:
        return versions[0].version, "the only one deployed"
    usable = (DeployState.DEPLOYED, DeployState.PARTLY)
    ready = [version for version in versions if version.state in usable]
    if not ready:
        return versions[-1].version, f"the newest of {len(versions)} deployed, none is ready"
    return ready[-1].version, f"the newest that is ready, of {len(versions)} deployed"


def _nothing_deployed(track: str, channel: str) -> PipelineError:
    return error_of(
        status.UNKNOWN_VERSION,
        f"no version of {track} is deployed on {channel}: `pipeline versions {track} {channel}` "
        f"shows what was built, `pipeline build {track} {channel} master` builds one, "
        f"`pipeline deploy {track} {channel} VERSION` deploys it",
    )
