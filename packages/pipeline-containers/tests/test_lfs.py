"""Git LFS: the content in the place of pointers where that is allowed, else a word about it."""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline_containers.building.source import quota
from pipeline_containers.building.source.checkout import checkout
from pipeline_containers.building.source.git import GitSources
from pipeline_containers.errors import SourceError, SourceRefused, ToolMissing
from pipeline_containers.system.deadline import Deadline

Commit = Callable[..., str]
pytestmark = pytest.mark.e2e

PNG = bytes(range(256)) * 20
ATTRIBUTES = "*.png filter=lfs diff=lfs merge=lfs -text\n"


def pointer(content: bytes, size_bytes: int | None = None) -> str:
    size = len(content) if size_bytes is None else size_bytes
    oid = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n"


class Lfs:
    """A repository of the test's own with LFS objects, as git-lfs keeps them, and its build."""

    def __init__(self, work: Path, repository: Path, commit: Commit) -> None:
        self.work = work
        self.repository = repository
        self.commit = commit
        self.sources = GitSources(work / "clones", lfs=True)
        self.lines: list[str] = []

    def keep(self, content: bytes) -> str:
        """Have the repository's LFS store an object; the text that points to it."""
        oid = hashlib.sha256(content).hexdigest()
        place = self.repository / ".git/lfs/objects" / oid[:2] / oid[2:4] / oid
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return pointer(content)

    def build(self, **changes: Any) -> Path:
        destination = self.work / "checkout"
        url, sources = f"file://{self.repository}", replace(self.sources, **changes)
        checkout(url, "main", sources, destination, Deadline(60), self.lines.append)
        return destination

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.lines if "warning" in line]


@pytest.fixture
def store(work: Path, repository: Path, commit: Commit) -> Lfs:
    return Lfs(work, repository, commit)


def test_content_comes_in_the_place_of_pointers(store: Lfs) -> None:
    png, empty = store.keep(PNG), pointer(b"")
    files = {".gitattributes": ATTRIBUTES, "a.png": png, "in/b.png": png, "empty.png": empty}
    store.commit({**files, "a.txt": "text"})
    built = store.build()
    for name, content in {
        "a.png": PNG,
        "in/b.png": PNG,
        "empty.png": b"",
        "a.txt": b"text",
    }.items():
        assert (built / name).read_bytes() == content
    assert store.warnings == []
    (clone,) = (store.work / "clones").glob("*/git")
    assert not (clone / "lfs").exists()


def test_what_is_executable_stays_so(store: Lfs) -> None:
    text = store.keep(b"#!/bin/sh\n")
    store.commit({".gitattributes": "*.sh filter=lfs\n", "run.sh": text})
    assert os.access(store.build() / "run.sh", os.X_OK)


def test_pointers_are_told_of_where_their_content_is_not_fetched(store: Lfs) -> None:
    png = store.keep(PNG)
    names = [f"{number}.png" for number in range(5)]
    store.commit({".gitattributes": ATTRIBUTES, **dict.fromkeys(names, png)})
    built = store.build(lfs=False)
    assert (built / "0.png").read_text() == png
    assert store.warnings == [
        "==> warning: these files are Git LFS pointers, not their content: '0.png', '1.png', "
        "'2.png' and 2 more; this host does not fetch that (sources.lfs)"
    ]


def test_text_that_looks_like_a_pointer_is_left_alone(store: Lfs) -> None:
    """A fixture, say: only attributes make a pointer of it."""
    png = store.keep(PNG)
    store.commit({".gitattributes": ATTRIBUTES, "a.txt": png, "b.png": "no pointer"})
    built = store.build()
    assert (built / "a.txt").read_text() == png
    assert (built / "b.png").read_text() == "no pointer"
    assert store.warnings == []


def test_an_object_that_is_not_there(store: Lfs) -> None:
    store.commit({".gitattributes": ATTRIBUTES, "a.png": pointer(PNG)})
    with pytest.raises(SourceError, match=r"'a\.png' cannot be had from Git LFS"):
        store.build()


def test_an_object_that_is_another_than_its_pointer_says(store: Lfs) -> None:
    store.keep(PNG)
    store.commit({".gitattributes": ATTRIBUTES, "a.png": pointer(PNG, len(PNG) + 1)})
    with pytest.raises(SourceError, match=r"'a\.png' cannot be had from Git LFS"):
        store.build()


def test_objects_count_before_they_are_fetched_those_too_that_nobody_means(
    store: Lfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git-lfs fetches whatever looks like a pointer, in older notations too."""
    old = pointer(b"old", 600).replace("git-lfs.github.com", "hawser.github.com")
    files = {".gitattributes": ATTRIBUTES, "a.png": pointer(PNG, 400), "old.txt": old}
    store.commit(files)
    monkeypatch.setattr(quota, "MAX_BYTES", 1000)
    with pytest.raises(SourceRefused, match=r"LFS objects among them, have 1\d{3} bytes"):
        store.build()
    assert "Fetching" not in str(store.lines)


def test_without_git_lfs_it_is_named(store: Lfs, monkeypatch: pytest.MonkeyPatch) -> None:
    store.commit({".gitattributes": ATTRIBUTES, "a.png": store.keep(PNG)})
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ToolMissing, match="apt install git-lfs"):
        store.build()


def test_nothing_of_the_repository_runs_by_git_lfs(store: Lfs) -> None:
    """Neither what `.lfsconfig` names, nor a filter, nor a transfer program."""
    witness = store.work / "witness"
    wish = f"touch {witness}"
    config = (
        f"[lfs]\n\turl = ssh://-oProxyCommand={witness}/x\n\tconcurrenttransfers = 1\n"
        f'\tstandalonetransferagent = evil\n[lfs "customtransfer.evil"]\n\tpath = {wish}\n'
        f'[filter "lfs"]\n\tsmudge = {wish}\n[lfs "extension.evil"]\n\tsmudge = {wish}\n'
        f"[credential]\n\thelper = !{wish}\n[core]\n\tsshCommand = {wish}\n"
    )
    files = {".gitattributes": ATTRIBUTES, ".lfsconfig": config, "a.png": store.keep(PNG)}
    store.commit(files)
    assert (store.build() / "a.png").read_bytes() == PNG
    assert not witness.exists()
