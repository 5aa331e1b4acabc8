"""A request to a builder, to an image in the registry, to a reply; with progress."""

import time
from collections.abc import Callable
from dataclasses import replace

import msgspec

from pipeline_containers import errors
from pipeline_containers.building.build import BuildRequest, Workshop, build_and_publish
from pipeline_containers.building.builder import BuildOptions
from pipeline_containers.building.validation import Validation
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_containers.system.command import OnLine
from pipeline_protocol import status
from pipeline_protocol.channels import CHANNELS
from pipeline_protocol.codec import answer, decode_request, refusal
from pipeline_protocol.link import MAX_LOG_BYTES
from pipeline_protocol.log_format import REQUEST
from pipeline_protocol.replies import Context, Logs, Timing
from pipeline_protocol.requests import BuildContainer, ListAvailableContainers
from pipeline_protocol.responses import AvailableContainers, Build
from pipeline_protocol.settings import ChannelLimits, Credentials, Settings, TrackLimits
from pipeline_worker.executor import Assignment, Finished
from pipeline_worker.host.cache import CacheKeeper
from pipeline_worker.versions.registry import OpenRegistry

_CODES: dict[type[errors.ContainersError], int] = {
    errors.BadReference: status.UNUSABLE,
    errors.SourceRefused: status.UNUSABLE,
    errors.BuildTimedOut: status.TIMED_OUT,
    errors.BuildOutputLimit: status.TOO_MUCH_OUTPUT,
    errors.BuildLimitExceeded: status.LIMIT_EXCEEDED,
    errors.BuildCancelled: status.CANCELLED,
    errors.BuildFailed: status.TOOL_FAILED,
    errors.ImageInvalid: status.BAD_RESULT,
}
"""THE table of what can go wrong with a build; anything else is a matter of setting up."""

_UNTOLD = ChannelLimits(Settings().defaults)
"""By a router from before it told."""

LINES_A_SECOND = 200
"""Of progress."""


class BuildJobs:
    """Performs the builders' requests."""

    def __init__(
        self, worker: str, workshop: Workshop, cache: CacheKeeper, options: BuildOptions
    ) -> None:
        self._worker = worker
        self._workshop = workshop
        self._cache = cache
        self._options = options
        self._settings = Settings()
        self._registry = OpenRegistry()

    def adopt(self, settings: Settings, credentials: Credentials | None) -> None:
        """Work by these settings from the next job on."""
        self._settings = settings
        self._registry.adopt(settings, credentials)

    def perform(self, assignment: Assignment) -> Finished:
        """Build or list; whatever goes wrong becomes a reply."""
        began = time.monotonic()
        request = decode_request(assignment.request)
        REQUEST.set(getattr(request, "id", "") or "")
        response: Build | AvailableContainers | None = None
        code, error, log = status.OK, "", ""
        warnings: tuple[str, ...] = ()
        try:
            match request:
                case BuildContainer():
                    with self._cache.building():
                        response, log, warnings = self._build(request, assignment)
                case ListAvailableContainers():
                    response = self._list(request)
                case _:
                    raise TypeError(f"{type(request).__name__} is not for a builder")
        except errors.ContainersError as failure:
            code = _CODES.get(type(failure), status.SETUP_FAILED)
            error, log = str(failure), failure.log_tail
        except OSError as failure:  # the disk is full, or gone
            code, error = status.SETUP_FAILED, f"this builder's disk: {failure}"
        context = Context(
            worker=self._worker,
            attempt=assignment.attempt,
            timing=Timing(queued_s=assignment.queued_s, total_s=time.monotonic() - began),
            logs=Logs(stdout=_end(log)) if log else msgspec.UNSET,
            replaced=("stdout",) if "\ufffd" in log else msgspec.UNSET,
            warnings=warnings or msgspec.UNSET,
        )
        if response is None:
            return code, refusal(code, error, context)
        return code, answer(response, context)

    def _build(
        self, request: BuildContainer, assignment: Assignment
    ) -> tuple[Build, str, tuple[str, ...]]:
        tool = self._tool(request.channel, request.track_slug)
        limits = self._settings.defaults.limits
        channel = self._settings.channels.get(request.channel, _UNTOLD)
        track = channel.of(request.track_slug)
        left_s = assignment.deadline - time.monotonic()
        said = self._settings.sources
        sources = replace(self._workshop.sources, submodules=said.submodules, lfs=said.lfs)
        built = build_and_publish(
            BuildRequest(
                url=said.url.replace("{tool}", tool),
                reference=request.git_reference,
                repository=self._repository(tool),
                kind=TOOLS[str(CHANNELS[request.channel].tool_kind)],
                limits=_limits(track),
                validation=Validation(track.validation),
            ),
            replace(self._workshop, sources=sources),
            self._registry.get(),
            options=replace(
                self._options,
                timeout_s=min(left_s, limits.wall_s),
                memory_bytes=limits.memory_bytes,
            ),
            on_line=RateLimitedOutput(assignment.print_line, time.monotonic),
            cancelled=assignment.cancelled,
        )
        response = Build(built.outcome, built.image, built.image_tag, built.digest, built.git_sha)
        return response, built.log_tail, built.warnings

    def _list(self, request: ListAvailableContainers) -> AvailableContainers:
        repository = self._repository(self._tool(request.channel, request.track_slug))
        registry = self._registry.get()
        if request.version is msgspec.UNSET:
            return AvailableContainers(repository, tuple(registry.tags(repository)))
        digest = registry.digest(repository, request.version)
        digests = {} if digest is None else {request.version: digest}
        return AvailableContainers(repository, tuple(digests), digests)

    def _tool(self, channel: str, track: str) -> str:
        template = self._settings.tools.get(channel) or CHANNELS[channel].tool or "{track}"
        return template.replace("{track}", track)

    def _repository(self, tool: str) -> str:
        return self._settings.registry.image.replace("{tool}", tool)


class RateLimitedOutput:
    """Lets so many lines a second through to whoever waits, and says how many it kept back.

    A build may print millions; the end of its log comes with the reply in any case.
    """

    def __init__(self, print_line: OnLine, clock: Callable[[], float]) -> None:
        self._print = print_line
        self._clock = clock
        self._second = -1
        self._printed = 0
        self._kept_back = 0

    def __call__(self, line: str) -> None:
        """Take a line."""
        second = int(self._clock())
        if second != self._second:
            if self._kept_back:
                self._print(f"... {self._kept_back} lines left out")
            self._second, self._printed, self._kept_back = second, 0, 0
        if self._printed < LINES_A_SECOND:
            self._printed += 1
            self._print(line)
        else:
            self._kept_back += 1


def _limits(track: TrackLimits) -> Limits:
    """Return what a track's tools are held to; raises `SandboxError` for what none could."""
    try:
        return Limits(**msgspec.structs.asdict(track.limits))
    except ValueError as error:
        raise errors.SandboxError(f"the track's limits: {error}") from error


def _end(log: str) -> str:
    """Cut a log down to what a reply may carry."""
    return log.encode()[-MAX_LOG_BYTES:].decode(errors="ignore")
