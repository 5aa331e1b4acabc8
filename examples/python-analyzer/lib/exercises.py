"""What is said of a solution to one exercise: a function each, by the exercise's slug."""

import ast
from collections.abc import Callable, Iterator

from comments import Comment, comment


def comments(slug: str, tree: ast.Module) -> Iterator[Comment]:
    if slug in BY_SLUG:
        yield from BY_SLUG[slug](tree)


def two_fer(tree: ast.Module) -> Iterator[Comment]:
    functions = [it for it in tree.body if isinstance(it, ast.FunctionDef) and it.name == "two_fer"]
    if not functions:
        yield comment("essential", "two_fer.missing_function", name="two_fer")
        return
    function = functions[-1]
    nodes = list(ast.walk(function))
    if any(isinstance(it, ast.JoinedStr) for it in nodes):
        yield comment("celebratory", "two_fer.f_string")
    elif any(isinstance(it, ast.BinOp) and is_text(it.left) for it in nodes):
        yield comment("informative", "two_fer.string_built_by_operators")
    defaults = function.args.defaults
    if not defaults:
        yield comment("essential", "two_fer.no_default")
    elif isinstance(defaults[0], ast.Constant) and defaults[0].value is None:
        yield comment("actionable", "two_fer.none_for_default", function=function.name)


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


BY_SLUG: dict[str, Callable[[ast.Module], Iterator[Comment]]] = {"two-fer": two_fer}
