"""Run a command as the root of a user namespace of 65,536 ids, as a pod with one has it.

It has mounts, processes and a cgroup namespace of its own, its cgroup and its part of the disk are
its own. Run by root, in a cgroup that was handed over to it.
"""

import os
import sys
from pathlib import Path

from pipeline_containers.system import syscalls

FIRST, COUNT = 500_000, 65_536
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWNET = 0x40000000


def main(command: list[str]) -> int:
    own = Path("/proc/self/cgroup").read_text().strip().partition("::")[2]
    unit = Path(f"/sys/fs/cgroup{own}")
    outer, pod = unit / "outer", unit / "pod"
    for folder in (outer, pod):
        folder.mkdir()
    enter(outer, os.getpid())
    (unit / "cgroup.subtree_control").write_text("+memory +pids +cpu")
    for name in ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
        os.chown(pod / name, FIRST, FIRST)
    said, told = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        enter(pod, os.getpid())
        syscalls.unshare(
            syscalls.CLONE_NEWUSER
            | syscalls.CLONE_NEWNS
            | syscalls.CLONE_NEWPID
            | CLONE_NEWCGROUP
            | CLONE_NEWNET
        )
        os.write(said[1], b"x")
        os.read(told[0], 1)
        os.setgid(0)
        os.setuid(0)
        first = os.fork()
        if first == 0:
            os.read(told[0], 1)
            be_the_pod(command)
        os.write(said[1], b"x")
        os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]))
    os.read(said[0], 1)
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{name}").write_text(f"0 {FIRST} {COUNT}")
    os.write(told[1], b"x")
    os.read(said[0], 1)
    enter(outer, child)  # in a pod nobody is who is not of its pid namespace
    os.write(told[1], b"x")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def enter(cgroup: Path, process: int) -> None:
    (cgroup / "cgroup.procs").write_text(str(process))


def be_the_pod(command: list[str]) -> None:
    """Mount what a container engine mounts, and go on as the command."""
    syscalls.mount("none", "/", "none", syscalls.MS_REC | syscalls.MS_PRIVATE, "")
    syscalls.mount("proc", "/proc", "proc", 0, "")
    syscalls.mount("sysfs", "/sys", "sysfs", 0, "")
    syscalls.mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, "")
    os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
