"""A git reference becomes a commit, and the commit a folder of files.

The repository is a stranger's. References are checked against an allowlist and used by their full
names only; a commit counts only if a branch or tag of the repository leads to it, since hosts also
serve the commits of its forks. No hook, no configuration of a user or of the host, no filter, no
submodule and no LFS object takes part. Branches and tags are fetched anew each time, into a bare
clone that is kept.
"""

import fcntl
import hashlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline_containers.command import (
    Cancelled,
    Completed,
    OnLine,
    clean_environment,
    run_command,
)
from pipeline_containers.errors import BadReference, BuildCancelled, SourceError

PROTOCOLS = ("https", "ssh", "file")
"""How a repository may be reached; plain http and git's own protocol prove nothing of the host."""

_SHA = re.compile(r"[0-9a-f]{40}")
_SHORT_SHA = re.compile(r"[0-9a-f]{7,39}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}")
_BAD_PART = re.compile(r"\.\.|//|/\.|\.lock(/|$)|[./]$")
_URL = re.compile(r"([a-z]+)://[A-Za-z0-9/][A-Za-z0-9._~:/@%+,=-]*")

_OPTIONS = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.symlinks=true"),
    *("-c", "credential.helper="),
    *("-c", "gc.auto=0"),  # it would go on in the background
    *("-c", "maintenance.auto=false"),
    *("-c", "submodule.recurse=false"),
    *("-c", "advice.detachedHead=false"),
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A full SHA, or the name of a tag or branch."""

    text: str

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Check a reference against the allowlist; `BadReference` says what it may be."""
        if _SHA.fullmatch(text):
            return cls(text)
        if _NAME.fullmatch(text) is None or _BAD_PART.search(text):
            raise BadReference(
                f"{text[:80]!r} is not a git reference: give a branch, a tag, or a full SHA"
            )
        return cls(text)

    @property
    def is_sha(self) -> bool:
        """Whether this is a commit's full name."""
        return _SHA.fullmatch(self.text) is not None

    @property
    def candidates(self) -> tuple[str, ...]:
        """What it may stand for, by full name, the first that exists wins: tags, then branches."""
        if self.is_sha:
            return (f"{self.text}^{{commit}}",)
        return (f"refs/tags/{self.text}^{{commit}}", f"refs/heads/{self.text}^{{commit}}")


def check_url(url: str) -> str:
    """Refuse an address that is not plainly a repository's; the same address."""
    match = _URL.fullmatch(url)
    if match is None or match[1] not in PROTOCOLS or ".." in url:
        raise SourceError(
            f"{url[:200]!r} is not a repository's address: give {', '.join(PROTOCOLS)}://..."
        )
    return url


def checkout(
    url: str,
    reference: str,
    clones_folder: Path,
    destination: Path,
    *,
    timeout_s: float = 600,
    on_line: OnLine | None = None,
    cancelled: Cancelled | None = None,
) -> str:
    """Write the files of a reference into `destination`, which is made; the commit's SHA.

    `BadReference` when it names nothing, `SourceError` when the repository cannot be read.
    """
    with fetched(url, reference, clones_folder, timeout_s, on_line, cancelled) as commit:
        commit.write(destination)
        return commit.sha


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit in a bare clone, whose lock is held as long as this is in use."""

    sha: str
    git: "_Git"

    def write(self, destination: Path) -> None:
        """Write the commit's files into a folder; through an index of its own, no hook is due."""
        destination.mkdir(parents=True)
        env = {"GIT_INDEX_FILE": str(self.git.home / "index"), "GIT_WORK_TREE": str(destination)}
        for arguments in (["read-tree", self.sha], ["checkout-index", "--all", "--force"]):
            done = self.git.call(arguments, env)
            if not done.ok:
                raise SourceError(f"{self.sha} cannot be checked out: {done.tail.strip()}")


@contextmanager
def fetched(
    url: str,
    reference: str,
    clones_folder: Path,
    timeout_s: float = 600,
    on_line: OnLine | None = None,
    cancelled: Cancelled | None = None,
) -> Iterator[Commit]:
    """Fetch a repository and resolve a reference in it; the clone is locked meanwhile."""
    wanted = Reference.parse(reference)
    check_url(url)
    clone = clones_folder.resolve() / hashlib.sha256(url.encode()).hexdigest()[:32]
    clone.mkdir(parents=True, exist_ok=True)
    with (
        (clone / "lock").open("w") as lock,
        tempfile.TemporaryDirectory(prefix="pipeline-git-") as home,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        git = _Git(clone / "git", Path(home), timeout_s, on_line, cancelled)
        _fetch(git, url)
        yield Commit(_resolve(git, wanted), git)


@dataclass(frozen=True, slots=True)
class _Git:
    """Git on one bare clone, cut off from everybody's configuration."""

    folder: Path
    home: Path
    timeout_s: float
    on_line: OnLine | None
    cancelled: Cancelled | None

    def call(self, arguments: list[str], env: dict[str, str] | None = None) -> Completed:
        done = run_command(
            ["git", *_OPTIONS, f"--git-dir={self.folder}", *arguments],
            timeout_s=self.timeout_s,
            output_bytes=64 * 1024 * 1024,
            env=clean_environment(self.home) | _ENVIRONMENT | (env or {}),
            cwd=self.home,
            on_line=self.on_line if arguments[0] == "fetch" else None,
            cancelled=self.cancelled,
        )
        if done.stop is not None and self.cancelled is not None and self.cancelled.is_set():
            raise BuildCancelled("cancelled while the repository was read")
        return done


_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": ":".join(PROTOCOLS),
    "GIT_ASKPASS": "/bin/false",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
    "GIT_TERMINAL_PROMPT": "0",
}


def _fetch(git: _Git, url: str) -> None:
    if not (git.folder / "HEAD").exists():
        done = git.call(["init", "--quiet", "--bare", "--template=", "--", str(git.folder)])
        if not done.ok:
            raise SourceError(f"no clone could be made: {done.tail.strip()}")
    options = [
        "--force",
        "--no-tags",
        "--prune",
        "--no-recurse-submodules",
        "--no-write-fetch-head",
    ]
    everything = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
    done = git.call(["fetch", "--quiet", *options, "--", url, *everything])
    if not done.ok:
        reason = done.stop.value if done.stop else done.tail.strip() or "git said nothing"
        raise SourceError(f"{url} cannot be fetched: {reason}")


def _resolve(git: _Git, reference: Reference) -> str:
    for candidate in reference.candidates:
        done = git.call(["rev-parse", "--verify", "--quiet", "--end-of-options", candidate])
        sha = done.stdout.strip()
        if done.ok and _SHA.fullmatch(sha):
            if reference.is_sha and not _is_reachable(git, sha):
                break
            return sha
    hint = ""
    if _SHORT_SHA.fullmatch(reference.text):
        hint = "; a short SHA will not do, give all 40 digits"
    raise BadReference(f"{reference.text!r} is not on any branch or tag of the repository{hint}")


def _is_reachable(git: _Git, sha: str) -> bool:
    """Say whether a branch or tag leads to a commit."""
    options = ["--count=1", "--format=%(refname)", f"--contains={sha}"]
    done = git.call(["for-each-ref", *options, "--", "refs/heads", "refs/tags"])
    return done.ok and bool(done.stdout.strip())
