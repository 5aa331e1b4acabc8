"""S3 in three kinds: rclone's, which checks signatures and pages; and a made-up one, which lies.

(moto's, which does neither, is in `moto`.)
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from support.pace import paced

PROGRAM = Path(sys.executable).parent / "rclone"


class Rclone:
    """`rclone serve s3` over a folder: each folder in it is a bucket."""

    def __init__(self, folder: Path, key: str, secret: str, log: Path) -> None:
        self.folder = folder
        self.log = log
        self._login = f"{key},{secret}"
        self._address = "127.0.0.1:0"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://{self._address}"

    def start(self) -> None:
        """Start it, at the address of before if there was one."""
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *(str(PROGRAM), "serve", "s3", "--config", "/dev/null", "-vv"),
                    *("--auth-key", self._login, "--addr", self._address),
                    *("--vfs-cache-mode", "off", "--dir-cache-time", "0s", str(self.folder)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        until = time.monotonic() + paced(30)
        while not (found := re.search(r"http://(127\.0\.0\.1:\d+)", self.log.read_text())):
            assert time.monotonic() < until, self.log.read_text()
            assert self._process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        self._address = found[1]

    def let_in(self, key: str, secret: str) -> None:
        """Let in who signs with this key, from the next start on."""
        self._login = f"{key},{secret}"

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stall(self) -> None:
        """Have it accept what comes, and answer nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def put(self, bucket: str, key: str, content: bytes | str) -> None:
        path = self.folder / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def rclone(folder: Path, key: str, secret: str) -> Iterator[Rclone]:
    """Give an S3 that lets in who signs with this key."""
    buckets = folder / "buckets"
    buckets.mkdir()
    server = Rclone(buckets, key, secret, folder / "rclone.log")
    server.start()
    try:
        yield server
    finally:
        server.kill()


@dataclass
class Answer:
    """What the made-up S3 answers when an object is fetched; of an object's many, the last stays.

    `length`: what it says the body has, or the truth.
    """

    body: bytes = b""
    code: int = 200
    length: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    """S3's code for it."""
    wait: threading.Event | None = None
    """What it waits for in the middle of the body."""

    def part(self, asked: str) -> "Answer":
        """Answer a request for a part: ``bytes=10-19`` or ``bytes=10-``."""
        first, _, last = asked.removeprefix("bytes=").partition("-")
        body = self.body[int(first) : int(last) + 1 if last else None]
        where = f"bytes {first}-{int(first) + len(body) - 1}/{len(self.body)}"
        return replace(self, body=body, code=206, headers={"Content-Range": where})


@dataclass
class MadeUp:
    """An S3 of one bucket whose every answer is the test's to say."""

    endpoint: str = ""
    objects: dict[str, list[Answer]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    """What the listing says of them, where that is not the truth."""
    refusals: list[Answer] = field(default_factory=list)
    """What is answered to the next requests for a listing, one each, before it works again."""
    page: int = 1000
    requests: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    """The access keys that requests for objects were signed with."""
    on_list: Callable[[], None] = lambda: None

    def put(self, key: str, body: bytes | str = b"x", *answers: Answer) -> None:
        content = body.encode() if isinstance(body, str) else body
        self.objects[key] = list(answers) or [Answer(content)]
        self.sizes.setdefault(key, len(content))

    def let_go(self) -> None:
        """Have no answer wait any more."""
        for answers in self.objects.values():
            for answer in answers:
                if answer.wait is not None:
                    answer.wait.set()

    def listing(self, prefix: str, after: str) -> bytes:
        keys = [key for key in self.objects if key.startswith(prefix)]
        first = int(after or 0)
        more = first + self.page < len(keys)
        entries = "".join(
            f"<Contents><Key>{quote(key, errors='surrogateescape')}</Key>"
            f"<Size>{self.sizes[key]}</Size><ETag>&quot;made-up&quot;</ETag></Contents>"
            for key in keys[first : first + self.page]
        )
        token = f"<NextContinuationToken>{first + self.page}</NextContinuationToken>"
        return (
            '<?xml version="1.0"?><ListBucketResult><EncodingType>url</EncodingType>'
            f"<Name>bucket</Name><IsTruncated>{str(more).lower()}</IsTruncated>"
            f"{token if more else ''}{entries}</ListBucketResult>"
        ).encode()

    def answer(self, path: str, query: Mapping[str, list[str]]) -> Answer:
        bucket, _, key = path.lstrip("/").partition("/")
        if bucket != "bucket":
            return Answer(code=404, error="NoSuchBucket")
        if key:
            answers = self.objects.get(key)
            if answers is None:
                return Answer(code=404, error="NoSuchKey")
            return answers.pop(0) if len(answers) > 1 else answers[0]
        if self.refusals:
            return self.refusals.pop(0)
        self.on_list()
        prefix, after = (query.get(name, [""])[0] for name in ("prefix", "continuation-token"))
        return Answer(self.listing(prefix, after), headers={"Content-Type": "application/xml"})


@contextmanager
def made_up() -> Iterator[MadeUp]:
    """Give an S3 that says what it is told to say."""
    own = MadeUp()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            path = unquote(url.path, errors="surrogateescape")
            signed = re.search(r"Credential=([^/]+)/", self.headers["Authorization"] or "")
            if signed and path.count("/") > 1:
                own.keys.add(signed[1])
            answer = own.answer(path, parse_qs(url.query))
            own.requests.append(f"GET {path}")
            part = self.headers["Range"]
            self._send(answer.part(part) if part and answer.code == 200 else answer)

        def _send(self, answer: Answer) -> None:
            body = answer.body
            if answer.error:
                text = f"<Error><Code>{answer.error}</Code><Message>made up</Message></Error>"
                body = f'<?xml version="1.0"?>{text}'.encode()
            length = len(body) if answer.length is None else answer.length
            self.send_response(answer.code)
            for name, value in {**answer.headers, "Content-Length": str(length)}.items():
                self.send_header(name, value)
            self.end_headers()
            half = len(body) // 2 if answer.wait is not None else len(body)
            self.wfile.write(body[:half])
            if answer.wait is not None:
                self.wfile.flush()
                answer.wait.wait(60)
                self.wfile.write(body[half:])
            if length != len(body):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError):  # whoever asked may have gone
                super().handle()

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 100

    with Server(("127.0.0.1", 0), Handler) as server:
        own.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield own
        finally:
            own.let_go()
            server.shutdown()
            thread.join()


def login(folder: Path, key: str, secret: str, endpoint: str, **more: str) -> dict[str, str]:
    """Write AWS' own configuration files, and give the environment that names them.

    Nothing else of AWS in the environment counts, nor is the metadata service asked.
    """
    credentials, config = folder / "aws-credentials", folder / "aws-config"
    credentials.write_text(
        f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
    )
    credentials.chmod(0o600)
    services = "".join(f"{name} =\n  endpoint_url = {url}\n" for name, url in more.items())
    config.write_text(
        "[default]\nregion = us-east-1\nservices = test\n"
        f"s3 =\n  addressing_style = path\n[services test]\ns3 =\n  endpoint_url = {endpoint}\n"
        f"{services}"
    )
    return {
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "AWS_CONFIG_FILE": str(config),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def without_aws() -> list[str]:
    """List what of AWS is in this environment."""
    return [name for name in os.environ if name.startswith("AWS_")]
