"""Tools' files: what is taken, and what is refused."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_containers.sandbox.result.outputs import MAX_DEPTH, Outputs, parse_json, read_outputs
from pipeline_containers.sandbox.tools import TOOLS, is_line, tool_command
from pipeline_containers.system.files import FileRefused, read_beneath, read_in_root


def read(folder: Path, kind: str = "test_runner", cap: int = 1000) -> Outputs:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return read_outputs(descriptor, TOOLS[kind], cap)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"version": 1, "status": "pass"}', None),
        ('{"version": 3, "status": "error", "message": "x", "tests": []}', None),
        ('\ufeff{"version": 1, "status": "fail", "message": null}', None),
        ("[]", "is not a JSON object"),
        ("{}", 'has a status that is not "pass", "fail" or "error"'),
        ('{"status": "passed"}', 'has a status that is not "pass", "fail" or "error"'),
        ('{"status": ["pass"]}', 'has a status that is not "pass", "fail" or "error"'),
        ('{"status": "pass", "version": 4}', "has a version that is not 1, 2 or 3"),
        ('{"status": "pass", "version": true}', "has a version that is not 1, 2 or 3"),
        ('{"status": "pass", "version": [1]}', "has a version that is not 1, 2 or 3"),
        ('{"status": "pass", "tests": {"a": 1}}', "has tests that are not a list"),
        ('{"status": "pass", "message": 1}', "has a message that is not text"),
        ('{"status": "pass", "x": NaN}', "has NaN, which is not JSON"),
        ('{"status": "pass", "x": -Infinity}', "has -Infinity, which is not JSON"),
        ('{"status": "pass", "x": 1e999}', "has a number that is too large"),
        ('{"status": "pass", "x": 99999999999999999999}', "has an integer of more than 64 bits"),
        ("[" * 100_000, "is larger than 1000 bytes"),
    ],
)
def test_the_results_of_a_test_runner(tmp_path: Path, text: str, problem: str | None) -> None:
    (tmp_path / "results.json").write_text(text)
    found = read(tmp_path)
    if problem is None:
        assert found == Outputs(json.loads(text.lstrip("\ufeff")), None)
    else:
        assert found == Outputs(None, f"results.json {problem}")


def test_results_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_bytes(b'{"status": "\xff"}')
    assert read(tmp_path).problem == "results.json is not UTF-8"


def test_an_optional_file_must_be_right_if_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "analysis.json").write_text("{}")
    assert read(tmp_path, "analyser").response == {"analysis": {}, "tags": None}
    (tmp_path / "tags.json").write_text("3")
    assert read(tmp_path, "analyser").problem == "tags.json is neither a JSON object nor a list"
    (tmp_path / "tags.json").unlink()
    (tmp_path / "tags.json").symlink_to("analysis.json")
    assert read(tmp_path, "analyser").problem == "tags.json is a link"


def test_a_representation(tmp_path: Path) -> None:
    (tmp_path / "representation.txt").write_text("x")
    assert read(tmp_path, "representer").problem == "mapping.json is missing"
    (tmp_path / "mapping.json").write_text("{}")
    (tmp_path / "representation.json").write_text('{"version": 2}')
    assert read(tmp_path, "representer").response == {
        "representation": "x",
        "mapping": {},
        "representation_json": {"version": 2},
    }


NO_TEXT = r"""{"version": 1, "status": "pass",
    "message": "a\u0000b\ud800c\\u0000d\ud83d\ude00e\uDC00",
    "x": [{"k\u0000": ["\u0000", 1, null, true, 1.5]}]}"""


def test_what_is_no_text_in_a_result_is_replaced_at_any_depth_and_said(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(NO_TEXT)
    expected = {
        "version": 1,
        "status": "pass",
        "message": "a\ufffdb\ufffdc\\u0000d\U0001f600e\ufffd",
        "x": [{"k\ufffd": ["\ufffd", 1, None, True, 1.5]}],
    }
    assert read(tmp_path) == Outputs(expected, None, replaced=True)


@pytest.mark.parametrize("said", [r"\\u0000", r"\ud83d\ude00", "\ufffd"])
def test_what_only_looks_like_no_text_is_left_alone(tmp_path: Path, said: str) -> None:
    text = f'{{"version": 1, "status": "pass", "message": "{said}"}}'
    (tmp_path / "results.json").write_text(text)
    assert read(tmp_path) == Outputs(json.loads(text), None, replaced=False)


def test_keys_that_become_the_same_leave_one(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(r'{"status": "pass", "\u0000": 1, "\ud800": 2}')
    assert read(tmp_path).response == {"status": "pass", "\ufffd": 2}


def test_nul_in_a_file_that_is_not_json(tmp_path: Path) -> None:
    (tmp_path / "representation.txt").write_bytes(b"a\0b")
    (tmp_path / "mapping.json").write_text('{"a": "b"}')
    found = read(tmp_path, "representer")
    assert found.replaced
    assert found.response is not None
    assert found.response["representation"] == "a\ufffdb"


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_depth_is_bounded(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    inner = "1"
    deep = opening * MAX_DEPTH + inner + closing * MAX_DEPTH
    parse_json(deep.encode())
    for more in (1, 100_000):
        depth = MAX_DEPTH + more
        with pytest.raises(ValueError, match="nests too deeply"):
            parse_json((opening * depth + inner + closing * depth).encode())


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_a_value_error(content: bytes) -> None:
    try:
        value = parse_json(content)
    except ValueError:
        return
    json.dumps(value, allow_nan=False).encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(st.sampled_from("\0\ud800\udc00a\\")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.sampled_from("\0\udfffb")), inner),
)


@given(JSON)
def test_no_string_of_a_result_is_what_a_database_refuses(data: object) -> None:
    written = json.dumps(parse_json(json.dumps(data).encode()), ensure_ascii=False)
    written.encode()
    assert "\\u0000" not in written.replace("\\\\", "")


def test_reading_beneath_a_folder(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    (inside / "real").mkdir(parents=True)
    (inside / "real/file").write_text("here")
    (inside / "linked").symlink_to("real")
    (tmp_path / "secret").write_text("secret")
    os.mkfifo(inside / "fifo")
    descriptor = os.open(inside, os.O_RDONLY)
    try:
        assert read_beneath(descriptor, "real/file", 4) == b"here"
        for path, problem in {
            "real/file": "larger than 3",
            "linked/file": "is a link",
            "../secret": "lies outside",
            "/etc/passwd": "lies outside",
            "fifo": "not a regular file",
            "real": "not a regular file",
        }.items():
            with pytest.raises(FileRefused, match=problem):
                read_beneath(descriptor, path, 3)
        with pytest.raises(FileNotFoundError):
            read_beneath(descriptor, "nothing", 3)
    finally:
        os.close(descriptor)


def test_reading_in_a_root_folder(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr/passwd").write_text("inner")
    (tmp_path / "etc/passwd").symlink_to("/usr/passwd")
    (tmp_path / "etc/group").symlink_to("../../../../../../etc/group")
    assert read_in_root(tmp_path, "etc/passwd", 100) == b"inner"
    with pytest.raises(FileRefused):
        read_in_root(tmp_path, "etc/group", 100)


def test_how_it_is_called() -> None:
    folder = "/mnt/exercism-iteration/"
    assert tool_command(("sh", "run.sh"), "two-fer") == ("sh", "run.sh", "two-fer", folder, folder)


@pytest.mark.parametrize("slug", ["two-fer", " $(id) ", "größe"])
def test_slugs_that_can_come_late(slug: str) -> None:
    assert is_line(slug)


@pytest.mark.parametrize("slug", ["a\nb", "a\0b", "a" * 2000, "\ud800"])
def test_slugs_that_cannot(slug: str) -> None:
    assert not is_line(slug)
