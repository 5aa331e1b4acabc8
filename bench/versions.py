"""Versions of a tool's image, as a track would publish them: a large base, a small layer on it.

A base has several layers, as those that tracks build on have: a distribution, what a language
needs, the language, its packages.
"""

import os
import random
from collections.abc import Sequence
from pathlib import Path

from support.images import Image, Layer

from pipeline_containers.registries.docker import DockerRegistry

MIB = 1 << 20
TOOL_BYTES = 5 * MIB
_FULL_BYTES = MIB // 2
"""A layer is full when it has no more room than this."""
REPOSITORY = "bash-test-runner"
SCRIPT = """\
#!/bin/sh
printf '{"version": 1, "status": "pass"}' > "$3results.json"
"""


class Versions:
    """Publishes versions to a registry. Their bases are samples of the host's own files."""

    def __init__(self, folder: Path, location: str, base_bytes: int, layers: int) -> None:
        self._folder = folder
        self._registry = DockerRegistry(location)
        self._sizes = [base_bytes // layers] * layers
        self._number = 0
        self._base = _base(0, self._sizes)

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
        self._base = _base(self._number, self._sizes)


def _base(number: int, sizes: Sequence[int]) -> Image:
    """Make a base of so many bytes a layer; none of its layers is in one of another number."""
    shell = Layer().folder("bin").folder("opt").folder("usr")
    image = Image(()).on_top(shell.file("bin/sh", Path("/bin/busybox").read_bytes()))
    files = iter(_host_files())
    for which, left in enumerate(sizes):
        layer = Layer().file(f"number-{which}", str(number))
        for file in files:
            size = file.stat().st_size
            if size <= left:
                layer.file(str(file).lstrip("/"), file.read_bytes())
                left -= size
            if left < _FULL_BYTES:
                break
        image = image.on_top(layer)
    return image


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
