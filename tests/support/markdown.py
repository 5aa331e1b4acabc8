"""A Markdown document's tables and code blocks, for tests that hold it to the code."""

import re
from pathlib import Path


class Document:
    """A document, read once."""

    def __init__(self, path: Path) -> None:
        self.text = path.read_text("utf-8")

    def blocks(self, language: str) -> list[str]:
        """Return what stands between the fences of a language."""
        return re.findall(rf"^```{language}\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)

    def table(self, *columns: str) -> list[list[str]]:
        """Return the cells of these columns of the one table that has them all, row by row."""
        found = []
        for lines in re.findall(r"(?:^\|.*\n)+", self.text, re.MULTILINE):
            head, _, *rows = [_cells(line) for line in lines.splitlines()]
            if set(columns) <= set(head):
                places = [head.index(column) for column in columns]
                found.append([[row[place] for place in places] for row in rows])
        assert len(found) == 1, f"{len(found)} tables have the columns {columns}"
        return found[0]

    def links_within(self) -> set[str]:
        return set(re.findall(r"\]\(#([^)]+)\)", self.text))

    def anchors(self) -> set[str]:
        """Return what links can name, by the rule that code hosts make anchors of headings by."""
        headings = re.findall(r"^#+ (.+)$", self.text, re.MULTILINE)
        return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip())[1:-1]
    return [cell.strip().replace("\\|", "|") for cell in cells]


def codes(cell: str) -> list[str]:
    """Return what a cell has as code."""
    return re.findall(r"`([^`]+)`", cell)


def numbers(cell: str) -> set[float]:
    """Return the numbers of a cell's prose."""
    return {float(number) for number in re.findall(r"\d+", re.sub(r"`[^`]+`", "", cell))}
