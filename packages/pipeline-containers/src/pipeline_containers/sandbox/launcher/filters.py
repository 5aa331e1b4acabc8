"""The filters of system calls that containers get, by what their configurations say. Each once."""

import json
import threading
from collections.abc import Mapping
from typing import Any

from pipeline_containers.sandbox.launcher.compiled_filter import compiled_filter


class Filters:
    """Bytes by section; such as were taken from runc's own containers, else compiled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, bytes] = {}
        self._seen: dict[int, tuple[object, bytes]] = {}

    def put(self, seccomp: Mapping[str, Any], instructions: bytes) -> None:
        """Keep what runc installs for a section."""
        with self._lock:
            self._known[_key(seccomp)] = instructions
            self._seen.clear()

    def of(self, seccomp: Mapping[str, Any]) -> bytes:
        """Give a section's bytes; raises `SandboxError` if there is no way to make them."""
        rules = seccomp["syscalls"]
        with self._lock:
            held, found = self._seen.get(id(rules), (None, b""))
            if held is rules:  # to write 25 kB of text for each job costs more than to start it
                return found
            key = _key(seccomp)
            if key not in self._known:
                self._known[key] = compiled_filter(seccomp)
            self._seen[id(rules)] = (rules, self._known[key])
            return self._known[key]


def _key(seccomp: Mapping[str, Any]) -> str:
    return json.dumps(seccomp, sort_keys=True)
