"""Images made by hand, layer by layer: no builder would make the hostile ones."""

import gzip
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline_containers.registries.folder import FolderRegistry

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Layer:
    """A layer's archive, in which anything may be written under any name."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        self._archive = tarfile.open(fileobj=self._bytes, mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115

    def file(self, name: str, content: bytes | str, mode: int = 0o755, uid: int = 0) -> "Layer":
        data = content.encode() if isinstance(content, str) else content
        return self.add(name, tarfile.REGTYPE, data, mode=mode, uid=uid)

    def folder(self, name: str, mode: int = 0o755) -> "Layer":
        return self.add(name, tarfile.DIRTYPE, mode=mode)

    def link(self, name: str, target: str) -> "Layer":
        return self.add(name, tarfile.SYMTYPE, linkname=target)

    def hard_link(self, name: str, target: str) -> "Layer":
        return self.add(name, tarfile.LNKTYPE, linkname=target)

    def add(self, name: str, kind: bytes, content: bytes = b"", **fields: Any) -> "Layer":
        entry = tarfile.TarInfo(name)
        entry.type = kind
        entry.size = len(content)
        for key, value in fields.items():
            setattr(entry, key, value)
        has_more = bool(entry.pax_headers)  # attributes, which GNU's archives cannot hold
        self._archive.format = tarfile.PAX_FORMAT if has_more else tarfile.GNU_FORMAT
        self._archive.addfile(entry, io.BytesIO(content))
        return self

    def archive(self) -> bytes:
        self._archive.close()
        return self._bytes.getvalue()


@dataclass(frozen=True)
class Image:
    """Layers, the lowest first, and how the image wants to be run."""

    layers: tuple[bytes, ...]
    config: Mapping[str, Any] = field(default_factory=dict)

    def on_top(self, layer: Layer, **config: Any) -> "Image":
        return Image((*self.layers, layer.archive()), {**self.config, **config})

    def publish(self, registry: Path, repository: str, tag: str) -> str:
        """Put it into a registry that is a folder; its digest."""
        layout = registry.parent / "layouts" / f"{repository}-{tag}"
        self._write(layout, tag)
        return FolderRegistry(registry).push(f"oci:{layout}:{tag}", repository, tag)

    def packed(self) -> tuple[bytes, dict[str, bytes]]:
        """Its manifest, and all that this names, by digest, with the layers compressed."""
        return self._pack(lambda layer: gzip.compress(layer, 1, mtime=0), f"{_LAYER}+gzip")

    def _pack(
        self, compress: Callable[[bytes], bytes], layer_type: str
    ) -> tuple[bytes, dict[str, bytes]]:
        blobs: dict[str, bytes] = {}

        def blob(content: bytes, media_type: str) -> dict[str, Any]:
            digest = digest_of(content)
            blobs[digest] = content
            return {"mediaType": media_type, "digest": digest, "size": len(content)}

        config = {
            "os": "linux",
            "architecture": _ARCHITECTURES[platform.machine()],
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in self.layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": blob(_json(config), _CONFIG),
            "layers": [blob(compress(layer), layer_type) for layer in self.layers],
        }
        return _json(manifest), blobs

    def _write(self, layout: Path, tag: str) -> None:
        manifest, blobs = self._pack(lambda layer: layer, _LAYER)
        digest = digest_of(manifest)
        folder = layout / "blobs/sha256"
        folder.mkdir(parents=True)
        for name, content in (blobs | {digest: manifest}).items():
            (folder / name.removeprefix("sha256:")).write_bytes(content)
        entry = {
            "mediaType": _MANIFEST,
            "digest": digest,
            "size": len(manifest),
            "annotations": {"org.opencontainers.image.ref.name": tag},
        }
        (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (layout / "index.json").write_bytes(_json({"schemaVersion": 2, "manifests": [entry]}))


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
