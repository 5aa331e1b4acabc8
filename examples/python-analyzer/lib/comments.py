"""What is said of a solution to any exercise: one function a remark.

A check takes a node of the syntax tree and yields comments; `CHECKS` says of which kind of node.
"""

import ast
from collections.abc import Callable, Iterator
from typing import Any

TYPES = ("essential", "actionable", "informative", "celebratory")
"""The most important first."""
Comment = dict[str, Any]


def comment(kind: str, text: str, **params: str) -> Comment:
    return {"comment": f"python.{text}", "params": params, "type": kind}


def general(tree: ast.Module) -> Iterator[Comment]:
    """Walk through the tree in the order of the file; each remark is made once."""
    said = []
    for node in ast.walk(tree):
        for kind, check in CHECKS:
            if isinstance(node, kind):
                said += [(getattr(node, "lineno", 0), it) for it in check(node)]
    once = {repr(it): it for _, it in sorted(said, key=lambda pair: pair[0])}
    yield from once.values()


def mutable_default(node: ast.FunctionDef) -> Iterator[Comment]:
    defaults = [*node.args.defaults, *(it for it in node.args.kw_defaults if it)]
    for default in defaults:
        if isinstance(default, ast.List | ast.Dict | ast.Set):
            yield comment(
                "actionable",
                "general.mutable_default",
                function=node.name,
                value=ast.unparse(default)[:100],
            )


def bare_except(node: ast.ExceptHandler) -> Iterator[Comment]:
    if node.type is None:
        yield comment("actionable", "general.bare_except", line=str(node.lineno))


def compared_to_constant(node: ast.Compare) -> Iterator[Comment]:
    for operator, right in zip(node.ops, node.comparators, strict=True):
        is_equality = isinstance(operator, ast.Eq | ast.NotEq)
        if is_equality and isinstance(right, ast.Constant):
            if right.value is None:
                yield comment(
                    "actionable", "general.compared_to_none", code=ast.unparse(node)[:100]
                )
            elif isinstance(right.value, bool):
                yield comment(
                    "actionable", "general.compared_to_bool", code=ast.unparse(node)[:100]
                )


def index_loop(node: ast.For) -> Iterator[Comment]:
    """Find `for i in range(len(x))`."""
    match node.iter:
        case ast.Call(
            func=ast.Name("range"), args=[ast.Call(func=ast.Name("len"), args=[counted])]
        ):
            yield comment("informative", "general.index_loop", what=ast.unparse(counted)[:100])


CHECKS: tuple[tuple[type, Callable[[Any], Iterator[Comment]]], ...] = (
    (ast.FunctionDef, mutable_default),
    (ast.ExceptHandler, bare_except),
    (ast.Compare, compared_to_constant),
    (ast.For, index_loop),
)
