"""A request for a tool, to a run in the sandbox, to a reply."""

import dataclasses
import time

import msgspec

from pipeline_containers.errors import ContainersError
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.result.report import Ending, RunReport
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import ToolKind, tool_command, tool_program
from pipeline_protocol import status
from pipeline_protocol.codec import answer, decode_request, refusal
from pipeline_protocol.link import MAX_LOG_BYTES
from pipeline_protocol.log_format import REQUEST
from pipeline_protocol.replies import Context, JobUsage, Logs, Timing
from pipeline_protocol.requests import SolutionRequest
from pipeline_protocol.settings import Credentials, Settings
from pipeline_worker.executor import Assignment, Finished
from pipeline_worker.inputs.deadline import InputCancelled, InputTimedOut, input_deadline
from pipeline_worker.inputs.fetch import Inputs
from pipeline_worker.inputs.quota import InputUnavailable, UnusableInput
from pipeline_worker.run_counters import RunCounters
from pipeline_worker.versions.manager import VersionManager

_CODES = {
    Ending.TIMED_OUT: status.TIMED_OUT,
    Ending.OUTPUT_LIMIT: status.TOO_MUCH_OUTPUT,
    Ending.MEMORY_LIMIT: status.LIMIT_EXCEEDED,
    Ending.PIDS_LIMIT: status.LIMIT_EXCEEDED,
    Ending.DISK_LIMIT: status.LIMIT_EXCEEDED,
    Ending.LOCKS_LIMIT: status.LIMIT_EXCEEDED,
    Ending.CANCELLED: status.CANCELLED,
}
"""THE table of endings by force; EXITED, the one by itself, is judged by what was left."""

_INPUT_CODES: dict[type[Exception], int] = {
    UnusableInput: status.UNUSABLE,
    InputCancelled: status.CANCELLED,
    InputTimedOut: status.DEADLINE_PASSED,
    InputUnavailable: status.SETUP_FAILED,
}
"""THE table of inputs that were not had."""


class UnusableLimits(Exception):
    """No container could start with what is configured."""


class ToolJobs:
    """Performs the solution requests of one channel."""

    def __init__(
        self,
        worker: str,
        kind: ToolKind,
        sandbox: Sandbox,
        version_manager: VersionManager,
        inputs: Inputs,
        runs: RunCounters | None = None,
    ) -> None:
        self._worker = worker
        self._kind = kind
        self._sandbox = sandbox
        self._version_manager = version_manager
        self._inputs = inputs
        self._runs = runs or RunCounters()
        self._settings = Settings()

    def adopt(self, settings: Settings, credentials: Credentials | None) -> None:
        """Work by these settings from the next job on."""
        self._settings = settings
        self._inputs.adopt(settings, credentials)

    def perform(self, assignment: Assignment) -> Finished:
        """Run the tool over the solution; whatever happens there becomes a reply."""
        began = time.monotonic()
        request = decode_request(assignment.request)
        if not isinstance(request, SolutionRequest):
            raise TypeError(f"{type(request).__name__} is not for a worker that runs tools")
        REQUEST.set(request.id)
        context = Context(worker=self._worker, attempt=assignment.attempt)
        with self._version_manager.use(request.track_slug, request.container_version) as image:
            if image is None:
                return self._without_image(request, context)
            timeouts = input_deadline(assignment.deadline, assignment.cancelled)
            try:
                limits = self._limits(request)
                run = ToolRun(
                    image=image,
                    kind=self._kind,
                    slug=request.exercise_slug,
                    fill=lambda folder: self._inputs.bring(request, folder, limits, timeouts),
                    limits=limits,
                    cancelled=assignment.cancelled,
                )
                report = self._sandbox.run(run)
                self._runs.note(report)
            except tuple(_INPUT_CODES) as error:
                code = _INPUT_CODES[type(error)]
                return code, refusal(code, str(error), context)
            except (ContainersError, OSError, UnusableLimits) as error:
                reason = f"the run could not be set up: {error}"
                return status.SETUP_FAILED, refusal(status.SETUP_FAILED, reason, context)
        context = _context(context, assignment, run, report, time.monotonic() - began)
        code = judge(report)
        if code == status.OK:
            return code, answer(report.outputs, context)
        if report.outputs is not None:
            context = msgspec.structs.replace(context, result=report.outputs)
        return code, refusal(code, explain(code, report), context)

    def _without_image(self, request: SolutionRequest, context: Context) -> Finished:
        """Answer a job whose version was ready when the router sent it, and is not any more."""
        track, version = request.track_slug, request.container_version
        if self._version_manager.is_wanted(track, version):
            code, error = status.NOT_READY, f"{track} {version} is not ready here"
        else:
            code, error = status.UNKNOWN_VERSION, f"{track} {version} was unloaded"
        return code, refusal(code, error, context)

    def _limits(self, request: SolutionRequest) -> Limits:
        """Take the track's; of these a request may set the time, up to the track's ceiling."""
        track = self._settings.tracks.get(request.track_slug, self._settings.defaults)
        limits = msgspec.structs.asdict(track.limits)
        if isinstance(request.execution_timeout, int | float):
            limits["wall_s"] = min(request.execution_timeout, track.ceilings.wall_s)
        try:
            return Limits(**limits)
        except ValueError as error:
            raise UnusableLimits(f"limits of {request.track_slug}: {error}") from error


def judge(report: RunReport) -> int:
    """Return which status a run has earned."""
    if report.succeeded:
        return status.OK
    if report.ending in _CODES:
        return _CODES[report.ending]
    return status.TOOL_FAILED if report.exit_status else status.BAD_RESULT


def explain(code: int, report: RunReport) -> str:
    """Say in a line why it is not a 200."""
    if code == status.TOOL_FAILED:
        last = (
            report.stderr.strip().rpartition("\n")[2] or report.stdout.strip().rpartition("\n")[2]
        )
        return f"the tool exited with status {report.exit_status}" + (f": {last}" if last else "")
    if code == status.BAD_RESULT:
        return report.output_problem or "no result"
    if code == status.CANCELLED:
        return "cancelled while it ran"
    return f"over the limit: {report.which_limit}"


def _context(
    context: Context, assignment: Assignment, run: ToolRun, report: RunReport, total_s: float
) -> Context:
    phases, used = report.timing, report.usage
    command = tool_command(tool_program(run.kind, run.image.config), run.slug)
    return msgspec.structs.replace(
        context,
        timing=Timing(
            queued_s=assignment.queued_s,
            setup_s=sum(phases.get(phase, 0.0) for phase in ("prepare_s", "fill_s", "create_s")),
            run_s=phases.get("run_s", 0.0),
            total_s=total_s,
        ),
        usage=JobUsage(**{name: getattr(used, name) or 0 for name in JobUsage.__struct_fields__}),
        logs=Logs(_end(report.stdout), _end(report.stderr)),
        exit_status=report.exit_status,
        replaced=report.replaced or msgspec.UNSET,
        warnings=report.warnings or msgspec.UNSET,
        invocation={
            "kind": run.kind.name,
            "image_digest": run.image.digest,
            "command": command,
            "limits": dataclasses.asdict(run.limits),
            **({"unenforced": report.unenforced} if report.unenforced else {}),
        },
        image_digest=run.image.digest,
    )


def _end(text: str) -> str:
    return text.encode()[-MAX_LOG_BYTES:].decode(errors="ignore")
