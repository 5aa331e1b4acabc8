"""What a sandbox is built on: where its cgroups lie, which limits hold there, this host's own."""

import resource
from dataclasses import dataclass

from pipeline_containers.sandbox.bundle import RLIMITS
from pipeline_containers.sandbox.cgroups import Hierarchies, find_hierarchies
from pipeline_containers.sandbox.delegation import find_tops
from pipeline_containers.sandbox.enforcement import FULL, Enforcement, find_enforcement
from pipeline_containers.sandbox.ids import IdMap


@dataclass(frozen=True, slots=True)
class Ground:
    """The cgroup that a sandbox' containers lie below, in which hierarchies, and what it holds.

    The cgroup's path is absolute for the host's root, who has all of the hierarchies; for others
    it begins at the tops that they were given, and is empty where they were given none.
    """

    hierarchies: Hierarchies
    cgroup: str
    enforcement: Enforcement


def find_ground(ids: IdMap, cgroup: str) -> Ground:
    """Find it for this process, whose containers have such ids."""
    if ids.is_of_host:
        return Ground(find_hierarchies(), cgroup, FULL)
    tops, cgroup = find_tops(), cgroup.lstrip("/")
    enforcement = find_enforcement(tops, cgroup, ids)
    if not enforcement.controllers:
        return Ground(Hierarchies({}), "", enforcement)
    return Ground(tops, cgroup, enforcement)


def host_ceilings() -> dict[str, int]:
    """Read this process' hard limits: without CAP_SYS_RESOURCE nothing gets beyond them."""
    limits = {name: resource.getrlimit(getattr(resource, name))[1] for name in RLIMITS}
    return {name: value for name, value in limits.items() if value != resource.RLIM_INFINITY}
