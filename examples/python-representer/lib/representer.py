"""Represent a solution: representer.py SLUG INPUT_DIR OUTPUT_DIR.

Two solutions that differ in names, comments, docstrings, annotations and layout have the same
representation, so that what a mentor says of one can be said of the other.
"""

import json
import os
import sys
from pathlib import Path

from normalizer import represent

VERSION = 1
"""To be raised with each change after which a solution is represented in another way."""


def main(slug: str, input_folder: str, output_folder: str) -> None:
    files = solution_files(slug, Path(input_folder))
    sources = {file.name: file.read_text(encoding="utf-8", errors="replace") for file in files}
    representation, mapping = represent(sources)
    output = Path(output_folder)
    write(output / "representation.txt", representation)
    write(output / "mapping.json", as_json(mapping))
    write(output / "representation.json", as_json({"version": VERSION}))


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


def as_json(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def write(path: Path, text: str) -> None:
    """Write aside and rename: never half a file, and none through a link of the solution's."""
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    with aside.open("x", encoding="utf-8") as file:
        file.write(text)
    aside.replace(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
