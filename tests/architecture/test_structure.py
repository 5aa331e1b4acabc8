"""The workspace's structure: no import circle, and each class name has one meaning."""

import ast
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAME_IN_ROUTER_AND_WORKER = {"StopAsked", "Tick"}
"""Events of both loops, which mean the same; their packages must not import each other."""


def modules() -> dict[str, ast.Module]:
    found = {}
    for file in ROOT.glob("packages/*/src/**/*.py"):
        inside = file.relative_to(file.parents[len(file.parts) - file.parts.index("src") - 2])
        name = ".".join(inside.with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(file.read_text())
    return found


def imports_of(name: str, tree: ast.Module, known: set[str]) -> set[str]:
    """List the modules that one imports at its top, for the type checker alone or not."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & known) - {name}


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_by_way_of_others() -> None:
    trees = modules()
    assert len(trees) > 150
    assert (
        find_circle({name: imports_of(name, tree, set(trees)) for name, tree in trees.items()})
        == []
    )


def test_a_circle_would_be_found() -> None:
    tree = ast.parse("if TYPE_CHECKING:\n    from pipeline_x.b import B\n")
    assert imports_of("pipeline_x.a", tree, {"pipeline_x.a", "pipeline_x.b"}) == {"pipeline_x.b"}
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})


def test_a_class_name_means_one_thing() -> None:
    where = defaultdict(list)
    for name, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(name)
    several = {name: places for name, places in where.items() if len(places) > 1}
    assert several.keys() <= SAME_IN_ROUTER_AND_WORKER, several


@pytest.mark.parametrize("folder", sorted(ROOT.glob("packages/*")), ids=lambda place: place.name)
def test_each_package_says_whose_it_is_and_what_it_may_be_used_for(folder: Path) -> None:
    text = (folder / "pyproject.toml").read_text()
    assert 'license = "MIT"' in text
    assert "authors = " in text
    assert "classifiers = " in text
