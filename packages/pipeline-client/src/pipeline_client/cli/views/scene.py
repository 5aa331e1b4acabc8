"""What `watch` sees, as a screen and as changes. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any

import click
import msgspec
from msgspec import Struct

from pipeline_client.cli.views.rollouts import state_words
from pipeline_client.cli.views.roster import (
    Wanted,
    channel_lines,
    deployed,
    deployed_lines,
    held,
    roster_lines,
    router_line,
    state_of,
)
from pipeline_client.cli.views.text import cell, coloured, span
from pipeline_protocol.responses import ChannelStatus, MissingWorker, Pong, WorkerDescription

UP = "up"
SILENT = "silent"


class Scene(Struct, frozen=True):
    """What one look at the router found; nothing but `trouble` if it did not answer."""

    address: str
    pong: Pong | None = None
    channels: dict[str, ChannelStatus] = {}
    workers: tuple[WorkerDescription, ...] = ()
    missing: tuple[MissingWorker, ...] = ()
    wanted: Wanted = {}
    trouble: str = ""


class SceneChange(Struct, frozen=True, omit_defaults=True, tag_field="change"):
    """Something that is another than at the look before; its tag says what."""


class RouterChange(SceneChange, frozen=True, tag="router"):
    """The router answers, or no longer."""

    state: str
    version: str = ""
    reason: str = ""

    def __str__(self) -> str:
        if self.state == UP:
            return f"router {cell(self.version)} answers"
        return f"router does not answer: {cell(self.reason)}"


class WorkerChange(SceneChange, frozen=True, tag="worker"):
    """A worker came, went, or is up to something else."""

    worker: str
    channel: str
    state: str

    def __str__(self) -> str:
        return f"{cell(self.worker)} of {cell(self.channel)}: {cell(self.state)}"


class VersionChange(SceneChange, frozen=True, tag="version"):
    """A worker is further with a version, or has it no more."""

    worker: str
    channel: str
    track_slug: str
    version: str
    state: str
    percent: int = 0
    reason: str = ""
    phase: str = ""

    def __str__(self) -> str:
        name = f"{cell(self.track_slug)} {cell(self.version)}"
        return f"{cell(self.worker)}: {name} {state_words(self)}"


class SceneDeployment(SceneChange, frozen=True, tag="deployment"):
    """A version is wanted, ready on more or fewer workers, or not wanted any more."""

    channel: str
    track_slug: str
    version: str
    ready: int
    workers: int
    wanted: bool = True

    def __str__(self) -> str:
        name = f"{cell(self.track_slug)} {cell(self.version)} on {cell(self.channel)}"
        if not self.wanted:
            return f"{name}: wanted no longer"
        return f"{name}: ready on {self.ready} of {self.workers}"


Fact = RouterChange | WorkerChange | VersionChange | SceneDeployment
Facts = dict[tuple[str, ...], Fact]
"""What holds, by what it is said of."""


def facts(scene: Scene, before: Facts) -> Facts:
    """Return what holds; of a router that does not answer, what held when it last did."""
    if scene.pong is None:
        return before | {("router",): RouterChange(SILENT, reason=scene.trouble)}
    found: Facts = {("router",): RouterChange(UP, scene.pong.version)}
    for worker in scene.workers:
        versions = held(worker, scene.wanted)
        state, _ = state_of(worker, versions)
        name, channel = worker.identity, worker.channel
        # how long a silent one has been so is no news
        word = "silent" if state.startswith("silent") else state
        found["worker", name] = WorkerChange(name, channel, word)
        for one in versions:
            about = (name, channel, one.track, one.version)
            stands = (one.state, one.percent, one.reason, one.phase)
            found["version", *about] = VersionChange(*about, *stands)
    for lost in scene.missing:
        found["worker", lost.identity] = WorkerChange(lost.identity, lost.channel, "missing")
    for channel, track, version, ready, many in deployed(scene.workers, scene.wanted):
        place = (channel, track, version)
        found["deployment", *place] = SceneDeployment(*place, ready, many)
    return found


def changes(before: Facts, now: Facts) -> Iterator[Fact]:
    """Go through what is new or another, then what is no more."""
    for key, fact in now.items():
        if before.get(key) != fact:
            yield fact
    for key, fact in before.items():
        if key in now:
            continue
        if isinstance(fact, WorkerChange):
            yield msgspec.structs.replace(fact, state="gone")
        elif isinstance(fact, SceneDeployment):
            yield msgspec.structs.replace(fact, wanted=False)
        elif isinstance(fact, VersionChange) and ("worker", fact.worker) in now:
            yield msgspec.structs.replace(fact, state="removed", percent=0, reason="", phase="")


def screen(scene: Scene, last: Scene | None, silent_s: float, since: str) -> list[str]:
    """Return the lines of a screen; `last` is what was seen when the router last answered."""
    if scene.pong is not None:
        return [router_line(scene.address, scene.pong), "", *_body(scene)]
    trouble = f"the router at {scene.address} does not answer since {since} ({span(silent_s)})"
    lines = [coloured(trouble, "red"), *([cell(scene.trouble)] if scene.trouble else [])]
    if last is None:
        return lines
    faint = [click.style(click.unstyle(line), dim=True) for line in _body(last)]
    return [*lines, "", "before that:", *faint]


def _body(scene: Scene) -> Sequence[str]:
    return [
        *channel_lines(scene.channels),
        "",
        *roster_lines(scene.workers, scene.wanted, scene.missing),
        "",
        *deployed_lines(scene.workers, scene.wanted),
    ]


def change_data(change: Fact, at: str) -> dict[str, Any]:
    """Return a change as ``--json`` prints it."""
    data: dict[str, Any] = msgspec.to_builtins(change)
    return {"at": at} | data
