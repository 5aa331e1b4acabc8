"""The filter of system calls that a process really has, read from the kernel.

Only who may do everything on the host and has no filter itself is told. Source: ptrace(2),
PTRACE_SECCOMP_GET_FILTER; the kernel's `kernel/seccomp.c`.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.launcher.plan import INSTRUCTION_BYTES, MOST_INSTRUCTIONS

_DETACH, _SEIZE, _INTERRUPT, _GET_FILTER = 17, 0x4206, 0x4207, 0x420C
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long


def installed_filter(pid: int) -> bytes:
    """Read a process' one filter; raises `SandboxError` if it has another number, or is secret.

    The process is stopped meanwhile. It must be no child of this one that somebody waits for.
    """
    try:
        with _stopped(pid):
            count = _ptrace(_GET_FILTER, pid, 0, None)
            if count > MOST_INSTRUCTIONS:
                raise SandboxError(f"a filter of {count} instructions")
            content = ctypes.create_string_buffer(count * INSTRUCTION_BYTES)
            _ptrace(_GET_FILTER, pid, 0, ctypes.addressof(content))
            with contextlib.suppress(FileNotFoundError):  # there is no second one
                _ptrace(_GET_FILTER, pid, 1, None)
                raise SandboxError(f"process {pid} has more than one filter")
            return content.raw
    except OSError as error:
        raise SandboxError(f"the filter of process {pid} cannot be read: {error}") from error


@contextlib.contextmanager
def _stopped(pid: int) -> Iterator[None]:
    _ptrace(_SEIZE, pid, 0, None)
    try:
        _ptrace(_INTERRUPT, pid, 0, None)
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED)
        yield
    finally:
        with contextlib.suppress(OSError):  # it is dead
            _ptrace(_DETACH, pid, 0, None)


def _ptrace(request: int, pid: int, address: int, data: int | None) -> int:
    arguments = (ctypes.c_long(request), ctypes.c_long(pid))
    result = int(_libc.ptrace(*arguments, ctypes.c_void_p(address), ctypes.c_void_p(data)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), f"ptrace of {pid}")
    return result
