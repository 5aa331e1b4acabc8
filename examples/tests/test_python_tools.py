"""What the Python tools promise, on any text that a student may have written; without an image."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pace import paced

EXAMPLES = Path(__file__).parents[1]
REPRESENTER = EXAMPLES / "python-representer"
PLAIN = """
def {first}({second}, {third}=None):
    {fourth} = len({second})
    return [{fourth} + {fifth} for {fifth} in {second} if {third}]
"""
OWN = ("first", "second", "third", "fourth", "fifth")
NAMES = st.lists(
    st.from_regex(r"[a-z]{3,8}_[a-z]{2,5}", fullmatch=True), min_size=5, max_size=5, unique=True
)
ODD = {
    "nothing": "",
    "NUL": "a = 1\0",
    "too deep to parse": "(" * 5000,
    "too deep to write": "x = " + "-" * 900 + "1",
    "half a character": "a = '\udc80'",
    "another syntax": "10 PRINT 'HELLO'",
}


def run(tool: str, folder: Path, slug: str = "two-fer") -> dict[str, Any]:
    """Run a tool as its image does, by this interpreter; what it leaves, by name."""
    main = {"python-analyzer": "analyzer", "python-representer": "representer"}
    program = EXAMPLES / tool / "lib" / f"{main.get(tool, 'runner')}.py"
    command = [sys.executable, "-B", "-s", "-E", str(program), slug, f"{folder}/", f"{folder}/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=paced(60), check=False)
    assert done.returncode == 0, done.stderr
    left = {path.name: path.read_text() for path in folder.iterdir() if path.suffix != ".py"}
    return {name: json.loads(it) if name.endswith("json") else it for name, it in left.items()}


def represented(source: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, str]]:
    monkeypatch.syspath_prepend(str(REPRESENTER / "lib"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    from normalizer import represent

    return represent({"two_fer.py": source})


@given(NAMES, NAMES)
def test_solutions_that_differ_in_names_are_represented_alike(
    some: list[str], others: list[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        ones, twos = (
            represented(PLAIN.format(**dict(zip(OWN, names, strict=True))), patch)
            for names in (some, others)
        )
    assert ones[0] == twos[0]
    assert list(ones[1]) == list(twos[1])
    assert set(ones[1].values()) == set(some)
    ast.parse(ones[0])


@pytest.mark.parametrize(
    ("source", "alike"),
    [
        ("x: int = 1", "x = 1"),
        ("def f():\n    'doc'", "def f(): pass"),
        ("class A:\n    a: int\n    def f(self) -> 'A': ...", "class B:\n    def g(me): ..."),
        ("if True:\n    a: int", "if True: pass"),
        ("def f():\n    global a\n    a = 1", "def g():\n    global b\n    b = 1"),
        ("import re as r\nr.sub", "import re as x # y\nx.sub"),
        ("match 1:\n    case A(b=c): c\nb = A = 1", "match 1:\n    case X(y=z): z\ny = X = 1"),
    ],
)
def test_what_says_nothing_makes_no_difference(
    source: str, alike: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert represented(source, monkeypatch)[0] == represented(alike, monkeypatch)[0]


@pytest.mark.parametrize(
    ("source", "other"),
    [
        ("a.append(1)", "a.extend(1)"),
        ("import re", "import os"),
        ("f = lambda x: x", "f = lambda x: f"),
        ("from os import path as p", "from os import sep as p"),
    ],
)
def test_what_does_make_a_difference_is_kept(
    source: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert represented(source, monkeypatch)[0] != represented(other, monkeypatch)[0]


@pytest.mark.parametrize("source", ODD.values(), ids=ODD)
@pytest.mark.parametrize("tool", ["python-analyzer", "python-representer", "python-test-runner"])
def test_each_tool_copes_with_whatever_it_is_given(tool: str, source: str, tmp_path: Path) -> None:
    written = source.encode(errors="surrogateescape")
    (tmp_path / "two_fer.py").write_bytes(written)
    (tmp_path / "two_fer_test.py").write_bytes(b"import two_fer\n" + written)
    left = run(tool, tmp_path)
    if tool == "python-test-runner":
        assert left["results.json"]["status"] == "error"
    elif tool == "python-analyzer":
        assert left["analysis.json"]["comments"][0]["type"] == "essential"
    else:
        assert isinstance(left["representation.txt"], str)


def test_a_link_of_the_solution_leads_no_tool_astray(tmp_path: Path) -> None:
    secret = tmp_path / "secret.py"
    secret.write_text("password = 1\n")
    job = tmp_path / "job"
    job.mkdir()
    (job / "two_fer.py").symlink_to(secret)
    (job / "representation.txt").symlink_to(secret)
    assert "password" not in run("python-representer", job)["mapping.json"].values()
    assert secret.read_text() == "password = 1\n"


TESTS = """
import sys, unittest
class GreetingTest(unittest.TestCase):
{setup}
    def test_it(self): {body}
"""


@pytest.mark.parametrize(
    ("body", "setup", "status", "says"),
    [
        ("sys.exit(0)", "", "fail", "SystemExit: 0"),
        ("sys.stdout.close()", "", "pass", None),
        ("sys.stdout = None", "", "pass", None),
        ("self.skipTest('later')", "", "fail", "It was skipped: later"),
        ("pass", "    def setUpClass(): 1 / 0", "error", None),
        ("pass", "    setUp = lambda self: 1 / 0", "fail", "ZeroDivisionError: division by zero"),
        ("raise Exception('\\ud800')", "", "fail", "Exception: \ud800"),
        ("__import__('os').kill(0, 9)", "", "error", None),
    ],
)
def test_whatever_a_test_does_there_is_a_result(
    body: str, setup: str, status: str, says: str | None, tmp_path: Path
) -> None:
    (tmp_path / "two_fer_test.py").write_text(TESTS.format(body=body, setup=setup))
    results = run("python-test-runner", tmp_path)["results.json"]
    assert results["status"] == status, results
    assert bool(results["message"]) == (status == "error")
    if says:
        (test,) = results["tests"]
        assert test["message"].startswith(says)
