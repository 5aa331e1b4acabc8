"""What a container sees of the disk: an image's layers, and a job folder of its own.

Layers are shared by all runs and all versions. Each is mounted with its ids mapped into the
containers' range, so that nothing is copied and no owner changed, and the overlay is made of those:
the overlay itself cannot be mapped. The top layer is a skeleton with the mount points, which a
read-only root must bring, and which hides links in their place. Needs Linux 6.5 (`lowerdir+`) and
a file system below that takes mapped ids (ext4, xfs, btrfs; tmpfs since 6.3).
"""

import contextlib
import errno
import os
import re
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline_containers import linux
from pipeline_containers.errors import SandboxError, ToolMissing
from pipeline_containers.sandbox.ids import ID_COUNT
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.tools import JOB_FOLDER

FIRST_HOST_ID = 1_879_048_192
"""The containers' ids on the host: 0x70000000 and the 65,535 after it, which no account has."""

SKELETON = {"dev": 0o755, "proc": 0o755, "sys": 0o755, "tmp": 0o1777, JOB_FOLDER.strip("/"): 0o755}
"""The mount points, with their modes: the runtime gives a tmpfs that of what it covers."""

_HARD = linux.MOUNT_ATTR_RDONLY | linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV
_PATIENCE_S = 5.0
_OCTAL = re.compile(r"\\([0-7]{3})")


def open_user_namespace(first_host_id: int = FIRST_HOST_ID) -> int:
    """Open a user namespace that maps 0 to 65,535 to the host's range; a file descriptor.

    A process has to be in it while it is opened: a threaded one cannot go itself.
    """
    try:
        helper = subprocess.Popen(["unshare", "--user", "--", "sleep", "60"])
    except FileNotFoundError as error:
        raise ToolMissing("unshare") from error
    try:
        own = os.readlink("/proc/self/ns/user")
        folder = Path(f"/proc/{helper.pid}")
        deadline = time.monotonic() + _PATIENCE_S
        while os.readlink(folder / "ns/user") == own:
            if time.monotonic() > deadline or helper.poll() is not None:
                raise SandboxError("no user namespace: is user.max_user_namespaces 0?")
            time.sleep(0.0005)
        for file in ("uid_map", "gid_map"):
            (folder / file).write_text(f"0 {first_host_id} {ID_COUNT}\n")
        return os.open(folder / "ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SandboxError(f"no user namespace: {error}; the sandbox needs root") from error
    finally:
        helper.kill()
        helper.wait()


def make_skeleton(folder: Path) -> None:
    """Make the top layer: empty folders where the container's own mounts go."""
    for name, mode in SKELETON.items():
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(mode)
    folder.chmod(0o755)


def mount_root(
    layers: Sequence[Path], target: Path, user_namespace: int | None, source: str = "overlay"
) -> None:
    """Mount layers, the top one first, as one read-only folder at `target`.

    There must be two at least. With a user namespace, ids are mapped through it; without one they
    stay as they are. `source` is what the host lists the mount by.
    """
    with contextlib.ExitStack() as opened:
        mapped = []
        for layer in layers:
            descriptor = linux.open_tree(str(layer))
            opened.callback(os.close, descriptor)
            try:
                linux.mount_setattr(descriptor, _HARD, user_namespace)
            except OSError as error:
                raise SandboxError(_explain(error, layer)) from error
            mapped.append(descriptor)
        overlay = linux.fsopen("overlay")
        opened.callback(os.close, overlay)
        try:
            for descriptor in mapped:
                linux.fsconfig(overlay, "lowerdir+", f"/proc/self/fd/{descriptor}")
            linux.fsconfig(overlay, "source", source)
            linux.fsconfig(overlay, "redirect_dir", "nofollow")  # a layer could lead elsewhere
            linux.fsconfig(overlay, "metacopy", "off")
            if _is_root_of_users_namespace():  # which may set no others
                linux.fsconfig(overlay, "userxattr")
            mount = linux.fsmount(overlay, _HARD)
        except OSError as error:
            raise SandboxError(f"the image's layers cannot be mounted: {error}") from error
        opened.callback(os.close, mount)
        linux.move_mount(mount, str(target))


def mount_job_folder(target: Path, limits: Limits, uid: int, gid: int) -> None:
    """Mount an empty job folder of capped size at `target`; the ids are the host's."""
    options = (
        f"size={limits.job_folder_bytes},nr_inodes={limits.job_folder_files + 1},"
        f"mode=0700,uid={uid},gid={gid}"
    )
    linux.mount("job", str(target), "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, options)


def resize_job_folder(target: Path, limits: Limits) -> None:
    """Change how large a job folder that is still empty may grow."""
    flags = linux.MS_REMOUNT | linux.MS_NOSUID | linux.MS_NODEV
    linux.mount("job", str(target), "tmpfs", flags, f"size={limits.job_folder_bytes}")


def give(folder: Path, uid: int, gid: int) -> None:
    """Make everything in a folder that no stranger has seen yet belong to the host's ids."""
    os.chown(folder, uid, gid, follow_symlinks=False)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(os.path.join(parent, name), uid, gid, follow_symlinks=False)


def give_root(folder: Path, uid: int) -> None:
    """Make what belongs to 0 in an unpacked layer belong to a container's root.

    The folder itself is last: one that has its owner is done. Ids that this namespace does not
    have stay.
    """
    if folder.stat().st_uid == uid:
        return
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in (*folders, *files):
            _give_root(os.path.join(parent, name), uid)
    _give_root(str(folder), uid)


def _give_root(path: str, uid: int) -> None:
    status = os.lstat(path)
    owner, group = (uid if own == 0 else -1 for own in (status.st_uid, status.st_gid))
    if (owner, group) != (-1, -1):
        os.chown(path, owner, group, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
            os.chmod(path, stat.S_IMODE(status.st_mode))  # which a new owner takes away


def unmount(target: Path) -> None:
    """Detach what is mounted at `target`; nothing there is fine."""
    try:
        linux.umount(str(target))
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise SandboxError(f"{target} cannot be unmounted: {error}") from error


def mounts_below(folder: Path) -> Iterator[Path]:
    """List the mount points in a folder, the latest first."""
    top = str(folder.resolve())
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        place = place_of(line)
        if str(place).startswith(top + "/"):
            yield place


def place_of(line: str) -> Path:
    """Take the mount point from a line of `/proc/self/mountinfo`."""
    return Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), line.split()[4]))


def _is_root_of_users_namespace() -> bool:
    """Say whether this is not the host's own root: attributes are told otherwise then."""
    return Path("/proc/self/uid_map").read_text().split() != ["0", "0", str(2**32 - 1)]


def _explain(error: OSError, layer: Path) -> str:
    if error.errno == errno.EPERM:
        return f"{layer} cannot be mounted: {error.strerror}; the sandbox needs root"
    return (
        f"{layer} cannot be mounted with mapped ids: {error.strerror}; "
        "keep the folder on a file system that can (ext4, xfs, btrfs)"
    )
