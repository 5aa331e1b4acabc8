"""The solutions of a batch: a folder of folders, or a file with a JSON object a line.

Nothing of their content is kept: a batch may have more of it than this machine has memory. What
is kept is where each lies, and an id that is made of the content.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from pipeline_client._plans.folders import files_in, is_left_out
from pipeline_client.errors import PipelineError, error_of
from pipeline_protocol import status
from pipeline_protocol.names import ExerciseSlug, FileName, InputUri, described
from pipeline_protocol.requests import BinaryFile, FileContent

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Of a file of JSON lines; what fits into a request is far shorter."""

_Name = Annotated[str, Meta(min_length=1, max_length=1024)]


class BadSolutions(ValueError):
    """What was named holds no solutions, or one that cannot be told from others; says where."""


class SolutionLine(Struct, frozen=True):
    """A line of a file of solutions. Fields that are not known are the caller's own."""

    exercise: ExerciseSlug | UnsetType = UNSET
    """Needed, unless all are of one exercise that is named beside the file."""
    solution: _Name | UnsetType = UNSET
    """What it is called in the results; else its `s3_uri`, or an abbreviation of its content."""
    files: Annotated[dict[FileName, FileContent], Meta(min_length=1)] | UnsetType = UNSET
    s3_uri: InputUri | UnsetType = UNSET

    def __post_init__(self) -> None:
        if (self.files is UNSET) == (self.s3_uri is UNSET):
            raise ValueError("exactly one of `files` and `s3_uri` is needed")


class Solution(Struct, frozen=True):
    """One of them, and where it lies."""

    id: str
    """64 hexadecimal digits, made of its exercise, its name and its content."""
    exercise: str
    name: str
    input: Callable[[], dict[str, Any]]
    """Return what a client's call takes: one of `folder`, `files` and `s3_uri`.

    Raises CallerError (499) if it is not as it was when the batch began.
    """


class Solutions(Struct, frozen=True):
    """What there is to run, each once, in the order in which it was found."""

    found: list[Solution]
    repeated: int = 0
    """How often one came again: same exercise, same name, same content."""
    left_out: dict[str, int] = {}
    """What of the folders is not sent, by name, and in how many solutions it is."""


def solutions_in(place: Path, exercise: str | None) -> Solutions:
    """Find the solutions: in a folder, EXERCISE/SOLUTION/ or, of one exercise, SOLUTION/.

    In a file, by its lines. Raises BadSolutions.
    """
    left_out: dict[str, int] = {}
    try:
        if place.is_dir():
            each = _of_folders(place, exercise, left_out)
        else:
            each = _of_lines(place, exercise)
        by_id: dict[str, Solution] = {}
        repeated = 0
        for solution in each:
            repeated += solution.id in by_id
            by_id.setdefault(solution.id, solution)
    except OSError as error:
        raise BadSolutions(f"{error.filename}: {error.strerror}") from None
    if not by_id:
        layout = "SOLUTION/" if exercise else "EXERCISE/SOLUTION/"
        where = f"folders {layout}" if place.is_dir() else "lines"
        raise BadSolutions(f"there is no solution in {str(place)!r}: no {where}")
    return Solutions(list(by_id.values()), repeated, left_out)


def _id(exercise: str, name: str, content: bytes) -> str:
    whole = hashlib.sha256()
    for part in (exercise.encode(), name.encode(), content):
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()


# --- folders


def _of_folders(place: Path, exercise: str | None, left_out: dict[str, int]) -> Iterator[Solution]:
    if exercise is not None:
        for folder in _subfolders(place, left_out, strict=False):
            yield _of_folder(folder, exercise, folder.name, left_out)
        return
    for outer in _subfolders(place, left_out, strict=False):
        try:
            slug = msgspec.convert(outer.name, ExerciseSlug)
        except (msgspec.ValidationError, UnicodeEncodeError):
            why = f"{_shown(outer.name)!r} in {str(place)!r} is no exercise"
            raise BadSolutions(f"{why}: {_LAYOUT}") from None
        for folder in _subfolders(outer, left_out, strict=True):
            yield _of_folder(folder, slug, f"{slug}/{folder.name}", left_out)


_LAYOUT = "the folders are EXERCISE/SOLUTION/, or with --exercise SOLUTION/"


def _subfolders(place: Path, left_out: dict[str, int], *, strict: bool) -> list[Path]:
    """List the folders in one; what else is there is counted, or if `strict` refused."""
    found = []
    with os.scandir(place) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if is_left_out(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                found.append(Path(entry.path))
            elif strict:
                raise BadSolutions(f"{_shown(entry.path)!r} is not in a solution: {_LAYOUT}")
            else:
                left_out[_shown(entry.name)] = left_out.get(_shown(entry.name), 0) + 1
    return found


def _of_folder(folder: Path, exercise: str, name: str, left_out: dict[str, int]) -> Solution:
    name = _shown(name)
    content, omitted = _content_of(folder)
    for one in omitted:
        last = one.rstrip("/").rpartition("/")[2] + ("/" if one.endswith("/") else "")
        left_out[last] = left_out.get(last, 0) + 1

    def read() -> dict[str, Any]:
        if _content_of(folder)[0] != content:
            raise _changed()
        return {"folder": folder}

    return Solution(_id(exercise, name, content), exercise, name, read)


def _content_of(folder: Path) -> tuple[bytes, tuple[str, ...]]:
    """Return a digest of what is in a folder, and what is left out of it.

    A folder that cannot be sent has one too, of the reason: the client says it when it is run.
    """
    whole = hashlib.sha256()
    try:
        sizes, left_out = files_in(folder)
        for name in sizes:
            with open(os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW), "rb") as opened:
                _add(whole, name, hashlib.file_digest(opened, "sha256").digest())
    except PipelineError as error:
        return b"cannot be sent: " + error.error.encode(errors="replace"), ()
    except OSError as error:
        return f"cannot be read: {error.strerror}".encode(), ()
    return whole.digest(), left_out


def _shown(name: str) -> str:
    r"""Return a file's name as text: a byte that is none as ``\xff``."""
    return os.fsencode(name).decode(errors="backslashreplace")


# --- lines


def _of_lines(place: Path, exercise: str | None) -> Iterator[Solution]:
    with place.open("rb") as file:
        begins = 0
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), 1):
            if len(line) > MAX_LINE_BYTES:
                raise BadSolutions(f"line {number} of {str(place)!r} is too long")
            if line.strip():
                yield _of_line(place, number, (begins, len(line)), line, exercise)
            begins += len(line)


def _of_line(
    place: Path, number: int, where: tuple[int, int], line: bytes, default: str | None
) -> Solution:
    read = _decoded(place, number, line)
    exercise = default if read.exercise is UNSET else read.exercise
    if exercise is None:
        why = "has no `exercise`, and --exercise names none"
        raise BadSolutions(f"line {number} of {str(place)!r} {why}")
    content, name = _content_of_line(read), read.solution
    if name is UNSET:
        name = f"{exercise}/{content.hex()[:12]}" if read.s3_uri is UNSET else read.s3_uri
    digest = hashlib.sha256(line).digest()

    def again() -> dict[str, Any]:
        try:
            with place.open("rb") as file:
                file.seek(where[0])
                same = file.read(where[1])
        except OSError:
            raise _changed() from None
        if hashlib.sha256(same).digest() != digest:
            raise _changed()
        read = _decoded(place, number, same)
        if read.files is UNSET:
            return {"s3_uri": read.s3_uri}
        return {"files": {file: _plain(it) for file, it in read.files.items()}}

    return Solution(_id(exercise, name, content), exercise, name, again)


def _decoded(place: Path, number: int, line: bytes) -> SolutionLine:
    try:
        return msgspec.json.decode(line, type=SolutionLine)
    except (ValueError, RecursionError) as error:
        why = described(str(error))
        raise BadSolutions(f"line {number} of {str(place)!r} is no solution: {why}") from None


def _content_of_line(line: SolutionLine) -> bytes:
    """Return the digest of a line's files, which a folder of the same has too; or of its URI."""
    whole = hashlib.sha256()
    if line.files is UNSET:
        whole.update(f"s3_uri {line.s3_uri}".encode())
    else:
        for name, content in sorted(line.files.items()):
            data = _plain(content)
            data = data.encode() if isinstance(data, str) else data
            _add(whole, name, hashlib.sha256(data).digest())
    return whole.digest()


def _plain(content: FileContent) -> str | bytes:
    return content.base64 if isinstance(content, BinaryFile) else content


# --- both


def _add(whole: "hashlib._Hash", name: str, digest: bytes) -> None:
    whole.update(hashlib.sha256(name.encode()).digest() + digest)


def _changed() -> PipelineError:
    why = "it is not as it was when the batch began: the same command runs what it is now"
    return error_of(status.CANCELLED, why)  # which tells nothing of the solution
