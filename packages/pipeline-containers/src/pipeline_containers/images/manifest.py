"""An image's manifest: what the image is made of, as the registry says.

It is untrusted: whoever pushed the image wrote it. Source: the OCI image specification,
`manifest.md`; Docker's image manifest, version 2, schema 2.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline_containers.errors import RegistryError
from pipeline_containers.images.image import is_digest
from pipeline_containers.images.pull_limits import PullLimits
from pipeline_containers.system.json_text import load_json
from pipeline_containers.system.units import MIB

_OCI = "application/vnd.oci.image"
_DOCKER = "application/vnd.docker"
MANIFESTS = (f"{_OCI}.manifest.v1+json", f"{_DOCKER}.distribution.manifest.v2+json")
INDEXES = (f"{_OCI}.index.v1+json", f"{_DOCKER}.distribution.manifest.list.v2+json")
_CONFIGS = (f"{_OCI}.config.v1+json", f"{_DOCKER}.container.image.v1+json")
_LAYERS = (
    f"{_OCI}.layer.v1.tar",
    f"{_OCI}.layer.v1.tar+gzip",
    f"{_OCI}.layer.v1.tar+zstd",
    f"{_DOCKER}.image.rootfs.diff.tar",
    f"{_DOCKER}.image.rootfs.diff.tar.gzip",
)
_CONFIG_BYTES = MIB


@dataclass(frozen=True, slots=True)
class Part:
    """A blob by its digest, and its size on its way."""

    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image by its digest, and the parts of it, the lowest layer first."""

    digest: str
    config: Part
    layers: tuple[Part, ...]

    def check(self, limits: PullLimits) -> None:
        """Raise `RegistryError` for an image that is larger than what may be pulled."""
        if len(self.layers) > limits.layers:
            raise RegistryError(
                f"the image has {len(self.layers)} layers, and {limits.layers} are allowed: "
                "build it in fewer steps"
            )
        size_bytes = sum(layer.size_bytes for layer in self.layers)
        if size_bytes > limits.compressed_bytes:
            raise RegistryError(
                f"the image has {size_bytes} bytes, and {limits.compressed_bytes} are allowed: "
                "make it smaller"
            )


def digest_of(content: bytes) -> str:
    """Return the digest by which registries know a manifest with this content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def parse_document(content: bytes) -> dict[str, Any]:
    """Read a manifest or an index as an object; raises `RegistryError` for all that is neither."""
    try:
        document = load_json(content)
    except ValueError as error:
        raise RegistryError(f"that is no image: its manifest is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise RegistryError("that is no image: its manifest is not an object")
    return document


def is_index(document: dict[str, Any]) -> bool:
    """Return whether this is an index of manifests (`index.py`), and no manifest itself."""
    kind = document.get("mediaType")
    return "manifests" in document if kind is None else kind in INDEXES


def parse_manifest(content: bytes) -> Manifest:
    """Read an image's manifest; raises `RegistryError` for all that is none, or leads elsewhere."""
    document = parse_document(content)
    kind = document.get("mediaType", MANIFESTS[0])
    if kind not in MANIFESTS or document.get("schemaVersion") != 2:
        raise RegistryError(f"that is no image: its manifest is of kind {_short(kind)}")
    layers = document.get("layers")
    if not isinstance(layers, list):
        raise RegistryError("that is no image: its manifest names no layers")
    config = _part(document.get("config"), _CONFIGS)
    if config.size_bytes > _CONFIG_BYTES:
        raise RegistryError(
            f"the image's configuration has {config.size_bytes} bytes, and {_CONFIG_BYTES} are "
            "allowed: build it in fewer steps, with fewer labels and variables"
        )
    return Manifest(digest_of(content), config, tuple(_part(layer, _LAYERS) for layer in layers))


def _part(value: object, kinds: tuple[str, ...]) -> Part:
    part: Mapping[str, Any] = value if isinstance(value, dict) else {}
    digest, size, kind = part.get("digest"), part.get("size"), part.get("mediaType")
    if part.get("urls"):
        raise RegistryError(
            f"a part of the image lies elsewhere, at {_short(part['urls'])}, and nothing is "
            "fetched from there: push it with all of its layers"
        )
    if kind not in kinds:
        raise RegistryError(f"a part of the image is of kind {_short(kind)}, which is not taken")
    if not isinstance(digest, str) or not is_digest(digest):
        raise RegistryError(f"a part of the image has no SHA-256 digest but {_short(digest)}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise RegistryError(f"{digest} of the image has no size but {_short(size)}")
    return Part(digest, size)


def _short(value: object) -> str:
    """Show a stranger's value."""
    text = repr(value)
    return text if len(text) <= 100 else text[:100] + "..."
