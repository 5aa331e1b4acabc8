"""What a student is shown of a test: its code, and the task of the exercise that it belongs to.

The task is named by a comment just above the test or inside of it: `# task_id: 2`.
"""

import ast
import re
from textwrap import dedent

TASK = re.compile(r"^\s*#\s*task_id:\s*(\d{1,9})\s*$")


class Suite:
    """The text of a test file; one that cannot be parsed has no tests to show."""

    def __init__(self, source: str) -> None:
        self._lines = source.splitlines()
        self._functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        for group in tree.body:
            if isinstance(group, ast.ClassDef):
                for function in group.body:
                    if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                        self._functions[f"{group.name}.{function.name}"] = function

    def test(self, name: str) -> tuple[str | None, int | None]:
        """Return the code and the task of a test, `Class.method`."""
        function = self._functions.get(name)
        if function is None:
            return None, None
        first = min(line.lineno for line in (function, *function.decorator_list))
        above = self._lines[max(first - 2, 0) : first - 1]
        inside = self._lines[function.lineno : function.end_lineno]
        tasks = [int(found[1]) for line in (*above, *inside) if (found := TASK.match(line))]
        if function.body[0].lineno == function.lineno:  # all in one line
            return self._lines[function.lineno - 1].strip(), tasks[0] if tasks else None
        code = [line for line in inside if not TASK.match(line)]
        return dedent("\n".join(code)).strip(), tasks[0] if tasks else None
