"""Which containers of the launcher's run: written down, for whoever comes after a dead owner.

A file for each, with its first process and when that began: another may have its number later.
"""

import contextlib
import os
import signal
from pathlib import Path

from pipeline_containers.system.files import read_kernel

_SUFFIX = ".pid"


def note(state: Path, name: str, pid: int) -> None:
    """Write a container down, before it runs."""
    state.joinpath(name + _SUFFIX).write_text(f"{pid} {_began(pid)}")


def forget(state: Path, name: str) -> None:
    """Strike one out; a missing one is fine."""
    state.joinpath(name + _SUFFIX).unlink(missing_ok=True)


def noted(state: Path) -> list[str]:
    """List the names of those that are written down."""
    return [place.name.removesuffix(_SUFFIX) for place in state.glob(f"*{_SUFFIX}")]


def end(state: Path, name: str) -> None:
    """Kill one if it runs, reap it if it is this process' child, and strike it out."""
    with contextlib.suppress(OSError, ValueError):
        pid, began = map(int, state.joinpath(name + _SUFFIX).read_text().split())
        with contextlib.suppress(OSError):
            process = os.pidfd_open(pid)
            try:
                if _began(pid) == began:
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                    os.waitid(os.P_PIDFD, process, os.WEXITED)
            finally:
                os.close(process)
    forget(state, name)


def _began(pid: int) -> int:
    """Read when a process began, in ticks since the host did; 0 if it is gone."""
    try:
        return int(read_kernel(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0
