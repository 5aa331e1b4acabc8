"""System calls that Python 3.11 has no name for.

Thin: arguments in, a file descriptor or nothing out, `OSError` on failure. The numbers of calls
that came after Linux 5.0 are the same on every architecture but alpha. Source: the kernel's
`include/uapi/asm-generic/unistd.h`, `linux/mount.h`, `linux/openat2.h`, `linux/bpf.h`, and their
manual pages.
"""

import ctypes
import os
import platform
import signal
from collections.abc import Iterable
from typing import Final

AT_FDCWD: Final = -100
AT_EMPTY_PATH: Final = 0x1000

OPEN_TREE_CLONE: Final = 1
MOVE_MOUNT_F_EMPTY_PATH: Final = 0x04

MOUNT_ATTR_RDONLY: Final = 0x01
MOUNT_ATTR_NOSUID: Final = 0x02
MOUNT_ATTR_NODEV: Final = 0x04
MOUNT_ATTR_NOEXEC: Final = 0x08
MOUNT_ATTR_IDMAP: Final = 0x00100000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
MS_SLAVE: Final = 0x80000
MNT_DETACH: Final = 2
UMOUNT_NOFOLLOW: Final = 8

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10

_SYS_OPEN_TREE: Final = 428
_SYS_MOVE_MOUNT: Final = 429
_SYS_FSOPEN: Final = 430
_SYS_FSCONFIG: Final = 431
_SYS_FSMOUNT: Final = 432
_SYS_OPENAT2: Final = 437
_SYS_MOUNT_SETATTR: Final = 442

_FSOPEN_CLOEXEC: Final = 1
_FSCONFIG_SET_FLAG: Final = 0
_FSCONFIG_SET_STRING: Final = 1
_FSCONFIG_SET_FD: Final = 5
_FSCONFIG_CMD_CREATE: Final = 6
_FSMOUNT_CLOEXEC: Final = 1

_SYS_BPF: Final = {"x86_64": 321, "ppc64le": 361, "s390x": 351}
"""It came before; on other machines of 64 bits it is 280."""
_BPF_PROG_LOAD: Final = 5
_BPF_PROG_ATTACH: Final = 8
_BPF_PROG_QUERY: Final = 16
_BPF_PROG_TYPE_CGROUP_DEVICE: Final = 15
_BPF_CGROUP_DEVICE: Final = 6
_BPF_F_ALLOW_MULTI: Final = 2
_BPF_INSTRUCTION_BYTES: Final = 8

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class _BpfLoad(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_uint32),
        ("count", ctypes.c_uint32),
        ("instructions", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
    )


class _BpfAttach(ctypes.Structure):
    _fields_ = (
        ("target", ctypes.c_uint32),
        ("program", ctypes.c_uint32),
        ("place", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
    )


class _BpfQuery(ctypes.Structure):
    _fields_ = (
        ("target", ctypes.c_uint32),
        ("place", ctypes.c_uint32),
        ("query_flags", ctypes.c_uint32),
        ("attach_flags", ctypes.c_uint32),
        ("programs", ctypes.c_uint64),
        ("count", ctypes.c_uint32),
    )


def openat2(folder: int, path: str, flags: int, resolve: int) -> int:
    """Open `path` from the open `folder`, under the rules of `resolve`; a file descriptor."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    return _syscall(
        _SYS_OPENAT2,
        path,
        ctypes.c_int(folder),
        os.fsencode(path),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )


def open_tree(path: str) -> int:
    """Make a detached bind mount of `path`; a file descriptor of it."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC
    return _syscall(
        _SYS_OPEN_TREE, path, ctypes.c_int(AT_FDCWD), os.fsencode(path), ctypes.c_uint(flags)
    )


def mount_setattr(mount: int, attributes: int, user_namespace: int | None = None) -> None:
    """Set attributes of a detached mount; with a user namespace, map its ids through that."""
    if user_namespace is not None:
        attributes |= MOUNT_ATTR_IDMAP
    wanted = _MountAttr(attributes, 0, 0, user_namespace or 0)
    _syscall(
        _SYS_MOUNT_SETATTR,
        "mount_setattr",
        ctypes.c_int(mount),
        b"",
        ctypes.c_uint(AT_EMPTY_PATH),
        ctypes.byref(wanted),
        ctypes.c_size_t(ctypes.sizeof(wanted)),
    )


def move_mount(mount: int, target: str) -> None:
    """Attach a detached mount at `target`."""
    _syscall(
        _SYS_MOVE_MOUNT,
        target,
        ctypes.c_int(mount),
        b"",
        ctypes.c_int(AT_FDCWD),
        os.fsencode(target),
        ctypes.c_uint(MOVE_MOUNT_F_EMPTY_PATH),
    )


def new_mount(kind: str, options: Iterable[tuple[str, str | int | None]], attributes: int) -> int:
    """Make a detached mount of a new file system; a file descriptor of it.

    The value of an option is text, an open file's descriptor, or none.
    """
    context = _syscall(_SYS_FSOPEN, kind, kind.encode(), ctypes.c_uint(_FSOPEN_CLOEXEC))
    try:
        for key, value in options:
            if value is None:
                _fsconfig(context, _FSCONFIG_SET_FLAG, key, None, 0)
            elif isinstance(value, int):
                _fsconfig(context, _FSCONFIG_SET_FD, key, None, value)
            else:
                _fsconfig(context, _FSCONFIG_SET_STRING, key, value, 0)
        _fsconfig(context, _FSCONFIG_CMD_CREATE, None, None, 0)
        flags = (ctypes.c_uint(_FSMOUNT_CLOEXEC), ctypes.c_uint(attributes))
        return _syscall(_SYS_FSMOUNT, kind, ctypes.c_int(context), *flags)
    finally:
        os.close(context)


def mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    """Mount the classic way."""
    arguments = (source.encode(), os.fsencode(target), kind.encode())
    _check(_libc.mount(*arguments, ctypes.c_ulong(flags), options.encode()), target)


def umount(target: str) -> None:
    """Detach the mount at `target`: gone from sight at once, freed when its last user is."""
    _check(_libc.umount2(os.fsencode(target), ctypes.c_int(MNT_DETACH | UMOUNT_NOFOLLOW)), target)


def load_device_filter(instructions: bytes) -> int:
    """Load a program for cgroups' devices; a file descriptor, closed on execution."""
    content = ctypes.create_string_buffer(instructions, len(instructions))
    words = ctypes.create_string_buffer(b"none")  # it uses nothing of the kernel's
    count = len(instructions) // _BPF_INSTRUCTION_BYTES
    places = (ctypes.addressof(content), ctypes.addressof(words))
    return _bpf(_BPF_PROG_LOAD, _BpfLoad(_BPF_PROG_TYPE_CGROUP_DEVICE, count, *places))


def attach_device_filter(program: int, cgroup: int) -> None:
    """Have a loaded program asked too whenever something in the open cgroup wants a device."""
    _bpf(_BPF_PROG_ATTACH, _BpfAttach(cgroup, program, _BPF_CGROUP_DEVICE, _BPF_F_ALLOW_MULTI))


def device_filters(cgroup: int) -> tuple[int, int]:
    """Count the programs that are attached to the open cgroup itself; with which flags."""
    asked = _BpfQuery(cgroup, _BPF_CGROUP_DEVICE)
    _bpf(_BPF_PROG_QUERY, asked)
    return int(asked.count), int(asked.attach_flags)


def syncfs(file: int) -> None:
    """Write all of an open file's file system to the disk."""
    _check(_libc.syncfs(ctypes.c_int(file)), "syncfs")


def unshare(flags: int) -> None:
    """Leave namespaces for new ones; that of pids is only for children that are yet to come."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def become_subreaper() -> None:
    """Let orphans among this process' descendants become its children, so it can wait for them."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, "subreaper")


def die_with_parent() -> None:
    """Have this process killed when its parent dies."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, "parent death signal")


def _fsconfig(context: int, command: int, key: str | None, value: str | None, aux: int) -> None:
    _syscall(
        _SYS_FSCONFIG,
        key or "fsconfig",
        ctypes.c_int(context),
        ctypes.c_uint(command),
        *(None if text is None else os.fsencode(text) for text in (key, value)),
        ctypes.c_int(aux),
    )


def _bpf(command: int, attributes: ctypes.Structure) -> int:
    return _syscall(
        _SYS_BPF.get(platform.machine(), 280),
        "bpf",
        ctypes.c_int(command),
        ctypes.byref(attributes),
        ctypes.c_uint(ctypes.sizeof(attributes)),
    )


def _prctl(option: int, value: int, subject: str) -> None:
    rest = (ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
    _check(_libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), *rest), subject)


def _syscall(number: int, subject: str, *arguments: object) -> int:
    return _check(int(_libc.syscall(ctypes.c_long(number), *arguments)), subject)


def _check(result: int, subject: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), subject)
    return result
