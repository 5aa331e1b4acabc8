"""Job folders, and the user namespace that images are mapped through."""

import os
import subprocess
import time
from pathlib import Path

from pipeline_containers.errors import SandboxError, ToolMissing
from pipeline_containers.sandbox.host.ids import ID_COUNT
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.system import syscalls

FIRST_HOST_ID = 1_879_048_192
"""The containers' ids on the host: 0x70000000 and the 65,535 after it, which no account has."""

_PATIENCE_S = 30.0


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
    syscalls.mount("job", str(target), "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, options)


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
