"""Source to its normal form: own names become placeholders, what says nothing goes.

A name is the solution's own if it is given there: by a definition, an argument, an assignment, an
import's `as`. What comes from elsewhere (`len`, `math.pi`, `.append`) keeps its name. The same name
has the same placeholder everywhere, as the platform wants it, whatever its scope.
"""

import ast
from collections.abc import Iterator, Mapping


def represent(sources: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the representation of some files together, and each placeholder's name.

    A file that cannot be parsed stands for itself.
    """
    trees = {name: parse(source) for name, source in sources.items()}
    placeholders: dict[str, str] = {}
    for tree in trees.values():
        for name in own_names(tree) if isinstance(tree, ast.Module) else ():
            placeholders.setdefault(name, f"PLACEHOLDER_{len(placeholders) + 1}")
    parts = [
        ast.unparse(Renamed(placeholders).visit(tree)) if isinstance(tree, ast.Module) else tree
        for tree in trees.values()
    ]
    representation = "\n\n".join(part.strip() for part in parts) + "\n"
    return representation, {placeholder: name for name, placeholder in placeholders.items()}


def parse(source: str) -> ast.Module | str:
    try:
        tree: ast.Module = Stripped().visit(ast.parse(source))
        ast.unparse(tree)
        return tree
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return source


class Stripped(ast.NodeTransformer):
    """Leaves out docstrings and annotations."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
        if getattr(node, "body", None) == [] and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        plain = ast.Assign([node.target], node.value)
        return self.generic_visit(ast.fix_missing_locations(ast.copy_location(plain, node)))


def own_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a tree gives, in its order, some more than once."""
    match tree:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield tree.name
        case ast.arg():
            yield tree.arg
        case ast.Name(ctx=ast.Store()):
            yield tree.id
        case ast.Attribute(ctx=ast.Store()):
            yield tree.attr
        case ast.alias(asname=str(name)):
            yield name
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
            yield name
        case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
            yield name
    for inner in ast.iter_child_nodes(tree):
        for name in own_names(inner):
            if not (name.startswith("__") and name.endswith("__")):
                yield name


class Renamed(ast.NodeTransformer):
    """Puts placeholders in the place of names, in every field that holds one."""

    FIELDS = ("id", "arg", "attr", "name", "asname", "rest")

    def __init__(self, placeholders: Mapping[str, str]) -> None:
        self._placeholders = placeholders

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for field in self.FIELDS:
            name = getattr(node, field, None)
            # what is imported is called as where it comes from
            if isinstance(name, str) and not (isinstance(node, ast.alias) and field == "name"):
                setattr(node, field, self._placeholders.get(name, name))
        if isinstance(node, ast.Global | ast.Nonlocal):
            node.names = [self._placeholders.get(name, name) for name in node.names]
        if isinstance(node, ast.MatchClass):
            node.kwd_attrs = [self._placeholders.get(name, name) for name in node.kwd_attrs]
        return super().generic_visit(node)
