"""A registry that does what no registry should: over plain http, on the loopback."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.images import Image, digest_of

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Exchange(BaseHTTPRequestHandler):
    """One request; a trick may answer it in its own way."""

    protocol_version = "HTTP/1.1"
    registry: "HostileRegistry"

    def do_GET(self) -> None:
        self.registry.requests.append(self.path)
        self.close_connection = True
        with suppress(OSError):  # whoever asked has gone
            self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def begin(self, status: int, kind: str = "application/octet-stream", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send(self, content: bytes, kind: str = "application/octet-stream") -> None:
        self.begin(200, kind, Content_Length=str(len(content)))
        self.wfile.write(content)

    def honest(self) -> bytes | None:
        """What an honest registry would send."""
        return self.registry.content.get(self.path.rpartition("/")[2])

    def _answer(self) -> None:
        if self.path == "/v2/":
            return self.send(b"{}", "application/json")
        for part, trick in list(self.registry.tricks.items()):
            if part in self.path:
                return trick(self)
        content = self.honest()
        if content is None:
            return self.begin(404, Content_Length="0")
        return self.send(content, MANIFEST if "/manifests/" in self.path else "x/x")


Trick = Callable[[Exchange], None]


class HostileRegistry:
    """Honest until `tricks` has something for a part of a request's path."""

    def __init__(self, address: str) -> None:
        self.host = address
        self.location = f"http://{address}"
        self.content: dict[str, bytes] = {}
        self.tricks: dict[str, Trick] = {}
        self.requests: list[str] = []
        self.over = threading.Event()

    def serve(self, image: Image, tag: str = "v1") -> tuple[str, list[str]]:
        """Take an image in; its digest, and those of its layers as they travel."""
        manifest, blobs = image.packed()
        self.content |= blobs
        digest = self.serve_manifest(manifest, tag)
        return digest, [layer["digest"] for layer in json.loads(manifest)["layers"]]

    def serve_manifest(self, manifest: bytes, tag: str = "v1") -> str:
        digest = digest_of(manifest)
        self.content |= {digest: manifest, tag: manifest}
        return digest

    def asked_for(self, digest: str) -> int:
        """How often a blob was asked for."""
        return sum(path.endswith(f"/blobs/{digest}") for path in self.requests)


@contextmanager
def lying_registry() -> Iterator[HostileRegistry]:
    """Give one for as long as the block lasts."""

    class Handler(Exchange):
        pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Whoever asked has gone."""

    with Server(("127.0.0.1", 0), Handler) as server:
        Handler.registry = HostileRegistry(f"127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield Handler.registry
        finally:
            Handler.registry.over.set()
            server.shutdown()
            thread.join()


def cut(after: int) -> Trick:
    """Announce all, and hang up after so many bytes."""

    def trick(exchange: Exchange) -> None:
        content = exchange.honest() or b""
        exchange.begin(200, "x/x", Content_Length=str(len(content)))
        exchange.wfile.write(content[:after])

    return trick


def hang(after: int = 0) -> Trick:
    """Announce all, and say nothing more after so many bytes, as long as the registry lives."""

    def trick(exchange: Exchange) -> None:
        content = exchange.honest() or b""
        exchange.begin(200, "x/x", Content_Length=str(len(content)))
        exchange.wfile.write(content[:after])
        exchange.wfile.flush()
        exchange.registry.over.wait()

    return trick


def say(content: bytes, kind: str = "x/x") -> Trick:
    """Answer with something else."""
    return lambda exchange: exchange.send(content, kind)


def endless(exchange: Exchange) -> None:
    """Send for as long as somebody listens."""
    exchange.begin(200, "x/x")
    while not exchange.registry.over.is_set():
        exchange.wfile.write(b"x" * 65_536)


def fail(status: int, **headers: str) -> Trick:
    """Answer with a status."""
    return lambda exchange: exchange.begin(status, Content_Length="0", **headers)


def once(trick: Trick, part: str) -> Trick:
    """Play a trick the first time, and be honest from then on."""

    def do(exchange: Exchange) -> None:
        del exchange.registry.tricks[part]
        trick(exchange)

    return do
