"""What this host lets the sandbox enforce; whatever it does not, an operator has to allow by name.

As root, all of it. Without root it depends on what the user was given: cgroups, subordinate ids.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.cgroups import Hierarchies
from pipeline_containers.sandbox.delegation import closed_limits
from pipeline_containers.sandbox.ids import OWN_ONLY, IdMap

CONTROLLERS = {"memory": "memory", "pids": "pids", "cpus": "cpu"}
"""The limits that cgroups hold, and the controller of each."""
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

    def holds(self, name: str) -> bool:
        """Say whether a limit is enforced."""
        return name not in self.missing

    @property
    def controllers(self) -> frozenset[str]:
        """The cgroup controllers that hold containers to their limits."""
        return frozenset(own for name, own in CONTROLLERS.items() if self.holds(name))

    def require(self, allowed: Collection[str]) -> None:
        """Raise `SandboxError` if something does not hold that was not allowed by name."""
        refused = {name: why for name, why in self.missing.items() if name not in allowed}
        if refused:
            reasons = "; ".join(f"{name}: {why}" for name, why in refused.items())
            raise SandboxError(
                f"without root this host does not let the sandbox enforce {reasons}. "
                "Start it as root, or hand over what is missing (docs/sandbox.md, Without root), "
                f"or allow it by name: --allow-unenforced {','.join(refused)}"
            )


FULL = Enforcement({})
"""Of root."""


def find_enforcement(tops: Hierarchies, cgroup: str, ids: IdMap) -> Enforcement:
    """Find out what holds for containers below a cgroup; it is made where it can be."""
    missing = {
        name: f"no limit can be set below {place}: that cgroup is not this user's"
        for name, place in closed_limits(tops, cgroup).items()
    }
    return Enforcement(missing | ({IDS: _NO_IDS} if ids == OWN_ONLY else {}))
