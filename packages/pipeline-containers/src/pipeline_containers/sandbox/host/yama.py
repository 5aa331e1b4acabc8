"""Yama, by which a host says who may trace whom.

Source: the kernel's `admin-guide/LSM/Yama.rst`.
"""

from pathlib import Path

_SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")
_ADMINISTRATORS = 2
"""From this scope on, only who has CAP_SYS_PTRACE, which no container has; 1 lets processes trace
their descendants, and those that named their tracer, as a leak check does."""


def lets_jobs_trace(path: Path = _SCOPE) -> bool:
    """Return whether processes without capabilities may trace any others on this host."""
    try:
        return int(path.read_text()) < _ADMINISTRATORS
    except (OSError, ValueError):
        return True  # a kernel without it
