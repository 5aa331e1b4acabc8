"""Comment on a solution: analyzer.py SLUG INPUT_DIR OUTPUT_DIR.

The solution is read, never run. Each comment names a text that is kept for it elsewhere
(`python.general.bare_except`), and what is to be filled in there.
"""

import ast
import json
import os
import sys
from pathlib import Path
from typing import Any

import comments
import exercises
import tags

MAX_COMMENTS = 50


def main(slug: str, input_folder: str, output_folder: str) -> None:
    found, tagged = analyze(slug, Path(input_folder))
    write(Path(output_folder, "analysis.json"), {"summary": summary(found), "comments": found})
    write(Path(output_folder, "tags.json"), {"tags": tagged})


def analyze(slug: str, folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return comments, the most important first, and tags."""
    files = solution_files(slug, folder)
    if not files:
        params = {"file": f"{slug.replace('-', '_')}.py"}
        return [comments.comment("essential", "general.missing_solution", **params)], []
    found: list[dict[str, Any]] = []
    tagged: set[str] = set()
    for file in files:
        try:
            tree = ast.parse(file.read_bytes())
            found += [*comments.general(tree), *exercises.comments(slug, tree)]
            tagged |= tags.of(tree)
        except SyntaxError as error:
            line, why = str(error.lineno or 0), error.msg
            params = {"file": file.name, "line": line, "message": why}
            found.append(comments.comment("essential", "general.syntax_error", **params))
        except (ValueError, RecursionError, MemoryError):  # NUL, or what nobody would write
            found.append(comments.comment("essential", "general.unreadable", file=file.name))
    return sorted(found, key=lambda it: comments.TYPES.index(it["type"]))[:MAX_COMMENTS], sorted(
        tagged
    )


def solution_files(slug: str, folder: Path) -> list[Path]:
    """Return what the student wrote: as the exercise says, by its name, or all but the tests."""
    try:
        config = json.loads((folder / ".meta/config.json").read_text())
        named = [folder / name for name in config["files"]["solution"]]
    except (OSError, ValueError, LookupError, TypeError):
        named = [folder / f"{slug.replace('-', '_')}.py"]
    there = [path for path in named if is_within(folder, path)]
    return there or [
        path
        for path in sorted(folder.glob("*.py"))
        if is_within(folder, path) and not path.stem.endswith("_test")
    ]


def is_within(folder: Path, path: Path) -> bool:
    """Return whether it is a file of the folder, and no link to another place."""
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def summary(found: list[dict[str, Any]]) -> str:
    kinds = {it["type"] for it in found}
    if "essential" in kinds:
        return "There is something to be put right first."
    if "actionable" in kinds:
        return "Some of it can be said in a better way."
    return "Nothing to improve was found."


def write(path: Path, content: object) -> None:
    """Write aside and rename: never half a file, and none through a link of the solution's."""
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    with aside.open("x", encoding="utf-8") as file:
        json.dump(content, file, indent=2, ensure_ascii=False)
        file.write("\n")
    aside.replace(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
