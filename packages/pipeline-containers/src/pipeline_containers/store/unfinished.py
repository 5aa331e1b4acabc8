"""Pulls that have begun, and are not safe on the disk: what there is of them, and since when.

    FOLDER/DIGEST    a JSON object: the layers' digests, and the host's boot

The next try will not fetch again what has come. That outlives the process, and is forgotten after
an hour: somebody would have tried again by then. It does not outlive the host's own crash: what
programs wrote, the kernel may not have, whatever the records say. An image that is whole is noted,
therefore, until the disk has it.
"""

import json
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from pipeline_containers.images.image import is_digest
from pipeline_containers.images.manifest import Manifest
from pipeline_containers.system.durable import sync
from pipeline_containers.system.json_text import load_json

_TRIED_AGAIN_S = 3600.0
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Unfinished:
    """The unfinished pulls of a store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._boot = _BOOT.read_text().strip() if _BOOT.exists() else ""

    def begin(self, manifest: Manifest) -> bool:
        """Note a pull, whose layers are to stay; whether it is the first try."""
        self._folder.mkdir(exist_ok=True)
        file = self._folder / manifest.digest
        is_first = not file.exists()
        layers = [layer.digest for layer in manifest.layers]
        file.write_text(json.dumps({"boot": self._boot, "layers": layers}))
        sync(file)
        sync(self._folder)
        return is_first

    def end(self, digest: str) -> None:
        """Drop a pull: its image is here, and safe."""
        (self._folder / digest).unlink(missing_ok=True)

    def keep(self, digests: Collection[str]) -> None:
        """Drop all pulls but those of images that are still wanted."""
        for file in self._files():
            if file.name not in digests:
                file.unlink(missing_ok=True)

    def digests(self) -> set[str]:
        """List the images that are noted."""
        return {file.name for file in self._files()}

    def doubtful(self) -> set[str]:
        """List the images of which the disk may have anything, for the host died in between."""
        return {file.name for file in self._files() if _read(file).get("boot") != self._boot}

    def layers(self) -> set[str]:
        """List the layers, by digest, that the next tries have use for."""
        found: set[str] = set()
        for file in self._files():
            with suppress(FileNotFoundError):  # that pull has just ended
                if 0 <= time.time() - file.stat().st_mtime <= _TRIED_AGAIN_S:
                    layers = _read(file).get("layers")
                    found.update(map(str, layers if isinstance(layers, list) else ()))
                else:
                    file.unlink()
        return found

    def _files(self) -> list[Path]:
        files = self._folder.iterdir() if self._folder.is_dir() else ()
        return [file for file in files if is_digest(file.name)]


def _read(file: Path) -> dict[str, object]:
    """Read a note; an empty one if its process was killed, or its host died, while it was made."""
    try:
        note = load_json(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}
