"""A folder's files into S3, below a prefix of their own; needs the extra `s3`.

Nothing is deleted afterwards: a run that was given up here may still be under way, and one that is
over can be repeated from its `s3_uri`. A rule of the bucket that lets the prefix expire after a
day does it better, and this side needs no right to delete.
"""

import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from pipeline_client.errors import error_of
from pipeline_protocol import status

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_AT_ONCE = 8
_PREFIX = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([^\x00-\x1f\x7f]{0,900})")


def parse_prefix(text: str) -> tuple[str, str]:
    """Return the bucket and the prefix, which ends with a slash unless empty; else ValueError."""
    found = _PREFIX.fullmatch(text)
    if not found:
        raise ValueError(f"upload_to must be like s3://bucket/prefix/, not {text!r}")
    bucket, prefix = found.groups()
    return bucket, prefix if not prefix or prefix.endswith("/") else prefix + "/"


def upload(folder: Path, names: Iterable[str], to: str, allowed_s: float) -> str:
    """Upload these files of a folder; return the `s3_uri` that they are found by.

    PlatformError (512) when that fails, ClientTimedOut when it takes too long.
    """
    client = _client()
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, prefix = parse_prefix(to)
    prefix = f"{prefix}{uuid4().hex}/"
    ends = time.monotonic() + allowed_s
    pool = ThreadPoolExecutor(_AT_ONCE, "upload")
    try:
        futures = [
            pool.submit(client.upload_file, str(folder / name), bucket, prefix + name)
            for name in names
        ]
        done, waiting = wait(futures, max(0.0, ends - time.monotonic()), FIRST_EXCEPTION)
        for future in done:
            future.result()
    except (Boto3Error, BotoCoreError, ClientError, OSError) as error:
        raise error_of(status.SETUP_FAILED, f"uploading to {to} failed: {error}") from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    if waiting:
        why = f"uploading to {to} took longer than {allowed_s:g} s"
        raise error_of(status.CLIENT_TIMED_OUT, why)
    return f"s3://{bucket}/{prefix}"


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
