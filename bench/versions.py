"""Versions of a tool's image, as a track would publish them: a large base, a small layer on it."""

import os
import random
from pathlib import Path

from support.images import Image, Layer

from pipeline_containers.images.docker import DockerRegistry

MIB = 1 << 20
TOOL_BYTES = 5 * MIB
REPOSITORY = "bash-test-runner"
SCRIPT = """\
#!/bin/sh
printf '{"version": 1, "status": "pass"}' > "$3results.json"
"""


class Versions:
    """Publishes versions to a registry. Their bases are samples of the host's own files."""

    def __init__(self, folder: Path, location: str, base_bytes: int) -> None:
        self._folder = folder
        self._registry = DockerRegistry(location)
        self._base_bytes = base_bytes
        self._number = 0
        self._base = _base(0, base_bytes)

    def publish(self) -> str:
        """Push one more version, on the same base; its name."""
        self._number += 1
        tool = Layer().folder("opt/test-runner").folder("opt/test-runner/bin")
        tool.file("opt/test-runner/bin/run.sh", SCRIPT)
        tool.file("opt/test-runner/data", random.Random(self._number).randbytes(TOOL_BYTES), 0o644)
        name = f"git-{self._number:040x}"
        self._base.on_top(tool).publish(self._folder / "registry", REPOSITORY, name)
        layout = self._folder / "layouts" / f"{REPOSITORY}-{name}"
        self._registry.push(f"oci:{layout}:{name}", REPOSITORY, name)
        return name

    def change_base(self) -> None:
        """Have the next versions share no layer with the ones before."""
        self._base = _base(self._number, self._base_bytes)


def _base(number: int, left: int) -> Image:
    layer = Layer().file("number", str(number)).folder("bin").folder("opt").folder("usr")
    layer.file("bin/sh", Path("/bin/busybox").read_bytes())
    for file in _host_files():
        size = file.stat().st_size
        if size <= left:
            layer.file(str(file).lstrip("/"), file.read_bytes())
            left -= size
        if left < MIB:
            break
    return Image(()).on_top(layer)


def _host_files() -> list[Path]:
    """List the host's own files in an order of chance, which is the same each time."""
    files = sorted(
        path
        for folder, _, names in os.walk("/usr")
        for name in names
        if (path := Path(folder, name)).is_file() and not path.is_symlink()
    )
    random.Random(0).shuffle(files)
    return files
