"""A comparison as a page: one file, with its plots in it, which fetches and runs nothing. Pure.

Names and texts are strangers': whatever is not written here goes through `_text`.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from html import escape

from pipeline_client.cli.batches.comparison import Comparison
from pipeline_client.cli.batches.differences import SolutionChanges
from pipeline_client.cli.batches.figures import FIGURES
from pipeline_client.cli.views import plots
from pipeline_client.cli.views.batches import (
    FIGURE_HEADER,
    amount,
    figure_cells,
    outcome_counts,
    verdict_lines,
)
from pipeline_client.cli.views.text import cell, clean, count

MAX_OUTCOMES = 20
MAX_SOLUTIONS = 500
MAX_CHANGES = 100
"""Of a solution."""
MAX_TEXT = 2000
"""Characters of what a version said."""

_STYLE = """
:root { color-scheme: light dark; --back: #ffffff; --ink: #1c1f24; --faint: #6b7280;
  --line: #d5d9e0; --old: #6f7fa8; --new: #d9822b; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --back: #14171c; --ink: #e6e8ec; --faint: #9aa3b2;
  --line: #363c47; --old: #8fa3d9; --new: #f0a04b; --bad: #ff8a80; } }
body { background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif;
  margin: 2rem auto; max-width: 1100px; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } th, td { border-bottom: 1px solid var(--line);
  padding: .25rem .7rem .25rem 0; text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { font: 13px/1.4 ui-monospace, monospace; margin: 0; max-width: 30rem; overflow-wrap: anywhere;
  white-space: pre-wrap; }
details { border-bottom: 1px solid var(--line); padding: .3rem 0; overflow-x: auto; }
summary { cursor: pointer; } .faint, .tick, .name { color: var(--faint); fill: var(--faint); }
.moved { color: var(--bad); font-weight: 600; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; }
svg { max-width: 100%; height: auto; } svg text { fill: var(--ink); font-size: 11px; }
svg text.tick { text-anchor: middle; } svg text.name { text-anchor: end; }
rect.old { fill: var(--old); } rect.new { fill: var(--new); }
polyline { fill: none; stroke-width: 2; } polyline.old { stroke: var(--old); }
polyline.new { stroke: var(--new); } .frame { fill: none; stroke: var(--line); }
.guide { stroke: var(--faint); stroke-dasharray: 4 4; }
.point { fill: var(--new); fill-opacity: .55; }
.key { border-radius: 2px; display: inline-block; height: .7em; width: .7em; }
.key.old { background: var(--old); } .key.new { background: var(--new); }
"""


def comparison_page(comparison: Comparison) -> str:
    """Return the page's text; its markup is well-formed as XML too."""
    title = f"{comparison.track} {comparison.channel}: {comparison.old} to {comparison.new}"
    parts = [
        f"<h1>{_text(title)}</h1>",
        *(f"<p>{_text(line)}</p>" for line in verdict_lines(comparison)),
        '<p><span class="key old"></span> old: '
        f'{_text(comparison.old)} &#160; <span class="key new"></span> new: '
        f"{_text(comparison.new)}</p>",
        *_outcomes(comparison),
        *_figures(comparison),
        *_changes(comparison),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\"/>"
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _text(text: str, most: int = MAX_TEXT) -> str:
    """Return a stranger's text as markup's text, capped, with its control characters visible."""
    shown = clean(text)
    more = len(shown) - most
    return escape(shown if more <= 0 else f"{shown[:most]} ... {more} more characters")


def _outcomes(comparison: Comparison) -> Iterable[str]:
    if not comparison.compared:
        return
    counts = [(cell(name, 24), pair) for name, pair in outcome_counts(comparison).items()]
    yield "<h2>Outcomes</h2>"
    yield plots.bars(counts[:MAX_OUTCOMES], "How many solutions came to each outcome")
    moved = [(move, n) for move, n in comparison.moves.most_common(50) if move[0] != move[1]]
    if moved:
        rows = [
            [f'<td class="moved">{_text(old)} to {_text(new)}</td>', _number(str(number))]
            for (old, new), number in moved
        ]
        yield _table(("From old to new", "Solutions"), rows)


def _figures(comparison: Comparison) -> Iterable[str]:
    summaries = comparison.summaries()
    if not summaries:
        return
    yield "<h2>Times and memory</h2>"
    rows = []
    for summary in summaries:
        name, *numbers = figure_cells(summary)
        rows.append([f"<td>{_text(name)}</td>", *map(_number, numbers)])
    yield _table([name.capitalize() for name in FIGURE_HEADER], rows)
    yield (
        '<p class="faint">Old and new are medians; the change is the median of the solutions\' own '
        "changes. Left: a point for each solution, above the line it takes more with the new "
        "version. Right: which part of the solutions takes at most so much.</p>"
    )
    for figure in FIGURES:
        pairs = comparison.pairs[figure.name]
        if any(map(any, pairs)):  # of noughts alone there is nothing to see
            say = partial(amount, unit=figure.unit)
            yield f'<h3>{_text(figure.name)}</h3><div class="plots">'
            yield plots.scatter(pairs, f"{figure.name}, old and new", say)
            yield plots.distribution(pairs, f"{figure.name}, how it is distributed", say)
            yield "</div>"


def _changes(comparison: Comparison) -> Iterable[str]:
    yield "<h2>What changed</h2>"
    if not comparison.changed:
        yield "<p>Nothing.</p>"
    for found in comparison.changed[:MAX_SOLUTIONS]:
        yield _solution(found)
    more = len(comparison.changed) - MAX_SOLUTIONS
    if more > 0:
        yield f"<p>... {count(more, 'more solution')}: --json has all</p>"


def _solution(found: SolutionChanges) -> str:
    rows = [
        [
            f"<td>{_text(change.what, 300)}</td>",
            *(f"<td>{_said(said)}</td>" for said in (change.old, change.new)),
        ]
        for change in found.changes[:MAX_CHANGES]
    ]
    more = len(found.changes) - MAX_CHANGES
    rest = f"<p>... {count(more, 'more change')}: --json has all</p>" if more > 0 else ""
    kind = "" if found.weighty else ' <span class="faint">(texts only)</span>'
    number = count(len(found.changes), "change")
    opened = ' open="open"' if found.weighty else ""
    return (
        f"<details{opened}><summary>{_text(found.solution, 300)}: {number}{kind}</summary>"
        f"{_table(('What', 'Old', 'New'), rows)}{rest}</details>"
    )


def _said(text: str | None) -> str:
    return '<span class="faint">not there</span>' if text is None else f"<pre>{_text(text)}</pre>"


def _number(text: str) -> str:
    return f'<td class="number">{_text(text)}</td>'


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
