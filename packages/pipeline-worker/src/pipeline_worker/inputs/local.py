"""Input files from the request itself, or from a folder of this machine.

Names, links and sizes are the sender's: nothing is followed out of the folder that holds it.
"""

import errno
import os
import shutil
import stat
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from pipeline_protocol.requests import FileContent
from pipeline_worker.inputs.quota import MAX_DEPTH, InputQuota, UnusableInput, unwritable

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_files(files: dict[str, FileContent], folder: Path, quota: InputQuota) -> None:
    """Write inline files; what counts is how large they are there.

    Raises UnusableInput where two names get in each other's way, and where they are too much.
    """
    for name, content in files.items():
        path = folder / name
        try:
            data = content.encode() if isinstance(content, str) else content.base64
            quota.take(len(data))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise UnusableInput(f"file {name!r} stands in the way of another") from None
        except OSError as error:
            raise unwritable(name, error) from None
        except UnicodeEncodeError:
            raise UnusableInput(f"file {name!r} is not Unicode text") from None


def copy_folder(uri: str, allowed: Path | None, folder: Path, quota: InputQuota) -> None:
    """Copy what is beneath a ``file:///folder/`` into the job folder.

    Only beneath `allowed`, the worker's ``--file-inputs``; raises UnusableInput otherwise, and
    where there is no such folder, or more in it than a job may have, or anything but folders and
    plain files.
    """
    source = _open_beneath(uri, allowed)
    try:
        _Copy(quota).folder(source, folder, PurePosixPath())
    finally:
        os.close(source)


def _open_beneath(uri: str, allowed: Path | None) -> int:
    if allowed is None:
        raise UnusableInput(f"{uri}: this worker reads no file:// inputs (it has no --file-inputs)")
    path = PurePosixPath(unquote(urlsplit(uri).path))
    if "\0" in str(path) or not path.is_relative_to(allowed) or ".." in path.parts:
        raise UnusableInput(
            f"{uri} is not beneath {allowed}, where this worker reads file:// inputs"
        )
    current = os.open(allowed, _DIRECTORY & ~os.O_NOFOLLOW)
    for part in path.relative_to(allowed).parts:
        try:
            inner = os.open(part, _DIRECTORY, dir_fd=current)
        except OSError as error:
            raise UnusableInput(f"{uri}: {error.strerror} ({part})") from None
        finally:
            os.close(current)
        current = inner
    return current


class _Copy:
    """One copying, counted."""

    def __init__(self, quota: InputQuota) -> None:
        self._quota = quota

    def folder(self, source: int, target: Path, where: PurePosixPath) -> None:
        if len(where.parts) > MAX_DEPTH:
            raise UnusableInput(f"the input's folders are nested more than {MAX_DEPTH} deep")
        with os.scandir(source) as entries:
            names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_folder in names:
            path = where / name
            try:
                inner = os.open(name, _DIRECTORY if is_folder else _FILE, dir_fd=source)
            except OSError as error:
                raise UnusableInput(f"{path}: {_reason(error)}") from None
            try:
                if is_folder:
                    (target / name).mkdir()
                    self.folder(inner, target / name, path)
                else:
                    self._file(inner, target / name, path)
            except OSError as error:
                raise unwritable(str(path), error) from None
            finally:
                os.close(inner)

    def _file(self, source: int, target: Path, where: PurePosixPath) -> None:
        facts = os.fstat(source)
        if not stat.S_ISREG(facts.st_mode):
            raise UnusableInput(f"{where} is not a plain file")
        self._quota.take(facts.st_size)
        mode = 0o755 if facts.st_mode & 0o100 else 0o644
        with (
            open(source, "rb", closefd=False) as reader,
            open(os.open(target, _NEW, mode), "wb") as writer,
        ):
            shutil.copyfileobj(reader, writer)


def _reason(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "links are not followed"
    return error.strerror or str(error)
