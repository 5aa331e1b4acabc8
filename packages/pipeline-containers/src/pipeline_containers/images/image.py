"""An image as it lies unpacked on this host: its layers, and how it wants to be run.

The configuration is untrusted: whoever built the image wrote it. `parse_config` takes only what is
of the right type, and no more of it than can be set up in a moment: to set a job up is work outside
of its limits. Source: the OCI image specification, `config.md`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_containers.errors import ImageInvalid
from pipeline_containers.system.text import is_storable

MAX_ENTRIES = 256
"""Of `Env`, and of `Entrypoint`."""
MAX_FIELD_BYTES = 64 * 1024
"""Of either, and of any other field."""
MAX_VOLUMES = 32
"""Each is a mount of every container."""

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
    volumes: tuple[str, ...] = ()


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
    """Take what is usable from an OCI image configuration; the rest is left out.

    Raises `ImageInvalid` for a field that has too much in it.
    """
    config = _mapping(_mapping(document).get("config"))
    return ImageConfig(
        env=tuple(entry for entry in _strings(config, "Env") if "=" in entry[1:]),
        user=_string(config, "User"),
        workdir=_string(config, "WorkingDir"),
        entrypoint=_strings(config, "Entrypoint"),
        volumes=_volumes(config),
    )


def _volumes(config: Mapping[str, Any]) -> tuple[str, ...]:
    paths = tuple(path for path in _mapping(config.get("Volumes")) if is_storable(path))
    _check("Volumes", paths, MAX_VOLUMES)
    return paths


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _string(config: Mapping[str, Any], field: str) -> str:
    value = config.get(field)
    if not isinstance(value, str):
        return ""
    _check(field, [value])
    return value


def _strings(config: Mapping[str, Any], field: str) -> tuple[str, ...]:
    value = config.get(field)
    if not isinstance(value, list):
        return ()
    strings = [item for item in value if isinstance(item, str) and is_storable(item)]
    _check(field, strings)
    return tuple(strings)


def _check(field: str, strings: Sequence[str], most_entries: int = MAX_ENTRIES) -> None:
    size_bytes = sum(len(text.encode(errors="surrogatepass")) for text in strings)
    for number, unit, most in (
        (len(strings), "entries", most_entries),
        (size_bytes, "bytes", MAX_FIELD_BYTES),
    ):
        if number > most:
            raise ImageInvalid(
                f"the image's configuration has {number} {unit} of {field}, and {most} are allowed"
            )
