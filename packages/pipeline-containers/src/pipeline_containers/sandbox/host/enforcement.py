"""What this host lets the sandbox enforce; whatever it does not, an operator has to allow by name.

It depends on what the worker was given: cgroups with their controllers, ids for its jobs.
"""

import resource
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.host.cgroup_root import CONTROLLERS
from pipeline_containers.sandbox.host.ids import OWN_ONLY, IdMap
from pipeline_containers.sandbox.limits import RLIMITS

IDS = "ids"
"""That jobs are other users than the worker."""
NAMES = (*CONTROLLERS, IDS)

_NO_IDS = (
    "jobs would run as this user, in its groups: it has no subordinate ids "
    "(apt install uidmap; usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST NAME, "
    "65536 of each)"
)


@dataclass(frozen=True, slots=True)
class Enforcement:
    """The limits that hold here, of `NAMES`, and why the others do not."""

    missing: Mapping[str, str]
    is_root: bool = True
    """The worker is the host's root: it is no answer to start it as root."""

    def holds(self, name: str) -> bool:
        """Return whether a limit is enforced."""
        return name not in self.missing

    @property
    def controllers(self) -> frozenset[str]:
        """The cgroup controllers that hold containers to their limits."""
        return frozenset(own for name, own in CONTROLLERS.items() if self.holds(name))

    def require(self, allowed: Collection[str]) -> None:
        """Raise `SandboxError` if something does not hold that was not allowed by name."""
        refused = {name: why for name, why in self.missing.items() if name not in allowed}
        if refused:
            reasons = "; ".join(
                f"{', '.join(name for name in refused if refused[name] == why)}: {why}"
                for why in dict.fromkeys(refused.values())
            )
            raise SandboxError(
                f"this host does not let the sandbox enforce {reasons}. "
                f"{'Hand' if self.is_root else 'Start it as root, or hand'} over what is missing "
                "(docs/sandbox.md, Without root), "
                f"or allow it by name: --allow-unenforced {','.join(refused)}"
            )


FULL = Enforcement({})
"""All of them."""


def find_enforcement(closed: Mapping[str, str], ids: IdMap) -> Enforcement:
    """Return what holds for containers of such ids, where some limits are closed to the sandbox."""
    missing = {**closed, **({IDS: _NO_IDS} if ids == OWN_ONLY else {})}
    return Enforcement(missing, ids.is_of_host)


def host_ceilings() -> dict[str, int]:
    """Read this process' hard limits: without CAP_SYS_RESOURCE nothing gets beyond them."""
    limits = {name: resource.getrlimit(getattr(resource, name))[1] for name in RLIMITS}
    return {name: value for name, value in limits.items() if value != resource.RLIM_INFINITY}
