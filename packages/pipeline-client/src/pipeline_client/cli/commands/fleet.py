"""The commands about router and workers: workers, status, drain, dismiss, restart, cancel, ping."""

import statistics
import time

import click

from pipeline_client.cli import completers, exits
from pipeline_client.cli.options import command, common, option
from pipeline_client.cli.session import Session
from pipeline_client.cli.values import Seconds, named
from pipeline_client.cli.views.roster import (
    channel_lines,
    client_lines,
    keeping_lines,
    roster_data,
    roster_lines,
    router_line,
    turned_away_lines,
    wanted_of,
)
from pipeline_client.cli.views.text import cell, count
from pipeline_protocol import names
from pipeline_protocol.channels import CHANNEL_OF_ACTION


@command()
@common
def workers(session: Session) -> None:
    """Show every worker, and what it has beside what is wanted."""
    found = session.client.workers()
    wanted = wanted_of(session.client.current_config())
    data = {"workers": roster_data(found.workers, wanted), "missing": found.missing}
    session.out.result(data, roster_lines(found.workers, wanted, found.missing))


@command()
@common
def status(session: Session) -> None:
    """Show the router, and each channel in numbers.

    Exits with 5 if workers keep images that are not wanted: the router's state was lost, restored
    from long ago, or is not the one that they served before.
    """
    pong = session.client.ping()
    found = session.client.status()
    channels = found.channels
    is_undecided = any(channel.keeping for channel in channels.values())
    lines = [router_line(str(session.address), pong), "", *channel_lines(channels)]
    if is_undecided:
        lines += ["", *keeping_lines(session.client.workers().workers)]
    lines += client_lines(found.clients)
    lines += turned_away_lines(found.turned_away)
    data = {
        "router": pong,
        "channels": channels,
        "clients": found.clients,
        "turned_away": found.turned_away,
    }
    session.out.result(data, lines)
    if is_undecided:
        click.get_current_context().exit(exits.UNDECIDED)


@command()
@click.argument("identity", type=named(names.Identity), shell_complete=completers.identities)
@common
def drain(session: Session, identity: str) -> None:
    """Have a worker finish what it runs, and leave."""
    told = session.client.drain_worker(identity)
    lines = [f"{cell(name)} finishes what it runs, then leaves" for name in told.workers]
    session.out.result(told, lines)


@command()
@click.argument("identity", type=named(names.Identity), shell_complete=completers.missing)
@common
def dismiss(session: Session, identity: str) -> None:
    """Miss a worker no longer that was lost and will not come back."""
    told = session.client.dismiss_worker(identity)
    session.out.result(told, [f"{cell(name)} is missed no longer" for name in told.workers])


@command()
@common
def restart(session: Session) -> None:
    """Have every worker finish what it runs, and bootstrap again."""
    told = session.client.restart_workers()
    listed = ", ".join(map(cell, told.workers))
    line = f"{count(len(told.workers), 'worker')} told to bootstrap again"
    session.out.result(told, [f"{line}: {listed}" if listed else line])


@command()
@click.argument(
    "identities",
    metavar="[WORKER]...",
    nargs=-1,
    type=named(names.Identity),
    shell_complete=completers.identities,
)
@common
def forget_images(session: Session, identities: tuple[str, ...]) -> None:
    """Have workers remove images kept though not wanted.

    Without a WORKER, all do. `pipeline status` says who keeps any, and why.
    """
    told = session.client.forget_images(identities)
    listed = ", ".join(map(cell, told.workers))
    line = f"{count(len(told.workers), 'worker')} told to forget images that are not wanted"
    session.out.result(told, [f"{line}: {listed}" if listed else line])


@command()
@click.argument("job", metavar="ID", type=named(names.RequestId))
@option(
    "--action",
    type=click.Choice(list(CHANNEL_OF_ACTION)),
    help="What the request was, where several have that ID.",
)
@common
def cancel(session: Session, job: str, action: str | None) -> None:
    """Take the request of that ID back. Exits with 1 if none was under way."""
    done = session.client.cancel(job, action)
    line = f"{count(done.cancelled, 'request')} cancelled"
    nothing = f"nothing to cancel: no request {cell(job)} of this sender is under way"
    session.out.result(done, [line if done.cancelled else nothing])
    if not done.cancelled:
        click.get_current_context().exit(exits.ERROR)


@command()
@option(
    "--count",
    "times",
    type=click.IntRange(1, 1_000_000),
    default=1,
    show_default=True,
    help="How often to ask.",
)
@option(
    "--interval",
    type=Seconds(0, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Between one answer and the next question.",
)
@common
def ping(session: Session, times: int, interval: float) -> None:
    """Ask whether the router is there, and how quick it is."""
    took: list[float] = []
    for number in range(times):
        if number:
            time.sleep(interval)
        client = session.client
        began = time.perf_counter()
        pong = client.ping()
        took.append(time.perf_counter() - began)
        if times > 1:
            session.out.line(f"{number + 1}: {took[-1] * 1000:.2f} ms")
    lines = [router_line(str(session.address), pong), round_trip_line(took)]
    data = {"version": pong.version, "uptime_s": pong.uptime_s, "round_trips_s": took}
    session.out.result(data, lines)


def round_trip_line(took: list[float]) -> str:
    """Return how long the answers took, in milliseconds."""
    least, middle, most = (1000 * x for x in (min(took), statistics.median(took), max(took)))
    if len(took) == 1:
        return f"answered in {middle:.2f} ms"
    return f"{len(took)} answers in {least:.2f} to {most:.2f} ms, half of them in {middle:.2f} ms"
