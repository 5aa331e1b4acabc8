"""A benchmark's picture: every round a dot, the median a line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median


def dots(path: Path, panels: Mapping[str, Mapping[str, Sequence[float]]], note: str) -> bool:
    """Draw panels of values by name; False if matplotlib is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(panels), figsize=(4 * len(panels), 3.6), squeeze=False)
    for axis, (title, series) in zip(axes[0], panels.items(), strict=True):
        for place, values in enumerate(series.values()):
            axis.scatter([place] * len(values), values, s=18, alpha=0.6, color="tab:blue")
            axis.hlines(median(values), place - 0.3, place + 0.3, color="black")
            label = f"{median(values):{',.0f' if median(values) > 1000 else '.3g'}}"
            axis.annotate(label, (place + 0.32, median(values)), va="center", fontsize=8)
        axis.set_xticks(range(len(series)), list(series), fontsize=8)
        axis.set_xlim(-0.6, len(series) - 0.1)
        axis.set_ylim(bottom=0)
        axis.set_title(title, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    figure.text(0.01, 0.01, note, fontsize=7, color="grey")
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return True
