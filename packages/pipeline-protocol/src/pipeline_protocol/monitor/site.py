"""What is answered to which request; no socket is known here."""

import hmac
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from pipeline_protocol.monitor.exposition import CONTENT_TYPE, write
from pipeline_protocol.monitor.request import BadHead, Head, read_head
from pipeline_protocol.monitor.snapshot import Setup, Snapshot

FRESH_S = 5.0
"""A snapshot comes every second; one that is older tells that the process does not go on."""

TEXT: Final = "text/plain; charset=utf-8"
REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_HEADERS: Final = (
    "Cache-Control: no-store\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
    "Connection: close\r\n"
)


class HttpResponse(Struct, frozen=True):
    """A response."""

    code: int
    body: bytes | memoryview
    """Shared with other answers where it is long: a copy for each slow reader would add up."""
    type: str = TEXT
    extra: str = ""
    """Further headers, whole lines."""
    begin: bytes = b""
    """What the body begins with."""

    def head(self) -> bytes:
        """Write all of it but the body."""
        return (
            f"HTTP/1.1 {self.code} {REASONS[self.code]}\r\n"
            f"Content-Type: {self.type}\r\nContent-Length: {len(self.begin) + len(self.body)}\r\n"
            f"{_HEADERS}{self.extra}\r\n"
        ).encode()


def plain(code: int, text: str, extra: str = "") -> HttpResponse:
    """HttpResponse with a line of text."""
    return HttpResponse(code, f"{text}\n".encode(), TEXT, extra)


class Site:
    """The latest snapshot, and who may see what of it."""

    def __init__(self, setup: Setup, process: int, clock: Callable[[], float]) -> None:
        """`process` is whom the snapshots are of; `clock` is monotonic, in seconds."""
        self._setup = setup
        self._process = process
        self._clock = clock
        self._latest: tuple[Snapshot, float] | None = None
        self._written: tuple[Snapshot, bytes] | None = None
        """The metrics of a snapshot: whoever asks within the same second gets the same text."""
        self._pages: dict[str, Callable[[Snapshot, float], HttpResponse]] = {
            "/metrics": self._metrics,
            "/status.json": self._status,
        }

    def take(self, snapshot: Snapshot) -> None:
        """Show this from now on; may be called by another thread."""
        self._latest = (snapshot, self._clock())

    def answer(self, data: bytes) -> tuple[HttpResponse, bool]:
        """HttpResponse a request's head; say, too, whether the body is to be sent."""
        try:
            head = read_head(data)
        except BadHead as error:
            return plain(400, str(error)), True
        return self._answer(head), head.method != "HEAD"

    def _answer(self, head: Head) -> HttpResponse:
        setup = self._setup
        if head.method not in ("GET", "HEAD"):
            return plain(405, "nothing can be changed here", "Allow: GET, HEAD\r\n")
        if setup.hosts and head.host not in setup.hosts:
            return plain(403, "the header Host does not name this machine")
        knows = not setup.token or hmac.compare_digest(head.token.encode(), setup.token.encode())
        if head.path == "/healthz":
            return self._health()
        if head.path == "/readyz":
            return self._readiness(in_words=knows)
        if not knows:
            return plain(401, "this needs the monitor's token", "WWW-Authenticate: Bearer\r\n")
        page = self._pages.get(head.path)
        if page is None:
            return plain(404, "there are /healthz, /readyz, /metrics and /status.json")
        if self._latest is None:
            return plain(503, "nothing is known yet")
        snapshot, taken = self._latest
        return page(snapshot, self._clock() - taken)

    def _health(self) -> HttpResponse:
        return plain(200, "alive") if self._is_fresh() else plain(503, "silent")

    def _readiness(self, *, in_words: bool) -> HttpResponse:
        latest = self._latest
        if latest is None or not self._is_fresh():
            return plain(503, "silent")
        unready = latest[0].unready
        if not unready:
            return plain(200, "ready")
        return plain(503, "; ".join(unready) if in_words else "not ready")

    def _is_fresh(self) -> bool:
        latest = self._latest
        return latest is not None and self._clock() - latest[1] <= FRESH_S

    def _metrics(self, snapshot: Snapshot, age_s: float) -> HttpResponse:
        if age_s > FRESH_S:  # or a process that hangs would look as it did before
            return plain(503, f"silent for {age_s:.0f} s")
        if self._written is None or self._written[0] is not snapshot:
            self._written = (snapshot, write(snapshot, self._process))
        return HttpResponse(200, self._written[1], CONTENT_TYPE)

    def _status(self, snapshot: Snapshot, age_s: float) -> HttpResponse:
        rest = memoryview(snapshot.status)[1:]
        return HttpResponse(200, rest, "application/json", begin=b'{"age_s":%.3f,' % age_s)
