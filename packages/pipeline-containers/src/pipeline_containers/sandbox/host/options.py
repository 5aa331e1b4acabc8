"""What an operator chooses of the way jobs run on a host."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HostOptions:
    """The choices that commands and workers share; the defaults are those of a plain host."""

    runtime: str = "runc"
    cgroup_parent: str = ""
    allow_unenforced: frozenset[str] = frozenset()
