"""Private repositories: a git server behind TLS that wants a password."""

import base64
import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.registry import Authority

from pipeline_containers.building.git import GitSources, checkout
from pipeline_containers.errors import SourceError
from pipeline_containers.system.deadline import Deadline

TOKEN = "a-very+secret/token"
Commit = Callable[..., str]


class GitHandler(BaseHTTPRequestHandler):
    """git's own server program, for those who know the password; it tells others what they said."""

    root: Path
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(b"")

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def answer(self, body: bytes) -> None:
        said = self.headers.get("Authorization", "")
        known = base64.b64encode(f"bot:{TOKEN}".encode()).decode()
        if said != f"Basic {known}":
            secret = base64.b64decode(said.removeprefix("Basic ")).decode().partition(":")[2]
            asked = {"WWW-Authenticate": 'Basic realm="git"', "Content-Type": "text/plain"}
            self.reply(403 if said else 401, asked, f"you said {secret}\n".encode())
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

    def reply(self, status: int, fields: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in (fields | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url(work: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the test's repository at a server that this host trusts."""
    authority = Authority(work)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("localhost"))
    handler = type("Handler", (GitHandler,), {"root": repository.parent})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"https://localhost:{server.server_port}/{repository.name}/.git"
        server.shutdown()
        thread.join()


def credentials(work: Path, url: str, password: str) -> Path:
    host = url.removeprefix("https://").partition("/")[0]
    file = work / "git-credentials"
    file.write_text(f"https://someone:else@example.org\nhttps://bot:{password}@{host}\n")
    file.chmod(0o400)
    return file


@pytest.mark.e2e
def test_a_private_repository(url: str, commit: Commit, work: Path) -> None:
    sha = commit({"a": "1"})
    file = credentials(work, url, TOKEN.replace("/", "%2F"))
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
    sources = GitSources(work / "clones", credentials(work, url, "wrong-secret"))
    lines: list[str] = []
    with pytest.raises(SourceError, match="cannot be fetched") as caught:
        checkout(url, "main", sources, work / "checkout", Deadline(60), lines.append)
    assert "wrong-secret" not in str(caught.value) + str(lines)


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
