"""The sandbox of one command: several people may have one at a time."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.host.options import RUNC, HostOptions
from pipeline_containers.sandbox.sandbox import Sandbox

_ABANDONED_S = 60.0
"""A sandbox this old that nobody owns had an owner, who was killed."""


@contextmanager
def command_sandbox(work: Path, host: HostOptions) -> Iterator[Sandbox]:
    """Open one beneath a work folder; what killed commands have left there is cleared away."""

    def opened(folder: Path, launcher: str) -> Sandbox:
        return Sandbox(
            folder,
            runtime=host.runtime,
            launcher=launcher,
            cgroup_parent=host.cgroup_parent,
            allow_unenforced=host.allow_unenforced,
        )

    sandboxes = work / "sandboxes"
    sandboxes.mkdir(parents=True, exist_ok=True)
    for old in sandboxes.iterdir():
        with suppress(SandboxError, OSError):  # it is alive, or somebody else clears it
            if time.time() - old.stat().st_mtime > _ABANDONED_S:
                opened(old, RUNC).close()
                shutil.rmtree(old)
    with (
        tempfile.TemporaryDirectory(dir=sandboxes) as folder,
        opened(Path(folder), host.launcher) as sandbox,
    ):
        yield sandbox
