"""What nobody wants of a store any more."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Garbage:
    """Images by digest, and folders of layers with the bytes of disk that each gives back."""

    digests: tuple[str, ...]
    layers: Mapping[Path, int]
