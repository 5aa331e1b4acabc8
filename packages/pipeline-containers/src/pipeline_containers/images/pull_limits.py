"""What one pull may bring, and what it must leave; every limit with its unit in its name."""

from dataclasses import dataclass

from pipeline_containers.system.units import GIB


@dataclass(frozen=True, slots=True)
class PullLimits:
    """The bounds of an image and of its pull.

    `compressed_bytes` are those that the layers have on their way, `unpacked_bytes` those on disk.
    `free_bytes` and `free_files` stay free on the disk, or no pull begins or goes on. A pull that
    gets nothing for `stall_s` is begun anew; after `tries` of which none got further it has failed.
    """

    layers: int = 128
    compressed_bytes: int = 10 * GIB
    unpacked_bytes: int = 20 * GIB
    free_bytes: int = 1 * GIB
    free_files: int = 10_000
    stall_s: float = 60.0
    tries: int = 5
    pause_s: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what no image could keep to."""
        for name in ("layers", "compressed_bytes", "unpacked_bytes", "stall_s", "tries"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0, is {getattr(self, name)!r}")
        for name in ("free_bytes", "free_files", "pause_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, is {getattr(self, name)!r}")
