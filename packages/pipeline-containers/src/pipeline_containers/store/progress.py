"""How far a pull is: what has arrived, of what has to."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PullProgress:
    """Bytes as they travel, packed, of the layers that were not here when the pull began.

    `bytes_done` is less than `bytes_total` until the image is here and whole.
    """

    bytes_done: int
    bytes_total: int

    @property
    def percent(self) -> int:
        """How much is done, from 0 to 100; 100 only when the image is whole."""
        if self.bytes_done >= self.bytes_total:
            return 100
        return self.bytes_done * 100 // self.bytes_total


OnProgress = Callable[[PullProgress], None]
"""Is told of progress, from the thread that pulls."""
