"""The system calls that a tool may use: the distribution's allowlist, translated and tightened.

The file of Debian's golang-github-containers-common is in containers' format, which picks rules by
architecture and capability; the OCI runtime wants a flat list. As shipped it also allows what no
tool needs and exploits begin with. Source: the file, and the OCI runtime specification,
`config-linux.md`, "Seccomp".
"""

import json
import platform
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pipeline_containers.errors import SandboxError

PROFILE = Path("/usr/share/containers/seccomp.json")

ARCHITECTURES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
}
"""A machine's name, the name that the profile's rules go by, and libseccomp's."""

REFUSED = frozenset(
    (
        "acct",
        "add_key",
        "bpf",
        "chroot",
        "delete_module",
        "fanotify_init",
        "fanotify_mark",
        "finit_module",
        "fsconfig",
        "fsmount",
        "fsopen",
        "fspick",
        "init_module",
        "io_cancel",
        "io_destroy",
        "io_getevents",
        "io_setup",
        "io_submit",
        "io_uring_enter",
        "io_uring_register",
        "io_uring_setup",
        "kcmp",
        "kexec_file_load",
        "kexec_load",
        "keyctl",
        "lookup_dcookie",
        "memfd_secret",
        "modify_ldt",
        "mount",
        "mount_setattr",
        "move_mount",
        "name_to_handle_at",
        "open_by_handle_at",
        "open_tree",
        "perf_event_open",
        "pidfd_getfd",
        "pivot_root",
        "process_madvise",
        "process_vm_readv",
        "process_vm_writev",
        "ptrace",
        "quotactl",
        "quotactl_fd",
        "reboot",
        "request_key",
        "setns",
        "setdomainname",
        "sethostname",
        "swapoff",
        "swapon",
        "sync",
        "syslog",
        "umount",
        "umount2",
        "unshare",
        "userfaultfd",
        "vhangup",
    )
)
"""Answered by EPERM, whatever the file says.

Beside what rights would be wanted for: relics that no tool calls (`modify_ldt`, the handles of
`name_to_handle_at`, `fanotify_mark`), and what reaches beyond a job: asynchronous I/O of the old
kind draws on one count of the whole host's, `memfd_secret` takes the kernel's own map apart, `sync`
waits for every disk. Let through, since tools call them: `splice`, of which `vmsplice` is not;
`personality`, for five harmless values; `ioctl`, for all: a terminal is the container's own.
"""

TRACING = frozenset(("process_vm_readv", "process_vm_writev", "ptrace"))
"""Of what is refused, what a job that may trace has: a debugger, strace, a leak check.

The kernel lets a process trace those of its own ids and namespaces, with no more capabilities than
it has itself; and it asks the filter after the tracer has had its say. Still refused are `kcmp`,
which orders the kernel's own addresses, and `pidfd_getfd`: no debugger needs either.
"""

_OF_32_BITS = frozenset(
    (
        *("_llseek", "_newselect", "arm_fadvise64_64", "clock_adjtime64", "clock_settime64"),
        *("fadvise64_64", "fcntl64", "fstat64", "fstatat64", "fstatfs64", "ftruncate64", "ipc"),
        *("lstat64", "mmap2", "recv", "send", "sendfile64", "sigreturn", "socketcall", "stat64"),
        *("statfs64", "timer_gettime64", "timer_settime64", "timerfd_gettime64"),
        *("timerfd_settime64", "truncate64", "ugetrlimit", "waitpid"),
    )
)
"""Of the file's names, those that only machines of 32 bits have, beside `..._time64` and `...32`:
each costs the runtime a look that finds nothing."""

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_TYPES = (1, 2)  # stream and datagram
_OTHER_TYPES = (3, 4, 5, 6, 10)  # raw and the like
_TYPE_MASK = 0xF  # the rest are flags
_PROTOCOLS = (0, 6, 17)  # the type's own, TCP, UDP
_CLONE_NEW = 0x7E020000  # every namespace flag that clone takes
_CLONE_FILES, _CLONE_THREAD = 0x400, 0x10000
_CLONE_OF_LEAK_CHECK = 0x800700
"""How LeakSanitizer makes the process that traces its own: CLONE_VM, _FS, _FILES and _UNTRACED."""
_F_SETLK, _F_SETLKW = 6, 7
_COMMAND = 0xFFFFFFFF  # what the kernel takes of fcntl's argument; the rest may be anything
_F_OFD_SETLK, _F_OFD_SETLKW = 37, 38
_F_COMMANDS = ((0, 31), (36, 0), (1024, 63))
"""Those that there are beside: each from a number on, as far as these bits go."""
_RLIMIT_CORE = 4
_OTHER_RESOURCES = ((0, 3), (5, 0), (6, 1), (8, 7))
"""All below 16, in the same way."""
_F_OTHER_COMMANDS = ((0, 3), (4, 1), (8, 7), (16, 15), (36, 0), (1024, 63))
"""The same without the two that lock records for a process."""
_EPERM, _EINVAL, _ENOLCK, _ENOSYS, _EPROTONOSUPPORT, _EAFNOSUPPORT = 1, 22, 37, 38, 93, 97
_ALLOW, _ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
_OURS = REFUSED | {"clone", "clone3", "fcntl", "prlimit64", "setrlimit", "socket"}


def translate(profile: Mapping[str, Any], machine: str, *, ptrace: bool = False) -> dict[str, Any]:
    """Make the OCI runtime's filter for this machine; `ptrace`: processes may trace each other.

    Calls that want a capability are left out: those that a container's root may have are not among
    what the file names capabilities for.
    """
    if machine not in ARCHITECTURES:
        raise SandboxError(f"no system call filter is known for {machine}: see seccomp.py")
    name, architecture = ARCHITECTURES[machine]
    rules = [
        _rule(names, rule["action"], rule.get("args") or (), rule.get("errnoRet"))
        for rule in profile["syscalls"]
        if _applies(rule, name) and (names := [call for call in rule["names"] if _is_known(call)])
    ]
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile.get("defaultErrnoRet", _ENOSYS),
        "architectures": [architecture],  # only: 32-bit calls would come in by the side
        "syscalls": rules + _own_rules(ptrace),
    }


def fixed_core_limit() -> dict[str, Any]:
    """Make a filter that does nothing but hold a process to its limit of core dumps."""
    machine = platform.machine()
    others = {"x86_64": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"], "aarch64": ["SCMP_ARCH_ARM"]}
    if machine not in ARCHITECTURES:
        raise SandboxError(f"no system call filter is known for {machine}: see seccomp.py")
    return {
        "defaultAction": _ALLOW,
        "architectures": [ARCHITECTURES[machine][1], *others[machine]],
        "syscalls": [rule for rule in _limit_rules() if rule["action"] == _ERRNO],
    }


def _is_known(name: str) -> bool:
    """Return whether machines of 64 bits have a call, and there is no rule of ours for it."""
    return not (name in _OURS or name in _OF_32_BITS or name.endswith(("_time64", "32")))


@cache
def load_filter(path: Path = PROFILE, *, ptrace: bool = False) -> dict[str, Any]:
    """Read the distribution's file and translate it for this machine; read once."""
    try:
        profile = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise SandboxError(
            f"{path} is missing: install it (apt install golang-github-containers-common)"
        ) from error
    except ValueError as error:
        raise SandboxError(f"{path} is not JSON: {error}") from error
    return translate(profile, platform.machine(), ptrace=ptrace)


def _own_rules(ptrace: bool) -> list[dict[str, Any]]:
    allowed = sorted(TRACING) if ptrace else []
    return [
        *([_rule(allowed, _ALLOW, (), None)] if allowed else []),
        _rule(sorted(REFUSED.difference(allowed)), _ERRNO, (), _EPERM),
        *_clone_rules(ptrace),
        # Its flags lie in memory, where a filter cannot look: libc falls back to clone.
        _rule(["clone3"], _ERRNO, (), _ENOSYS),
        *_fcntl_rules(ptrace),
        *_limit_rules(),
        *_socket_rules(),
    ]


def _clone_rules(ptrace: bool) -> list[dict[str, Any]]:
    """Allow no namespaces, and only threads to share open files.

    Locks of a process that shares them are still held when it is gone, and then nobody's. A leak
    check traces from such a process: where it may, no process has locks of that kind.
    """
    own_files = _argument(0, _CLONE_NEW | _CLONE_FILES, "SCMP_CMP_MASKED_EQ", 0)
    thread = _argument(0, _CLONE_NEW | _CLONE_THREAD, "SCMP_CMP_MASKED_EQ", _CLONE_THREAD)
    leak_check = _argument(0, _CLONE_OF_LEAK_CHECK, "SCMP_CMP_EQ")
    allowed = (own_files, thread, *((leak_check,) if ptrace else ()))
    return [_rule(["clone"], _ALLOW, (flags,), None) for flags in allowed]


def _fcntl_rules(ptrace: bool) -> list[dict[str, Any]]:
    """Refuse locks of records that no process may be known to hold.

    Those by open files are invalid, as before Linux 3.15. Where processes may trace, and for that
    share open files, those by processes are not to be had, as on a file system that has none.
    """

    def command(number: int, bits: int = 0) -> list[dict[str, Any]]:
        return [_argument(1, _COMMAND & ~bits, "SCMP_CMP_MASKED_EQ", number)]

    allowed = _F_OTHER_COMMANDS if ptrace else _F_COMMANDS
    of_processes = (_F_SETLK, _F_SETLKW) if ptrace else ()
    return [
        *(_rule(["fcntl"], _ALLOW, command(first, bits), None) for first, bits in allowed),
        *(
            _rule(["fcntl"], _ERRNO, command(number), _EINVAL)
            for number in (_F_OFD_SETLK, _F_OFD_SETLKW)
        ),
        *(_rule(["fcntl"], _ERRNO, command(number), _ENOLCK) for number in of_processes),
    ]


def _limit_rules() -> list[dict[str, Any]]:
    """Have the limit of core dumps stay as it is; who sets it is told that it was done.

    With any other the kernel would start the host's crash handler, as root, for what strangers
    wrote: core(5). Scripts that set 0 would stop at an error.
    """
    rules = []
    for name, index in (("setrlimit", 0), ("prlimit64", 1)):
        core = _argument(index, _COMMAND, "SCMP_CMP_MASKED_EQ", _RLIMIT_CORE)
        if name == "prlimit64":
            asked = _argument(2, 0, "SCMP_CMP_EQ")
            rules.append(_rule([name], _ALLOW, (core, asked), None))
            rules.append(_rule([name], _ERRNO, (core, asked | {"op": "SCMP_CMP_NE"}), 0))
        else:
            rules.append(_rule([name], _ERRNO, (core,), 0))
        for first, bits in _OTHER_RESOURCES:
            other = _argument(index, _COMMAND & ~bits, "SCMP_CMP_MASKED_EQ", first)
            rules.append(_rule([name], _ALLOW, (other,), None))
    return rules


def _socket_rules() -> list[dict[str, Any]]:
    """Allow unix sockets, and TCP and UDP over IPv4 and IPv6: what waits in these is counted.

    What waits in a netlink socket is nobody's memory, and every process can have many: the family
    is unknown here, which libc's `getifaddrs` and `getaddrinfo` know how to bear.
    """
    rules = [
        _rule(["socket"], _ALLOW, [_argument(0, _AF_UNIX, "SCMP_CMP_EQ")], None),
        _rule(["socket"], _ERRNO, [_argument(0, _AF_NETLINK, "SCMP_CMP_EQ")], _EAFNOSUPPORT),
    ]
    for family in (_AF_INET, _AF_INET6):
        of_family = _argument(0, family, "SCMP_CMP_EQ")
        for kind in _TYPES:
            of_type = _argument(1, _TYPE_MASK, "SCMP_CMP_MASKED_EQ", kind)
            for protocol in _PROTOCOLS:
                wanted = [of_family, of_type, _argument(2, protocol, "SCMP_CMP_EQ")]
                rules.append(_rule(["socket"], _ALLOW, wanted, None))
            others = [of_family, of_type, _argument(2, max(_PROTOCOLS), "SCMP_CMP_GT")]
            rules.append(_rule(["socket"], _ERRNO, others, _EPROTONOSUPPORT))
        for kind in _OTHER_TYPES:
            of_type = _argument(1, _TYPE_MASK, "SCMP_CMP_MASKED_EQ", kind)
            rules.append(_rule(["socket"], _ERRNO, [of_family, of_type], _EPERM))
    return rules


def _applies(rule: Mapping[str, Any], architecture: str) -> bool:
    included, excluded = rule.get("includes") or {}, rule.get("excludes") or {}
    return (
        not included.get("caps")  # a tool has none
        and architecture in (included.get("arches") or [architecture])
        and architecture not in (excluded.get("arches") or [])
    )


def _rule(
    names: list[str], action: str, args: Iterable[Mapping[str, Any]], errno: int | None
) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": names, "action": action}
    if errno is not None:
        rule["errnoRet"] = errno
    if arguments := [dict(argument) for argument in args]:
        rule["args"] = arguments
    return rule


def _argument(index: int, value: int, op: str, value_two: int | None = None) -> dict[str, Any]:
    argument = {"index": index, "value": value, "op": op}
    return argument if value_two is None else argument | {"valueTwo": value_two}
