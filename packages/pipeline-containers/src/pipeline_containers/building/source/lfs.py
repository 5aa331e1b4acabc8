"""Git LFS: files of a commit that only point to their content, and this content in their place.

git-lfs fetches, into the clone; nothing of it runs as a filter. Where from is decided here, since
`.lfsconfig` is a stranger's: the repository's own host, and no other.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline_containers.building.source.git import Commit, Tree
from pipeline_containers.building.source.quota import SourceQuota
from pipeline_containers.building.source.submodules import is_same_host
from pipeline_containers.errors import SourceError, SourceRefused, ToolMissing
from pipeline_containers.system.files import FileRefused, read_beneath

SETTINGS = ".lfsconfig"
MAX_POINTER_BYTES = 1024
_POINTER = re.compile(
    r"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*"
    r"oid sha256:([0-9a-f]{64})\nsize (\d{1,15})\n?"
)
_LISTED_SIZE = re.compile(r"^ *size: (\d{1,19})$", re.MULTILINE)
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Pointer:
    """A file that stands for another one."""

    path: str
    oid: str
    size_bytes: int


def find_pointers(commit: Commit, tree: Tree, folder: Path) -> list[Pointer]:
    """Return the pointers among a commit's files, which are in a folder as they were committed.

    Pointers are those that its attributes say so of: others are text that looks like one.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        small = [entry for entry in tree.files if entry.size_bytes <= MAX_POINTER_BYTES]
        read = [_read(descriptor, entry.path) for entry in small]
    finally:
        os.close(descriptor)
    found = [pointer for pointer in read if pointer is not None]
    if not found:
        return []
    meant = commit.with_attribute("filter=lfs", folder)
    return [pointer for pointer in found if pointer.path in meant]


def fetch_objects(
    commit: Commit, pointers: Iterable[Pointer], folder: Path, quota: SourceQuota
) -> None:
    """Write the content of pointers in their place.

    Raises `SourceError` if it cannot be had, `SourceRefused` if it is too much or to come from
    elsewhere, `ToolMissing` without git-lfs.
    """
    if shutil.which("git-lfs") is None:
        raise ToolMissing("git-lfs")
    options = ["-c", f"lfs.url={_endpoint(commit)}", "-c", f"remote.origin.url={commit.url}"]
    storage = commit.git.folder / "lfs"
    shutil.rmtree(storage, ignore_errors=True)  # a killed one's
    try:
        # what git-lfs takes for pointers is what it fetches, be it more than those that are meant
        listed = commit.git.call(["lfs", "ls-files", "--debug", commit.sha], options=options)
        if not listed.ok:
            raise SourceError(f"git-lfs cannot read {commit.sha}: {commit.git.reason(listed)}")
        quota.take("LFS objects", 0, sum(map(int, _LISTED_SIZE.findall(listed.stdout))))
        arguments = ["lfs", "fetch", "--include=", "--exclude=", "origin", commit.sha]
        done = commit.git.call(arguments, options=options)
        for pointer in pointers:
            source = storage / "objects" / pointer.oid[:2] / pointer.oid[2:4] / pointer.oid
            if pointer.size_bytes and not _is_content(source, pointer):
                reason = commit.git.reason(done)
                raise SourceError(f"{pointer.path!r} cannot be had from Git LFS: {reason}")
            _replace(folder / pointer.path, source if pointer.size_bytes else Path(os.devnull))
    finally:
        shutil.rmtree(storage, ignore_errors=True)


def _read(folder: int, path: str) -> Pointer | None:
    try:
        text = read_beneath(folder, path, MAX_POINTER_BYTES).decode()
    except (FileRefused, FileNotFoundError, UnicodeDecodeError):  # a link, or no text
        return None
    match = _POINTER.fullmatch(text)
    return None if match is None else Pointer(path, match[1], int(match[2]))


def _endpoint(commit: Commit) -> str:
    """Return where the objects are, as git-lfs takes it."""
    if not commit.url.startswith("https://"):
        return commit.url  # a folder, or a host that is asked by ssh
    said = dict(commit.settings(SETTINGS)).get("lfs.url")
    if said is None:
        address = commit.url.rstrip("/")
        return f"{address}/info/lfs" if address.endswith(".git") else f"{address}.git/info/lfs"
    if not is_same_host(said, commit.url) or not said.isprintable():
        raise SourceRefused(
            f"{SETTINGS} names another host: LFS objects come from the repository's own"
        )
    return said


def _is_content(source: Path, pointer: Pointer) -> bool:
    digest = hashlib.sha256()
    try:
        with source.open("rb") as file:
            if os.fstat(file.fileno()).st_size != pointer.size_bytes:
                return False
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except FileNotFoundError:
        return False
    return digest.hexdigest() == pointer.oid


def _replace(target: Path, source: Path) -> None:
    """Write what is in a file into another, which stays executable if it is."""
    with (
        source.open("rb") as file,
        open(os.open(target, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW), "wb") as written,
    ):
        shutil.copyfileobj(file, written, _CHUNK_BYTES)
