"""What this process may do: the capabilities that a sandbox needs of the root that it runs as.

Each was found by taking it away. A container engine's defaults lack two of them.
"""

from functools import cache
from pathlib import Path

NEEDED = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_FOWNER": 3,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_MKNOD": 27,
}
"""By name, the number of its bit. Source: capabilities(7), the kernel's `linux/capability.h`."""


_SYS_RESOURCE = 24


def missing_capabilities(status: str) -> list[str]:
    """Name what is missing, by the text of `/proc/self/status`."""
    bits = _effective(status)
    return [name for name, bit in NEEDED.items() if not bits >> bit & 1]


@cache
def may_set_limits_of_others() -> bool:
    """Return whether this process may set the resource limits of other users' processes."""
    return bool(_effective(Path("/proc/self/status").read_text()) >> _SYS_RESOURCE & 1)


def _effective(status: str) -> int:
    """Read the capabilities in force, a bit each."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return int(value, 16)
    return 0


def lack_of_rights() -> str:
    """Return which capabilities root lacks here, and where they come from; nothing: none."""
    missing = missing_capabilities(Path("/proc/self/status").read_text())
    if not missing:
        return ""
    names = ", ".join(missing)
    return (
        f"root lacks {names} here: in a container or pod add them (--cap-add, "
        "securityContext.capabilities.add), in a systemd unit to CapabilityBoundingSet="
    )
