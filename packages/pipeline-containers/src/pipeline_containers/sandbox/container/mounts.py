"""What is mounted for one container: its job folder, what it can write to beside, its devices."""

import os
import posixpath
import stat
from pathlib import Path

from pipeline_containers.sandbox.container.layers import make_changes, mount_root
from pipeline_containers.sandbox.container.places import HOME_IN_TMP, WritablePlace
from pipeline_containers.sandbox.host.cgroup_view import CgroupView
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.system import syscalls
from pipeline_containers.system.files import open_folder
from pipeline_containers.system.mountinfo import unmount

DEVICE_FOLDER = "dev"
"""What is to be /dev, in what `mount_devices` mounts."""
DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
"""By name in /dev, the major and minor numbers. Source: the OCI runtime specification, "Default
Devices"; the kernel's `admin-guide/devices.txt`."""
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_SHOWN = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOEXEC
_MOUNT_POINTS = {"pts": 0o755, "shm": 0o1777, "mqueue": 0o755}
"""With their modes: the runtime gives a tmpfs that of what it covers."""


def mount_job_folder(target: Path, limits: Limits, uid: int, gid: int) -> None:
    """Mount an empty job folder of capped size at `target`; the ids are the host's."""
    options = (
        f"size={limits.job_folder_bytes},nr_inodes={limits.job_folder_files + 1},"
        f"mode=0700,uid={uid},gid={gid}"
    )
    syscalls.mount("job", str(target), "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, options)


def mount_changes(target: Path, limits: Limits, uid: int, gid: int) -> None:
    """Mount at `target` what takes what is written over an image's files; the ids are the host's.

    Of capped size, with as many files as a job folder may have.
    """
    own_files = 4  # its folder, and three of an overlay's
    options = (
        f"size={limits.writable_root_bytes},nr_inodes={limits.job_folder_files + own_files},"
        "mode=0700"
    )
    syscalls.mount("changes", str(target), "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, options)
    make_changes(target, uid, gid)


def mount_tmp(
    target: Path, limits: Limits, root: int, user: tuple[int, int], *, has_home: bool
) -> Path:
    """Mount at `target` the file system of /tmp and of what else a tool can write to; its /tmp.

    All of it together is of capped size. The ids are the host's: of the container's root, and of
    who runs the tool, whose HOME in there is made if it is to be there.
    """
    options = f"size={limits.tmp_bytes},nr_inodes={limits.job_folder_files},mode=0711"
    syscalls.mount("tmp", str(target), "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, options)
    folder = target / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    os.chown(folder, root, root)
    if has_home:
        home = folder / posixpath.basename(HOME_IN_TMP)
        home.mkdir(mode=0o755)
        os.chown(home, *user)
    return folder


def mount_place(
    tmp: Path, name: str, root: Path, place: WritablePlace, user: tuple[int, int]
) -> Path:
    """Make what is to be bound over a folder of a mounted root; of the ids, and in it.

    It lies in what `mount_tmp` mounted. If the image has something in the folder, that is seen in
    it, and what is written goes over it.
    """
    target = tmp / name
    target.mkdir()
    if not place.has_content:
        target.chmod(place.mode)
        os.chown(target, *user)
        return target
    changes = tmp / f"{name}.changes"
    changes.mkdir(mode=0o700)
    make_changes(changes, *user, place.mode)
    with open_folder(root, place.path) as below:
        mount_root((Path(f"/proc/self/fd/{below}"),), target, None, changes=changes)
    return target


def mount_devices(target: Path, uid: int, gid: int) -> Path:
    """Mount device files of a container's own at `target`; the folder that is to be its /dev.

    That belongs to the host's ids. A runtime in a user namespace would bind the host's own files,
    and whoever watches or locks one of those reaches all who have it. Needs the host's root.
    """
    options = "size=64k,nr_inodes=64,mode=0755"
    syscalls.mount("dev", str(target), "tmpfs", syscalls.MS_NOSUID, options)
    folder = target / DEVICE_FOLDER
    folder.mkdir(mode=0o755)
    # no `Path` for each of fifteen: they take longer than the calls
    for name, (major, minor) in DEVICES.items():
        os.mknod(f"{folder}/{name}", stat.S_IFCHR, os.makedev(major, minor))
        os.chmod(f"{folder}/{name}", 0o666)  # noqa: S103
    for name, mode in _MOUNT_POINTS.items():
        os.mkdir(f"{folder}/{name}")
        os.chmod(f"{folder}/{name}", mode)
    for name, to in _LINKS.items():
        os.symlink(to, f"{folder}/{name}")
    os.chown(folder, uid, gid)
    return folder


def mount_cgroup_view(target: Path, view: CgroupView) -> Path:
    """Make what a container is to see of its cgroup, read-only; a folder, at `target` if need be.

    The cgroup must be there. Of version 2, the runtime mounts it as it is.
    """
    if view.whole is not None:
        return view.whole
    target.mkdir(mode=0o711)
    attributes = _SHOWN | syscalls.MOUNT_ATTR_RDONLY
    options = "size=16k,nr_inodes=16,mode=0755"
    syscalls.mount("cgroup", str(target), "tmpfs", syscalls.MS_NOSUID, options)
    for name, to in view.links.items():
        (target / name).symlink_to(to)
    for name, folder in view.folders.items():
        (target / name).mkdir()
        mount = syscalls.open_tree(str(folder))
        try:
            syscalls.mount_setattr(mount, attributes)
            syscalls.move_mount(mount, str(target / name))
        finally:
            os.close(mount)
    return target


def why_cgroups_stay_hidden(target: Path, view: CgroupView | None) -> str:
    """Try what `mount_cgroup_view` does, at `target`; why containers cannot be shown theirs."""
    if view is None or view.whole is not None:
        return ""  # nothing is mounted here
    try:
        mount_cgroup_view(target, view)
    except OSError as error:
        return f"jobs do not see their own limits: {error}"
    finally:
        if target.exists():
            unmount(target)
            target.rmdir()
    return ""


def open_null(devices: Path) -> int:
    """Open /dev/null of what is mounted at `devices`, which is called that and nothing longer.

    A descriptor is known by the path that it was opened by, and that of the host is nobody's
    business in a container.
    """
    mount = syscalls.open_tree(str(devices))
    try:
        return os.open("dev/null", os.O_RDWR | os.O_CLOEXEC, dir_fd=mount)
    finally:
        os.close(mount)


def resize_job_folder(target: Path, limits: Limits) -> None:
    """Change how large a job folder that is still empty may grow."""
    flags = syscalls.MS_REMOUNT | syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("job", str(target), "tmpfs", flags, f"size={limits.job_folder_bytes}")


def give(folder: Path, uid: int, gid: int) -> None:
    """Make everything in a folder that no stranger has seen yet belong to the host's ids."""
    os.chown(folder, uid, gid, follow_symlinks=False)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(os.path.join(parent, name), uid, gid, follow_symlinks=False)
