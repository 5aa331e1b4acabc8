"""The account of a run: made when its container is dead, before anything of it is removed."""

import os
import time

from pipeline_containers.sandbox.container.container import Container
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.result.outputs import Outputs, read_outputs
from pipeline_containers.sandbox.result.report import (
    Ending,
    Evidence,
    RunReport,
    Usage,
    classify,
    describe_limit,
)
from pipeline_containers.sandbox.tools import ToolKind


class Clock:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, phase: str) -> None:
        """End a phase, and begin the next."""
        now = time.monotonic()
        self.laps[phase] = now - self._last
        self._last = now


def account(
    container: Container,
    kind: ToolKind,
    limits: Limits,
    stopped: Ending | None,
    exit_status: int,
    clock: Clock,
) -> RunReport:
    """Make the report of a dead container; `stopped` and `exit_status` as `execute` gave them."""
    counters = container.counters()
    outputs = _outputs(container, kind, limits)
    evidence = Evidence(
        stopped, exit_status, counters, outputs.response is not None, container.full()
    )
    ending = classify(evidence)
    stdout, stderr = container.stdout.text, container.stderr.text
    is_replaced = {
        "stdout": stdout.encode() != container.stdout.content,
        "stderr": stderr.encode() != container.stderr.content,
        "result": outputs.replaced,
    }
    report = RunReport(
        ending=ending,
        exit_status=exit_status,
        stdout=stdout,
        stderr=stderr,
        outputs=outputs.response,
        output_problem=outputs.problem,
        usage=Usage(
            wall_s=clock.laps["run_s"],
            cpu_s=counters.cpu_s,
            peak_memory_bytes=counters.peak_memory_bytes,
            oom_kills=counters.oom_kills,
            peak_pids=counters.peak_pids,
            stdout_bytes=len(container.stdout.content),
            stderr_bytes=len(container.stderr.content),
        ),
        timing=clock.laps,
        which_limit=describe_limit(ending, evidence, limits),
        replaced=tuple(name for name, is_so in is_replaced.items() if is_so),
        warnings=outputs.warnings,
    )
    clock.lap("collect_s")
    return report


def _outputs(container: Container, kind: ToolKind, limits: Limits) -> Outputs:
    folder = os.open(container.job_folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return read_outputs(folder, kind, limits.result_bytes)
    finally:
        os.close(folder)
