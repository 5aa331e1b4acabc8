"""Where a repository's fixtures are, which slug each has, and how what came of them is compared."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.markdown import Document, codes
from support.tracks import ROOT

from pipeline_containers.building.comparison import MAX_LINES, compare
from pipeline_containers.building.fixtures import MAX_FIXTURES, Fixture, find_fixtures
from pipeline_containers.sandbox.tools import TOOLS

RUNNER = TOOLS["test_runner"]
PASS = json.dumps({"version": 1, "status": "pass"})
Write = Callable[..., None]
ROWS = Document(ROOT / "docs/tools.md").table("fixture", "slug")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files of a checkout."""

    def do(*names: str, text: str = PASS) -> None:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)

    return do


def found(source: Path, kind: str = "test_runner") -> dict[str, str]:
    """Names and slugs."""
    return {fixture.name: fixture.slug for fixture in find_fixtures(source, TOOLS[kind]).fixtures}


@pytest.mark.parametrize(
    ("file", "name", "slug"),
    [
        ("tests/one/expected_results.json", "tests/one", "one"),
        ("tests/example-all-fail/expected_results.json", "tests/example-all-fail", None),
        ("tests/data/one_passing/expected_results.json", "tests/data/one_passing", "one_passing"),
        ("tests/two-fer/case/expected_results.json", "tests/two-fer/case", "two-fer"),
        ("tests/error/of/it/expected_results.json", "tests/error/of/it", "error"),
        ("test/hello-world/expected_results.json", "test/hello-world", "hello-world"),
        ("test/fixtures/v3/expected_results.json", "test/fixtures/v3", "v3"),
        ("test/fixtures/clock/pass/expected_results.json", "test/fixtures/clock/pass", "clock"),
        ("test_data/leap/good/expected_results.json", "test_data/leap/good", "leap"),
        ("test/example-success/results.json", "test/example-success", "example-success"),
        ("tests/data/expected_results.json", "tests/data", "data"),
    ],
)
def test_layouts(tmp_path: Path, write: Write, file: str, name: str, slug: str | None) -> None:
    write(file)
    assert found(tmp_path) == {name: slug or name.rpartition("/")[2]}


@pytest.mark.parametrize(("file", "slug"), ROWS)
def test_the_table_of_the_document(tmp_path: Path, write: Write, file: str, slug: str) -> None:
    (name,) = codes(file)
    kind = "analyser" if "analysis" in name else "test_runner"
    write(name, text=PASS)
    assert found(tmp_path, kind) == {name.rpartition("/")[0]: slug.strip("`")}


@pytest.mark.parametrize(
    "file",
    [
        "tests/expected_results.json",
        "elsewhere/one/expected_results.json",
        "tests/.hidden/expected_results.json",
        "tests/node_modules/x/expected_results.json",
        "tests/1/2/3/4/5/6/expected_results.json",
        "tests/one/expected_analysis.json",
        "tests/one/result.json",
    ],
)
def test_what_is_no_fixture(tmp_path: Path, write: Write, file: str) -> None:
    write(file)
    assert found(tmp_path) == {}


def test_plain_names_count_only_where_nothing_is_expected(tmp_path: Path, write: Write) -> None:
    """They are what running the tests by hand leaves."""
    write("tests/one/expected_results.json", "tests/one/results.json", "tests/two/results.json")
    assert list(found(tmp_path)) == ["tests/one"]


def test_a_fixture_within_a_fixture_is_its_input(tmp_path: Path, write: Write) -> None:
    write("tests/one/expected_results.json", "tests/one/sub/expected_results.json")
    assert list(found(tmp_path)) == ["tests/one"]


@pytest.mark.parametrize(
    ("script", "slug"),
    [
        ('slug="identity"\n', "identity"),
        ("    slug=leap\n", "leap"),
        ('    bin/run.sh \'leap\' "${dir}" "${dir}"\n', "leap"),
        ('    ./bin/run.sh "two-fer" "${dir}" "${dir}"\n', "two-fer"),
        ('    bin/run.sh "" "${dir}" "${dir}"\n', ""),
        ('    bin/run.sh "${name}" "${dir}" "${dir}"\n', "one"),
        ('slug=$(basename "${dir}")\n', "one"),
        ('slug="${file%.*}"\n', "one"),
        ("# docker run bin/run.sh 'leap' \n", "one"),
        ("slug='a b'\n", "one"),
        ("slug='leap\"\n", "one"),
        ("slug=.hidden\n", "one"),
        ("slug=-x\n", "one"),
        ("slug=Two_Fer.v2\n", "Two_Fer.v2"),
    ],
)
@pytest.mark.parametrize("name", ["bin/run-tests.sh", "bin/smoke_test.sh"])
def test_a_slug_that_the_repositorys_script_gives_to_all(
    tmp_path: Path, write: Write, name: str, script: str, slug: str
) -> None:
    write("tests/one/expected_results.json")
    write(name, text=f"#!/bin/sh\n{script}")
    assert found(tmp_path) == {"tests/one": slug}


@pytest.mark.parametrize(
    ("metadata", "slug"),
    [
        ('{"exercise": "leap"}', "leap"),
        ('{"exercise": "../x y"}', "one"),
        ('{"exercise": 3}', "one"),
        ("[]", "one"),
        ("{", "one"),
    ],
)
def test_a_slug_that_the_solution_has_with_it(
    tmp_path: Path, write: Write, metadata: str, slug: str
) -> None:
    write("tests/one/expected_results.json")
    write("tests/one/.exercism/metadata.json", text=metadata)
    assert found(tmp_path) == {"tests/one": slug}


@pytest.mark.parametrize("slug", ["a b", "-x", "x" * 129, "größe"])
def test_a_slug_that_no_job_can_have_is_said(tmp_path: Path, write: Write, slug: str) -> None:
    write("tests/two_fer.v2/expected_results.json", f"tests/{slug}/expected_results.json")
    all_found = find_fixtures(tmp_path, TOOLS["test_runner"])
    assert {fixture.slug for fixture in all_found.fixtures} == {"two_fer.v2", slug}
    assert [line for line in all_found.warnings if "no job can have" in line] == [
        f"tests/{slug}: no job can have its slug {slug!r}"
    ]


def test_links_lead_to_no_fixtures(tmp_path: Path, write: Write) -> None:
    write("away/one/expected_results.json")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/one").symlink_to(tmp_path / "away/one")
    (tmp_path / "test").symlink_to(tmp_path / "away")
    (tmp_path / "bin").symlink_to(tmp_path / "away")
    assert found(tmp_path) == {}


@pytest.mark.parametrize("text", ["{", '{"status": "passed"}', "\udcff"])
def test_an_expectation_that_is_no_data_is_said_and_promises_nothing(
    tmp_path: Path, write: Write, text: str
) -> None:
    write("tests/one/expected_results.json")
    bad = tmp_path / "tests/one/expected_results.json"
    bad.write_bytes(text.encode(errors="surrogateescape"))
    looked = find_fixtures(tmp_path, RUNNER)
    (fixture,) = looked.fixtures
    assert fixture.expected == {}
    (said,) = looked.warnings
    assert said.startswith("tests/one/expected_results.json ")
    assert said.endswith(": it is not compared")
    bad.unlink()
    bad.symlink_to("/etc/passwd")
    (said,) = find_fixtures(tmp_path, RUNNER).warnings
    assert said == "tests/one/expected_results.json is a link: it is not compared"


def test_no_more_than_so_many(tmp_path: Path, write: Write) -> None:
    write(*(f"tests/{number:03}/expected_results.json" for number in range(MAX_FIXTURES + 1)))
    looked = find_fixtures(tmp_path, RUNNER)
    assert len(looked.fixtures) == MAX_FIXTURES
    assert looked.warnings == [f"only the first {MAX_FIXTURES} fixtures are tried"]


# --- comparison


def differs(expected: Any, actual: Any, name: str = "tests/one") -> str:
    fixture = Fixture(name, "one", Path("/nowhere"), {"results.json": expected})
    return compare(fixture, RUNNER, actual)


def result(message: str | None = None, **more: Any) -> dict[str, Any]:
    return {"version": 2, "status": "error", "message": message, **more}


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (result("x"), dict(reversed(result("x").items()))),
        (result(None), {"version": 2, "status": "error"}),
        (result("x", **{"test-environment": {"bash": "5.1"}}), result("x")),
        (result("x"), result("x", took=3)),
        (result(tests=[{"name": "a", "time": 1}]), result(tests=[{"name": "a", "time": 2}])),
        (result(tests=[{"name": "a"}]), result(tests=[{"name": "a", "output": None}])),
        (result("/solution/a.rb:1"), result("/mnt/exercism-iteration/a.rb:1")),
        (result("/solution/a.rb:1"), result("/mnt/exercism-iteration//a.rb:1")),
        (result("in /solution: no"), result("in /mnt/exercism-iteration/: no")),
        (result("/opt/test-runner/tests/one/a"), result("/mnt/exercism-iteration/a")),
        (result("(tests/one/a)"), result("(/mnt/exercism-iteration/a)")),
        (result("./tests/one/a"), result("/mnt/exercism-iteration/a")),
        (result("/tmp/tests/one/a"), result("/mnt/exercism-iteration/a")),
        (result("<solution-dir>/a"), result("/mnt/exercism-iteration/a")),
    ],
)
def test_what_is_the_same(expected: Any, actual: Any) -> None:
    assert differs(expected, actual) == ""


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (result("x"), result("y")),
        (result("x"), result(None)),
        (result(tests=[]), result()),
        (result(tests=[{"name": "a"}, {"name": "b"}]), result(tests=[{"name": "a"}])),
        (
            result(tests=[{"name": "a"}, {"name": "b"}]),
            result(tests=[{"name": "b"}, {"name": "a"}]),
        ),
        (result(tests=[{"name": "a", "task_id": 1}]), result(tests=[{"name": "a", "task_id": 2}])),
        (result("/solutions/a"), result("/mnt/exercism-iteration/a")),
        (result("/my/solution/a"), result("/my/mnt/exercism-iteration/a")),
        (result("/solution/a"), result("/mnt/exercism-iteration/b")),
    ],
)
def test_what_is_not(expected: Any, actual: Any) -> None:
    lines = differs(expected, actual).splitlines()
    assert lines[:2] == ["--- expected results.json", "+++ results.json"]
    assert len(lines) > 3


def test_a_difference_is_of_bounded_size() -> None:
    many = [{"name": "x" * 10_000, "status": "pass"} for _ in range(1000)]
    lines = differs(result(tests=many), result()).splitlines()
    assert len(lines) == MAX_LINES + 3
    assert lines[-1] == "... and more"
    assert max(map(len, lines)) < 300


def test_what_is_far_down_is_found_and_shown_with_what_is_around_it() -> None:
    tests = [{"name": f"test {number}", "status": "pass"} for number in range(5000)]
    changed = [*tests[:4000], tests[4000] | {"status": "fail"}, *tests[4001:]]
    assert differs(result(tests=tests), result(tests=changed)).splitlines() == [
        "--- expected results.json",
        "+++ results.json",
        "@@",
        "     {",
        '       "name": "test 4000",',
        '-      "status": "pass"',
        '+      "status": "fail"',
        "     },",
        "     {",
    ]


def test_what_a_stranger_wrote_to_take_long_does_not(tmp_path: Path, write: Write) -> None:
    """The square of it would be an hour."""
    one, two = ([{"name": str(number % 90)} for number in range(n, n + 90_000)] for n in (0, 45))
    assert differs(result(tests=one), result(tests=two))
    write("tests/one/expected_results.json")
    write("bin/run-tests.sh", text="\n" * 65_000)
    assert found(tmp_path) == {"tests/one": "one"}
