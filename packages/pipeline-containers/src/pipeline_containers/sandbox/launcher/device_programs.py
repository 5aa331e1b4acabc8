"""Device filters in the kernel: each loaded once, and attached to containers' cgroups."""

import os
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.launcher.device_filter import device_filter
from pipeline_containers.sandbox.launcher.device_rules import DeviceRule
from pipeline_containers.system import syscalls


class DevicePrograms:
    """Programs by the rules that they are made of; they go with this object.

    What is attached stays with its cgroup, whatever becomes of who attached it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[tuple[DeviceRule, ...], int] = {}

    def attach(self, rules: Sequence[DeviceRule], folder: Path) -> None:
        """Hold a cgroup of version 2 to these devices; it is made if it is not there.

        Raises `SandboxError` where the kernel or this process' rights do not allow it.
        """
        folder.mkdir(exist_ok=True)
        try:
            program = self._program(tuple(rules))
            cgroup = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                syscalls.attach_device_filter(program, cgroup)
            finally:
                os.close(cgroup)
        except OSError as error:
            raise SandboxError(f"no device filter for {folder}: {error}") from error

    def _program(self, rules: tuple[DeviceRule, ...]) -> int:
        with self._lock:
            if rules not in self._loaded:
                program = syscalls.load_device_filter(device_filter(rules))
                weakref.finalize(self, os.close, program)
                self._loaded[rules] = program
            return self._loaded[rules]
