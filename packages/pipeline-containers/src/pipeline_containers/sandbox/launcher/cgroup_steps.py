"""What a configuration says of resources becomes files of cgroups that are written to. Pure.

A container is in each hierarchy of version 1, as runc has it. Source: the OCI runtime
specification, `config-linux.md`, "Control groups"; the kernel's `admin-guide/cgroup-v1`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline_containers.sandbox.launcher.plan import LaunchStep, MakeCgroup, Write
from pipeline_containers.sandbox.launcher.section import Section

_DEVICES = (
    *("b *:* m", "c *:* m"),  # making their files, which takes a capability that nobody has
    *("c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm"),
    *("c 5:2 rwm", "c 10:200 rwm", "c 136:* rwm"),
)
"""What runc lets every container use: null, zero, full, random, urandom, tty; terminals; tun."""
_NO_DEVICES = [{"allow": False, "access": "rwm"}]


@dataclass(frozen=True, slots=True)
class CgroupPlace:
    """Where a container's cgroup is: its folders by controller, and others, of version 1."""

    path: str
    """As the configuration names it."""
    folders: Mapping[str, str]
    others: tuple[str, ...] = ()
    cpuset: Mapping[str, str] = field(default_factory=dict)
    """What a new cgroup's `cpuset.cpus` and `cpuset.mems` have to be: it has none of its own."""
    limits_devices: bool = True
    """Not in a user namespace, where the kernel lets nobody."""


def cgroup_steps(linux: Section, place: CgroupPlace | None) -> list[LaunchStep]:
    """Make a container's cgroups, limit them, and join them."""
    path = linux.text("cgroupsPath", "")
    with linux.section("resources", {}) as resources:
        resources.must_be("devices", _NO_DEVICES)
        limits = _limits(resources)
    if place is None:
        if path or limits:
            raise linux.unknown("limits without a cgroup")
        return []
    if path != place.path:
        raise linux.unknown(f"the cgroup {path!r}")
    folders = dict.fromkeys((*place.folders.values(), *place.others))
    steps: list[LaunchStep] = [MakeCgroup(folder) for folder in folders]
    values = [*(("cpuset", file, text) for file, text in place.cpuset.items()), *limits]
    for controller, file, text in values:
        if controller not in place.folders:
            raise linux.unknown(f"a limit of {controller}, which has no hierarchy here")
        steps.append(Write(f"{place.folders[controller]}/{file}", text))
    if place.limits_devices and "devices" in place.folders:
        folder = place.folders["devices"]
        steps.append(Write(f"{folder}/devices.deny", "a"))
        steps += [Write(f"{folder}/devices.allow", rule) for rule in _DEVICES]
    return [*steps, *(Write(f"{folder}/cgroup.procs", "0") for folder in folders)]


def _limits(resources: Section) -> list[tuple[str, str, str]]:
    """List controller, file and value; memory before memory and swap, which is never less."""
    found: list[tuple[str, str, str]] = []
    with resources.section("memory", {}) as memory:
        for key, file in (
            ("limit", "memory.limit_in_bytes"),
            ("swap", "memory.memsw.limit_in_bytes"),
        ):
            if (value := memory.number(key, 0)) > 0:
                found.append(("memory", file, str(value)))
    with resources.section("pids", {}) as pids:
        if (value := pids.number("limit", 0)) > 0:
            found.append(("pids", "pids.max", str(value)))
    with resources.section("cpu", {}) as cpu:
        for key, file in (
            ("shares", "cpu.shares"),
            ("period", "cpu.cfs_period_us"),
            ("quota", "cpu.cfs_quota_us"),
        ):
            if (value := cpu.number(key, 0)) > 0:
                found.append(("cpu", file, str(value)))
    return found
