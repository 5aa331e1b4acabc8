"""Requests and input files that are out to get somewhere, or to break something."""

import base64
import hashlib
import json
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hostile.lab import HostileLab
from hostile.traces import Traces

pytestmark = pytest.mark.e2e

PASS = "pass $(ls -A | wc -l) files"
NAMES = (
    "../x",
    "/etc/x",
    "a/../../x",
    "a//b",
    "./x",
    "x/",
    ".",
    "..",
    "",
    "a\nb",
    "a\0b",
    "x" * 256,
)
SLUGS = (
    "../../etc",
    "a/b",
    "..",
    ".two-fer",
    "",
    "x" * 129,
    "-rf",
    "two-fer\n",
    "$(reboot)",
    "a\0",
    7,
    None,
)
VERSIONS = ("../v1", "v1/../v2", "--help", "v1;id", "v1\n", "", "x" * 129, "@sha256:0", 7)
IDS = ("", "x" * 129, "a b", "a\n", "é", "\x1b[2J", 7, None)
TIMES: tuple[Any, ...] = (0, -1, "5", 1e9, True, [])


def requests() -> list[Any]:
    """List what is malformed: the fields, and what each says that it should not."""
    malformed: list[tuple[str, Mapping[str, Any]]] = [
        *((f"file {name[:20]!r}", {"files": {name: "x"}}) for name in NAMES),
        *((f"slug {slug!r:.20}", {"exercise_slug": slug}) for slug in SLUGS),
        *((f"track {slug!r:.20}", {"track_slug": slug}) for slug in (*SLUGS, "Ruby", "x" * 65)),
        *((f"version {version!r:.20}", {"container_version": version}) for version in VERSIONS),
        *((f"id {name!r:.20}", {"id": name}) for name in IDS),
        *((f"seconds {seconds!r}", {"execution_timeout": seconds}) for seconds in TIMES),
        ("no files", {"files": {}}),
        ("1001 files", {"files": {str(number): "" for number in range(1001)}}),
        ("a file that is no text", {"files": {"program": 7}}),
        ("a folder of files", {"files": {"program": {"a": "b"}}}),
        ("files and a folder", {"files": {"a": "b"}, "s3_uri": "file:///etc/"}),
        ("a host's folder", {"s3_uri": "file://localhost/etc/"}),
        ("another scheme", {"s3_uri": "http://169.254.169.254/"}),
        ("a bucket that is a path", {"s3_uri": "s3://../etc/"}),
        ("half a surrogate pair", {"files": {"program": "\ud800"}}),
        ("more than a request may have", {"files": {"program": "x" * (1 << 20)}}),
    ]
    return [pytest.param(fields, id=name.replace(" ", "-")) for name, fields in malformed]


@pytest.fixture(autouse=True)
def unharmed(lab: HostileLab, before: Traces, request: pytest.FixtureRequest) -> Any:
    """After each: the next honest job is right, and nothing is left."""
    yield
    lab.honest()
    assert lab.settle(before) == before


@pytest.mark.parametrize("fields", requests())
def test_malformed_requests_go_nowhere(lab: HostileLab, fields: Mapping[str, Any]) -> None:
    source = {} if "s3_uri" in fields else {"files": {"program": "pass got through"}}
    request = lab.request(**{**source, **fields})
    reply = lab.say(request)
    assert reply["status"]["code"] == 502, reply
    assert "got through" not in json.dumps(reply)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "0x10", "1_000"])
def test_numbers_that_are_none(lab: HostileLab, number: str) -> None:
    text = json.dumps(lab.request(files={"program": PASS}, execution_timeout="NUMBER"))
    reply = lab.say(text.replace('"NUMBER"', number).encode())
    assert reply["status"]["code"] == 502, reply


def test_a_request_that_nests_for_ever(lab: HostileLab) -> None:
    text = json.dumps(lab.request(files={"program": PASS}, more="DEEP"))
    reply = lab.say(text.replace('"DEEP"', "[" * 100_000 + "]" * 100_000).encode())
    assert reply["status"]["code"] == 502, reply


@pytest.mark.parametrize(
    ("files", "code", "says"),
    [
        ({"a": "1", "a/b": "2"}, 400, "stands in the way"),
        ({"program/x": "1"}, 400, "stands in the way"),
        ({"é" * 255: "1"}, 400, "cannot be written"),
        ({f"{number}/x": "" for number in range(999)}, 400, "does not fit"),
        ({"a/" * 120 + "x": "1"}, 200, "2 files"),
        (
            dict.fromkeys(("-rf", "*", "$(reboot)", " ", "~", "\u202e", "\\", "💣"), "1"),
            200,
            "9 files",
        ),
    ],
    ids=["two-in-a-place", "a-file-as-folder", "a-long-name", "many-folders", "deep", "odd-names"],
)
def test_files_in_a_request(lab: HostileLab, files: dict[str, str], code: int, says: str) -> None:
    answer = lab.ask(lab.request(files={"program": PASS, **files}))
    assert answer.code == code, answer.reply
    assert says in answer.text


def test_bytes_in_a_request_reach_the_tool_as_they_are(lab: HostileLab) -> None:
    data = bytes(range(256)) * 100
    program = 'pass "$(sha256sum < lib/a.png) $(stat -c %s lib/a.png)"'
    png = {"base64": base64.b64encode(data).decode()}
    answer = lab.ask(lab.request(files={"program": program, "lib/a.png": png}))
    assert answer.code == 200, answer.reply
    assert f"{hashlib.sha256(data).hexdigest()}  - {len(data)}" in answer.text


@pytest.mark.parametrize("content", [{"base64": "AAA"}, {"base64": [1]}, {"hex": "00"}, {}, 1, []])
def test_a_file_that_is_no_content_is_named(lab: HostileLab, content: object) -> None:
    answer = lab.ask(lab.request(files={"program": PASS, "a b.png": content}))
    assert answer.code == 502, answer.reply
    assert "file 'a b.png': " in answer.text


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def _deep(path: Path) -> None:
    (path / ("d/" * 40)).mkdir(parents=True)


def _many(path: Path) -> None:
    path.mkdir()
    for number in range(1500):
        (path / str(number)).touch()


def _odd(path: Path) -> None:
    for name in (b"new\nline", b"\xff\xfe", b"-rf", b"\x1b[2J", b"d" * 255):
        Path(os.fsdecode(os.fsencode(path) + name[:200])).touch()


@pytest.mark.parametrize(
    ("make", "code", "says"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), 400, "links are not followed"),
        (lambda path: path.symlink_to("/etc"), 400, "links are not followed"),
        (lambda path: path.symlink_to("program"), 400, "links are not followed"),
        (os.mkfifo, 400, "is not a plain file"),
        (_socket, 400, "x"),
        (
            lambda path: os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5)),
            400,
            "is not a plain file",
        ),
        (_sparse, 400, "bytes"),
        (lambda path: path.write_bytes(bytes(20 << 20)), 400, "does not fit"),
        (_many, 400, "does not fit"),
        (_deep, 400, "nested more than"),
        (_odd, 200, "6 files"),
    ],
    ids=[
        *("a-link-out", "a-link-to-a-folder", "a-link-within", "a-FIFO", "a-socket", "a-device"),
        *("a-sparse-file", "too-large", "too-many", "too-deep", "odd-names"),
    ],
)
def test_files_in_a_folder(
    lab: HostileLab,
    request: pytest.FixtureRequest,
    make: Callable[[Path], None],
    code: int,
    says: str,
) -> None:
    folder = lab.inputs / request.node.callspec.id
    folder.mkdir()
    (folder / "program").write_text(PASS)
    make(folder / "x")
    answer = lab.ask(lab.request(s3_uri=f"file://{folder}/"))
    assert answer.code == code, answer.reply
    assert says in answer.text


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/",
        "file:///",
        "file://INPUTS/../",
        "file://INPUTS/%2e%2e/",
        "file://INPUTS/..%2f..%2fetc/",
        "file://INPUTS/%00/",
        "file://INPUTS/link/",
        "file://INPUTS-of-others/",
        "s3://bucket/prefix/",
        "s3://bucket/../../etc/",
        "s3://bucket/a//b/",
        "s3://bucket/%2e%2e/etc/",
        "s3://bucket/..\\..\\etc/",
        "s3://169.254.169.254/latest/",
    ],
)
def test_folders_that_are_not_to_be_read(lab: HostileLab, uri: str) -> None:
    link = lab.inputs / "link"
    if not link.is_symlink():
        link.symlink_to("/etc")
    uri = uri.replace("INPUTS", str(lab.inputs))
    answer = lab.ask(lab.request(s3_uri=uri))
    assert answer.code == 400, answer.reply
