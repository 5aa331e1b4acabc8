"""The sources of a build in a folder: a commit's files, and what they only name.

LFS objects and submodules are fetched where this host allows it; where not, the log says that they
are missing. All of it counts together: see `quota`.
"""

import os
import stat
import tempfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pipeline_containers.building.source.git import Commit, GitSources, fetched
from pipeline_containers.building.source.lfs import fetch_objects, find_pointers
from pipeline_containers.building.source.quota import SourceQuota
from pipeline_containers.building.source.submodules import (
    FILE,
    Submodule,
    check_reach,
    find_submodules,
    is_same_host,
    resolve_url,
)
from pipeline_containers.errors import BadReference, SourceError, SourceRefused
from pipeline_containers.system.command import OnLine
from pipeline_containers.system.deadline import Deadline

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Due:
    """A submodule that is to be fetched yet, and where it goes in the checkout."""

    submodule: Submodule
    parent: str
    place: PurePosixPath


class Checkout:
    """A folder that the sources of one build come into; `url` is the repository that is built."""

    def __init__(
        self,
        url: str,
        sources: GitSources,
        folder: Path,
        deadline: Deadline,
        on_line: OnLine | None = None,
    ) -> None:
        self._url = url
        self._sources = sources
        self._folder = folder
        self._deadline = deadline
        self._on_line = on_line
        self._quota = SourceQuota()
        self._due: deque[_Due] = deque()

    def write(self, commit: Commit) -> None:
        """Write a commit's files into the folder, which is made, and its LFS objects.

        Raises `SourceRefused`, and writes nothing, if they are more than a build may have.
        """
        self._write(commit, PurePosixPath())

    def complete(self) -> None:
        """Fetch the submodules of what was written, and theirs.

        Their clones are not kept: how many there are, and of what size, is a stranger's choice.
        Raises `SourceError` if one cannot be had, `SourceRefused` if it may not be.
        """
        if not self._due:
            return
        with tempfile.TemporaryDirectory(prefix=".clones-", dir=self._folder.parent) as clones:
            sources = replace(self._sources, clones=Path(clones))
            while self._due:
                due = self._due.popleft()
                try:
                    self._fetch(due, sources)
                except (BadReference, SourceError, SourceRefused) as error:
                    raise type(error)(f"submodule {str(due.place)!r}: {error}") from error

    def _write(self, commit: Commit, place: PurePosixPath) -> None:
        folder = self._folder / place
        tree = commit.write(folder, self._quota)
        pointers = find_pointers(commit, tree, folder)
        if pointers and self._may_fetch_objects(commit, [str(place / p.path) for p in pointers]):
            fetch_objects(commit, pointers, folder, self._quota)
        if tree.links:
            submodules = find_submodules(tree.links, commit.settings(FILE))
            self._note_submodules(commit, submodules, place)

    def _may_fetch_objects(self, commit: Commit, names: list[str]) -> bool:
        """Whether content comes in the place of pointers; if not, say that it is missing."""
        what = "files are Git LFS pointers, not their content"
        if not self._sources.lfs:
            self._warn(names, what, "this host does not fetch that (sources.lfs)")
            return False
        if not is_same_host(commit.url, self._url):
            self._warn(names, what, "theirs is another host than that of the repository")
            return False
        return True

    def _note_submodules(
        self, commit: Commit, submodules: list[Submodule], place: PurePosixPath
    ) -> None:
        what = "submodules are empty folders"
        if not self._sources.submodules:
            names = [str(place / submodule.path) for submodule in submodules]
            self._warn(names, what, "this host does not fetch them (sources.submodules)")
            return
        nowhere = [str(place / submodule.path) for submodule in submodules if not submodule.url]
        if nowhere:
            self._warn(nowhere, what, f"{FILE} does not say where they are")
        for submodule in submodules:
            if submodule.url:
                self._due.append(_Due(submodule, commit.url, place / submodule.path))

    def _fetch(self, due: _Due, sources: GitSources) -> None:
        self._quota.take_submodule(self._url)
        url = resolve_url(due.parent, due.submodule.url)
        check_reach(url, self._url)
        self._check_place(due.place)
        if not is_same_host(url, self._url):  # a stranger named it: no password is for that
            sources = replace(sources, credentials=None)
        self._say(f"fetching {url} for {str(due.place)!r}")
        with fetched(url, due.submodule.sha, sources, self._deadline, self._on_line) as commit:
            self._write(commit, due.place)

    def _check_place(self, place: PurePosixPath) -> None:
        """See that a submodule's folder is one, within the checkout: no link leads elsewhere."""
        folder = self._folder
        for part in place.parts:
            folder = folder / part
            try:
                mode = os.lstat(folder).st_mode
            except OSError as error:
                raise SourceRefused(f"its folder is not there: {error.strerror}") from None
            if not stat.S_ISDIR(mode):
                raise SourceRefused("its folder is something else")
        if any(folder.iterdir()):
            raise SourceRefused("its folder is not empty")

    def _warn(self, names: Sequence[str], what: str, why: str) -> None:
        shown = ", ".join(repr(name) for name in names[:_SHOWN])
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        self._say(f"warning: these {what}: {shown}{more}; {why}")

    def _say(self, line: str) -> None:
        if self._on_line is not None:
            self._on_line(f"==> {line}")


def checkout(
    url: str,
    reference: str,
    sources: GitSources,
    destination: Path,
    deadline: Deadline,
    on_line: OnLine | None = None,
) -> str:
    """Write the files of a reference into `destination`, which is made; the commit's SHA.

    Raises `BadReference` when it names nothing, `SourceError` when a repository cannot be read,
    `SourceRefused` when it has more files than a build may have.
    """
    folder = Checkout(url, sources, destination, deadline, on_line)
    with fetched(url, reference, sources, deadline, on_line) as commit:
        folder.write(commit)
    folder.complete()
    return commit.sha
