"""Which solutions there are in a folder of folders and in a file of lines, and what they are."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline_client.cli.batches.solutions import BadSolutions, Solution, solutions_in
from pipeline_client.errors import CallerError


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def lines(path: Path, *objects: Any) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in objects))
    return path


def names(found: list[Solution]) -> list[tuple[str, str]]:
    return [(it.exercise, it.name) for it in found]


def test_a_folder_has_exercises_and_these_have_solutions(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "two-fer/bob/lib/a.rb": "1",
            "two-fer/alice/a.rb": "1",
            "leap/alice/a.rb": "1",
            "leap/alice/.git/HEAD": "x",
            "leap/.DS_Store": "x",
            ".git/HEAD": "x",
            "README.md": "x",
        },
    )
    found = solutions_in(tmp_path, None)
    assert names(found.found) == [
        ("leap", "leap/alice"),
        ("two-fer", "two-fer/alice"),
        ("two-fer", "two-fer/bob"),
    ]
    assert found.found[0].input() == {"folder": tmp_path / "leap" / "alice"}
    assert found.left_out == {"README.md": 1, ".git/": 1}
    assert len({it.id for it in found.found}) == 3


def test_of_one_exercise_each_folder_is_a_solution(tmp_path: Path) -> None:
    write(tmp_path, {"alice/a.rb": "1", "Bob B/a.rb": "1"})
    found = solutions_in(tmp_path, "two-fer")
    assert names(found.found) == [("two-fer", "Bob B"), ("two-fer", "alice")]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, "there is no solution in"),
        ({"two-fer/a.rb": "1"}, "with --exercise SOLUTION/"),
        ({"Two Fer/alice/a.rb": "1"}, "'Two Fer' in .* is no exercise"),
    ],
)
def test_another_layout_is_refused(tmp_path: Path, files: dict[str, str], why: str) -> None:
    with pytest.raises(BadSolutions, match=why):
        solutions_in(write(tmp_path, dict(files)), None)


def test_a_name_that_is_no_text_is_shown_as_bytes(tmp_path: Path) -> None:
    folder = os.path.join(os.fsencode(tmp_path), b"\xff")
    os.mkdir(folder)
    with open(os.path.join(folder, b"a.rb"), "wb") as file:
        file.write(b"1")
    (found,) = solutions_in(tmp_path, "two-fer").found
    assert found.name == r"\xff"
    assert os.fsencode(found.input()["folder"]) == folder


def test_a_line_has_files_or_says_where_they_lie(tmp_path: Path) -> None:
    binary = {"base64": base64.b64encode(b"\xff").decode()}
    file = lines(
        tmp_path / "all.jsonl",
        {"exercise": "leap", "solution": "one", "files": {"a.rb": "1", "b": binary}, "mine": 1},
        {"exercise": "leap", "files": {"a.rb": "1"}},
        {"s3_uri": "s3://bucket/1/"},
    )
    found = solutions_in(file, "two-fer").found
    assert [it.input() for it in found] == [
        {"files": {"a.rb": "1", "b": b"\xff"}},
        {"files": {"a.rb": "1"}},
        {"s3_uri": "s3://bucket/1/"},
    ]
    assert names(found)[0] == ("leap", "one")
    assert names(found)[1][1].startswith("leap/")
    assert names(found)[2] == ("two-fer", "s3://bucket/1/")


def test_a_line_and_a_folder_of_the_same_are_the_same(tmp_path: Path) -> None:
    folder = write(tmp_path / "all", {"leap/one/a.rb": "ä", "leap/one/lib/b": b"\0\xff"})
    line = {"a.rb": "ä", "lib/b": {"base64": base64.b64encode(b"\0\xff").decode()}}
    file = lines(
        tmp_path / "all.jsonl", {"exercise": "leap", "solution": "leap/one", "files": line}
    )
    assert solutions_in(folder, None).found[0].id == solutions_in(file, None).found[0].id


def test_an_id_follows_exercise_name_and_content(tmp_path: Path) -> None:
    def made(exercise: str, name: str, files: dict[str, str]) -> str:
        line = {"exercise": exercise, "solution": name, "files": files}
        return solutions_in(lines(tmp_path / "it.jsonl", line), None).found[0].id

    ids = [
        made("leap", "one", {"a": "1", "b": "2"}),
        made("two-fer", "one", {"a": "1", "b": "2"}),
        made("leap", "two", {"a": "1", "b": "2"}),
        made("leap", "one", {"a": "1", "c": "2"}),
        made("leap", "one", {"a": "1", "b": "3"}),
        made("leap", "one", {"ab": "12"}),
    ]
    assert len(set(ids)) == len(ids)
    assert made("leap", "one", {"b": "2", "a": "1"}) == ids[0]


def test_what_comes_twice_is_run_once(tmp_path: Path) -> None:
    line = {"exercise": "leap", "files": {"a": "1"}}
    found = solutions_in(lines(tmp_path / "it.jsonl", line, line, line), None)
    assert (len(found.found), found.repeated) == (1, 2)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "line 2 of .* is no solution"),
        ('{"files": {"a": "1"}}', "line 2 of .* has no `exercise`, and --exercise names none"),
        ('{"exercise": "leap"}', "exactly one of `files` and `s3_uri` is needed"),
        ('{"exercise": "leap", "files": {"../a": "1"}}', "a file's name"),
        ('{"exercise": ".leap", "files": {"a": "1"}}', "an exercise's slug"),
        ('{"exercise": "leap", "s3_uri": "http://x/"}', "s3://BUCKET/PREFIX/"),
    ],
)
def test_a_line_that_is_no_solution_is_named(tmp_path: Path, line: str, why: str) -> None:
    good = '{"exercise": "leap", "files": {"a": "1"}}\n'
    (tmp_path / "it.jsonl").write_text(good + line + "\n" + good)
    with pytest.raises(BadSolutions, match=why):
        solutions_in(tmp_path / "it.jsonl", None)


def test_what_changed_since_is_not_run_as_what_it_was(tmp_path: Path) -> None:
    write(tmp_path / "all", {"leap/one/a.rb": "1", "leap/two/a.rb": "1"})
    one, two = solutions_in(tmp_path / "all", None).found
    file = lines(tmp_path / "it.jsonl", {"exercise": "leap", "files": {"a": "1"}})
    (three,) = solutions_in(file, None).found
    write(tmp_path / "all", {"leap/one/a.rb": "2"})
    lines(file, {"exercise": "leap", "files": {"a": "2"}})
    for changed in (one, three):
        with pytest.raises(CallerError, match="not as it was when the batch began"):
            changed.input()
    file.unlink()
    with pytest.raises(CallerError, match="not as it was"):
        three.input()
    assert two.input()


def test_a_folder_that_cannot_be_sent_is_a_solution_until_it_can(tmp_path: Path) -> None:
    (tmp_path / "leap" / "one").mkdir(parents=True)
    (before,) = solutions_in(tmp_path, None).found
    assert before.input() == {"folder": tmp_path / "leap" / "one"}  # the client says why not
    write(tmp_path, {"leap/one/a.rb": "1"})
    (after,) = solutions_in(tmp_path, None).found
    assert before.id != after.id
