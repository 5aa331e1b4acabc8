"""An image as it lies unpacked on this host: its layers, and how it wants to be run.

The configuration is untrusted: whoever built the image wrote it. `parse_config` takes only what is
of the right type. Source: the OCI image specification, `config.md`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*(?:/[a-z0-9]+(?:[._-][a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """How an image wants to be run."""

    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    entrypoint: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An unpacked image: its layers as folders, the top one first, and its configuration.

    Whiteouts in the layers are the overlay file system's own (device 0:0, opaque folders).
    """

    digest: str
    layers: tuple[Path, ...]
    config: ImageConfig = ImageConfig()


def is_digest(text: str) -> bool:
    """Return whether this is `sha256:` and 64 hexadecimal digits."""
    return _DIGEST.fullmatch(text) is not None


def is_repository(text: str) -> bool:
    """Return whether this can name a repository: lower case, no `..`, no leading slash or dash."""
    return len(text) <= 255 and _REPOSITORY.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Return whether this can name a tag."""
    return _TAG.fullmatch(text) is not None


def parse_config(document: object) -> ImageConfig:
    """Take what is usable from an OCI image configuration; the rest is left out."""
    config = _mapping(_mapping(document).get("config"))
    user, workdir = config.get("User"), config.get("WorkingDir")
    return ImageConfig(
        env=tuple(entry for entry in _strings(config.get("Env")) if "=" in entry[1:]),
        user=user if isinstance(user, str) else "",
        workdir=workdir if isinstance(workdir, str) else "",
        entrypoint=_strings(config.get("Entrypoint")),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(item for item in value if isinstance(item, str) and "\0" not in item)
