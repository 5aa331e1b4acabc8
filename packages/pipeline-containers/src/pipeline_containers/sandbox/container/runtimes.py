"""The container runtimes that are known: what each does in its own way. Data, and one question.

Which one a binary is, it says itself (`--version`), whatever its file is called. Source: runc 1.1's
`libcontainer/factory_linux.go`, crun 1.8's `src/libcrun/status.c` and `container.c`.
"""

import re
import subprocess
from dataclasses import dataclass

from pipeline_containers.errors import RuntimeMissing, SandboxError

_VERSION = re.compile(r"^(\S+) version (\S+)")
_ANSWER_S = 30.0


@dataclass(frozen=True, slots=True)
class Family:
    """Where a runtime's ways are known well enough to start and delete without calling it."""

    name: str
    state_file: str = ""
    """In a container's folder of state: there, what the runtime keeps looks as it is known."""
    fifo: str = ""
    """In that folder: what a created container waits at to be started."""
    init_reads_fifo: bool = False
    """It waits for a byte there; else it writes one, and waits for that to be read."""
    without_cgroups: tuple[str, ...] = ()
    """The options that have it go on where it can make no cgroup."""
    hides_files_by_the_hosts_null: bool = False
    """It hides files by the host's /dev/null, which all others have."""
    needs_version_2: bool = False
    """It does not run on a host whose controllers are in version 1 of cgroups."""
    refused: str = ""
    """Why it cannot be used."""


FAMILIES = {
    family.name: family
    for family in (
        Family(
            "runc",
            state_file="state.json",
            fifo="exec.fifo",
            without_cgroups=("--rootless", "true"),
        ),
        Family(
            "crun",
            state_file="status",
            fifo="exec.fifo",
            init_reads_fifo=True,
            without_cgroups=("--cgroup-manager", "disabled"),
            hides_files_by_the_hosts_null=True,
            needs_version_2=True,
        ),
        Family(
            "runsc",
            refused="gVisor remounts a container's root without nosuid and nodev, which the kernel "
            "refuses in the user namespace that gives jobs their ids",
        ),
    )
}

UNKNOWN = Family("unknown")


@dataclass(frozen=True, slots=True)
class Identified:
    """A runtime's family and version."""

    family: Family
    version: str

    def __str__(self) -> str:
        return f"{self.family.name} {self.version}".strip()


def parse_version(text: str) -> Identified:
    """Read what a runtime prints of its version; one that is not known is called for all."""
    found = _VERSION.match(text)
    if not found:
        return Identified(UNKNOWN, "")
    name, version = found.groups()
    return Identified(FAMILIES.get(name, Family(name)), version)


def identify(binary: str) -> Identified:
    """Ask a runtime what it is; raises `RuntimeMissing` if it is not installed."""
    try:
        said = subprocess.run(
            [binary, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise RuntimeMissing(binary) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxError(f"{binary} does not say which runtime it is: {error}") from error
    return parse_version(said.stdout)


def check(runtime: Identified, *, has_version_1: bool, has_version_2: bool) -> None:
    """Raise `SandboxError` if a runtime cannot be used on a host with such cgroups."""
    family = runtime.family
    if family.refused:
        raise SandboxError(f"{family.name} cannot be used: {family.refused}; use --runtime runc")
    if family.needs_version_2 and has_version_1:
        host = "a hybrid host, with cgroups of both versions" if has_version_2 else "version 1"
        raise SandboxError(
            f"{family.name} needs version 2 of cgroups, and this is {host}: use --runtime runc, "
            "or boot with systemd.unified_cgroup_hierarchy=1"
        )
