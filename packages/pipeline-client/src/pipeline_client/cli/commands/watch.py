"""The command `watch`: what goes on, as it goes on."""

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import click

from pipeline_client import PipelineClient, PipelineError
from pipeline_client.cli.options import command, common, option
from pipeline_client.cli.session import Session
from pipeline_client.cli.values import Seconds
from pipeline_client.cli.views.roster import wanted_of
from pipeline_client.cli.views.scene import Facts, Scene, change_data, changes, facts, screen

_ANSWER_S = 1.0
"""What a router may take for an answer before it is said to be silent."""
_TURN_S = 0.1
"""How soon a key is noticed."""


@command()
@option(
    "--interval",
    type=Seconds(0.05, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Between one look and the next.",
)
@common
def watch(session: Session, interval: float) -> None:
    """Show router, workers and deployments, as they change.

    On a terminal this is a screen, until q or Ctrl-C. Else it is a line for each change, first for
    all that there is; with --json an object a line, whose "change" is router, worker, version or
    deployment. A router that does not answer is waited for. Ends with 0.
    """
    scenes: queue.SimpleQueue[Scene] = queue.SimpleQueue()
    stop = threading.Event()
    looking = threading.Thread(
        target=_look, args=(session, interval, scenes.put, stop), name="watch", daemon=True
    )
    looking.start()
    live = not session.out.as_json and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    try:
        if live:
            _draw(scenes)
        else:
            _tell(scenes, as_json=session.out.as_json)
    except KeyboardInterrupt:
        pass
    finally:
        stop.set()


def _look(
    session: Session, interval: float, see: Callable[[Scene], None], stop: threading.Event
) -> None:
    """Look, again and again: in a thread of its own, because a router may not answer."""
    address = str(session.address)
    timeout_s = session.timeout_s or _ANSWER_S
    with PipelineClient(address, timeout_s=timeout_s, retries=None, keys=session.keys) as client:
        while not stop.is_set():
            try:
                pong = client.ping()
                channels = client.status().channels
                found = client.workers()
                wanted = wanted_of(client.current_config())
                see(Scene(address, pong, channels, found.workers, found.missing, wanted))
            except PipelineError as error:
                see(Scene(address, trouble=str(error)))
            stop.wait(interval)


def _tell(scenes: "queue.SimpleQueue[Scene]", *, as_json: bool) -> None:
    known: Facts = {}
    while True:
        now = facts(scenes.get(), known)
        at = datetime.now(UTC)
        for change in changes(known, now):
            if as_json:
                data = change_data(change, at.isoformat(timespec="milliseconds"))
                click.echo(json.dumps(data))
            else:
                click.echo(f"{at.astimezone():%H:%M:%S}  {change}")
        known = now


def _draw(scenes: "queue.SimpleQueue[Scene]") -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    scene: Scene | None = None
    last: Scene | None = None
    answered, since = time.monotonic(), _clock()
    console = Console(markup=False, highlight=False)
    with _keys() as key, Live(console=console, auto_refresh=False, screen=False) as live:
        while key() != "q":
            try:
                scene = scenes.get(timeout=_TURN_S)
            except queue.Empty:
                continue
            if scene.pong is not None:
                last, answered, since = scene, time.monotonic(), _clock()
            lines = screen(scene, last, time.monotonic() - answered, since)
            text = Text.from_ansi("\n".join([*lines, "", "q or Ctrl-C ends"]))
            text.no_wrap, text.overflow = True, "ellipsis"
            live.update(text, refresh=True)


def _clock() -> str:
    return f"{datetime.now():%H:%M:%S}"


@contextmanager
def _keys() -> Iterator[Callable[[], str]]:
    """Give what was typed, key by key; the terminal is as before afterwards, SIGTERM or not."""
    if not sys.stdin.isatty():
        yield lambda: ""
        return
    import select
    import termios
    import tty

    def end(*_: object) -> None:
        sys.exit(128 + signal.SIGTERM)

    def key() -> str:
        typed, _, _ = select.select([sys.stdin], [], [], 0)
        return os.read(sys.stdin.fileno(), 1).decode(errors="replace") if typed else ""

    before = termios.tcgetattr(sys.stdin)
    old = signal.signal(signal.SIGTERM, end)
    try:
        tty.setcbreak(sys.stdin)
        yield key
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTERM, old)
