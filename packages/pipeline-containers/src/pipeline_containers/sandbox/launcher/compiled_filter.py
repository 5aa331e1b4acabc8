"""The filter of system calls that runc would install, made by the library that runc calls.

For where runc's own cannot be read. Before what libseccomp makes, runc puts a stub: calls newer
than any that the filter names do not exist, whatever the filter's default says, so that libc falls
back. Source: libseccomp's manual pages; runc's `libcontainer/seccomp/patchbpf/enosys_linux.go`.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Mapping
from typing import Any

from pipeline_containers.errors import SandboxError

_OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NO_NEW_PRIVS = 3  # libseccomp's attribute: it is set elsewhere
_UNKNOWN_CALL = -1
_LOAD, _JUMP, _IF_EQUAL, _IF_GREATER, _IF_BITS, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x45, 0x06
"""Codes of instructions. Source: the kernel's `linux/bpf_common.h`."""


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def _action(name: str, number: int | None) -> int:
    if name == "SCMP_ACT_ALLOW":
        return _ALLOW
    if name == "SCMP_ACT_ERRNO":
        return _ERRNO | (errno.EPERM if number is None else number)
    raise SandboxError(f"{name} is no action of these filters")


def compiled_filter(seccomp: Mapping[str, Any]) -> bytes:
    """Make it of the `seccomp` section of an OCI configuration, which has one architecture.

    Raises `SandboxError` where libseccomp is not installed, or does not take it.
    """
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError as error:
        raise SandboxError(f"no filter can be made: {error} (apt install libseccomp2)") from error
    library.seccomp_init.restype = ctypes.c_void_p
    default = _action(seccomp["defaultAction"], seccomp.get("defaultErrnoRet"))
    if not (made := library.seccomp_init(ctypes.c_uint32(default))):
        raise SandboxError("libseccomp makes no filter")
    context = ctypes.c_void_p(made)
    try:
        _check(library.seccomp_attr_set(context, _NO_NEW_PRIVS, ctypes.c_uint32(0)), "attribute")
        last = 0
        for rule in seccomp["syscalls"]:
            action = _action(rule["action"], rule.get("errnoRet"))
            comparisons = [_comparison(argument) for argument in rule.get("args", ())]
            for name in rule["names"]:
                number = library.seccomp_syscall_resolve_name(name.encode())
                if number == _UNKNOWN_CALL:
                    continue
                last = max(last, number)
                if action != default:
                    array = (_Comparison * max(1, len(comparisons)))(*comparisons)
                    arguments = (ctypes.c_uint32(action), number, len(comparisons), array)
                    _check(library.seccomp_rule_add_array(context, *arguments), name)
        return _stub(seccomp["architectures"], last) + _exported(library, context)
    finally:
        library.seccomp_release(context)


def _comparison(argument: Mapping[str, Any]) -> _Comparison:
    operator = _OPERATORS[argument["op"]]
    return _Comparison(argument["index"], operator, argument["value"], argument.get("valueTwo", 0))


def _exported(library: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    file = os.memfd_create("filter", os.MFD_CLOEXEC)
    try:
        _check(library.seccomp_export_bpf(context, file), "export")
        return os.pread(file, 1 << 20, 0)
    finally:
        os.close(file)


def _check(result: int, subject: str) -> None:
    if result < 0:
        raise SandboxError(f"libseccomp refuses {subject}: {os.strerror(-result)}")


def _instruction(code: int, yes: int, no: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _stub(architectures: list[str], last: int) -> bytes:
    """Make what is before it: ENOSYS for calls of this machine whose number is beyond `last`.

    Those of x32, which have a bit of their own, and of other machines are the filter's affair.
    """
    if architectures != ["SCMP_ARCH_X86_64"]:
        raise SandboxError(f"what runc puts before a filter is not known for {architectures}")
    return b"".join(
        (
            _instruction(_LOAD, 0, 0, 4),  # the machine
            _instruction(_IF_EQUAL, 1, 0, 0xC000003E),
            _instruction(_JUMP, 0, 0, 6),
            _instruction(_LOAD, 0, 0, 0),  # the call's number
            _instruction(_IF_BITS, 1, 0, 0x40000000),
            _instruction(_IF_GREATER, 2, 0, last),
            _instruction(_JUMP, 0, 0, 2),
            _instruction(_JUMP, 0, 0, 1),
            _instruction(_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        )
    )
