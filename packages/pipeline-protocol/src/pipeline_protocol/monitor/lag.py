"""How long whatever comes has to wait for the loop: the longest turn of the last minute."""

from collections import deque

KEPT = 60


class Lag:
    """Turns' lengths, in seconds, by what is looked at once a second."""

    def __init__(self) -> None:
        self.longest = 0.0
        """Since it was last looked at."""
        self._kept: deque[float] = deque(maxlen=KEPT)

    def look(self) -> float:
        """Return the longest turn since as many looks as are kept."""
        self._kept.append(self.longest)
        self.longest = 0.0
        return max(self._kept)
