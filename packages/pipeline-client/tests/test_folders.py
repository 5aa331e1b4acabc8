"""What of a local folder is sent, and how."""

import os
import socket
from pathlib import Path

import pytest
from msgspec import UNSET

from pipeline_client import errors
from pipeline_client._plans import folders, uploads
from pipeline_client._plans.folders import FolderInput, inputs_of
from pipeline_protocol.requests import BinaryFile

UPLOADED = "s3://inputs/solutions/1/"


@pytest.fixture
def uploaded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], str]]:
    """What was to be uploaded, and where to."""
    found = []

    def upload(folder: Path, names: dict[str, int], to: str, allowed_s: float) -> str:
        found.append((list(names), to))
        return UPLOADED

    monkeypatch.setattr(folders, "upload", upload)
    return found


def test_what_is_small_is_sent_along(tmp_path: Path) -> None:
    (tmp_path / "lib" / "deep").mkdir(parents=True)
    (tmp_path / "lib" / "deep" / "b.rb").write_text("schön\r\n", newline="")
    (tmp_path / "lib" / "a.png").write_bytes(b"\x89PNG")
    (tmp_path / "nul").write_bytes(b"a\0")
    (tmp_path / ".hidden").write_text("too")
    (tmp_path / "empty").mkdir()
    files = {
        ".hidden": "too",
        "lib/a.png": BinaryFile(b"\x89PNG"),
        "lib/deep/b.rb": "schön\r\n",
        "nul": BinaryFile(b"a\0"),
    }
    assert inputs_of(tmp_path, None, 60) == FolderInput({"files": files, "s3_uri": UNSET})


NOBODY_WANTS = {
    ".git/HEAD": ".git/",
    "sub/.git": "sub/.git",  # of a submodule or another worktree: a file
    "__pycache__/a.cpython-311.pyc": "__pycache__/",
    "lib/node_modules/left-pad/index.js": "lib/node_modules/",
    ".a.rb.swp": ".a.rb.swp",
    "a.rb~": "a.rb~",
    "#a.rb#": "#a.rb#",
    ".idea/workspace.xml": ".idea/",
    ".DS_Store": ".DS_Store",
}
WANTED = (".gitignore", ".exercism/metadata.json", "a.rb", "a.pyc", "a.swp", ".swp", "~a", "git/x")


def test_what_no_tool_wants_is_left_out_and_said(tmp_path: Path) -> None:
    for name in (*NOBODY_WANTS, *WANTED):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".#a.rb").symlink_to("who@host.1:2")  # an editor's lock
    found = inputs_of(str(tmp_path), None, 60)
    assert set(found.fields["files"]) == set(WANTED)
    assert set(found.left_out) == {*NOBODY_WANTS.values(), ".#a.rb"}


def test_what_is_left_out_is_not_uploaded_either(
    tmp_path: Path, uploaded: list[tuple[list[str], str]]
) -> None:
    (tmp_path / "large").write_bytes(b"x" * (1 << 20))
    (tmp_path / "large~").write_bytes(b"x" * (1 << 20))
    assert inputs_of(tmp_path, "s3://inputs", 60).left_out == ("large~",)
    assert uploaded == [(["large"], "s3://inputs")]


LARGE = {
    "many bytes": {"a": b"x" * (1 << 20)},
    "many bytes in all": {str(number): b"x" * 60_000 for number in range(20)},
    "many bytes as JSON": {"a": b"\1" * 300_000},
    "many bytes as base64": {"a.rb": b"puts 1", "picture": b"\xff" * 800_000},
    "many files": {str(number): b"" for number in range(1001)},
}
REASONS = {
    "many bytes": "'a' has 1048576 bytes, of at most 1040384",
    "many bytes in all": "it has 1200000 bytes, of at most 1040384; the largest is '0' with 60000",
    "many bytes as JSON": "'a' has 1800002 bytes as JSON, of at most 1040384",
    "many bytes as base64": "; the largest is 'picture' with 1066681",
    "many files": "it has 1001 files, of at most 1000",
}


@pytest.mark.parametrize("content", LARGE.values(), ids=LARGE)
def test_what_cannot_be_sent_along_is_uploaded(
    tmp_path: Path, content: dict[str, bytes], uploaded: list[tuple[list[str], str]]
) -> None:
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    sent = FolderInput({"files": UNSET, "s3_uri": UPLOADED})
    assert inputs_of(tmp_path, "s3://inputs", 60) == sent
    assert uploaded == [(sorted(content), "s3://inputs")]


@pytest.mark.parametrize("name", LARGE)
def test_without_a_place_to_upload_to_the_reason_and_both_ways_out_are_named(
    tmp_path: Path, name: str
) -> None:
    for file, data in LARGE[name].items():
        (tmp_path / file).write_bytes(data)
    with pytest.raises(errors.RequestError) as caught:
        inputs_of(tmp_path, None, 60)
    assert REASONS[name] in str(caught.value)
    assert "upload_to=" in str(caught.value)
    assert "s3_uri" in str(caught.value)


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "picture").write_bytes(b"\xff" * 1_000_000)
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)
    with pytest.raises(errors.RequestError, match=r"pipeline-client\[s3\].*s3_uri"):
        inputs_of(tmp_path, "s3://inputs/", 60)


def make_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.mark.parametrize("make", [make_link, make_pipe, make_socket])
def test_what_is_no_file_is_refused_by_its_name(tmp_path: Path, make: object) -> None:
    (tmp_path / "in").mkdir()
    assert callable(make)
    make(tmp_path / "in" / "odd")
    with pytest.raises(errors.RequestError, match="'in/odd' is "):
        inputs_of(tmp_path, UPLOADED, 60)


@pytest.mark.parametrize("name", [b"new\nline", b"\xff", b"x" * 255])
def test_names_that_cannot_be_sent(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / os.fsdecode(name)).write_text("")
    with pytest.raises(errors.RequestError, match="no name that can be sent"):
        inputs_of(tmp_path, UPLOADED, 60)


def test_nothing_to_send(tmp_path: Path) -> None:
    with pytest.raises(errors.RequestError, match="no file in it"):
        inputs_of(tmp_path, UPLOADED, 60)
    for number in range(5):
        (tmp_path / f"{number}~").write_text("")
    with pytest.raises(errors.RequestError, match="but for 0~, 1~, 2~ and 2 more, which is left"):
        inputs_of(tmp_path, UPLOADED, 60)
    with pytest.raises(errors.RequestError, match="No such file or directory"):
        inputs_of(tmp_path / "none", UPLOADED, 60)
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.RequestError, match="Not a directory"):
        inputs_of(tmp_path / "file", UPLOADED, 60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://inputs", None),
        ("s3://inputs/", ("inputs", "")),
        ("s3://inputs/a/b", ("inputs", "a/b/")),
        ("s3://inputs/a/", ("inputs", "a/")),
        ("https://inputs/", None),
        ("s3://Bad_Bucket/", None),
    ],
)
def test_where_to_upload_to(text: str, expected: tuple[str, str] | None) -> None:
    if expected:
        assert uploads.parse_prefix(text) == expected
    else:
        with pytest.raises(ValueError, match="upload_to must be like"):
            uploads.parse_prefix(text)
