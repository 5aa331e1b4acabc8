"""What was measured, round by round: medians, and how far the rounds lay apart."""

from collections import defaultdict
from statistics import median


class Rounds:
    """Values by name, one a round."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = defaultdict(list)

    def add(self, name: str, value: float) -> None:
        """Take in a round's value."""
        self.values[name].append(value)

    def ratio(self, name: str, over: str, result: str) -> None:
        """Divide two names round by round: what moves both within a round cancels out."""
        pairs = zip(self.values[name], self.values[over], strict=True)
        self.values[result] = [value / base for value, base in pairs]

    def medians(self) -> dict[str, float]:
        """Return each name's median."""
        return {name: round(median(values), 4) for name, values in self.values.items()}

    def spread(self) -> dict[str, list[float]]:
        """Return each name's smallest and largest value."""
        return {
            name: [round(min(values), 4), round(max(values), 4)]
            for name, values in self.values.items()
        }
