"""The commands that say which versions are wanted: deploy, unload."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from pipeline_client import ClientTimedOut, PipelineError
from pipeline_client.cli import completers, exits
from pipeline_client.cli.options import CHANNEL, TRACK, command, common, option
from pipeline_client.cli.output import CommandOutput
from pipeline_client.cli.session import Session
from pipeline_client.cli.values import named
from pipeline_client.cli.views.rollouts import find, news, outlook, progress_of
from pipeline_client.cli.views.text import cell, span
from pipeline_protocol import names, status
from pipeline_protocol.responses import Deployment, WantedVersions

_VERSION = click.argument("version", type=named(names.Version), shell_complete=completers.versions)

Watcher = Callable[[Deployment], None]


@command("pipeline deploy ruby test_runners git-0123456789abcdef0123456789abcdef01234567")
@TRACK
@CHANNEL
@_VERSION
@option("--wait/--no-wait", default=True, show_default=True, help="Until it is ready everywhere.")
@common
def deploy(session: Session, track: str, channel: str, version: str, wait: bool) -> None:
    """Have workers prepare a version, and follow how far they are.

    Every worker that serves the track does, those too that come later. A deploy that is waited
    for may take 600 seconds, or --timeout. Exits with 4 if the version is not ready everywhere
    by then, or has failed on all; it stays wanted all the same.
    """
    began = time.monotonic()
    place = f"{track} {channel} {version}"
    interrupted = f"interrupted: the deploy goes on; `pipeline unload {place}` takes it back"
    heard = False

    def hear(deployment: Deployment) -> None:
        nonlocal heard
        heard = True
        show(deployment)

    try:
        with session.said(interrupted), _shown(session.out, version) as show:
            deployment = session.client.deploy_container_version(
                track, channel, version, wait=wait, on_progress=hear
            )
    except PipelineError as error:
        late = isinstance(error, ClientTimedOut) and heard
        if not late and error.code != status.NOT_READY:
            raise
        session.out.error(error)
        click.get_current_context().exit(exits.JOB_FAILED)
    took = f" in {span(time.monotonic() - began)}" if wait else ""
    session.out.result(deployment, [outlook(deployment, version) + took])


@command()
@TRACK
@CHANNEL
@_VERSION
@common
def unload(session: Session, track: str, channel: str, version: str) -> None:
    """Want a version no longer.

    Workers finish what runs with it, and remove it.
    """
    wanted = session.client.unload_container_version(track, channel, version)
    session.out.result(wanted, [wanted_line(wanted)])


def wanted_line(wanted: WantedVersions) -> str:
    """Return what is wanted from now on."""
    place = f"{cell(wanted.track_slug)} on {cell(wanted.channel)}"
    listed = ", ".join(map(cell, wanted.versions)) or "nothing"
    return f"wanted of {place} from now on: {listed}"


@contextmanager
def _shown(out: CommandOutput, version: str) -> Iterator[Watcher]:
    """Show how far workers are: as JSON, by a bar each, or a line for each change."""
    if out.as_json:
        yield out.progress
    elif out.is_interactive:
        with _bars(version) as watcher:
            yield watcher
    else:
        seen: list[Deployment] = []

        def tell(deployment: Deployment) -> None:
            for line in news(seen[-1] if seen else None, deployment, version):
                out.line(line)
            seen[:] = [deployment]

        yield tell


@contextmanager
def _bars(version: str) -> Iterator[Watcher]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn
    from rich.table import Column

    told = Column(no_wrap=True, overflow="ellipsis")
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[state]}", markup=False, table_column=told),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True, markup=False)) as bars:

        def draw(deployment: Deployment) -> None:
            present = find(deployment, version)
            for worker in present.workers if present else ():
                if worker.worker not in tasks:
                    name = cell(worker.worker)
                    tasks[worker.worker] = bars.add_task(name, total=100, state="")
                done, state = progress_of(worker)
                bars.update(tasks[worker.worker], completed=done, state=state)

        yield draw
