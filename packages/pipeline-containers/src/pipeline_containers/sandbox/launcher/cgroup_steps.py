"""What a configuration says of resources becomes files of cgroups that are written to. Pure.

A container is in each hierarchy of version 1, as runc has it, or in the one of version 2.
Source: the OCI runtime specification, `config-linux.md`, "Control groups"; the kernel's
`admin-guide/cgroup-v1` and `cgroup-v2.rst`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline_containers.sandbox.host.cgroups import weight_of_shares
from pipeline_containers.sandbox.launcher.device_rules import DeviceRule, device_rules
from pipeline_containers.sandbox.launcher.plan import LaunchStep, MakeCgroup, Write
from pipeline_containers.sandbox.launcher.section import Section

_PERIOD_US = 100_000
"""The kernel's own."""


@dataclass(frozen=True, slots=True)
class CgroupPlace:
    """Where a container's cgroup is: its folders by controller, and others."""

    path: str
    """As the configuration names it."""
    folders: Mapping[str, str]
    others: tuple[str, ...] = ()
    cpuset: Mapping[str, str] = field(default_factory=dict)
    """What a new cgroup's `cpuset.cpus` and `cpuset.mems` have to be: it has none of its own."""
    limits_devices: bool = True
    """Not in a user namespace, where the kernel lets nobody."""
    is_unified: bool = False
    """It is of version 2, where all controllers have one folder."""


@dataclass(frozen=True, slots=True)
class CgroupSteps:
    """How the launcher makes a container's cgroups, limits and joins them."""

    steps: list[LaunchStep]
    filtered: tuple[DeviceRule, ...] = ()
    """The devices that a program attached to the cgroup is to allow, before there is anything in
    it: no file says them in version 2. Empty: none is wanted."""


def cgroup_steps(linux: Section, place: CgroupPlace | None) -> CgroupSteps:
    """Say how; `SandboxError` for what is not known."""
    path = linux.text("cgroupsPath", "")
    with linux.section("resources", {}) as resources:
        rules = device_rules(resources)
        is_unified = place is not None and place.is_unified
        limits = _limits_of_version_2(resources) if is_unified else _limits(resources)
    if place is None:
        if path or limits:
            raise linux.unknown("limits without a cgroup")
        return CgroupSteps([])
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
        steps += [Write(f"{folder}/devices.allow", rule.text()) for rule in rules]
    steps += [Write(f"{folder}/cgroup.procs", "0") for folder in folders]
    return CgroupSteps(steps, rules if is_unified and place.limits_devices else ())


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


def _limits_of_version_2(resources: Section) -> list[tuple[str, str, str]]:
    """List the same: swap is apart there, and shares are weights."""
    found: list[tuple[str, str, str]] = []
    with resources.section("memory", {}) as memory:
        limit, both = memory.number("limit", 0), memory.number("swap", 0)
        if both > 0:
            if not 0 < limit <= both:
                raise memory.unknown(f"swap {both} beside a limit of {limit}")
            found.append(("memory", "memory.swap.max", str(both - limit)))
        if limit > 0:
            found.append(("memory", "memory.max", str(limit)))
    with resources.section("pids", {}) as pids:
        if (value := pids.number("limit", 0)) > 0:
            found.append(("pids", "pids.max", str(value)))
    with resources.section("cpu", {}) as cpu:
        if (shares := cpu.number("shares", 0)) > 0:
            found.append(("cpu", "cpu.weight", str(weight_of_shares(shares))))
        quota, period = cpu.number("quota", 0), cpu.number("period", 0)
        if quota > 0 or period > 0:
            text = f"{quota if quota > 0 else 'max'} {period if period > 0 else _PERIOD_US}"
            found.append(("cpu", "cpu.max", text))
    return found
