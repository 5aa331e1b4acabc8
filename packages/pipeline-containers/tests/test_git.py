"""References, checked and resolved; the repositories are real ones."""

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline_containers.building.source import quota as building_quota
from pipeline_containers.building.source.checkout import checkout
from pipeline_containers.building.source.git import GitSources, fetched
from pipeline_containers.building.source.reference import Reference, check_url
from pipeline_containers.errors import (
    BadReference,
    BuildCancelled,
    BuildTimedOut,
    SourceError,
    SourceRefused,
)
from pipeline_containers.system.deadline import Deadline

Commit = Callable[..., str]
Git = Callable[..., str]
SHA = "0123456789" * 4


GOOD = [
    *(
        "main",
        "master",
        "v1.0",
        "feature/a-b",
        "1.x",
        SHA,
        "a+b",
        "#x",
        "fix#12",
        "_x",
        "a@b",
        "@x",
    ),
    *("ä", "größe", "e\u0301", "日本/語", "🚀", "a=b", "a,b", "100%", "a/-b", "é" * 100, "HEAD"),
]


@pytest.mark.parametrize("text", GOOD)
def test_what_a_reference_may_be(text: str) -> None:
    assert Reference.parse(text).text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "--upload-pack=touch /tmp/x",
        "--upload-pack=x",
        "$(id)",
        "a b",
        "a\nb",
        "main\n",
        "a..b",
        "a//b",
        "a/.b",
        "a.lock",
        "a/",
        "a.",
        "/a",
        ".a",
        "HEAD~1",
        "main^{tree}",
        "main:bin",
        "refs@{1}",
        "a\0b",
        "a" * 201,
        "é" * 101,
        "a@{1}",
        "a\\b",
        "a?",
        "a*",
        "a[b]",
        "a`id`",
        "a;id",
        "a&id",
        "a|id",
        "a>b",
        "a'b",
        'a"b',
        "a\u202eb",  # turns the direction of text
        "a\u200bb",  # has no width
        "a\u2028b",
        "a\x9bb",
        "a\u00a0b",
        "a\ud800b",
        "a\ue000b",
        "\U000e0041",
    ],
)
def test_what_a_reference_may_not_be(text: str) -> None:
    with pytest.raises(BadReference, match="give a branch, a tag, or a full SHA"):
        Reference.parse(text)


def test_a_sha_is_a_sha_in_capitals_too() -> None:
    assert Reference.parse("ABCDEF0123" * 4) == Reference.parse("abcdef0123" * 4)
    assert Reference.parse("ABCDEF0123" * 4).is_sha


def test_at_is_head() -> None:
    assert Reference.parse("@") == Reference.parse("HEAD")
    assert Reference.parse("@").is_head
    assert not Reference.parse("@x").is_head


@pytest.mark.e2e
@pytest.mark.parametrize("text", [text for text in GOOD if text not in (SHA, "HEAD")])
def test_git_itself_takes_what_is_taken(text: str) -> None:
    subprocess.run(["git", "check-ref-format", f"refs/heads/{text}"], check=True)


def test_tags_come_before_branches_and_names_are_full() -> None:
    assert Reference.parse("v1").candidates == (
        "refs/tags/v1^{commit}",
        "refs/heads/v1^{commit}",
    )
    assert Reference.parse(SHA).candidates == (f"{SHA}^{{commit}}",)


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/exercism/ruby-test-runner",
        "ssh://git@example.org/a.git",
        "file:///srv/a",
    ],
)
def test_addresses(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://example.org/a",
        "git://example.org/a",
        "ext::sh -c id",
        "ssh://-oProxyCommand=id/a",
        "/srv/a",
        "-x",
        "--upload-pack=x",
        "git@example.org:a",
        "https://example.org/a b",
        "https://example.org/a\n",
        "file:///srv/../etc",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(SourceError, match="is not a repository's address"):
        check_url(url)


@pytest.fixture
def resolve(work: Path, repository: Path) -> Callable[[str], str]:
    """Check a reference out, into a folder that is always the same one."""
    numbers = iter(range(100))

    def do(reference: str) -> str:
        destination = work / f"checkout-{next(numbers)}"
        url, sources = f"file://{repository}", GitSources(work / "clones")
        return checkout(url, reference, sources, destination, Deadline(60))

    return do


@pytest.mark.e2e
def test_every_kind_of_reference(
    resolve: Callable[[str], str], commit: Commit, git: Git, work: Path
) -> None:
    first = commit({"a": "1"})
    git("tag", "light")
    git("tag", "--annotate", "heavy", "--message", "a release")
    git("branch", "feature/x")
    second = commit({"a": "2"})
    assert resolve("main") == second
    assert resolve(second) == second
    assert resolve(first) == first
    assert resolve("light") == first
    assert resolve("heavy") == first
    assert resolve("feature/x") == first
    assert (work / "checkout-0/a").read_text() == "2"
    assert (work / "checkout-2/a").read_text() == "1"
    assert sorted(place.name for place in (work / "checkout-0").iterdir()) == ["a"]


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["#x", "_x", "größe", "日本/語", "🚀", "a@b", "100%", "é" * 100])
def test_odd_names_of_branches_and_tags(
    resolve: Callable[[str], str], commit: Commit, git: Git, name: str
) -> None:
    first = commit({"a": "1"})
    git("branch", name)
    git("tag", f"{name}-tag")
    commit({"a": "2"})
    assert resolve(name) == first
    if len(name) < 100:
        assert resolve(f"{name}-tag") == first


@pytest.mark.e2e
def test_head_is_where_the_repository_stands(
    resolve: Callable[[str], str], commit: Commit, git: Git
) -> None:
    with pytest.raises(BadReference, match="HEAD"):
        resolve("HEAD")
    first = commit({"a": "1"})
    assert resolve("HEAD") == resolve("@") == first
    git("checkout", "--quiet", "-b", "other")
    second = commit({"a": "2"})
    assert resolve("HEAD") == second
    assert resolve("main") == first
    git("checkout", "--quiet", "--detach")
    commit({"a": "on no branch"})
    with pytest.raises(BadReference, match="not on any branch or tag"):
        resolve("HEAD")


@pytest.mark.e2e
def test_a_sha_in_capitals(resolve: Callable[[str], str], commit: Commit) -> None:
    sha = commit({"a": "1"})
    assert resolve(sha.upper()) == sha
    with pytest.raises(BadReference, match="give all 40 digits"):
        resolve(sha[:10].upper())


@pytest.mark.e2e
def test_a_tag_wins_over_a_branch_of_its_name(
    resolve: Callable[[str], str], commit: Commit, git: Git
) -> None:
    first = commit({"a": "1"})
    git("tag", "both")
    git("checkout", "--quiet", "-b", "both")
    commit({"a": "2"})
    assert resolve("both") == first


@pytest.mark.e2e
def test_a_branch_is_fetched_anew_also_when_its_history_was_rewritten(
    resolve: Callable[[str], str], commit: Commit, git: Git
) -> None:
    first = commit({"a": "1"})
    assert resolve("main") == first
    git("commit", "--quiet", "--amend", "--message", "another past")
    assert resolve("main") == git("rev-parse", "HEAD") != first
    with pytest.raises(BadReference, match="not on any branch or tag"):
        resolve(first)
    git("checkout", "--quiet", "-b", "other")
    git("branch", "-D", "main")
    with pytest.raises(BadReference):
        resolve("main")


@pytest.mark.e2e
def test_a_commit_that_no_branch_or_tag_leads_to_is_refused(
    resolve: Callable[[str], str], commit: Commit, git: Git
) -> None:
    commit({"a": "1"})
    git("checkout", "--quiet", "--detach")
    loose = commit({"a": "a fork's"})
    git("update-ref", "refs/pull/1/head", loose)
    git("checkout", "--quiet", "main")
    with pytest.raises(BadReference, match="not on any branch or tag"):
        resolve(loose)


@pytest.mark.e2e
def test_short_and_absent_references(resolve: Callable[[str], str], commit: Commit) -> None:
    sha = commit({"a": "1"})
    with pytest.raises(BadReference, match="give all 40 digits"):
        resolve(sha[:10])
    with pytest.raises(BadReference):
        resolve("nowhere")
    with pytest.raises(BadReference):
        resolve(SHA)
    with pytest.raises(BadReference):
        resolve("heads/main")


@pytest.mark.e2e
def test_a_repository_of_a_few_kilobytes_with_millions_of_files(
    resolve: Callable[[str], str], commit: Commit, git: Git, work: Path
) -> None:
    """A tree may have another one many times over."""
    commit({"a": "x"})
    name = git("hash-object", "-w", "a")
    kind, mode = "blob", "100644"
    for _ in range(3):
        entries = "".join(f"{mode} {kind} {name}\tn{number}\n" for number in range(100))
        name, kind, mode = git("mktree", stdin=entries), "tree", "040000"
    bomb = git("commit-tree", name, "-m", "many")
    git("branch", "--force", "bomb", bomb)
    with pytest.raises(SourceRefused, match=r"has (over )?\d+ files, and 50000 are allowed"):
        resolve("bomb")
    assert not list(work.glob("checkout-*"))


@pytest.mark.e2e
def test_a_repository_whose_files_are_large_when_they_are_unpacked(
    resolve: Callable[[str], str], commit: Commit, monkeypatch: pytest.MonkeyPatch, work: Path
) -> None:
    monkeypatch.setattr(building_quota, "MAX_BYTES", 1_000_000)
    commit({"zeros": "0" * 600_000, "more": "0" * 400_000})
    assert resolve("main")
    commit({"one": "1"})
    with pytest.raises(SourceRefused, match="has 1000001 bytes of files, and 1000000 are allowed"):
        resolve("main")
    assert not (work / "checkout-1").exists()


@pytest.mark.e2e
def test_a_missing_repository(work: Path) -> None:
    sources = GitSources(work / "clones")
    with pytest.raises(SourceError, match="cannot be fetched"):
        checkout(f"file://{work}/nothing", "main", sources, work / "checkout", Deadline(60))
    assert not (work / "checkout").exists()


@pytest.mark.e2e
def test_nothing_of_the_repository_runs(
    resolve: Callable[[str], str], commit: Commit, git: Git, work: Path
) -> None:
    """Neither filters that attributes ask for, nor hooks, nor submodules."""
    witness = work / "witness"
    commit(
        {
            ".gitattributes": "* filter=evil",
            ".gitmodules": f'[submodule "x"]\n\tpath = x\n\turl = file://{work}/x\n\tupdate = !id',
            ".gitconfig": f'[filter "evil"]\n\tsmudge = touch {witness}',
            "a": "1",
        }
    )
    git("config", "filter.evil.smudge", f"touch {witness}")
    git("config", "uploadpack.packObjectsHook", f"touch {witness}")
    resolve("main")
    hook = next((work / "clones").iterdir()) / "git/hooks"
    assert not hook.exists()
    assert not witness.exists()
    assert (work / "checkout-0/a").read_text() == "1"


@pytest.mark.e2e
def test_links_in_a_repository_are_links(
    resolve: Callable[[str], str], commit: Commit, repository: Path, work: Path
) -> None:
    repository.joinpath("out").symlink_to("/etc")
    commit({"a": "1"})
    resolve("main")
    assert (work / "checkout-0/out").is_symlink()


@pytest.mark.e2e
def test_cancelling(work: Path, repository: Path, commit: Commit) -> None:
    commit({"a": "1"})
    event = threading.Event()
    event.set()
    sources, deadline = GitSources(work / "clones"), Deadline(60, event)
    with pytest.raises(BuildCancelled):
        checkout(f"file://{repository}", "main", sources, work / "checkout", deadline)


@pytest.mark.e2e
def test_what_a_killed_git_left_is_no_hindrance(
    resolve: Callable[[str], str], commit: Commit, work: Path
) -> None:
    """Neither its locks nor half a clone."""
    first = commit({"a": "1"})
    assert resolve("main") == first
    clone = next((work / "clones").glob("*/git"))
    (clone / "packed-refs.lock").touch()
    (clone / "refs/heads/main.lock").touch()
    second = commit({"a": "2"})
    assert resolve("main") == second
    for pack in clone.rglob("objects/??/*"):
        pack.chmod(0o600)
        pack.write_bytes(b"")
    (clone / "HEAD").write_text("")
    third = commit({"a": "3"})
    assert resolve("main") == third
    assert resolve(first) == first


@pytest.mark.e2e
def test_who_waits_for_a_clone_can_be_cancelled_and_has_a_deadline(
    repository: Path, commit: Commit, work: Path
) -> None:
    commit({"a": "1"})
    url, sources = f"file://{repository}", GitSources(work / "clones")
    with fetched(url, "main", sources, Deadline(60)):
        with pytest.raises(BuildTimedOut):
            checkout(url, "main", sources, work / "x", Deadline(0.2))
        event = threading.Event()
        timer = threading.Timer(0.2, event.set)
        timer.start()
        with pytest.raises(BuildCancelled):
            checkout(url, "main", sources, work / "x", Deadline(60, event))
        timer.join()
