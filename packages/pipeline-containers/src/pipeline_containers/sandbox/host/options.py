"""What an operator chooses of the way jobs run on a host."""

from dataclasses import dataclass

RUNC, NATIVE, AUTO = LAUNCHERS = ("runc", "native", "auto")
"""What makes containers: the OCI runtime, the launcher of our own, or that where it is proved."""


@dataclass(frozen=True, slots=True)
class HostOptions:
    """The choices that commands and workers share; the defaults are those of a plain host."""

    runtime: str = "runc"
    launcher: str = RUNC
    cgroup_parent: str = ""
    allow_unenforced: frozenset[str] = frozenset()
