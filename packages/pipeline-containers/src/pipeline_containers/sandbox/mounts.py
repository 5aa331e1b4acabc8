"""Job folders, the user namespace that images are mapped through, and what is mounted where."""

import errno
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline_containers import linux
from pipeline_containers.errors import SandboxError, ToolMissing
from pipeline_containers.sandbox.ids import ID_COUNT
from pipeline_containers.sandbox.limits import Limits

FIRST_HOST_ID = 1_879_048_192
"""The containers' ids on the host: 0x70000000 and the 65,535 after it, which no account has."""

_PATIENCE_S = 30.0
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
