"""The command `versions`: what the registry has, what is wanted, what is ready."""

from typing import Any

from pipeline_client import PipelineError
from pipeline_client.cli import exits
from pipeline_client.cli.options import (
    OPTIONAL_CHANNEL,
    TRACK,
    command,
    common,
)
from pipeline_client.cli.session import Session
from pipeline_client.cli.values import CHANNELS_WITH_TOOLS
from pipeline_client.cli.views.rollouts import ready_of, state_words
from pipeline_client.cli.views.text import Cell, cell, table
from pipeline_protocol.responses import AvailableContainers, Deployment

_NOT_THERE = "-"
_COLOURS = {"deployed": "green", "partly_deployed": "yellow", "preparing": "yellow"}

Found = tuple[Deployment, AvailableContainers | PipelineError]
"""Of one channel: what is wanted, and what the registry has, or why nobody can say."""


@command("pipeline versions ruby", "pipeline versions ruby test_runners --json")
@TRACK
@OPTIONAL_CHANNEL
@common
def versions(session: Session, track: str, channel: str | None) -> None:
    """Show a track's versions: published, wanted, ready.

    A builder is asked what the registry has; without one the rest is shown all the same.
    """
    found = [
        _look(session, track, name) for name in ([channel] if channel else CHANNELS_WITH_TOOLS)
    ]
    data = {"track_slug": track, "channels": [found_data(*one) for one in found]}
    session.out.result(data, versions_lines(found))


def _look(session: Session, track: str, channel: str) -> Found:
    deployment = session.client.deployment_check(track, channel)
    try:
        return deployment, session.client.list_available_containers(track, channel)
    except PipelineError as error:
        return deployment, error


def found_data(
    deployment: Deployment, available: AvailableContainers | PipelineError
) -> dict[str, Any]:
    """Return one channel for ``--json``: both responses, the second one perhaps an error."""
    if isinstance(available, PipelineError):
        return {"deployment": deployment, "available": None, **exits.error_data(available)}
    return {"deployment": deployment, "available": available}


def versions_lines(found: list[Found]) -> list[str]:
    """Return a table of all versions; below it what stands in a worker's way, and what is next."""
    rows = [row for one in found for row in _rows(*one)]
    lines = table(("CHANNEL", "VERSION", "REGISTRY", "WANTED", "READY", "STATE"), rows)
    remarks = [line for one in found for line in _remarks(*one)]
    return [*lines, *dict.fromkeys(remarks)]  # without a builder, each channel has the same


def _rows(
    deployment: Deployment, available: AvailableContainers | PipelineError
) -> list[tuple[Cell, ...]]:
    known = () if isinstance(available, PipelineError) else available.versions
    wanted = {version.version: version for version in deployment.versions}
    rows: list[tuple[Cell, ...]] = []
    for name in dict.fromkeys((*wanted, *known)):
        there = "?" if isinstance(available, PipelineError) else "yes" if name in known else "no"
        version = wanted.get(name)
        if version is None:
            rows.append((deployment.channel, name, there, "no", _NOT_THERE, _NOT_THERE))
            continue
        ready, workers = ready_of(version)
        state = cell(version.state).replace("_", " ")
        coloured = (state, _COLOURS.get(version.state, "red"))
        rows.append((deployment.channel, name, there, "yes", f"{ready}/{workers}", coloured))
    return rows


def _remarks(deployment: Deployment, available: AvailableContainers | PipelineError) -> list[str]:
    track, channel = cell(deployment.track_slug), cell(deployment.channel)
    lines = [
        f"{cell(worker.worker)}: {cell(version.version)} {state_words(worker)}"
        for version in deployment.versions
        for worker in version.workers
        if worker.state != "ready"
    ]
    if isinstance(available, PipelineError):
        return [*lines, f"the registry's are not known: {cell(available, 1000)}"]
    if not available.versions and not deployment.versions:
        return [*lines, f"{channel}: none; `pipeline build {track} {channel} master` builds one"]
    return lines
