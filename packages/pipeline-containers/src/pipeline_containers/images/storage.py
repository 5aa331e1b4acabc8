"""A containers-storage folder, read without its programs: which images it has, and their layers.

The folder is what skopeo and buildah fill. It is only read here, but for one thing: layers that a
killed copy left are removed, which no program of Debian 12 does. Source: github.com/containers/
storage, `images.go`, `layers.go`, `drivers/overlay`.
"""

import base64
import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_containers.errors import StoreError
from pipeline_containers.images.image import (
    ImageConfig,
    StoredImage,
    is_digest,
    parse_config,
)

_MAX_DEPTH = 500  # the overlay file system's own bound


@dataclass(frozen=True, slots=True)
class Storage:
    """An overlay store by its root folder, and read-only ones that it may lean on."""

    root: Path
    run_root: Path
    additional: tuple[Path, ...] = ()

    @property
    def options(self) -> list[str]:
        """What programs are told of it: no mount stays behind, and where else to look."""
        stores = [f"overlay.imagestore={folder}" for folder in self.additional]
        return ["overlay.skip_mount_home=true", *stores]

    def name(self, reference: str) -> str:
        """Name an image of it (`@ID`, or a repository and tag) the way skopeo takes it."""
        place = f"overlay@{self.root}+{self.run_root}:{','.join(self.options)}"
        return f"containers-storage:[{place}]{reference}"

    def images(self) -> Iterator[tuple[str, str]]:
        """List id and manifest digest of the images that are here and whole."""
        for entry in _entries(self.root / "overlay-images/images.json"):
            image, digest = str(entry.get("id")), str(entry.get("digest"))
            if is_digest(digest) and is_digest(f"sha256:{image}"):
                yield image, digest

    def names(self) -> Iterator[tuple[str, str]]:
        """List the names that images of it have, with their manifests' digests."""
        for entry in _entries(self.root / "overlay-images/images.json"):
            for name in entry.get("names") or []:
                yield str(name), str(entry.get("digest"))

    def load(self, image: str) -> StoredImage:
        """Read an image by its id; `StoreError` when it is not here, or not whole."""
        for root in (self.root, *self.additional):
            for entry in _entries(root / "overlay-images/images.json"):
                if entry.get("id") == image:
                    config = self._config(root, image)
                    return StoredImage(
                        str(entry.get("digest")), self._layers(entry.get("layer")), config
                    )
        raise StoreError(f"{self.root} has no image {image}")

    def remove_orphans(self) -> int:
        """Remove layers that no image has, how many; no program may be at work on the store."""
        kept: set[str] = set()
        parents = self._parents(self.root)
        for entry in _entries(self.root / "overlay-images/images.json"):
            layer = entry.get("layer")
            while isinstance(layer, str) and layer in parents and layer not in kept:
                kept.add(layer)
                layer = parents[layer]
        orphans = [layer for layer in parents if layer not in kept]
        if not orphans:
            return 0
        index = self.root / "overlay-layers/layers.json"
        left = [entry for entry in _entries(index) if entry.get("id") in kept]
        aside = index.with_suffix(".new")
        aside.write_text(json.dumps(left))
        aside.rename(index)
        for layer in orphans:
            self._remove_layer(layer)
        return len(orphans)

    def _remove_layer(self, layer: str) -> None:
        folder = self.root / "overlay" / layer
        with contextlib.suppress(OSError):
            (self.root / "overlay/l" / (folder / "link").read_text().strip()).unlink()
        shutil.rmtree(folder, ignore_errors=True)
        (self.root / "overlay-layers" / f"{layer}.tar-split.gz").unlink(missing_ok=True)

    def _parents(self, root: Path) -> dict[str, str | None]:
        """Read every layer's parent."""
        parents = {}
        for file in ("layers.json", "volatile-layers.json"):
            for entry in _entries(root / "overlay-layers" / file):
                layer, parent = str(entry.get("id")), entry.get("parent")
                if is_digest(f"sha256:{layer}"):
                    parents[layer] = parent if isinstance(parent, str) else None
        return parents

    def _layers(self, top: object) -> tuple[Path, ...]:
        """Follow the parents down, from this store into those that it leans on."""
        stores = [(root, self._parents(root)) for root in (self.root, *self.additional)]
        layers: list[Path] = []
        layer = top
        while layer is not None and len(layers) < _MAX_DEPTH:
            root, parents = next((found for found in stores if layer in found[1]), (None, {}))
            if root is None:
                raise StoreError(
                    f"{self.root} lacks layer {layer}: remove the image, pull it again"
                )
            layers.append(root / "overlay" / str(layer) / "diff")
            layer = parents[str(layer)]
        return tuple(layers)

    def _config(self, root: Path, image: str) -> ImageConfig:
        key = base64.b64encode(f"sha256:{image}".encode()).decode()
        try:
            return parse_config(
                json.loads((root / "overlay-images" / image / f"={key}").read_bytes())
            )
        except (OSError, ValueError) as error:
            raise StoreError(f"{root} has no configuration for image {image}: {error}") from error


def stored_name(digest: str) -> str:
    """Name an image in a store after its manifest's digest."""
    algorithm, _, value = digest.partition(":")
    return f"localhost/{algorithm}:{value}"


def _entries(file: Path) -> Sequence[dict[str, Any]]:
    try:
        entries = json.loads(file.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise StoreError(f"{file} cannot be read: {error}") from error
    if not isinstance(entries, list):
        return ()
    return [entry for entry in entries if isinstance(entry, dict)]
