"""Private repositories: a git server behind TLS that wants a password."""

import base64
import hashlib
import json
import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.registry import Authority
from support.tracks import git

from pipeline_containers.building.source.checkout import checkout
from pipeline_containers.building.source.git import GitSources
from pipeline_containers.errors import SourceError, SourceRefused
from pipeline_containers.system.deadline import Deadline

TOKEN = "a-very+secret/token"
WRITTEN = TOKEN.replace("/", "%2F")
Commit = Callable[..., str]


class GitHandler(BaseHTTPRequestHandler):
    """git's own server program, for those who know the password; it tells others what they said."""

    root: Path
    told: list[str]
    """What all servers of a test were told, of whom."""
    objects: dict[str, bytes]
    """Those of Git LFS, by their names."""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(b"")

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def answer(self, body: bytes) -> None:
        said = self.headers.get("Authorization", "")
        if said:
            self.told.append(f"{self.connection.getsockname()[1]}{self.path}")
        known = base64.b64encode(f"bot:{TOKEN}".encode()).decode()
        if said != f"Basic {known}":
            secret = base64.b64decode(said.removeprefix("Basic ")).decode().partition(":")[2]
            asked = {"WWW-Authenticate": 'Basic realm="git"', "Content-Type": "text/plain"}
            self.reply(403 if said else 401, asked, f"you said {secret}\n".encode())
            return
        if "/lfs" in self.path:
            self.answer_lfs(body)
            return
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=environment, capture_output=True, check=True
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.reply(int(fields.pop("Status", "200").split()[0]), fields, content)

    def answer_lfs(self, body: bytes) -> None:
        """Answer as a server of Git LFS does; its objects are behind the password, too."""
        if self.command == "GET":
            content = self.objects[self.path.rpartition("/")[2]]
            self.reply(200, {"Content-Type": "application/octet-stream"}, content)
            return
        assert self.path.endswith("/objects/batch")
        place = f"https://localhost:{self.connection.getsockname()[1]}/lfs"
        found = [
            {**it, "actions": {"download": {"href": f"{place}/{it['oid']}"}}}
            for it in json.loads(body)["objects"]
        ]
        fields = {"Content-Type": "application/vnd.git-lfs+json"}
        self.reply(200, fields, json.dumps({"transfer": "basic", "objects": found}).encode())

    def reply(self, status: int, fields: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in (fields | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class Servers:
    """Servers that this host trusts, each at a port of its own."""

    def __init__(self, work: Path, opened: ExitStack) -> None:
        self.told: list[str] = []
        self.objects: dict[str, bytes] = {}
        self._authority = Authority(work)
        self._opened = opened
        self.bundle = self._authority.bundle()

    def serve(self, repository: Path) -> str:
        """Serve a repository; its address."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._authority.issue("localhost"))
        names = {"root": repository.parent, "told": self.told, "objects": self.objects}
        handler = type("Handler", (GitHandler,), names)
        server = self._opened.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self._opened.callback(thread.join)
        self._opened.callback(server.shutdown)
        return f"https://localhost:{server.server_port}/{repository.name}/.git"


@pytest.fixture
def servers(work: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    with ExitStack() as opened:
        made = Servers(work, opened)
        monkeypatch.setenv("SSL_CERT_FILE", str(made.bundle))
        yield made


@pytest.fixture
def url(servers: Servers, repository: Path) -> str:
    """The address of the test's repository."""
    return servers.serve(repository)


def credentials(work: Path, password: str, *urls: str) -> Path:
    hosts = [url.removeprefix("https://").partition("/")[0] for url in urls]
    file = work / "git-credentials"
    lines = ["https://someone:else@example.org", *(f"https://bot:{password}@{it}" for it in hosts)]
    file.write_text("\n".join(lines))
    file.chmod(0o400)
    return file


@pytest.mark.e2e
def test_a_private_repository(url: str, commit: Commit, work: Path) -> None:
    sha = commit({"a": "1"})
    file = credentials(work, WRITTEN, url)
    before = file.read_text()
    sources = GitSources(work / "clones", file)
    assert checkout(url, "main", sources, work / "checkout", Deadline(60)) == sha
    assert (work / "checkout/a").read_text() == "1"
    assert file.read_text() == before
    for kept in (work / "clones").rglob("*"):
        assert not kept.is_file() or b"secret" not in kept.read_bytes()


@pytest.mark.e2e
def test_without_a_password_nobody_is_asked_for_one(url: str, commit: Commit, work: Path) -> None:
    commit({"a": "1"})
    with pytest.raises(SourceError, match="cannot be fetched"):
        checkout(url, "main", GitSources(work / "clones"), work / "checkout", Deadline(60))


@pytest.mark.e2e
def test_a_wrong_password_is_told_to_nobody(url: str, commit: Commit, work: Path) -> None:
    """Though this server sends back what it was told."""
    commit({"a": "1"})
    sources = GitSources(work / "clones", credentials(work, "wrong-secret", url))
    lines: list[str] = []
    with pytest.raises(SourceError, match="cannot be fetched") as caught:
        checkout(url, "main", sources, work / "checkout", Deadline(60), lines.append)
    assert "wrong-secret" not in str(caught.value) + str(lines)


def pointer(content: bytes) -> str:
    oid = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"


@pytest.mark.e2e
@pytest.mark.parametrize("config", ["", "[lfs]\n\turl = {}/another/lfs\n"])
def test_lfs_objects_of_a_private_repository(
    servers: Servers, url: str, commit: Commit, work: Path, config: str
) -> None:
    content = b"content" * 1000
    servers.objects[hashlib.sha256(content).hexdigest()] = content
    lines: list[str] = []
    said = config.format(url.partition("/repository")[0])
    attributes = {".gitattributes": "*.bin filter=lfs\n", "a.bin": pointer(content)}
    commit({**attributes, ".lfsconfig": said})
    sources = GitSources(work / "clones", credentials(work, WRITTEN, url), lfs=True)
    checkout(url, "main", sources, work / "checkout", Deadline(60), lines.append)
    assert (work / "checkout/a.bin").read_bytes() == content
    batch = "/another/lfs/objects/batch" if config else "/repository/.git/info/lfs/objects/batch"
    assert any(place.endswith(batch) for place in servers.told)
    assert TOKEN not in str(lines)
    for kept in (work / "clones").rglob("*"):
        assert not kept.is_file() or b"secret" not in kept.read_bytes()


@pytest.mark.e2e
@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://localhost:1/lfs",
        "https://example.org/lfs",
        "http://localhost/lfs",
        "x",
        "PLACE\\t/",
    ],
)
def test_lfs_objects_come_from_no_other_host(
    servers: Servers, url: str, commit: Commit, work: Path, elsewhere: str
) -> None:
    commit(
        {
            ".gitattributes": "*.bin filter=lfs\n",
            ".lfsconfig": f'[lfs]\n\turl = "{elsewhere.replace("PLACE", url)}"\n',
            "a.bin": pointer(b"content"),
        }
    )
    sources = GitSources(work / "clones", credentials(work, WRITTEN, url), lfs=True)
    with pytest.raises(SourceRefused, match="names another host"):
        checkout(url, "main", sources, work / "checkout", Deadline(60))
    assert not any("lfs" in place for place in servers.told)


def add_submodule(repository: Path, sha: str, url: str) -> None:
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{sha},lib")
    (repository / ".gitmodules").write_text(f'[submodule "l"]\n\tpath = lib\n\turl = {url}\n')
    git(repository, "add", ".gitmodules")
    git(repository, "commit", "--quiet", "--message=link")


@pytest.mark.e2e
def test_a_submodule_of_the_same_host_is_private_too(
    servers: Servers, url: str, repository: Path, commit: Commit, work: Path
) -> None:
    first = commit({"a": "1"})
    add_submodule(repository, first, "../.git")
    sources = GitSources(work / "clones", credentials(work, WRITTEN, url), submodules=True)
    checkout(url, "main", sources, work / "checkout", Deadline(60))
    assert (work / "checkout/lib/a").read_text() == "1"


@pytest.mark.e2e
def test_a_submodule_of_another_host_gets_no_password_that_there_is_for_it(
    servers: Servers, url: str, repository: Path, commit: Commit, work: Path
) -> None:
    """A stranger names it: the builder would fetch for them what they may not."""
    secret = work / "secret"
    secret.mkdir()
    git(secret, "init", "--quiet", "--initial-branch=main")
    git(secret, "commit", "--quiet", "--allow-empty", "--message=secret")
    other = servers.serve(secret)
    commit({"a": "1"})
    add_submodule(repository, git(secret, "rev-parse", "HEAD"), other)
    file = credentials(work, WRITTEN, url, other)
    sources = GitSources(work / "clones", file, submodules=True)
    with pytest.raises(SourceError, match=r"submodule 'lib': .* cannot be fetched"):
        checkout(url, "main", sources, work / "checkout", Deadline(60))
    port = other.split(":")[2].partition("/")[0]
    assert servers.told
    assert not any(place.startswith(port) for place in servers.told)
    alone = replace(sources, clones=work / "others")
    checkout(other, "main", alone, work / "allowed", Deadline(60))  # by who may choose it


def test_a_password_in_an_address_is_refused_and_not_repeated(work: Path) -> None:
    with pytest.raises(SourceError, match="use a credentials file") as caught:
        checkout(
            "https://bot:hidden@example.org/a", "main", GitSources(work), work / "x", Deadline(1)
        )
    assert "hidden" not in str(caught.value)


def test_a_credentials_file_that_is_not_there(work: Path) -> None:
    sources = GitSources(work / "clones", work / "none")
    with pytest.raises(SourceError, match="credentials file cannot be read"):
        checkout("file:///srv/a", "main", sources, work / "x", Deadline(10))
