"""How far the workers are with a version, in words. Pure."""

from typing import Protocol

from pipeline_client.cli.views.text import cell, count
from pipeline_protocol.link import Readiness
from pipeline_protocol.responses import Deployment, VersionDeployment, WorkerVersion


def find(deployment: Deployment, version: str) -> VersionDeployment | None:
    """Return one version of a deployment."""
    return next((found for found in deployment.versions if found.version == version), None)


def progress_of(worker: WorkerVersion) -> tuple[int, str]:
    """Return how much of the work is done, in percent, and how it stands."""
    done = 100 if worker.state == Readiness.READY else worker.percent
    return done, state_words(worker)


class RolloutProgress(Protocol):
    """How far a worker is with a version."""

    @property
    def state(self) -> str: ...  # noqa: D102
    @property
    def percent(self) -> int: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102
    @property
    def phase(self) -> str: ...  # noqa: D102


def state_words(one: RolloutProgress) -> str:
    """Return ``preparing (pulling 40 %)``, ``ready``, ``failed: no such image``."""
    words = f"{cell(one.state)}: {cell(one.reason)}" if one.reason else cell(one.state)
    if one.state == Readiness.READY:
        return words
    done = f"{one.percent} %" if one.percent else ""
    doing = " ".join(filter(None, (cell(one.phase), done)))
    again = "tried again, " if one.state == Readiness.FAILED else ""
    return f"{words} ({again}{doing})" if doing else words


def news(before: Deployment | None, now: Deployment, version: str) -> list[str]:
    """Return a line for each worker that is further than before, or gone."""
    present, past = find(now, version), find(before, version) if before else None
    new = {worker.worker: progress_of(worker)[1] for worker in present.workers} if present else {}
    old = {worker.worker: progress_of(worker)[1] for worker in past.workers} if past else {}
    lines = [f"{cell(name)}: {state}" for name, state in new.items() if old.get(name) != state]
    return lines + [f"{cell(name)}: gone" for name in old if name not in new]


def ready_of(version: VersionDeployment) -> tuple[int, int]:
    """Return how many workers have it ready, of how many."""
    ready = sum(worker.state == Readiness.READY for worker in version.workers)
    return ready, len(version.workers)


def outlook(deployment: Deployment, version: str) -> str:
    """Return how far a version is, and what prepares it if nobody does."""
    place = f"{cell(deployment.track_slug)} on {cell(deployment.channel)}"
    found = find(deployment, version)
    if found is None:
        return f"{version} of {place} is not wanted"
    ready, workers = ready_of(found)
    if not workers:
        return f"{version} of {place} is wanted; the first worker that comes prepares it"
    return f"{version} of {place}: ready on {ready} of {count(workers, 'worker')}"
