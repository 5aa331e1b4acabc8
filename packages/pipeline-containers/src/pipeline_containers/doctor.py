"""Whether this host can run jobs: each thing that is needed, how it is met, and what mends it.

Found out by trying, in the order in which one rests on another; it takes about a second.
"""

import contextlib
import errno
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline_containers.building.builders import find_builder
from pipeline_containers.errors import PACKAGES, ContainersError
from pipeline_containers.sandbox.container import runtimes
from pipeline_containers.sandbox.container.identities import open_user_namespace
from pipeline_containers.sandbox.container.layers import LayerIds, find_layer_ids
from pipeline_containers.sandbox.container.seccomp import load_filter
from pipeline_containers.sandbox.host.cgroup_root import CONTROLLERS, open_cgroup_root
from pipeline_containers.sandbox.host.cgroups import remove_if_empty, swap_is_counted
from pipeline_containers.sandbox.host.enforcement import (
    IDS,
    NAMES,
    find_enforcement,
    memory_bytes,
    most_open_files,
    why_files_run_out,
)
from pipeline_containers.sandbox.host.hierarchies import UNIFIED, find_cgroup_mounts
from pipeline_containers.sandbox.host.id_ranges import FIRST_HOST_ID
from pipeline_containers.sandbox.host.ids import IdMap, find_ids
from pipeline_containers.sandbox.host.options import HostOptions
from pipeline_containers.sandbox.host.rights import lack_of_rights
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.self_test import BUSYBOX
from pipeline_containers.system import syscalls

_TRY_S = 30.0
_NETAVARK = tuple(
    Path(folder, "podman/netavark")
    for folder in ("/usr/local/libexec", "/usr/local/lib", "/usr/libexec", "/usr/lib")
)
"""Where buildah looks for it."""
_TUN = Path("/dev/net/tun")
_FOR_BUILDS = ("git", "nsenter", "ip", "nft", "slirp4netns")
"""What builds need beside a builder; the last two for a way to the internet."""


@dataclass(frozen=True, slots=True)
class Need:
    """Something that jobs need of a host; `remedy` says what to change where it does not hold."""

    name: str
    holds: bool
    how: str
    remedy: str = ""
    is_required: bool = True
    """A worker does not start without it."""

    @property
    def is_lacking(self) -> bool:
        """Return whether a worker would refuse to start for want of it."""
        return self.is_required and not self.holds


def examine(
    folder: Path, host: HostOptions, *, builds: bool = False, builder: str = "auto"
) -> Iterator[Need]:
    """Look at each thing that is needed, by a worker that keeps its files in `folder`.

    With `builds`, what they need too; `builder` is the kind that they are to be made by.

    In a process that has gone where jobs are run from (`rootless.enter`).
    """
    needs = [_kernel(), *_programs(builds, builder), _runtime(host.runtime), _seccomp()]
    needs += [_rights(), _proc()]
    yield from needs
    try:
        ids = find_ids(FIRST_HOST_ID)
    except ContainersError:
        return  # `rights` says why
    limits = _limits(host, ids)
    layers = _layers(folder, ids)
    yield layers
    yield from limits
    if not any(need.is_lacking for need in (*needs, layers, *limits)):
        yield _self_test(folder, host)


def explain(needs: Iterable[Need], reason: str) -> str:
    """Return what a worker lacks, a line each; where nothing is found lacking, the reason alone."""
    lacking = [need for need in needs if need.is_lacking]
    if not lacking:
        return reason
    lines = [f"{need.name}: {need.how}{need.remedy and f': {need.remedy}'}" for need in lacking]
    text = ("\n  " if len(lines) > 1 else " ").join(["this host lacks what jobs need:", *lines])
    names = [need.name for need in lacking if need.name in NAMES]
    if names:
        root = "start it as root, or " if os.environ.get(_ROOTLESS) else ""
        text += (
            f"\n{root}hand over what is missing (docs/sandbox.md, Without root), "
            f"or allow it by name: --allow-unenforced {','.join(names)}"
        )
    return text


_ROOTLESS = "_CONTAINERS_USERNS_CONFIGURED"
"""Set where a user has gone into namespaces of its own."""


def _kernel() -> Need:
    release = f"Linux {os.uname().release}"
    try:
        mount = syscalls.open_tree("/proc/self/status")
        try:
            syscalls.mount_setattr(mount, syscalls.MOUNT_ATTR_RDONLY)
        finally:
            os.close(mount)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            how = f"{release} has no mount_setattr"
            return Need("kernel", False, how, "boot Linux 5.15 or newer")
    return Need("kernel", True, release)  # what else is wrong, `rights` or `layers` say


def _programs(builds: bool, builder: str) -> Iterator[Need]:
    for name in ("skopeo", "unshare", "setpriv", *(_FOR_BUILDS if builds else ())):
        place = shutil.which(name)
        remedy = "" if place else f"apt install {PACKAGES.get(name, name)}"
        yield Need(name, place is not None, place or "is not on PATH", remedy)
    if builds:
        need = _builder(builder)
        yield need
        if need.holds and need.how.endswith("/buildah") and _wants_netavark(need.how):
            found = next((place for place in _NETAVARK if place.exists()), None)
            how = "is not installed, and this buildah does not begin without it"
            remedy = "" if found else "apt install netavark"
            yield Need("netavark", found is not None, str(found) if found else how, remedy)
        there = _TUN.is_char_device()
        how = str(_TUN) if there else f"{_TUN} is missing: builds have no way to the internet"
        yield Need("tun", there, how, "" if there else "modprobe tun, or build with --network none")
    there = BUSYBOX.exists()
    how = str(BUSYBOX) if there else f"{BUSYBOX} is missing"
    yield Need("busybox", there, how, "" if there else "apt install busybox-static")


def _builder(kind: str) -> Need:
    try:
        return Need("builder", True, str(shutil.which(find_builder(kind))))
    except ContainersError as error:
        how, _, remedy = str(error).partition(": ")
        return Need("builder", False, how, remedy)


def _wants_netavark(buildah: str) -> bool:
    """Return whether a buildah has networks by netavark alone: since its version 1.35."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        said = subprocess.run(
            [buildah, "--version"], capture_output=True, text=True, timeout=_TRY_S, check=False
        )
        found = re.search(r"version (\d+)\.(\d+)", said.stdout)
        return found is not None and (int(found[1]), int(found[2])) >= (1, 35)
    return False


def _runtime(binary: str) -> Need:
    try:
        found = runtimes.identify(binary)
        mounts = find_cgroup_mounts()
        runtimes.check(found, has_version_1="memory" in mounts, has_version_2=UNIFIED in mounts)
    except ContainersError as error:
        return _failed("runtime", error)
    return Need("runtime", True, str(found))


def _seccomp() -> Need:
    try:
        load_filter()
    except ContainersError as error:
        return _failed("seccomp", error)
    return Need("seccomp", True, "the distribution's filter, tightened")


def _rights() -> Need:
    if lack := lack_of_rights():
        how, _, remedy = lack.partition(": ")
        return Need("rights", False, how, remedy)
    who = "a user, as root of namespaces of its own" if os.environ.get(_ROOTLESS) else "root"
    return Need("rights", True, who)


def _proc() -> Need:
    """Mount /proc and /sys in new namespaces, as a container does.

    The kernel refuses it where parts of this process' own are hidden.
    """
    new = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount", "--net")
    mounts = "mount -t proc proc /proc && mount -t sysfs sysfs /sys"
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        tried = subprocess.run(
            [*new, "sh", "-c", mounts],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TRY_S,
            check=False,
        )
        if tried.returncode == 0:
            return Need("proc", True, "containers can mount their own, and /sys")
    return Need(
        "proc",
        False,
        "a container cannot mount its /proc or /sys, for parts of this process' are masked",
        "show them whole (docker: --security-opt systempaths=unconfined; Kubernetes: "
        "procMount: Unmasked)",
    )


def _layers(folder: Path, ids: IdMap) -> Need:
    namespace = open_user_namespace() if ids.is_of_host else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        way, why = find_layer_ids(folder, ids, namespace)
    except (ContainersError, OSError) as error:
        return _failed("layers", error)
    finally:
        if namespace is not None:
            os.close(namespace)
    how = way.value
    if ids.is_of_host and way is not LayerIds.MAPPED:
        how += f": a new version takes longer, for {why}"
    return Need("layers", True, how)


def _limits(host: HostOptions, ids: IdMap) -> list[Need]:
    """Try where jobs' cgroups would lie, and whether they would hold the limits."""
    root = open_cgroup_root(f"pipeline-doctor-{os.getpid()}", host.cgroup_parent)
    try:
        enforcement = find_enforcement(root.missing, ids)
        swap = bool(root.cgroup) and swap_is_counted(root.hierarchies, root.cgroup)
    finally:
        if root.cgroup:
            remove_if_empty(root.hierarchies, root.cgroup)
    met = dict.fromkeys(CONTROLLERS, f"cgroups of {root.place}")
    if "memory" not in enforcement.missing and not swap:
        met["memory"] += "; this kernel counts no swap: it is not limited"
    met[IDS] = "65,536 that no account has" if ids.is_of_host else "of this user's namespace"
    needs = []
    for name in NAMES:
        how, remedy = met[name], ""
        if not enforcement.holds(name):
            how, _, remedy = enforcement.missing[name].rpartition(": ")
        need = Need(name, enforcement.holds(name), how, remedy)
        needs.append(replace(need, is_required=name not in host.allow_unenforced))
    for note in root.notes:
        how, _, remedy = note.rpartition(": ")
        needs.append(Need("placement", True, how, remedy, is_required=False))
    if why := why_files_run_out(most_open_files(), memory_bytes()):
        how, _, remedy = why.rpartition(": ")
        needs.append(Need("open files", True, how, remedy, is_required=False))
    return needs


def _self_test(folder: Path, host: HostOptions) -> Need:
    """Run a tiny tool of our own, as every job is run."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="doctor-", dir=folder) as own,
            Sandbox(
                Path(own),
                runtime=host.runtime,
                cgroup_parent=host.cgroup_parent,
                allow_unenforced=NAMES,
            ) as sandbox,
        ):
            report = sandbox.self_test()
    except (ContainersError, OSError) as error:
        return _failed("self-test", error)
    return Need("self-test", True, f"a job took {sum(report.timing.values()):.2f} s")


def _failed(name: str, error: Exception) -> Need:
    how, _, remedy = str(error).partition(": ")
    return Need(name, False, how, remedy)
