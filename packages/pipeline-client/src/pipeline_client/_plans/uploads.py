"""A folder's files into S3, below a prefix of their own; needs the extra `s3`.

Nothing is deleted afterwards: a run that was given up here may still be under way, and one that is
over can be repeated from its `s3_uri`. A rule of the bucket that lets the prefix expire after a
day does it better, and this side needs no right to delete.
"""

import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from pipeline_client.errors import error_of
from pipeline_protocol import status
from pipeline_protocol.names import BUCKET

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_AT_ONCE = 8
_PREFIX = re.compile(rf"s3://({BUCKET})/([^\x00-\x1f\x7f]{{0,900}})")


def parse_prefix(text: str) -> tuple[str, str]:
    """Return the bucket and the prefix, which ends with a slash unless empty.

    Raises ValueError if it is none.
    """
    found = _PREFIX.fullmatch(text)
    if not found:
        raise ValueError(f"upload_to must be like s3://bucket/prefix/, not {text!r}")
    bucket, prefix = found.groups()
    return bucket, prefix if not prefix or prefix.endswith("/") else prefix + "/"


def upload(folder: Path, names: Iterable[str], to: str, allowed_s: float) -> str:
    """Upload these files of a folder; return the `s3_uri` that they are found by.

    Raises PlatformError (512) when that fails, ClientTimedOut when it takes too long.
    """
    ends = time.monotonic() + allowed_s
    bucket, prefix = parse_prefix(to)
    own = f"{prefix}{uuid4().hex}/"
    going_up = _Upload(_client(), folder, names, bucket, own)
    going_up.wait(ends)
    if going_up.failed:
        error = going_up.failed[0]
        raise error_of(status.SETUP_FAILED, f"uploading to {to} failed: {error}") from error
    if going_up.left:
        why = f"uploading to {to} took longer than {allowed_s:g} s"
        raise error_of(status.CLIENT_TIMED_OUT, why)
    return f"s3://{bucket}/{own}"


class _Upload:
    """Several files at a time, by threads that nobody has to wait for: not even an exit does."""

    def __init__(
        self, client: "S3Client", folder: Path, names: Iterable[str], bucket: str, prefix: str
    ) -> None:
        self._client = client
        self._folder = folder
        self._bucket = bucket
        self._prefix = prefix
        self._waiting = deque(names)
        self._over = False
        self.left = len(self._waiting)
        """Files that are not uploaded yet."""
        self.failed: list[Exception] = []
        self._changed = threading.Condition()

    def wait(self, until: float) -> None:
        """Upload until all is done, something failed, or it is too late."""
        for _ in range(min(_AT_ONCE, self.left)):
            threading.Thread(target=self._work, name="upload", daemon=True).start()
        try:
            with self._changed:
                self._changed.wait_for(
                    lambda: self.failed or not self.left, max(0.0, until - time.monotonic())
                )
        finally:
            self._over = True

    def _work(self) -> None:
        while not self._over:
            try:
                name = self._waiting.popleft()
            except IndexError:
                return
            try:
                with open(os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                    self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=file)
            except Exception as error:  # botocore's, the network's, the disk's
                with self._changed:
                    self.failed.append(error)
                    self._over = True
                    self._changed.notify()
                return
            with self._changed:
                self.left -= 1
                self._changed.notify()


def _client() -> "S3Client":
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        why = "uploading needs `pip install 'pipeline-client[s3]'`; without it upload the folder"
        raise error_of(status.MALFORMED, f"{why} yourself, and give its s3_uri") from None
    config = Config(
        connect_timeout=10,
        read_timeout=30,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=_AT_ONCE,
    )
    return boto3.session.Session().client("s3", config=config)
