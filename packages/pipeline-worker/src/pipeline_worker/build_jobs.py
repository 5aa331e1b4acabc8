"""A request to a builder, to an image in the registry, to a reply; with progress."""

import time
from pathlib import Path

import msgspec

from pipeline_containers import errors
from pipeline_containers.building.build import BuildRequest, build_and_publish
from pipeline_containers.building.builder import Builder, BuildOptions
from pipeline_containers.images.registry import Registry, open_registry
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_protocol import status
from pipeline_protocol.channels import CHANNELS
from pipeline_protocol.codec import answer, decode_request, refusal
from pipeline_protocol.link import MAX_LOG_BYTES
from pipeline_protocol.replies import Context, Logs, Timing
from pipeline_protocol.requests import BuildContainer, ListAvailableContainers
from pipeline_protocol.responses import AvailableContainers, Build
from pipeline_protocol.settings import Credentials, Settings
from pipeline_worker.executor import Assignment, Finished

_CODES: dict[type[errors.ContainersError], int] = {
    errors.BadReference: status.UNUSABLE,
    errors.BuildTimedOut: status.TIMED_OUT,
    errors.BuildOutputLimit: status.TOO_MUCH_OUTPUT,
    errors.BuildCancelled: status.CANCELLED,
    errors.BuildFailed: status.TOOL_FAILED,
    errors.ImageInvalid: status.BAD_RESULT,
}
"""THE table of what can go wrong with a build; anything else is a matter of setting up."""


class BuildJobs:
    """Performs the builders' requests."""

    def __init__(self, worker: str, builder: Builder, folder: Path) -> None:
        self._worker = worker
        self._builder = builder
        self._folder = folder
        self._settings = Settings()

    def adopt(self, settings: Settings, credentials: Credentials | None) -> None:
        """Work by these settings from the next job on."""
        self._settings = settings

    def perform(self, assignment: Assignment) -> Finished:
        """Build or list; whatever goes wrong becomes a reply."""
        began = time.monotonic()
        request = decode_request(assignment.request)
        response: Build | AvailableContainers | None = None
        code, error, log = status.OK, "", ""
        try:
            match request:
                case BuildContainer():
                    response, log = self._build(request, assignment)
                case ListAvailableContainers():
                    response = self._list(request)
                case _:
                    raise TypeError(f"{type(request).__name__} is not for a builder")
        except errors.ContainersError as failure:
            code = _CODES.get(type(failure), status.SETUP_FAILED)
            error, log = str(failure), getattr(failure, "log_tail", "")
        context = Context(
            worker=self._worker,
            attempt=assignment.attempt,
            timing=Timing(queued_s=assignment.queued_s, total_s=time.monotonic() - began),
            logs=Logs(stdout=log[-MAX_LOG_BYTES:]) if log else msgspec.UNSET,
        )
        if response is None:
            return code, refusal(code, error, context)
        return code, answer(response, context)

    def _build(self, request: BuildContainer, assignment: Assignment) -> tuple[Build, str]:
        tool = self._tool(request.channel, request.track_slug)
        limits = self._settings.defaults.limits
        left_s = assignment.deadline - time.monotonic()
        built = build_and_publish(
            BuildRequest(
                url=self._settings.sources.url.replace("{tool}", tool),
                reference=request.git_reference,
                repository=self._repository(tool),
                kind=TOOLS[str(CHANNELS[request.channel].tool_kind)],
            ),
            self._builder,
            self._registry(),
            self._folder,
            options=BuildOptions(
                timeout_s=min(left_s, limits.wall_s), memory_bytes=limits.memory_bytes
            ),
            on_line=assignment.print_line,
            cancelled=assignment.cancelled,
        )
        response = Build(built.outcome, built.image, built.image_tag, built.digest, built.git_sha)
        return response, built.log_tail

    def _list(self, request: ListAvailableContainers) -> AvailableContainers:
        repository = self._repository(self._tool(request.channel, request.track_slug))
        return AvailableContainers(repository, tuple(self._registry().tags(repository)))

    def _registry(self) -> Registry:
        return open_registry(self._settings.registry.kind, self._settings.registry.location)

    def _tool(self, channel: str, track: str) -> str:
        template = self._settings.tools.get(channel) or CHANNELS[channel].tool or "{track}"
        return template.replace("{track}", track)

    def _repository(self, tool: str) -> str:
        return self._settings.registry.image.replace("{tool}", tool)
