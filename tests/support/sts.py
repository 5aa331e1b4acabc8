"""STS as moto has it, behind a proxy that the test can stop, and that notes what went through."""

import re
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROLE = "arn:aws:iam::123456789012:role/workers"


@dataclass(frozen=True)
class Minted:
    """Credentials that went out."""

    key: str
    secret: str
    token: str


def _as_it_is(answer: bytes) -> tuple[int, bytes]:
    return 200, answer


@dataclass
class Sts:
    """The proxy. `change` makes of moto's answer what is answered."""

    endpoint: str = ""
    change: Callable[[bytes], tuple[int, bytes]] = _as_it_is
    minted: list[Minted] = field(default_factory=list)
    asked: int = 0
    hanging: threading.Event = field(default_factory=threading.Event)
    """Set while somebody waits for an answer that does not come."""
    go_on: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        self.change = _as_it_is

    def hang(self) -> None:
        """Answer nothing until `go_on`."""

        def wait(answer: bytes) -> tuple[int, bytes]:
            self.hanging.set()
            self.go_on.wait(60)
            return 500, b""

        self.change = wait

    def fail(self, code: int, error: str) -> None:
        text = f"<Error><Code>{error}</Code><Message>no</Message></Error>"
        self.change = lambda _: (code, f"<ErrorResponse>{text}</ErrorResponse>".encode())

    def spoil(self, pattern: str, replacement: str) -> None:
        """Have a part of the answer be another."""
        self.change = lambda answer: (200, re.sub(pattern, replacement, answer.decode()).encode())

    def note(self, answer: bytes) -> None:
        found = [
            re.search(rf"<{name}>([^<]+)</{name}>", answer.decode())
            for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")
        ]
        if all(found):
            self.minted.append(Minted(*(one[1] for one in found if one)))


@contextmanager
def sts(moto: str) -> Iterator[Sts]:
    """Give an STS before moto's."""
    own = Sts()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            names = ("Authorization", "Content-Type", "X-Amz-Date")
            request = urllib.request.Request(
                moto, body, {name: self.headers[name] for name in names if self.headers[name]}
            )
            with urllib.request.urlopen(request) as reply:
                answer = reply.read()
            own.note(answer)
            own.asked += 1
            code, answer = own.change(answer)
            with suppress(OSError):  # whoever asked may have gone
                self.send_response(code)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        own.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield own
        finally:
            own.go_on.set()
            server.shutdown()
            thread.join()
