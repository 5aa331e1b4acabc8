"""A git reference becomes a commit, and the commit a folder of files.

    FOLDER/KEY/lock   held while the clone is fetched and read
    FOLDER/KEY/git/   a bare clone, KEY a hash of its address

The repository is a stranger's. References are checked and used by their full names only; a commit
counts only if a branch or tag of the repository leads to it, since hosts also serve the commits of
its forks. No hook, no configuration of a user or of the host, no filter, no submodule and no LFS
object takes part. Branches and tags are fetched anew each time.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline_containers.building.source.quota import SourceQuota
from pipeline_containers.building.source.reference import (
    HEAD,
    PROTOCOLS,
    Reference,
    check_url,
    is_sha,
)
from pipeline_containers.errors import SourceError
from pipeline_containers.system.command import (
    Completed,
    OnLine,
    Stop,
    clean_environment,
    run_command,
)
from pipeline_containers.system.deadline import Deadline
from pipeline_containers.system.units import GIB

_OPTIONS = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.symlinks=true"),
    *("-c", "credential.helper="),  # none but what is named after this
    *("-c", "gc.auto=0"),  # it would go on in the background
    *("-c", "maintenance.auto=false"),
    *("-c", "submodule.recurse=false"),
    *("-c", "advice.detachedHead=false"),
    *("-c", "http.lowSpeedLimit=1000"),  # bytes a second, for so many seconds:
    *("-c", "http.lowSpeedTime=60"),
)
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
_BOUND = ("prlimit", f"--fsize={4 * GIB}", f"--data={4 * GIB}", "--")
"""A pack, or what is made of one in memory, is no larger."""
_OUTPUT_BYTES = 64 * 1024 * 1024
_CREDENTIALS_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class GitSources:
    """Where clones are kept, and how private repositories are got at.

    `credentials` is a file of `https://NAME:TOKEN@HOST` lines, as git-credential-store(1) reads it;
    git sends each to its own host only. ssh has the keys of the account that this runs as.
    `submodules` and `lfs`: whether what a commit only names is fetched, too. `within` begins git's
    command lines: what holds it to its limits.
    """

    clones: Path
    credentials: Path | None = None
    within: tuple[str, ...] = ()
    submodules: bool = False
    lfs: bool = False


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a commit; a link is one too."""

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Tree:
    """What a commit has: files, and links to other repositories' commits, path to SHA."""

    files: tuple[SourceFile, ...]
    links: dict[str, str]


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit in a bare clone, whose lock is held as long as this is in use."""

    url: str
    sha: str
    git: "_Git"

    def write(self, destination: Path, quota: SourceQuota) -> Tree:
        """Write the commit's files into a folder; through an index of its own, no hook is due.

        Raises `SourceRefused`, and writes nothing, if they are more than a build may have.
        """
        tree = self._tree(quota)
        destination.mkdir(parents=True, exist_ok=True)
        for arguments in (["read-tree", self.sha], ["checkout-index", "--all", "--force"]):
            done = self.git.call(arguments, self._within(destination))
            if not done.ok:
                raise SourceError(f"{self.sha} cannot be checked out: {done.tail.strip()}")
        return tree

    def settings(self, file: str) -> list[tuple[str, str]]:
        """Read one of the commit's files as git's configuration; nothing if it is none."""
        done = self.git.call(["config", "--blob", f"{self.sha}:{file}", "--list", "-z"])
        entries = done.stdout.split("\0") if done.ok else []
        return [(key, value) for key, _, value in (entry.partition("\n") for entry in entries)]

    def with_attribute(self, attribute: str, folder: Path) -> frozenset[str]:
        """Return those of the files, written to a folder, that have an attribute."""
        arguments = ["ls-files", "-z", "--", f":(attr:{attribute})"]
        done = self.git.call(arguments, self._within(folder), ["-C", str(folder)])
        if not done.ok:
            raise SourceError(f"the attributes of {self.sha} cannot be read: {done.tail.strip()}")
        return frozenset(filter(None, done.stdout.split("\0")))

    def _within(self, folder: Path) -> dict[str, str]:
        return {"GIT_INDEX_FILE": str(self.git.home / "index"), "GIT_WORK_TREE": str(folder)}

    def _tree(self, quota: SourceQuota) -> Tree:
        """Count the files first: a few kilobytes of a repository can be millions of them."""
        done = self.git.call(["ls-tree", "-r", "-l", "-z", "--full-tree", self.sha])
        if not done.ok and done.stop is not Stop.OUTPUT_LIMIT:
            raise SourceError(f"{self.sha} cannot be read: {done.tail.strip()}")
        entries = [entry.partition("\t") for entry in done.stdout.split("\0") if entry]
        if done.stop is not None:
            raise quota.too_many(self.sha, f"over {len(entries)}")
        files, links = [], {}
        for facts, _, path in entries:
            _, kind, sha, size = facts.split()
            if kind == "commit":
                links[path] = sha
            else:
                files.append(SourceFile(path, int(size)))
        quota.take(self.sha, len(entries), sum(entry.size_bytes for entry in files))
        return Tree(tuple(files), links)


@contextmanager
def fetched(
    url: str,
    reference: str,
    sources: GitSources,
    deadline: Deadline,
    on_line: OnLine | None = None,
) -> Iterator[Commit]:
    """Fetch a repository and resolve a reference in it; the clone is locked meanwhile."""
    wanted = Reference.parse(reference)
    check_url(url)
    clone = sources.clones.resolve() / hashlib.sha256(url.encode()).hexdigest()[:32]
    clone.mkdir(parents=True, exist_ok=True)
    with (
        deadline.locked(clone / "lock"),
        tempfile.TemporaryDirectory(prefix="pipeline-git-") as home,
    ):
        keyring = _Keyring.take(sources.credentials, Path(home))
        git = _Git(clone / "git", Path(home), keyring, deadline, on_line, sources.within)
        if wanted.is_head:  # before the fetch, which then has it
            wanted = _head(git, url)
        _fetch(git, url)
        yield Commit(url, _resolve(git, wanted), git)


@dataclass(frozen=True, slots=True)
class _Keyring:
    """Credentials for one call: a copy, since git writes into the file that it reads."""

    options: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()

    @classmethod
    def take(cls, file: Path | None, home: Path) -> "_Keyring":
        if file is None:
            return cls()
        try:
            with file.open() as opened:
                text = opened.read(_CREDENTIALS_BYTES)
            copy = home / "credentials"
            copy.touch(0o600)
            copy.write_text(text)
            passwords = [urlsplit(line.strip()).password for line in text.splitlines()]
        except (OSError, ValueError) as error:
            raise SourceError(f"the credentials file cannot be read: {file}") from error
        written = tuple(password for password in passwords if password)
        helper = f"credential.helper=store --file={copy}"
        return cls(("-c", helper), (*written, *map(unquote, written)))

    def redact(self, text: str) -> str:
        """Take out what a host may have sent back."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


@dataclass(frozen=True, slots=True)
class _Git:
    """Git on one bare clone, cut off from everybody's configuration."""

    folder: Path
    home: Path
    keyring: _Keyring
    deadline: Deadline
    on_line: OnLine | None
    within: tuple[str, ...]

    def call(
        self,
        arguments: list[str],
        env: dict[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> Completed:
        """Call git; when it is stopped since time is up, or by a cancel, the deadline raises."""
        environment = clean_environment(self.home) | _ENVIRONMENT | (env or {})
        if "SSL_CERT_FILE" in environment:  # curl as Debian's git has it reads another one
            environment["GIT_SSL_CAINFO"] = environment["SSL_CERT_FILE"]
        done = run_command(
            [
                *self.within,
                *_BOUND,
                "git",
                *_OPTIONS,
                *self.keyring.options,
                f"--git-dir={self.folder}",
                *options,
                *arguments,
            ],
            timeout_s=self.deadline.left_s(),
            output_bytes=_OUTPUT_BYTES,
            env=environment,
            cwd=self.home,
            on_line=self._say if "fetch" in arguments[:2] else None,
            cancelled=self.deadline.cancelled,
        )
        if done.stop is not None:
            self.deadline.left_s()
        return done

    def reason(self, done: Completed) -> str:
        """Return why a call failed, and no secret."""
        said = self.keyring.redact(done.tail.strip())
        return done.stop.value if done.stop else said or "git said nothing"

    def _say(self, line: str) -> None:
        if self.on_line is not None:
            self.on_line(self.keyring.redact(line))


def _fetch(git: _Git, url: str) -> None:
    """Bring the clone up to date; one that is broken is made anew, if the host is not to blame."""
    for lock in git.folder.rglob("*.lock"):
        lock.unlink()  # a killed git's: the clone is ours alone
    done = _fetch_into(git, url)
    if not done.ok and git.folder.exists() and git.call(["ls-remote", "--quiet", "--", url]).ok:
        shutil.rmtree(git.folder)
        done = _fetch_into(git, url)
    if not done.ok:
        raise SourceError(f"{url} cannot be fetched: {git.reason(done)}")


def _fetch_into(git: _Git, url: str) -> Completed:
    done = git.call(["init", "--quiet", "--bare", "--template=", "--", str(git.folder)])
    if not done.ok:
        return done
    options = [
        "--force",
        "--no-tags",
        "--prune",
        "--no-recurse-submodules",
        "--no-write-fetch-head",
    ]
    everything = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
    return git.call(["fetch", "--quiet", *options, "--", url, *everything])


def _head(git: _Git, url: str) -> Reference:
    """Ask a repository which commit it stands at."""
    done = git.call(["ls-remote", "--quiet", "--", url, HEAD])
    if not done.ok:
        raise SourceError(f"{url} cannot be fetched: {git.reason(done)}")
    sha = done.stdout.partition("\t")[0]
    if not is_sha(sha):
        raise Reference(HEAD).unknown
    return Reference(sha)


def _resolve(git: _Git, reference: Reference) -> str:
    for candidate in reference.candidates:
        done = git.call(["rev-parse", "--verify", "--quiet", "--end-of-options", candidate])
        sha = done.stdout.strip()
        if done.ok and is_sha(sha):
            if reference.is_sha and not _is_reachable(git, sha):
                break
            return sha
    raise reference.unknown


def _is_reachable(git: _Git, sha: str) -> bool:
    """Return whether a branch or tag leads to a commit."""
    options = ["--count=1", "--format=%(refname)", f"--contains={sha}"]
    done = git.call(["for-each-ref", *options, "--", "refs/heads", "refs/tags"])
    return done.ok and bool(done.stdout.strip())
