"""What the documents say of the code: the files that they name are there, and lines fit."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [ROOT / name for name in ("bench", "docs", "examples", "packages", "tests", "vm")]
DOCUMENTS = [*ROOT.glob("*.md"), *(path for place in FOLDERS for path in place.rglob("*.md"))]
FILES = [str(path) for place in FOLDERS for path in place.rglob("*.py")]
NAMED = re.compile(r"`([a-z_][a-z_0-9/]*\.py)`")


def shown(document: Path) -> str:
    return str(document.relative_to(ROOT))


def prose(document: Path) -> list[tuple[int, str]]:
    """List the numbered lines that are no table, no code and no link alone."""
    lines, in_code = [], False
    for number, line in enumerate(document.read_text().splitlines(), 1):
        if line.startswith("```"):
            in_code = not in_code
        elif not in_code and not line.startswith(("|", "    ", "- [", "[")):
            lines.append((number, line))
    return lines


def test_there_are_documents() -> None:
    assert {"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"} <= set(map(shown, DOCUMENTS))
    assert NAMED.findall(Path(ROOT, "CONTRIBUTING.md").read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=shown)
def test_each_file_that_is_named_is_there(document: Path) -> None:
    named = NAMED.findall(document.read_text())
    missing = [name for name in named if not any(file.endswith(f"/{name}") for file in FILES)]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=shown)
def test_lines_are_wrapped_at_100(document: Path) -> None:
    assert [(number, line) for number, line in prose(document) if len(line) > 100] == []


def imports(document: Path) -> list[str]:
    """List the imports in a document's examples."""
    examples = re.findall(r"^```python\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)
    return [
        ast.unparse(node)
        for example in examples
        for node in ast.walk(ast.parse(example))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=shown)
def test_what_examples_import_is_there(document: Path) -> None:
    for line in imports(document):
        exec(line, {})


def test_there_are_examples() -> None:
    assert sum(len(imports(document)) for document in DOCUMENTS) > 5
