"""An index: several images under one name, of which one is for this host.

Whoever builds with buildx pushes one, even for a single platform: beside the image lie attestations
of how it was built. It is untrusted, as a manifest is. Source: the OCI image specification,
`image-index.md`; Docker's manifest list; BuildKit's documentation of attestations.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline_containers.errors import RegistryError
from pipeline_containers.images.image import is_digest
from pipeline_containers.images.manifest import (
    INDEXES,
    MANIFESTS,
    digest_of,
    is_index,
    parse_document,
)

_ATTESTATION = "vnd.docker.reference.type"
_UNKNOWN = "unknown"
_NAME = re.compile(r"[A-Za-z0-9._-]{0,30}")
_SHOWN = 8
"""How many platforms an error names."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image is for; `variants` that this host runs, the best first."""

    architecture: str
    variants: tuple[str, ...] = ("",)


PLATFORMS = {
    "x86_64": Platform("amd64", ("", "v1")),
    "aarch64": Platform("arm64", ("v8", "")),
    "armv7l": Platform("arm", ("v7", "v6", "v5", "")),
    "armv6l": Platform("arm", ("v6", "v5", "")),
    "ppc64le": Platform("ppc64le"),
    "riscv64": Platform("riscv64"),
    "s390x": Platform("s390x"),
}
"""By what the kernel calls its machine."""


def manifest_for_host(reference: str, read: Callable[[str], bytes | None]) -> bytes | None:
    """Read the manifest of the image that a tag, or a digest, stands for: of an index, this host's.

    `read` reads what is there under a tag or digest, if anything is. Raises `RegistryError` for
    other content than the digest says, and for an index without an image that runs here.
    """
    content = _checked(reference, read(reference))
    if content is None:
        return None
    document = parse_document(content)
    if not is_index(document):
        return content
    digest = choose(document, this_host())
    own = _checked(digest, read(digest))
    if own is None:
        raise RegistryError(f"its index names {digest}, which is not there: push the image again")
    if is_index(parse_document(own)):
        raise RegistryError("it is an index within an index: push the image itself")
    return own


def this_host() -> Platform:
    """Return what runs here."""
    machine = os.uname().machine
    return PLATFORMS.get(machine, Platform(machine))


def choose(index: dict[str, Any], platform: Platform) -> str:
    """Return the digest of an index's image for a platform.

    An image that does not say what it is for is taken where it is the only one. Raises
    `RegistryError` if there is none.
    """
    images = list(_images(index))
    if not images:
        raise RegistryError("it is an index without an image: push the image itself")
    if len(images) == 1 and "platform" not in images[0]:
        return str(images[0]["digest"])
    for variant in platform.variants:
        for image in images:
            if _said(image) == ("linux", platform.architecture, variant):
                return str(image["digest"])
    there = sorted({"/".join(filter(None, _said(image))) or _UNKNOWN for image in images})
    shown = ", ".join(there[:_SHOWN]) + (", ..." if len(there) > _SHOWN else "")
    raise RegistryError(
        f"it has images for {shown}, and none for this host, linux/{platform.architecture}: "
        "push one that is"
    )


def members(index: dict[str, Any]) -> set[str]:
    """Return the digests of an index's images."""
    return {str(image["digest"]) for image in _images(index)}


def _images(index: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Go through the images of an index: what attests something of another one is none."""
    entries = index.get("manifests")
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or not is_digest(str(entry.get("digest"))):
            continue
        annotations = entry.get("annotations")
        is_attestation = isinstance(annotations, dict) and _ATTESTATION in annotations
        is_image = entry.get("mediaType", MANIFESTS[0]) in (*MANIFESTS, *INDEXES)
        if is_image and not is_attestation and _UNKNOWN not in _said(entry):
            yield entry


def _said(image: dict[str, Any]) -> tuple[str, str, str]:
    """Return system, architecture and variant; what can name none is a question mark."""
    platform = image.get("platform")
    said = platform if isinstance(platform, dict) else {}
    system, architecture, variant = (
        name if _NAME.fullmatch(name) else "?"
        for name in (str(said.get(key) or "") for key in ("os", "architecture", "variant"))
    )
    return system, architecture, variant


def _checked(reference: str, content: bytes | None) -> bytes | None:
    """Let through what a registry gave, if it is what it was asked for."""
    if content is not None and is_digest(reference) and digest_of(content) != reference:
        raise RegistryError(f"it gives {digest_of(content)} for {reference}: push the image again")
    return content
