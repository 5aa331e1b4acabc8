"""Workers beside what they should have ready. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from pipeline_client.cli.views.rollouts import state_words
from pipeline_client.cli.views.text import Cell, cell, coloured, span, table
from pipeline_protocol.link import Readiness
from pipeline_protocol.responses import (
    ChannelStatus,
    ClientStatus,
    MissingWorker,
    Pong,
    WorkerDescription,
)

Wanted = dict[str, dict[str, dict[str, str | None]]]
"""Channel, track, version: its digest, as soon as that is known."""

_SILENT_S = 2.0
"""A worker is heard of every second; after three it is lost."""


def wanted_of(config: dict[str, Any]) -> Wanted:
    """Read the wanted versions off a `current_config`."""
    return msgspec.convert(config.get("versions", {}), Wanted)


class HeldVersion(Struct, frozen=True):
    """One version on one worker: what it has beside what is wanted."""

    track: str
    version: str
    wanted: bool
    state: str
    digest: str | None = None
    percent: int = 0
    reason: str = ""
    phase: str = ""

    @property
    def words(self) -> str:
        """How it stands."""
        words = state_words(self)
        return words if self.wanted else f"{words}, wanted no longer"


def serves(worker: WorkerDescription, channel: str, track: str) -> bool:
    """Whether work of the track may come to the worker."""
    return worker.channel == channel and (not worker.topics or track in worker.topics)


def held(worker: WorkerDescription, wanted: Wanted) -> list[HeldVersion]:
    """Return what a worker should have or has, wanted versions first."""
    here = {(version.track, version.version): version for version in worker.versions}
    names = [
        (track, version)
        for track, versions in wanted.get(worker.channel, {}).items()
        if serves(worker, worker.channel, track)
        for version in versions
    ]
    found = []
    for name in dict.fromkeys((*names, *here)):
        known = here.get(name)
        if known is None:
            found.append(HeldVersion(*name, True, Readiness.PREPARING.value))
        else:
            found.append(
                HeldVersion(
                    *name,
                    name in names,
                    known.state.value,
                    known.digest,
                    known.percent,
                    known.reason,
                    known.phase,
                )
            )
    return found


def roster_data(workers: Iterable[WorkerDescription], wanted: Wanted) -> list[dict[str, Any]]:
    """Return the workers for ``--json``: as the wire has them; for `versions` see `HeldVersion`."""
    return [
        msgspec.to_builtins(worker) | {"versions": msgspec.to_builtins(held(worker, wanted))}
        for worker in workers
    ]


def state_of(worker: WorkerDescription, versions: Iterable[HeldVersion]) -> tuple[str, str]:
    """Return what a worker is up to, in a word or a few, and the colour of that."""
    if worker.trouble:
        return f"trouble: {cell(worker.trouble)}", "red"
    if worker.silent_s > _SILENT_S:
        return f"silent for {span(worker.silent_s)}", "red"
    if worker.draining:
        return "draining", "yellow"
    states = {version.state for version in versions if version.wanted}
    if Readiness.FAILED in states:
        return "failed to prepare", "red"
    if Readiness.PREPARING in states:
        return "preparing", "yellow"
    if worker.keeps:
        return "keeps unwanted images", "red"
    return "ready", "green"


def missing_words(worker: MissingWorker) -> str:
    """Return since when a worker is missing, and why."""
    return f"missing for {span(worker.missing_s)}: {cell(worker.why)}"


def roster_lines(
    workers: Iterable[WorkerDescription], wanted: Wanted, missing: Iterable[MissingWorker] = ()
) -> list[str]:
    """Return a table of workers, and below it every version that is not as it should be."""
    rows: list[tuple[Cell, ...]] = []
    remarks = []
    for worker in workers:
        versions = held(worker, wanted)
        due = [version for version in versions if version.wanted]
        ready = sum(version.state == Readiness.READY for version in due)
        tracks = ", ".join(worker.topics) or "all"
        deployed = f"{ready}/{len(due)}"
        running = f"{worker.running}/{worker.slots}"
        state = state_of(worker, versions)
        rows.append((worker.identity, worker.channel, tracks, running, deployed, state))
        remarks += [
            f"{cell(worker.identity)}: {cell(one.track)} {cell(one.version)} {one.words}"
            for one in versions
            if not one.wanted or one.state != Readiness.READY
        ]
        remarks += keeping_lines([worker])
    for lost in missing:
        tracks = ", ".join(lost.topics) or "all"
        state = (missing_words(lost), "red")
        rows.append((lost.identity, lost.channel, tracks, f"-/{lost.slots}", "-", state))
    if not rows:
        start = "`pipeline-worker listen worker-1 ADDRESS/test_runners WORK_FOLDER` starts one"
        return [f"no worker is there: {start}"]
    header = ("IDENTITY", "CHANNEL", "TRACKS", "RUNNING", "DEPLOYED", "STATE")
    return [*table(header, rows), *remarks]


def keeping_lines(workers: Iterable[WorkerDescription]) -> list[str]:
    """Return a line for each worker that keeps images that are not wanted: why, until when."""
    return [
        coloured(f"{cell(worker.identity)} {cell(worker.keeps)}", "red")
        for worker in workers
        if worker.keeps
    ]


def deployed(
    workers: Iterable[WorkerDescription], wanted: Wanted
) -> Iterator[tuple[str, str, str, int, int]]:
    """Go through the wanted versions: channel, track, version, ready on, of how many workers."""
    staying = [worker for worker in workers if not worker.draining]
    for channel, tracks in wanted.items():
        for track, versions in tracks.items():
            serving = [worker for worker in staying if serves(worker, channel, track)]
            for version in versions:
                ready = sum(
                    (one.track, one.version, one.state) == (track, version, Readiness.READY)
                    for worker in serving
                    for one in worker.versions
                )
                yield channel, track, version, ready, len(serving)


def deployed_lines(workers: Iterable[WorkerDescription], wanted: Wanted) -> list[str]:
    """Return a table of wanted versions."""
    rows = [
        (channel, track, version, (f"{ready}/{many}", "green" if ready == many > 0 else "yellow"))
        for channel, track, version, ready, many in deployed(workers, wanted)
    ]
    return table(("CHANNEL", "TRACK", "VERSION", "READY"), rows) if rows else ["nothing is wanted"]


def router_line(address: str, pong: Pong) -> str:
    """Return which router it is, and since when."""
    return f"router {cell(pong.version)} at {address}, up for {span(pong.uptime_s)}"


def turned_away_lines(counts: dict[str, int]) -> list[str]:
    """Return who was not let in since the router's start, if anybody was."""
    if not counts:
        return []
    return ["", *(f"turned away: {cell(why)}, times: {times}" for why, times in counts.items())]


def client_lines(clients: dict[str, ClientStatus]) -> list[str]:
    """Return a table of who has requests in flight, if keys tell who they are."""
    rows: list[tuple[Cell, ...]] = []
    for name, row in clients.items():
        used = row.running + row.waiting
        quota: Cell = "-" if row.quota is None else str(row.quota)
        if row.quota is not None and used >= row.quota:
            quota = (str(row.quota), "yellow")
        rows.append((cell(name), str(row.running), str(row.waiting), quota))
    return ["", *table(("CLIENT", "RUNNING", "WAITING", "QUOTA"), rows)] if rows else []


def channel_lines(channels: dict[str, ChannelStatus]) -> list[str]:
    """Return a table of channels, in numbers."""
    rows: list[tuple[Cell, ...]] = []
    for name, row in channels.items():
        waiting: Cell = (str(row.waiting), "yellow") if row.waiting else "0"
        missing: Cell = (str(row.missing), "red") if row.missing else "0"
        able = str(row.slots - row.unready_slots)
        slots: Cell = (f"{able} of {row.slots}", "yellow") if row.unready_slots else able
        rows.append((name, str(row.workers), missing, slots, str(row.running), waiting))
    return table(("CHANNEL", "WORKERS", "MISSING", "SLOTS", "RUNNING", "WAITING"), rows)
