"""A deploy that is followed until every worker has the version ready."""

from collections.abc import Callable, Generator
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from pipeline_client._plans.call import Call, allowed
from pipeline_client._plans.options import ClientOptions
from pipeline_client._plans.steps import Pause, Step
from pipeline_client.errors import error_of
from pipeline_protocol import responses, status
from pipeline_protocol.channels import ROUTER_TIMEOUT_S
from pipeline_protocol.link import Readiness
from pipeline_protocol.responses import Deployment, DeployState, VersionDeployment

T = TypeVar("T")

ROLLOUT_TIMEOUT_S = 600.0
"""An image is pulled within that, usually in seconds."""
_LOOK_EVERY_S = 0.5


class Rollout(Struct, frozen=True, kw_only=True):
    """A deploy, and looks at how far it is."""

    deploy: Call[responses.WantedVersions]
    check: Call[Deployment]
    version: str
    wait: bool
    on_progress: Callable[[Deployment], object] | None
    timeout_s: float | None
    """Of the whole if it is waited for, else of each of the two calls."""

    def steps(self, options: ClientOptions) -> Generator[Step, Any, Deployment]:
        """Deploy, and look; with `wait` look again until it is over."""
        if not self.wait:
            yield from self.deploy.steps(options)
            return (yield from self.check.steps(options))
        allowed_s = allowed(self.timeout_s, options.timeout_s, ROLLOUT_TIMEOUT_S)
        ends = options.clock() + allowed_s
        yield from _within(self.deploy, ends - options.clock()).steps(options)
        seen: Deployment | None = None
        served = False
        while (left_s := ends - options.clock()) > 0:
            deployment = yield from _within(self.check, left_s).steps(options)
            if deployment != seen and self.on_progress:
                self.on_progress(deployment)
            seen = deployment
            version = self._judge(deployment, served=served)
            if version.state is DeployState.DEPLOYED:
                return deployment
            served = served or bool(version.workers)
            yield Pause(min(_LOOK_EVERY_S, left_s))
        far = _how_far(self._found(seen)) if seen else "nothing is known"
        why = f"{self.version} is not ready everywhere after {allowed_s:g} s, and still wanted: "
        raise error_of(status.CLIENT_TIMED_OUT, why + far)

    def _judge(self, deployment: Deployment, *, served: bool) -> VersionDeployment:
        """Return the version's state; raise if it will not be ready.

        Workers that were there and are gone may come back: a router that restarts has none.
        """
        version = self._found(deployment)
        place = f"{deployment.track_slug} on {deployment.channel}"
        if version.state is DeployState.NO_WORKERS and not served:
            why = f"{self.version} is wanted, but no worker serves {place}: start one"
            raise error_of(status.NO_WORKER, f"{why} with `pipeline-worker listen`")
        failed = [w for w in version.workers if w.state == Readiness.FAILED]
        settled = all(w.state in (Readiness.FAILED, Readiness.READY) for w in version.workers)
        if version.state is DeployState.FAILED or (failed and settled):
            where = "every worker" if version.state is DeployState.FAILED else "some workers"
            why = f"{self.version} is wanted, but failed on {where} of {place}"
            raise error_of(status.NOT_READY, f"{why}: {_how_far(version)}")
        return version

    def _found(self, deployment: Deployment) -> VersionDeployment:
        for version in deployment.versions:
            if version.version == self.version:
                return version
        why = f"{self.version} was unloaded while its deploy was followed"
        raise error_of(status.UNKNOWN_VERSION, why)


def _within(call: Call[T], seconds: float) -> Call[T]:
    return msgspec.structs.replace(call, timeout_s=min(seconds, ROUTER_TIMEOUT_S))


def _how_far(version: VersionDeployment) -> str:
    if not version.workers:
        return "no worker is there any more"
    return "; ".join(
        f"{worker.worker} {worker.state}" + (f" ({worker.reason})" if worker.reason else "")
        for worker in version.workers
    )
