"""Cgroups mounted anew for a process that cannot see its own.

`ip netns exec` mounts a new /sys, and cgroups are not in it; a process that was given a cgroup
namespace sees the cgroups of the one before it. Both have a mount namespace of their own already,
or are given one: nothing changes for others. Source: ip-netns(8), cgroup_namespaces(7).
"""

import contextlib
from pathlib import Path

from pipeline_containers.sandbox.host.hierarchies import (
    PLACE,
    UNIFIED,
    find_cgroup_mounts,
    find_own,
)
from pipeline_containers.system import syscalls
from pipeline_containers.system.mountinfo import OWN, parse_mounts, unmount

_FLAGS = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC


def mount_hidden_cgroups() -> None:
    """Mount this process' cgroups where they are looked for, if they are not to be seen.

    For root, in a process of one thread. Where it cannot be done nothing is: what is missing is
    found when cgroups are needed.
    """
    own = find_own()
    mounts = find_cgroup_mounts()
    seen = mounts.get(UNIFIED)
    if set(own) == {UNIFIED}:
        if seen is None or seen.folder(own[UNIFIED]) is None:
            with contextlib.suppress(OSError):
                _go_apart()
                if seen is not None:
                    syscalls.umount(str(PLACE))
                _mount_version_2(PLACE)
    elif own and not any(
        name in mounts and mounts[name].folder(path) for name, path in own.items()
    ):
        with contextlib.suppress(OSError):
            _go_apart()
            _unmount_parts()
            syscalls.mount("cgroup", str(PLACE), "tmpfs", _FLAGS, "mode=755")
            for line in Path("/proc/self/cgroup").read_text().splitlines():
                _mount_hierarchy(line.split(":")[1])


def _go_apart() -> None:
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_SLAVE, "")


def _unmount_parts() -> None:
    """Unmount, for this process alone, what others show their containers of their cgroups.

    A runtime would take the first that it finds for the whole. One that is gone by now, with its
    container, is no matter.
    """
    for mount in parse_mounts(OWN.read_text()):
        if mount.kind == "cgroup":
            unmount(mount.place)


def _mount_hierarchy(names: str) -> None:
    """Mount a hierarchy of version 1 by its names, or version 2 beside them."""
    place = PLACE / (names.removeprefix("name=") or "unified")
    place.mkdir()
    if names == UNIFIED:
        _mount_version_2(place)
        return
    options = f"none,{names}" if names.startswith("name=") else names
    syscalls.mount("cgroup", str(place), "cgroup", _FLAGS, options)


def _mount_version_2(place: Path) -> None:
    """Mount version 2 with the options that it has: a mount without them takes them from all.

    Hidden from this process, they are read as the first one sees them.
    """
    try:
        options = version_2_options(Path("/proc/1/mountinfo").read_text())
    except OSError:
        options = ""
    syscalls.mount("cgroup2", str(place), "cgroup2", _FLAGS, options)


def version_2_options(text: str) -> str:
    """Take the options of a mounted cgroup version 2 from the text of a `mountinfo`."""
    for mount in parse_mounts(text):
        if mount.kind == "cgroup2":
            return ",".join(one for one in mount.kind_options if one not in ("rw", "ro"))
    return ""
