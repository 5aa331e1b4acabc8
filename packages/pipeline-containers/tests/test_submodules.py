"""Submodules: fetched where that is allowed, from where a stranger may send a host, or told of."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from support.tracks import git

from pipeline_containers.building.source import quota
from pipeline_containers.building.source.checkout import Checkout, checkout
from pipeline_containers.building.source.git import GitSources
from pipeline_containers.building.source.submodules import (
    Submodule,
    check_reach,
    find_submodules,
    is_same_host,
    resolve_url,
)
from pipeline_containers.errors import BadReference, SourceError, SourceRefused
from pipeline_containers.system.deadline import Deadline

SHA = "0123456789" * 4
REPOSITORY = "https://example.org/tracks/ruby-test-runner"


# --- addresses


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ("https://example.com/a.git", "https://example.com/a.git"),
        ("../lib", "https://example.org/tracks/lib"),
        ("../../others/lib.git", "https://example.org/others/lib.git"),
        ("./lib", "https://example.org/tracks/ruby-test-runner/lib"),
        (".././../lib", "https://example.org/lib"),
    ],
)
def test_where_a_submodule_is(said: str, url: str) -> None:
    assert resolve_url(REPOSITORY, said) == url
    assert resolve_url(f"{REPOSITORY}/", said) == url


@pytest.mark.parametrize(
    "said",
    [
        "../../../lib",
        "../../../evil.example/lib",
        "../lib/../../../../x",
        "../lib\n",
        "../a b",
        "..",
        "/srv/lib",
        "lib",
        "http://example.org/lib",
        "git://example.org/lib",
        "git@example.org:lib",
        "ext::sh -c id",
        "https://a:secret@example.org/lib",
        "--upload-pack=id",
        "ssh://-oProxyCommand=id/lib",
        "../--upload-pack=id/..",
    ],
)
def test_addresses_of_submodules_that_are_none(said: str) -> None:
    with pytest.raises(SourceRefused) as caught:
        resolve_url(REPOSITORY, said)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("https://example.com/a", REPOSITORY),
        ("https://example.org/a", "ssh://git@example.org/b"),
        ("ssh://git@example.org/a", "ssh://git@example.org/b"),
        ("https://example.com/a", "file:///srv/tracks/tool"),
        ("file:///srv/tracks/lib", "file:///srv/tracks/tool"),
        ("file:///srv/tracks/in/lib", "file:///srv/tracks/tool"),
    ],
)
def test_what_a_submodule_may_reach(url: str, root: str) -> None:
    check_reach(url, root)


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("file:///srv/tracks/lib", REPOSITORY),
        ("file:///srv/tracks/lib", "ssh://git@example.org/b"),
        ("file:///srv/secret", "file:///srv/tracks/tool"),
        ("file:///etc", "file:///srv/tracks/tool"),
        ("file:///srv/tracks", "file:///srv/tracks/tool"),
        ("file:///srv/tracks/%2e%2e/secret", "file:///srv/tracks/tool"),
        ("file:///srv/tracks/lib%00", "file:///srv/tracks/tool"),
        ("ssh://git@example.org/a", REPOSITORY),
        ("ssh://git@example.com/a", "ssh://git@example.org/b"),
        ("ssh://root@example.org/a", "ssh://git@example.org/b"),
        ("ssh://git@example.org:2222/a", "ssh://git@example.org/b"),
    ],
)
def test_what_a_submodule_may_not_reach(url: str, root: str) -> None:
    with pytest.raises(SourceRefused, match="its address is"):
        check_reach(url, root)


def test_a_link_beside_a_repository_leads_nowhere(tmp_path: Path) -> None:
    """Such as one that the repository itself brings, in its working tree."""
    tracks, secret = tmp_path / "tracks", tmp_path / "secret"
    for folder in (tracks / "tool", secret):
        folder.mkdir(parents=True)
    (tracks / "tool" / "out").symlink_to(tmp_path)
    with pytest.raises(SourceRefused, match="not beside the repository"):
        check_reach(f"file://{tracks}/tool/out/secret", f"file://{tracks}/tool")


def test_who_is_the_same_host() -> None:
    assert is_same_host("https://example.org/a", REPOSITORY)
    for other in ("https://example.org.evil/a", "https://example.org:444/a", "ssh://example.org/a"):
        assert not is_same_host(other, REPOSITORY)


def test_what_gitmodules_says_beside_what_the_commit_has() -> None:
    settings = [
        ("submodule.a.path", "lib/a"),
        ("submodule.a.url", "../a"),
        ("submodule.a.update", "!touch /tmp/x"),
        ("submodule.b.url", "../b"),
        ("submodule.with.dots.path", "c"),
        ("submodule.with.dots.url", "../c"),
        ("other.path", "d"),
        ("other.url", "../d"),
        ("submodule.e.path", "not there"),
    ]
    links = dict.fromkeys(("lib/a", "b", "c", "d"), SHA)
    assert find_submodules(links, settings) == [
        Submodule("lib/a", SHA, "../a"),
        Submodule("b", SHA, ""),
        Submodule("c", SHA, "../c"),
        Submodule("d", SHA, ""),
    ]


# --- real ones

Lines = list[str]


class Tracks:
    """Repositories beside each other, and a host that builds the one that is called tool."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.folder = work / "tracks"
        self.sources = GitSources(work / "clones", submodules=True)
        self.lines: Lines = []

    def commit(self, name: str, files: dict[str, str]) -> str:
        repository = self.folder / name
        if not repository.exists():
            repository.mkdir(parents=True)
            git(repository, "init", "--quiet", "--initial-branch=main")
        for file, text in files.items():
            (repository / file).parent.mkdir(parents=True, exist_ok=True)
            (repository / file).write_text(text)
        git(repository, "add", "--all")
        git(repository, "commit", "--quiet", "--allow-empty", "--message=change")
        return git(repository, "rev-parse", "HEAD")

    def link(self, name: str, path: str, sha: str, url: str | None) -> str:
        """Commit a link to another repository's commit, whatever `.gitmodules` says of it."""
        repository = self.folder / name
        git(repository, "update-index", "--add", "--cacheinfo", f"160000,{sha},{path}")
        if url is not None:
            with (repository / ".gitmodules").open("a", errors="surrogateescape") as file:
                file.write(
                    f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n\tupdate = !id\n'
                )
            git(repository, "add", ".gitmodules")
        git(repository, "commit", "--quiet", "--message=link")
        return git(repository, "rev-parse", "HEAD")

    def build(self, **changes: Any) -> Path:
        destination = self.work / "checkout"
        url, sources = f"file://{self.folder}/tool", replace(self.sources, **changes)
        checkout(url, "main", sources, destination, Deadline(60), self.lines.append)
        return destination

    @property
    def warnings(self) -> Lines:
        return [line for line in self.lines if "warning" in line]


@pytest.fixture
def tracks(work: Path) -> Tracks:
    made = Tracks(work)
    made.commit("tool", {"Dockerfile": "FROM scratch"})
    return made


@pytest.mark.e2e
def test_submodules_are_fetched_and_theirs_too(tracks: Tracks) -> None:
    inner = tracks.commit("inner", {"deep.rb": "deep"})
    tracks.commit("lib", {"a.rb": "a", "bin/run.sh": "#!/bin/sh"})
    lib = tracks.link("lib", "vendor/inner", inner, "../inner")
    tracks.commit("lib", {"a.rb": "later"})
    tracks.link("tool", "vendor/lib", lib, f"file://{tracks.folder}/lib")
    built = tracks.build()
    files = {str(path.relative_to(built)) for path in built.rglob("*") if path.is_file()}
    assert files == {
        *("Dockerfile", ".gitmodules", "vendor/lib/.gitmodules"),
        *("vendor/lib/a.rb", "vendor/lib/bin/run.sh", "vendor/lib/vendor/inner/deep.rb"),
    }
    assert (built / "vendor/lib/a.rb").read_text() == "a"
    assert tracks.warnings == []
    assert len(list((tracks.work / "clones").iterdir())) == 1  # a stranger's are not kept
    assert sorted(place.name for place in tracks.work.iterdir()) == ["checkout", "clones", "tracks"]


@pytest.mark.e2e
def test_submodules_that_are_not_fetched_are_told_of(tracks: Tracks) -> None:
    lib = tracks.commit("lib", {"a.rb": "a"})
    tracks.link("tool", "lib", lib, "../lib")
    built = tracks.build(submodules=False)
    assert list((built / "lib").iterdir()) == []
    (warning,) = tracks.warnings
    assert warning == (
        "==> warning: these submodules are empty folders: 'lib'; this host does not fetch them "
        "(sources.submodules)"
    )


@pytest.mark.e2e
def test_a_submodule_of_which_nothing_is_said_stays_empty_and_is_told_of(tracks: Tracks) -> None:
    tracks.link("tool", "lib", SHA, None)
    built = tracks.build()
    assert list((built / "lib").iterdir()) == []
    assert "'lib'; .gitmodules does not say where they are" in tracks.warnings[0]


def a_host_s_folder(tracks: Tracks) -> str:
    secret = tracks.work / "secret"
    secret.mkdir()
    git(secret, "init", "--quiet", "--initial-branch=main")
    (secret / "key").write_text("secret")
    git(secret, "add", "--all")
    git(secret, "commit", "--quiet", "--message=secret")
    sha = git(secret, "rev-parse", "HEAD")
    tracks.link("tool", "lib", sha, f"file://{secret}")
    return "not beside the repository"


def a_folder_above(tracks: Tracks) -> str:
    a_host_s_folder(tracks)
    modules = tracks.folder / "tool" / ".gitmodules"
    modules.write_text(modules.read_text().replace("url = file://", "url = ../../secret #"))
    git(tracks.folder / "tool", "add", ".gitmodules")
    git(tracks.folder / "tool", "commit", "--quiet", "--message=another way")
    return "not beside the repository"


def another_commit_s(tracks: Tracks) -> str:
    lib = tracks.commit("lib", {"a.rb": "a"})
    git(tracks.folder / "lib", "checkout", "--quiet", "--detach")
    loose = tracks.commit("lib", {"a.rb": "of a fork"})
    git(tracks.folder / "lib", "update-ref", "refs/pull/1/head", loose)
    git(tracks.folder / "lib", "checkout", "--quiet", "main")
    assert lib != loose
    tracks.link("tool", "lib", loose, "../lib")
    return "not on any branch or tag"


def nothing_there(tracks: Tracks) -> str:
    tracks.link("tool", "lib", SHA, "../nothing")
    return "cannot be fetched"


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("make", "error"),
    [
        (a_host_s_folder, SourceRefused),
        (a_folder_above, SourceRefused),
        (another_commit_s, BadReference),
        (nothing_there, SourceError),
    ],
)
def test_submodules_that_are_not_to_be_had(
    tracks: Tracks, make: Callable[[Tracks], str], error: type[Exception]
) -> None:
    why = make(tracks)
    with pytest.raises(error, match=f"^submodule 'lib.*{why}"):
        tracks.build()
    assert not (tracks.work / "checkout/lib/key").exists()


@pytest.mark.e2e
def test_submodules_without_end(tracks: Tracks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "MAX_SUBMODULES", 3)
    sha = tracks.commit("lib", {"a": "1"})
    for number in range(4):
        tracks.link("tool", f"lib{number}", sha, "../lib")
    with pytest.raises(SourceRefused, match="over 3 submodules"):
        tracks.build()


@pytest.mark.e2e
def test_a_submodule_that_is_the_repository_itself_waits_for_no_lock(tracks: Tracks) -> None:
    first = git(tracks.folder / "tool", "rev-parse", "HEAD")
    tracks.link("tool", "before", first, "../tool")
    assert (tracks.build() / "before/Dockerfile").read_text() == "FROM scratch"


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("limit", "most", "why"), [("MAX_BYTES", 300, "bytes of files"), ("MAX_FILES", 4, "files")]
)
def test_submodules_count_with_all_else(
    tracks: Tracks, monkeypatch: pytest.MonkeyPatch, limit: str, most: int, why: str
) -> None:
    lib = tracks.commit("lib", {"a": "x" * 300, "b": ""})
    tracks.link("tool", "lib", lib, "../lib")
    tracks.build()
    monkeypatch.setattr(quota, limit, most)
    tracks.work.joinpath("checkout").rename(tracks.work / "before")
    with pytest.raises(SourceRefused, match=rf"submodule 'lib': the sources, .* {why}, and {most}"):
        tracks.build()
    assert not (tracks.work / "checkout/lib/a").exists()


@pytest.mark.e2e
def test_a_submodule_is_written_through_no_link(tracks: Tracks) -> None:
    """A tree that has a link and a folder of one name, as no honest git writes it."""
    lib = tracks.commit("lib", {"a": "1"})
    target = tracks.work / "target"
    (target / "lib").mkdir(parents=True)
    repository = tracks.folder / "tool"
    (tracks.work / "text").write_text(str(target))
    blob = git(repository, "hash-object", "-w", str(tracks.work / "text"))
    inner = mktree(repository, f"160000 commit {lib}\tlib\n")
    text = f'[submodule "x"]\n\tpath = a/lib\n\turl = file://{tracks.folder}/lib\n'
    (repository / ".gitmodules").write_text(text)
    modules = git(repository, "hash-object", "-w", ".gitmodules")
    tree = mktree(
        repository,
        f"100644 blob {modules}\t.gitmodules\n120000 blob {blob}\ta\n040000 tree {inner}\ta\n",
    )
    commit = git(repository, "commit-tree", tree, "-m", "odd")
    git(repository, "update-ref", "refs/heads/main", commit)
    tracks.build()
    assert list((target / "lib").iterdir()) == []


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda place: None, "is not there"),
        (lambda place: place.symlink_to("/"), "is something else"),
        (lambda place: place.write_text(""), "is something else"),
        (lambda place: (place / "in").mkdir(parents=True), "is not empty"),
    ],
)
def test_what_is_no_folder_of_a_submodule(
    work: Path, make: Callable[[Path], object], why: str
) -> None:
    folder = Checkout("file:///x", GitSources(work), work, Deadline(10))
    (work / "vendor").mkdir()
    make(work / "vendor" / "lib")
    with pytest.raises(SourceRefused, match=f"its folder {why}"):
        folder._check_place(PurePosixPath("vendor/lib"))


@pytest.mark.e2e
def test_a_submodule_whose_name_is_no_text_stays_empty(tracks: Tracks) -> None:
    lib = tracks.commit("lib", {"a": "1"})
    tracks.link("tool", os.fsdecode(b"\xff"), lib, "../lib")
    built = tracks.build()
    assert list((built / os.fsdecode(b"\xff")).iterdir()) == []
    assert "does not say where" in tracks.warnings[0]


def mktree(repository: Path, entries: str) -> str:
    command = ["git", "-C", str(repository), "mktree"]
    done = subprocess.run(command, input=entries, capture_output=True, text=True, check=True)
    return done.stdout.strip()
