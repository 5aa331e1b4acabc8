"""Where a builder's program runs: apart from the host's processes, no longer than its caller.

Killed, the program takes all its commands and mounts with it, where builders alone would leave them
running and mounted: it has a process and a mount namespace of its own, whose first process gets
SIGKILL when the caller dies. The runtime beneath it has a state of its own, so that the cgroups it
left are found.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline_containers.building.builder import BuildOptions
from pipeline_containers.errors import (
    BuildCancelled,
    BuildFailed,
    BuildOutputLimit,
    BuildTimedOut,
    ContainersError,
    ToolMissing,
)
from pipeline_containers.sandbox.container.runtime import Runtime, watch_orphans
from pipeline_containers.system.command import (
    CancelFlag,
    Completed,
    OnLine,
    Stop,
    clean_environment,
    run_command,
)
from pipeline_containers.system.scratch import scratch_folder

_ALONE = (
    *("setpriv", "--pdeathsig", "KILL", "--"),
    *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """The folder of one build: the program's home, and the runtime's state."""

    home: Path
    runtime: str

    @property
    def state(self) -> Path:
        """Where the runtime keeps what it knows of the build's containers."""
        return self.home / "runtime"

    def run(
        self,
        arguments: list[str],
        options: BuildOptions,
        *,
        environment: Mapping[str, str] | None = None,
        on_line: OnLine | None = None,
        cancelled: CancelFlag | None = None,
    ) -> Completed:
        """Run a builder's program to its end, whatever that is."""
        if shutil.which(arguments[0]) is None:
            raise ToolMissing(arguments[0])
        return run_command(
            [*_ALONE, *arguments],
            timeout_s=options.timeout_s,
            output_bytes=options.log_bytes,
            tail_bytes=options.log_tail_bytes,
            env=clean_environment(self.home) | dict(environment or {}),
            on_line=on_line,
            cancelled=cancelled,
        )


@contextmanager
def open_cell(folder: Path, runtime: str) -> Iterator[Cell]:
    """Return a cell beneath a folder, gone with all of its traces afterwards.

    Makes this process the subreaper of its descendants.
    """
    watch_orphans()
    with scratch_folder(folder, lambda home: _end_containers(Cell(home, runtime))) as home:
        yield Cell(home, runtime)


def _end_containers(cell: Cell) -> None:
    """Remove what the runtime still has of a build that is over: state and cgroups.

    The processes are dead, and their ids were those of another namespace: none is killed here.
    """
    runtime = Runtime(cell.state, cell.runtime)
    for name, _ in runtime.processes():
        runtime.delete(name, cell.home)


def failure_of(done: Completed, options: BuildOptions) -> ContainersError | None:
    """Return which error a build's end is, if any."""
    if done.stop is Stop.CANCELLED:
        return BuildCancelled("the build was cancelled", done.tail)
    if done.stop is Stop.TIMED_OUT:
        return BuildTimedOut(f"the build took longer than {options.timeout_s:.0f} s", done.tail)
    if done.stop is Stop.OUTPUT_LIMIT:
        text = f"the build printed more than {options.log_bytes} bytes"
        return BuildOutputLimit(text, done.tail)
    if done.exit_status != 0:
        return BuildFailed(done.exit_status, done.tail)
    return None
