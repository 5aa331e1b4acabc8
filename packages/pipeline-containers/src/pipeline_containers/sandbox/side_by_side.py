"""One job's container by the reference and by the launcher of our own: what each sees, compared.

Seen from inside, by a script of busybox that looks around and tries what it may not; and from the
host, where cgroups, ids and the filter of system calls are looked up at the process itself. Where
the host's root makes containers, each finds files of devices that it must not use.
"""

import contextlib
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline_containers.errors import SandboxError
from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox import self_test
from pipeline_containers.sandbox.container.container import Container, Host
from pipeline_containers.sandbox.host.hierarchies import (
    UNIFIED,
    find_cgroup_mounts,
    parse_own_cgroups,
)
from pipeline_containers.sandbox.launcher.installed_filter import installed_filter
from pipeline_containers.sandbox.launcher.native import NativeRuntime
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.system.syscalls import device_filters

SCRIPT = r"""#!/bin/busybox sh
b=/bin/busybox
say() { echo "== $1"; }
say arguments; echo "$0 $*"
counts='Vm|Rss|Hugetlb|[a-z]*voluntary|State|SigQ|Cpus_|untag|Tgid|Pid|NStgid|NSpid'
say status; $b grep -vE "^($counts)" /proc/self/status
for file in limits cgroup uid_map gid_map setgroups oom_score_adj mountinfo loginuid; do
    say $file; $b cat /proc/self/$file
done
say first; $b cut -d' ' -f4-8 /proc/1/stat; $b cat /proc/1/comm
say umask; umask; say folder; $b pwd; say environment; $b env; say ids; $b id -u; $b id -g; $b id -G
say devices; $b ls -lanR /dev | $b sed 's/[A-Z][a-z][a-z] .[0-9] [0-9:]*//'
say forbidden-devices
for file in /dev/tried-*; do $b head -c 1 $file 2>&1; (: > $file) 2>&1; done
say folders; $b stat -c '%n %a %u %g %F' / /dev/* /proc /sys /tmp /mnt/* /proc/sys /sys/firmware
say descriptors; $b ls /proc/1/fd; for fd in 0 1 2; do $b readlink /proc/1/fd/$fd; done
say streams; $b stat -Lc '%u %g %a %F' /proc/1/fd/0 /proc/1/fd/1 /proc/1/fd/2
say network; $b cat /proc/net/dev | $b cut -d: -f1; $b cat /sys/class/net/lo/flags
say host; $b hostname; echo /proc/[0-9]*
say masked
for file in /proc/*; do
    case $file in /proc/[0-9]* | /proc/kmsg | /proc/kpage* | /proc/pagetypeinfo) continue ;; esac
    [ ! -d $file ] || continue
    if $b head -c 1 $file > /dev/shm/seen 2>&1; then echo "$file $($b wc -c < /dev/shm/seen)"
    else echo "$file refused"; fi
done
$b ls -A /proc/acpi /proc/scsi /proc/asound /sys/firmware /sys/devices/virtual/powercap 2>&1
say writes
for file in /x /tmp/x /dev/x /dev/shm/x /sys/x /mnt/x /bin/x /proc/sys/kernel/hostname \
    /proc/sys/vm/overcommit_memory /proc/sysrq-trigger /proc/irq/default_smp_affinity \
    /sys/fs/cgroup/x /sys/fs/cgroup/memory/memory.limit_in_bytes /proc/self/oom_score_adj \
    /proc/self/uid_map /dev/null /dev/full /dev/zero /dev/mqueue/x /dev/pts/x; do
    if (echo 0 > $file) 2>/dev/null; then echo "$file written"; else echo "$file refused"; fi
done
say tries
try() { if "$@" > /dev/null 2>&1; then echo "$* done"; else echo "$* $?"; fi; }
try $b mount -t tmpfs none /tmp; try $b mount -o remount,rw /; try $b umount /proc
try $b mknod /tmp/zero c 1 5; try $b unshare -U true; try $b chroot / true; try $b hostname other
try $b chown 1:1 /tmp; try $b renice -n -5 1; try $b nice -n -5 true; try $b setsid true
try $b su -c true; try $b dmesg; try $b reboot; try $b swapoff -a; try $b ionice -c 1 true
: > "$2ready"
while [ ! -e "$2go" ]; do $b usleep 5000; done
echo over >&2
exit 7
"""
_STRICT = replace(self_test.LIMITS, cpus=0.5, wall_s=90)
KINDS_OF_LIMITS = (
    _STRICT,
    replace(_STRICT, ptrace=True, root_capabilities=True, writable_root_bytes=1 << 20),
)
"""What jobs are held to, and all that can be loosened. No whole processor: a job has its own one,
and which that is differs."""
_PATIENCE_S = 80.0
"""It takes a quarter of a second; emulated, beside others, a hundred times as long."""
_TRIES = 3
"""What differs by chance (a signal on its way) is the same at the next look."""
_FILES = {
    "memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control"),
    "pids": ("pids.max",),
    "cpu": ("cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us"),
    "cpuset": ("cpuset.cpus", "cpuset.mems"),
    "devices": ("devices.list",),
}
"""Of version 1: what is read from the cgroups that a container is in."""
_FILES_OF_VERSION_2 = (
    *(
        "memory.max",
        "memory.swap.max",
        "memory.high",
        "memory.low",
        "memory.min",
        "memory.oom.group",
    ),
    *("pids.max", "cpu.max", "cpu.weight", "cpuset.cpus", "cpuset.mems", "cgroup.type"),
    *("cgroup.controllers", "cgroup.subtree_control", "cgroup.freeze"),
)
_TRIED_DEVICES = {
    "tried-char": (stat.S_IFCHR, 60, 0),  # for experiments: no kernel has a driver for these
    "tried-block": (stat.S_IFBLK, 60, 0),
    "tried-tun": (stat.S_IFCHR, 10, 200),
}
"""Forbidden, and tun, which runc allows. A device that is forbidden is not permitted; one that is
only not there is called so."""
_PROCESS = ("oom_score_adj", "uid_map", "gid_map", "limits", "personality", "cmdline", "environ")
_VARYING = re.compile(r"(pipe|socket|mnt|pid|net|ipc|uts|user|cgroup):\[\d+\]")


@dataclass(frozen=True, slots=True)
class View:
    """What was seen of one container, by what was looked at."""

    seen: Mapping[str, str]
    instructions: bytes | None = None
    """Its filter of system calls; None where the kernel does not tell."""


NAMED = (
    # The folder of message queues, of which there can be none: to runc in a new namespace of users
    # it is the container's root's, to the launcher nobody's.
    (re.compile(r"^(/dev/mqueue 1777) \d+ \d+ ", re.MULTILINE), r"\1 "),
    (re.compile(r"^(d\S+ +\d+) \d+ +\d+ (.*mqueue)$", re.MULTILINE), r"\1 \2"),
    (re.compile(r"^(/dev/mqueue:\ntotal \d+\nd\S+ +\d+) \d+ +\d+", re.MULTILINE), r"\1"),
)
"""Differences that are known and argued (docs/sandbox.md): what is left of the lines."""


def differences(reference: View, own: View) -> list[str]:
    """List what two containers differ in, and should not."""
    found = []
    for name in sorted({*reference.seen, *own.seen}):
        was, now = reference.seen.get(name, "").splitlines(), own.seen.get(name, "").splitlines()
        if was != now:
            lost = [line for line in was if line not in now][:3]
            new = [line for line in now if line not in was][:3]
            found.append(f"{name}: {lost} became {new}" if lost or new else f"{name}: other order")
    if reference.instructions != own.instructions:
        found.append("filter: other instructions")
    return found


def make_image(folder: Path) -> StoredImage:
    """Make the self-test's image with the script that looks around, in a folder of its own."""
    image = self_test.make_image(folder)
    script = folder / self_test.KIND.folder.strip("/") / "bin/run.sh"
    script.write_text(SCRIPT)
    return StoredImage(digest="side-by-side", layers=image.layers)


def prove(host: Host, own: NativeRuntime, make: Callable[[Host, Limits], Container]) -> None:
    """See the launcher of our own do what a host's runtime does, with all kinds of limits.

    Raises `SandboxError`, which names the differences. From then on it has the runtime's filters.
    """
    for limits in KINDS_OF_LIMITS:
        for _ in range(_TRIES):
            reference = look(make(host, limits))
            if reference.instructions is not None:
                own.filters.put(host.filters[limits.ptrace], reference.instructions)
            seen = look(make(replace(host, runtime=own), limits))
            if not (found := differences(reference, seen)):
                break
        else:
            what = "; ".join(found)
            raise SandboxError(f"the native launcher differs from runc here, in {what}")


def look(container: Container) -> View:
    """Make a container of that image, run it, and look at it; it is discarded in any case."""
    try:
        container.prepare(self_test.SLUG)
        _put_devices(container.devices)
        container.fill(lambda _: None)
        container.create()
        with _running(container) as pid:
            seen = {name: _plain(text, container.name) for name, text in _from_host(pid).items()}
            instructions = _filter_of(pid)
            (container.job_folder / "go").touch()
        seen |= _sections(_plain(container.stdout.text, container.name))
        seen["stderr"] = container.stderr.text
        return View(seen, instructions)
    finally:
        container.discard()


def _put_devices(folder: Path | None) -> None:
    for name, (kind, major, minor) in _TRIED_DEVICES.items() if folder is not None else ():
        file = folder / name  # type: ignore[operator]
        os.mknod(file, kind, os.makedev(major, minor))
        file.chmod(0o666)


@contextlib.contextmanager
def _running(container: Container) -> Iterator[int]:
    """Run it until the end of the block, which has to let it go; its first process."""
    stop, status = threading.Event(), []
    pid = container.pid
    thread = threading.Thread(target=lambda: status.append(container.execute(stop)))
    thread.start()
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while not (container.job_folder / "ready").exists():
            if not thread.is_alive() or time.monotonic() > deadline:
                raise SandboxError(f"a container did not look around: {container.stderr.text!r}")
            time.sleep(0.002)
        yield pid
    except BaseException:
        stop.set()
        raise
    finally:
        thread.join()
    if [ended[1] for ended in status] != [7]:
        raise SandboxError(f"a container that looked around ended as {status}")


def _from_host(pid: int) -> dict[str, str]:
    """Read what the host knows of a container's first process."""
    folder = Path(f"/proc/{pid}")
    seen = {f"host's {name}": (folder / name).read_text(errors="replace") for name in _PROCESS}
    seen["host's status"] = "".join(
        line
        for line in (folder / "status").read_text().splitlines(keepends=True)
        if line.startswith(
            ("Uid", "Gid", "Groups", "Cap", "SigB", "SigI", "SigC", "NoNew", "Sec", "Spec")
        )
    )
    own = Path("/proc/self/ns")
    seen["new namespaces"] = " ".join(
        sorted(
            kind.name
            for kind in own.iterdir()
            if os.readlink(kind) != os.readlink(folder / "ns" / kind.name)
        )
    )
    text = (folder / "cgroup").read_text()
    seen["host's cgroup"] = text
    mounts, cgroups = find_cgroup_mounts(), parse_own_cgroups(text)
    for controller, files in {**_FILES, UNIFIED: _FILES_OF_VERSION_2}.items():
        place = mounts[controller].folder(cgroups[controller]) if controller in mounts else None
        for file in files if place is not None else ():
            with contextlib.suppress(FileNotFoundError):
                seen[file] = (place / file).read_text()  # type: ignore[operator]
        if controller == UNIFIED and place is not None:
            seen["device filter"] = _device_filter(place)
    return seen


def _device_filter(folder: Path) -> str:
    """Say how many programs hold a cgroup to its devices, and how; a user is not told."""
    try:
        cgroup = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return str(error.strerror)
    try:
        count, flags = device_filters(cgroup)
    except OSError as error:
        return str(error.strerror)
    finally:
        os.close(cgroup)
    return f"{count} with flags {flags}"


def _filter_of(pid: int) -> bytes | None:
    try:
        return installed_filter(pid)
    except SandboxError:
        return None


def _plain(text: str, name: str) -> str:
    """Take out what differs between any two containers."""
    text = _VARYING.sub(r"\1", text).replace(name, "JOB")
    for pattern, left in NAMED:
        text = pattern.sub(left, text)
    return text


def _sections(text: str) -> dict[str, str]:
    seen: dict[str, str] = {}
    for part in text.split("== ")[1:]:
        name, _, content = part.partition("\n")
        seen[name] = _mounts(content) if name == "mountinfo" else content
    return seen


def _mounts(text: str) -> str:
    """Name mounts by their places, in their order; their numbers are the kernel's."""
    lines = []
    for line in text.splitlines():
        _, _, _, *rest = line.split(" ")
        lines.append(" ".join(rest) + "\n")
    return "".join(lines)
