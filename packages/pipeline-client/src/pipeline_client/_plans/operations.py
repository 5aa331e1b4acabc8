"""What the router does: deployments, cancelling, and what it knows of its workers."""

# ruff: noqa: A002 - the wire calls it `id`

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import UNSET

from pipeline_client._plans.call import Call, made, response_of
from pipeline_client._plans.rollout import Rollout
from pipeline_client._plans.steps import CallPlan
from pipeline_protocol import requests, responses


def deploy_container_version(
    track_slug: str,
    channel: str,
    version: str,
    *,
    wait: bool = False,
    on_progress: Callable[[responses.Deployment], object] | None = None,
    timeout_s: float | None = None,
) -> CallPlan[responses.Deployment]:
    """Have every worker that serves the track prepare a version, and go on having it.

    Returns how far the workers are: with `wait`, when all that live have it ready. On the way there
    `on_progress` is told of each change. Raises PlatformError when it has failed on all of them
    (511, with each one's reason) and when there is none (503, at once: those that come later
    prepare it too); raises ClientTimedOut after `timeout_s`, which is that of the client or 600 s
    if not said.
    """
    request = made(
        requests.DeployContainerVersion,
        track_slug=track_slug,
        channel=channel,
        new_version=version,
    )
    return Rollout(
        deploy=Call(request, response_of(responses.WantedVersions), None if wait else timeout_s),
        check=deployment_check(track_slug, channel, timeout_s=None if wait else timeout_s),
        version=version,
        wait=wait,
        on_progress=on_progress,
        timeout_s=timeout_s,
    )


def unload_container_version(
    track_slug: str, channel: str, version: str, *, timeout_s: float | None = None
) -> Call[responses.WantedVersions]:
    """Want a version no longer."""
    request = made(
        requests.UnloadContainerVersion, track_slug=track_slug, channel=channel, version=version
    )
    return Call(request, response_of(responses.WantedVersions), timeout_s)


def update_container_versions(
    track_slug: str, channel: str, versions: Iterable[str], *, timeout_s: float | None = None
) -> Call[responses.WantedVersions]:
    """Want exactly these versions of a track."""
    request = made(
        requests.UpdateContainerVersions,
        track_slug=track_slug,
        channel=channel,
        versions=tuple(versions),
    )
    return Call(request, response_of(responses.WantedVersions), timeout_s)


def deployment_check(
    track_slug: str, channel: str, *, timeout_s: float | None = None
) -> Call[responses.Deployment]:
    """Ask which versions are wanted, and how far each worker is with them."""
    request = made(requests.DeploymentCheck, track_slug=track_slug, channel=channel)
    return Call(request, response_of(responses.Deployment), timeout_s)


def current_config(*, timeout_s: float | None = None) -> Call[dict[str, Any]]:
    """Ask for the configuration in force, as its file would have it."""
    return Call(requests.CurrentConfig(), response_of(dict[str, Any]), timeout_s)


def status(*, timeout_s: float | None = None) -> Call[responses.WorkerStatus]:
    """Ask how many workers, slots and waiting jobs each channel has."""
    return Call(requests.CurrentWorkerStatus(), response_of(responses.WorkerStatus), timeout_s)


def workers(*, timeout_s: float | None = None) -> Call[responses.Workers]:
    """Ask for every worker, one by one."""
    return Call(requests.DescribeWorkers(), response_of(responses.Workers), timeout_s)


def cancel(
    id: str, of_action: str | None = None, *, timeout_s: float | None = None
) -> Call[responses.Cancelled]:
    """Take a request back; `of_action` where one id is under way under several actions."""
    request = made(requests.Cancel, id=id, of_action=UNSET if of_action is None else of_action)
    return Call(request, response_of(responses.Cancelled), timeout_s)


def ping(*, timeout_s: float | None = None) -> Call[responses.Pong]:
    """Ask whether the router is there, which version it is and since when."""
    return Call(requests.Ping(), response_of(responses.Pong), timeout_s)


def restart_workers(*, timeout_s: float | None = None) -> Call[responses.Told]:
    """Have every worker bootstrap again.

    Sent once only: the same words a few seconds later would restart them a second time.
    """
    read = response_of(responses.Told)
    return Call(requests.RestartWorkers(), read, timeout_s, resendable=False)


def drain_worker(identity: str, *, timeout_s: float | None = None) -> Call[responses.Told]:
    """Have a worker finish what it runs and leave.

    Sent once only: by the second time, another may have come under the same name.
    """
    request = made(requests.DrainWorker, identity=identity)
    return Call(request, response_of(responses.Told), timeout_s, resendable=False)


def forget_images(
    workers: Iterable[str] = (), *, timeout_s: float | None = None
) -> Call[responses.Told]:
    """Have these workers, or all, remove the images that they keep although they are not wanted.

    They keep them when a router comes back with another state than the one they served.
    """
    request = made(requests.ForgetImages, workers=tuple(workers))
    return Call(request, response_of(responses.Told), timeout_s)


def audit(limit: int = 100, *, timeout_s: float | None = None) -> Call[responses.Audit]:
    """Ask what was changed lately, and by whom: so many entries at most, 1,000 at most."""
    return Call(made(requests.ReadAudit, limit=limit), response_of(responses.Audit), timeout_s)


def dismiss_worker(identity: str, *, timeout_s: float | None = None) -> Call[responses.Told]:
    """Miss a worker no longer that was lost and will not come back.

    Sent once only: by the second time, another of that name may have been lost.
    """
    request = made(requests.DismissWorker, identity=identity)
    return Call(request, response_of(responses.Told), timeout_s, resendable=False)
