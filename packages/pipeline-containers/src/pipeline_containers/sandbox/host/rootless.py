"""An ordinary user's way to a place where the sandbox can be built: namespaces of its own.

The process goes on as root of a user namespace, in which the kernel lets it mount, map ids and make
further namespaces, and as the first process of a pid namespace: when that one dies, the kernel
kills all that runs in it, containers too. What was mounted goes with it. Of the process that was
called there stays a warden, which passes signals in and the exit status out, and whose death is
the other's.
"""

import contextlib
import errno
import os
import pwd
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.host.cgroup_mounting import mount_hidden_cgroups
from pipeline_containers.sandbox.host.cgroup_root import clear_own_cgroup
from pipeline_containers.sandbox.host.ids import ID_COUNT
from pipeline_containers.system import syscalls
from pipeline_containers.system.command import run_command

_NAMESPACES = syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID
_PASSED_ON = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_MAP_S = 10.0
_warden = 0
_REMEDY = "start it as root, or let users make namespaces (docs/sandbox.md, Without root)"


def enter() -> None:
    """Go on as root of namespaces of one's own; root stays where it is, and sees its cgroups.

    To be called before anything else: by a process of one thread, with nothing open. Returns in
    another process. Raises `SandboxError` when this host does not let a user do that.
    """
    if os.geteuid() == 0:
        mount_hidden_cgroups()
        return
    clear_own_cgroup()
    syscalls.become_subreaper()  # the middle one's child becomes ours
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sys.stdout.flush()
    warden = os.getpid()
    middle = os.fork()
    if middle == 0:
        global _warden
        _warden = warden
        ours.close()
        _go(theirs)
        return
    theirs.close()
    problem = int(_receive(ours))
    if problem:
        os.waitpid(middle, 0)
        reason = os.strerror(problem)
        raise SandboxError(f"this host lets no user make namespaces ({reason}): {_REMEDY}")
    _map_ids(middle)
    ours.send(b"mapped")
    inner = int(_receive(ours))
    os.waitpid(middle, 0)
    ours.send(b"ours")
    _stand_by(inner)


def host_pid() -> int:
    """Say by which id this process is known on the host: its warden's, if it has one."""
    return _warden or os.getpid()


def subordinate_start(text: str, name: str, number: int) -> int | None:
    """Find the first of enough ids that `/etc/subuid` or `/etc/subgid` gives to a user."""
    for line in text.splitlines():
        owner, _, rest = line.partition(":")
        first, _, count = rest.partition(":")
        is_sound = first.isdigit() and count.isdigit()
        if owner in (name, str(number)) and is_sound and int(count) >= ID_COUNT:
            return int(first)
    return None


def _go(link: socket.socket) -> None:
    """Make the namespaces, and return in a child: only children are in a new pid namespace."""
    problem = 0
    try:
        syscalls.unshare(_NAMESPACES)
    except OSError as error:
        problem = error.errno or errno.EPERM
    link.send(str(problem).encode())
    if problem:
        os._exit(1)
    _await_warden(link)
    child = os.fork()
    if child:
        link.send(str(child).encode())
        os._exit(0)
    _await_warden(link)  # this is its own child now
    syscalls.die_with_parent()
    link.setblocking(False)
    with link, contextlib.suppress(BlockingIOError):
        _await_warden(link)  # it may have died just before
    # A first process has no default actions: until there is a handler, nothing would end it.
    signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    # Programs of containers' making are to know that this root is none.
    os.environ["_CONTAINERS_USERNS_CONFIGURED"] = "done"
    with contextlib.suppress(PermissionError):  # with one's own group only, they stay
        os.setgroups([])
    try:
        syscalls.mount("none", "/", "none", syscalls.MS_REC | syscalls.MS_PRIVATE, "")
        hard = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        syscalls.mount("proc", "/proc", "proc", hard, "")
    except OSError as error:
        raise SandboxError(
            f"this host lets no user mount in namespaces ({error}): {_REMEDY}"
        ) from error


def _map_ids(pid: int) -> None:
    """Give the namespace of a process its ids: 0 is this user, the rest is subordinate."""
    uid, gid = os.getuid(), os.getgid()
    starts = _subordinate_starts(uid)
    if starts is not None:
        for program, own, start in zip(("newuidmap", "newgidmap"), (uid, gid), starts, strict=True):
            ids = (0, own, 1, 1, start, ID_COUNT)
            done = run_command([program, str(pid), *map(str, ids)], timeout_s=_MAP_S)
            if not done.ok:
                raise SandboxError(f"{program} failed: {done.tail.strip()}")
        return
    folder = Path(f"/proc/{pid}")
    (folder / "setgroups").write_text("deny")
    (folder / "uid_map").write_text(f"0 {uid} 1")
    (folder / "gid_map").write_text(f"0 {gid} 1")


def _subordinate_starts(uid: int) -> tuple[int, int] | None:
    """Find this user's subordinate ids, of users and of groups, if there is who may map them."""
    if not (shutil.which("newuidmap") and shutil.which("newgidmap")):
        return None
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return None  # newuidmap wants an account
    starts = []
    for file in ("/etc/subuid", "/etc/subgid"):
        with contextlib.suppress(OSError):
            start = subordinate_start(Path(file).read_text(), name, uid)
            if start is not None:
                starts.append(start)
    return (starts[0], starts[1]) if len(starts) == 2 else None


def _stand_by(inner: int) -> NoReturn:
    """Pass signals on to the process that does the work, and end as it does."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_PASSED_ON, signal.SIGCHLD})
    while True:
        ended, status = os.waitpid(inner, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
        heard = signal.sigwaitinfo({*_PASSED_ON, signal.SIGCHLD})
        is_sent = heard.si_code <= 0  # not by the terminal: that reaches the other one by itself
        if heard.si_signo in _PASSED_ON and is_sent:
            with contextlib.suppress(ProcessLookupError):
                os.kill(inner, heard.si_signo)


def _receive(link: socket.socket) -> str:
    message = link.recv(64).decode()
    if not message:
        raise SandboxError("the process that was to make namespaces has died")
    return message


def _await_warden(link: socket.socket) -> None:
    """Wait for the warden's word; end if it is dead."""
    if not link.recv(64):
        os._exit(1)
