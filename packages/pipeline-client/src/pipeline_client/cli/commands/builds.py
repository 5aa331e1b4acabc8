"""The command `build`."""

import click

from pipeline_client.cli.options import CHANNEL, TRACK, command, common
from pipeline_client.cli.session import Session, awaited
from pipeline_client.cli.values import named
from pipeline_client.cli.views.text import cell
from pipeline_protocol import names
from pipeline_protocol.responses import Build


@command("pipeline build ruby test_runners master")
@TRACK
@CHANNEL
@click.argument("reference", type=named(names.GitReference))
@common
def build(session: Session, track: str, channel: str, reference: str) -> None:
    """Build, validate and publish a tool's image.

    The git REFERENCE is a branch, a tag or a full SHA. What the build prints comes on stderr.
    """
    answer = awaited(
        session,
        "build_container",
        lambda job: session.client.build_container(
            track, channel, reference, on_line=session.out.line, id=job
        ),
    )
    session.out.result(
        {"response": answer.response, "context": answer.context},
        build_lines(answer.response, track, channel),
    )


def build_lines(made: Build, track: str, channel: str) -> list[str]:
    """Return what came of a build, and the command that comes next."""
    outcome = "built" if made.outcome == "built" else "ignored: the registry had it already"
    return [
        f"{outcome}",
        f"image:   {cell(made.image)}:{cell(made.image_tag)}",
        f"digest:  {cell(made.digest)}",
        f"commit:  {cell(made.git_sha)}",
        f"next:    pipeline deploy {track} {channel} {cell(made.image_tag)}",
    ]
