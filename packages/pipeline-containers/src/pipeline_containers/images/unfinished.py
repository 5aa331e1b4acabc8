"""Pulls that have begun and not ended well: which layers the next try will not have to fetch.

    FOLDER/DIGEST    a JSON list of layers' digests, since when the pull was last begun

They outlive the process, and are forgotten after an hour: somebody would have tried again by then.
"""

import json
import time
from collections.abc import Collection
from pathlib import Path

from pipeline_containers.images.manifest import Manifest

_TRIED_AGAIN_S = 3600.0


class Unfinished:
    """The unfinished pulls of a store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, manifest: Manifest) -> bool:
        """Note a pull, whose layers are to stay; whether it is the first try."""
        self._folder.mkdir(exist_ok=True)
        is_first = not (self._folder / manifest.digest).exists()
        layers = json.dumps([layer.digest for layer in manifest.layers])
        (self._folder / manifest.digest).write_text(layers)
        return is_first

    def end(self, digest: str) -> None:
        """Drop a pull: its image is here."""
        (self._folder / digest).unlink(missing_ok=True)

    def keep(self, digests: Collection[str]) -> None:
        """Drop all pulls but those of images that are still wanted."""
        for file in self._files():
            if file.name not in digests:
                file.unlink(missing_ok=True)

    def layers(self) -> set[str]:
        """List the layers, by digest, that the next tries have use for."""
        found: set[str] = set()
        for file in self._files():
            try:
                if not 0 <= time.time() - file.stat().st_mtime <= _TRIED_AGAIN_S:
                    file.unlink()
                else:
                    found.update(map(str, json.loads(file.read_text())))
            except FileNotFoundError:  # that pull has just ended
                continue
            except (ValueError, TypeError):  # its process was killed while it wrote
                file.unlink(missing_ok=True)
        return found

    def _files(self) -> list[Path]:
        return list(self._folder.iterdir()) if self._folder.is_dir() else []
