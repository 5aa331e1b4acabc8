"""What a router counts, beside the work itself; all since its start."""

from dataclasses import dataclass


@dataclass(slots=True)
class RouterCounters:
    """Numbers for people: nothing is decided by them."""

    accepted: int = 0
    """Requests for a worker."""
    merged: int = 0
    """Requests that met the same one in flight, or its stored reply."""
    refused: int = 0
    """Requests that were answered without a worker, by any status but 200."""
    retried: int = 0
    """Jobs sent again, their worker lost."""
    late_results: int = 0
    """Results that nobody waited for any more."""
    garbled: int = 0
    """Messages from workers that could not be read."""
