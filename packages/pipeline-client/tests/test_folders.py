"""What of a local folder is sent, and how."""

import os
import socket
from pathlib import Path

import pytest
from msgspec import UNSET

from pipeline_client import errors
from pipeline_client._plans import folders, uploads
from pipeline_client._plans.folders import inputs_of

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


def test_small_text_is_sent_along(tmp_path: Path) -> None:
    (tmp_path / "lib" / "deep").mkdir(parents=True)
    (tmp_path / "lib" / "deep" / "b.rb").write_text("schön\r\n", newline="")
    (tmp_path / ".hidden").write_text("too")
    (tmp_path / "empty").mkdir()
    sent = inputs_of(tmp_path, None, 60)
    assert sent == {"files": {".hidden": "too", "lib/deep/b.rb": "schön\r\n"}, "s3_uri": UNSET}


def test_history_of_git_is_left_out(tmp_path: Path) -> None:
    for name in (".git/HEAD", "sub/.git/HEAD", ".gitignore", "a.rb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert set(inputs_of(str(tmp_path), None, 60)["files"]) == {".gitignore", "a.rb"}


LARGE = {
    "many bytes": {"a": b"x" * (1 << 20)},
    "many bytes in all": {str(number): b"x" * 60_000 for number in range(20)},
    "many bytes as JSON": {"a": b"\0" * 300_000},
    "many files": {str(number): b"" for number in range(1001)},
    "no text": {"a.rb": b"puts 1", "picture": b"\xff\xd8"},
}


@pytest.mark.parametrize("content", LARGE.values(), ids=LARGE)
def test_what_cannot_be_sent_along_is_uploaded(
    tmp_path: Path, content: dict[str, bytes], uploaded: list[tuple[list[str], str]]
) -> None:
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    assert inputs_of(tmp_path, "s3://inputs", 60) == {"files": UNSET, "s3_uri": UPLOADED}
    assert uploaded == [(sorted(content), "s3://inputs")]


def test_without_a_place_to_upload_to_both_ways_out_are_named(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(b"\xff\xd8")
    with pytest.raises(errors.RequestError) as caught:
        inputs_of(tmp_path, None, 60)
    assert "upload_to=" in str(caught.value)
    assert "s3_uri" in str(caught.value)


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "picture").write_bytes(b"\xff\xd8")
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
