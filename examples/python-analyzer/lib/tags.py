"""Which constructs and techniques a solution uses, as `category:thing`."""

import ast

BY_NODE: dict[type[ast.AST], str] = {
    ast.ClassDef: "construct:class",
    ast.JoinedStr: "construct:f-string",
    ast.If: "construct:if",
    ast.For: "construct:for-loop",
    ast.While: "construct:while-loop",
    ast.ListComp: "construct:list-comprehension",
    ast.DictComp: "construct:dictionary-comprehension",
    ast.GeneratorExp: "construct:generator-expression",
    ast.Lambda: "construct:lambda",
    ast.Yield: "construct:generator",
    ast.Match: "construct:match",
    ast.Try: "technique:exceptions",
}


def of(tree: ast.Module) -> set[str]:
    nodes = list(ast.walk(tree))
    found = {BY_NODE[type(node)] for node in nodes if type(node) in BY_NODE}
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    if any(function.args.defaults for function in functions):
        found.add("construct:default-argument")
    if any(calls(function, function.name) for function in functions):
        found.add("technique:recursion")
    if any(isinstance(node, ast.ClassDef) for node in nodes):
        found.add("paradigm:object-oriented")
    return found


def calls(function: ast.FunctionDef, name: str) -> bool:
    """Return whether it calls a function of that name."""
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
        for node in ast.walk(function)
    )
