"""A containers-storage folder, read without its programs: which images it has, and their layers.

The folder is what skopeo and buildah fill. It is only read here, but for one thing: layers that a
failed or killed copy left are removed, which no program of Debian 12 does. Source:
github.com/containers/storage, `images.go`, `layers.go`, `drivers/overlay`.
"""

import base64
import contextlib
import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
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
from pipeline_containers.system.durable import replace_text
from pipeline_containers.system.json_text import load_json

_DIGESTS = ("diff-digest", "compressed-diff-digest")  # a layer's, unpacked and on its way
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
        for entry in _entries(self._images_file(self.root)):
            image, digest = str(entry.get("id")), str(entry.get("digest"))
            if is_digest(digest) and is_digest(f"sha256:{image}"):
                yield image, digest

    def names(self) -> Iterator[tuple[str, str]]:
        """List the names that images of it have, with their manifests' digests."""
        for entry in _entries(self._images_file(self.root)):
            for name in entry.get("names") or []:
                yield str(name), str(entry.get("digest"))

    def load(self, image: str) -> StoredImage:
        """Read an image by its id.

        Raises `StoreError` when it is not here, or not whole, `ImageInvalid` when its configuration
        is too large.
        """
        root, entry = self._find(image)
        config = self._config(root, image)
        return StoredImage(str(entry.get("digest")), self._layers(entry.get("layer")), config)

    def layers_of(self, image: str) -> tuple[Path, ...]:
        """List an image's layers alone, the top one first, whatever its configuration is."""
        _, entry = self._find(image)
        return self._layers(entry.get("layer"))

    def _find(self, image: str) -> tuple[Path, dict[str, Any]]:
        for root in (self.root, *self.additional):
            for entry in _entries(self._images_file(root)):
                if entry.get("id") == image:
                    return root, entry
        raise StoreError(f"{self.root} has no image {image}")

    def layer_sizes(self) -> dict[str, int]:
        """Return the unpacked bytes of the whole layers that are here, by each digest they have."""
        sizes = {}
        for entry in _whole(self._layer_entries(self.root)):
            for key in _DIGESTS:
                if isinstance(size := entry.get("diff-size"), int):
                    sizes[str(entry.get(key))] = size
        return sizes

    def unpacked_bytes(self, digest: str) -> int:
        """Add up an image's layers, as they were packed in archives; 0 if it is not here."""
        entries = {entry["id"]: entry for entry in self._layer_entries(self.root)}
        total = 0
        for image in _entries(self._images_file(self.root)):
            layer = image.get("layer") if image.get("digest") == digest else None
            while layer in entries:
                entry = entries.pop(layer)  # each once, wherever the parents lead
                size, layer = entry.get("diff-size"), entry.get("parent")
                total += size if isinstance(size, int) else 0
        return total

    def layers(self) -> list[Path]:
        """List the folders of layers, whole or not."""
        folders = self.root / "overlay"
        found = folders.iterdir() if folders.is_dir() else ()
        return sorted(folder for folder in found if is_digest(f"sha256:{folder.name}"))

    def remove_orphans(self, wanted: Collection[str] = ()) -> int:
        """Remove layers that no image has, half-written or not `wanted` (by digest); how many.

        Images that have no name, which a copy gives them last, go too. No program may be at work on
        the store.
        """
        self._remove_nameless()
        orphans = self._orphans(wanted)
        for file in self._layer_files(self.root):
            _drop(file, orphans)
        for layer in orphans:
            self._remove_layer(layer)
        self._sweep()
        return len(orphans)

    def _remove_nameless(self) -> None:
        file = self._images_file(self.root)
        nameless = {str(entry.get("id")) for entry in _entries(file) if not entry.get("names")}
        _drop(file, nameless)
        for image in nameless:
            if is_digest(f"sha256:{image}"):
                shutil.rmtree(file.with_name(image), ignore_errors=True)

    def _orphans(self, wanted: Collection[str]) -> set[str]:
        entries = list(self._layer_entries(self.root))
        images = _entries(self._images_file(self.root))
        tops = [image.get("layer") for image in images]
        for entry in _whole(entries):
            if wanted and not {entry.get(key) for key in _DIGESTS}.isdisjoint(wanted):
                tops.append(entry.get("id"))
        parents = _parents(entries)
        kept: set[str] = set()
        for layer in tops:
            while isinstance(layer, str) and layer in parents and layer not in kept:
                kept.add(layer)
                layer = parents[layer]
        return (parents.keys() | {folder.name for folder in self.layers()}) - kept

    def _sweep(self) -> None:
        """Remove what a program left that was killed while it wrote a record, or a layer."""
        layers = {entry["id"] for entry in self._layer_entries(self.root)}
        for folder in ("overlay-layers", "overlay-images"):
            for file in (self.root / folder).glob(".tmp-*"):
                file.unlink(missing_ok=True)
        for file in (self.root / "overlay-layers").glob("*.tar-split.gz"):
            if file.name.removesuffix(".tar-split.gz") not in layers:
                file.unlink(missing_ok=True)
        for link in (self.root / "overlay/l").glob("*"):
            if not link.exists():
                link.unlink(missing_ok=True)

    def _remove_layer(self, layer: str) -> None:
        folder = self.root / "overlay" / layer
        with contextlib.suppress(OSError):
            (self.root / "overlay/l" / (folder / "link").read_text().strip()).unlink()
        shutil.rmtree(folder, ignore_errors=True)
        (self.root / "overlay-layers" / f"{layer}.tar-split.gz").unlink(missing_ok=True)

    def _images_file(self, root: Path) -> Path:
        return root / "overlay-images/images.json"

    def _layer_files(self, root: Path) -> tuple[Path, ...]:
        return tuple(
            root / "overlay-layers" / name for name in ("layers.json", "volatile-layers.json")
        )

    def _layer_entries(self, root: Path) -> Iterator[dict[str, Any]]:
        """Read the record of every layer."""
        for file in self._layer_files(root):
            yield from (e for e in _entries(file) if is_digest(f"sha256:{e.get('id')}"))

    def _layers(self, top: object) -> tuple[Path, ...]:
        """Follow the parents down, from this store into those that it leans on."""
        roots = (self.root, *self.additional)
        stores = [(root, _parents(self._layer_entries(root))) for root in roots]
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
                load_json((root / "overlay-images" / image / f"={key}").read_bytes())
            )
        except (OSError, ValueError) as error:
            raise StoreError(f"{root} has no configuration for image {image}: {error}") from error


def _parents(entries: Iterable[dict[str, Any]]) -> dict[str, str | None]:
    """Take every layer's parent."""
    parents = {}
    for entry in entries:
        parent = entry.get("parent")
        parents[str(entry["id"])] = parent if isinstance(parent, str) else None
    return parents


def _whole(entries: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Leave out the layers that were being written when their writer died."""
    for entry in entries:
        flags = entry.get("flags")
        if not (isinstance(flags, dict) and flags.get("incomplete")):
            yield entry


def stored_name(digest: str) -> str:
    """Name an image in a store after its manifest's digest."""
    algorithm, _, value = digest.partition(":")
    return f"localhost/{algorithm}:{value}"


def _entries(file: Path) -> Sequence[dict[str, Any]]:
    try:
        entries = load_json(file.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise StoreError(f"{file} cannot be read: {error}") from error
    if not isinstance(entries, list):
        return ()
    return [entry for entry in entries if isinstance(entry, dict)]


def _drop(file: Path, ids: Collection[str]) -> None:
    """Leave the entries of these ids out of a record."""
    entries = _entries(file)
    left = [entry for entry in entries if entry.get("id") not in ids]
    if len(left) != len(entries):
        replace_text(file, json.dumps(left))
