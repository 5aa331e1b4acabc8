"""Inputs from S3: listed, checked, and fetched by boto3's transfer manager, several at a time."""

import logging
import queue
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError
from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError, S3ValidationError
from s3transfer.futures import TransferFuture
from s3transfer.manager import TransferConfig, TransferManager
from s3transfer.subscribers import BaseSubscriber

from pipeline_containers.registries.registry import AwsCredentials
from pipeline_containers.system.deadline import TURN_S, Deadline
from pipeline_worker.inputs.quota import (
    InputQuota,
    InputUnavailable,
    UnusableInput,
    unwritable,
)
from pipeline_worker.inputs.s3_file import IncomingFile
from pipeline_worker.inputs.s3_uri import InputFile, Listed, Place, plan_files

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_log = logging.getLogger(__name__)

AT_A_TIME = 8
"""Objects of one job; more would not be faster, and are the other jobs'."""
_THREADS = 32
_ATTEMPTS = 3
_NO_END = 1_000_000

_BROKEN = (RetriesExceededError, FlexibleChecksumError, S3ValidationError)
"""What ends a body early or shows it to be wrong: another try may bring it whole."""

_REMEDIES = {
    "NoSuchBucket": "create it, or correct inputs.s3_prefixes",
    "AccessDenied": "allow these credentials s3:ListBucket and s3:GetObject there",
    "AllAccessDisabled": "allow these credentials s3:ListBucket and s3:GetObject there",
    "InvalidAccessKeyId": "correct the AWS credentials of this host",
    "SignatureDoesNotMatch": "correct the AWS credentials of this host",
    "ExpiredToken": "renew the AWS credentials of this host",
    "RequestTimeTooSkewed": "set this host's clock",
}
"""What an operator does about it, by S3's code: an allowed prefix is the platform's promise."""


class Buckets:
    """S3 as one set of credentials sees it; for jobs on several threads.

    Its connections are kept: another job's input costs one request for the listing, and one an
    object.
    """

    def __init__(self, aws: AwsCredentials | None) -> None:
        """Open it with these credentials, or with the host's own; takes a tenth of a second."""
        self._client = _open_client(aws)
        self._listers = ThreadPoolExecutor(_THREADS, "s3-list")
        self._transfers = TransferManager(
            self._client,
            TransferConfig(
                max_request_concurrency=_THREADS,
                # a full queue would hold up whoever adds to it; each job has few transfers in it
                max_request_queue_size=_NO_END,
                max_submission_queue_size=_NO_END,
                num_download_attempts=1,  # `_Fetching` tries again, as long as there is a point
            ),
        )
        self._closed = False
        self._client.meta.events.register_first("before-send.s3", self._check_open)

    def greet(self, place: Place) -> None:
        """Connect ahead of the first job, and warn if a place cannot be read."""
        self._listers.submit(self._greet, place)

    def copy(self, place: Place, folder: Path, quota: InputQuota, deadline: Deadline) -> None:
        """Copy what is beneath a place into the job folder, all of it or with an error.

        Raises UnusableInput for what no job can have, InputUnavailable where S3 is to blame, or
        whoever runs it, InputTimedOut and InputCancelled as soon as there is no point in going on.
        """
        files = deadline.wait_for(self._listers.submit(self._plan, place, quota, deadline))
        _make_folders(files, folder)
        _Fetching(self._transfers, place, folder, deadline).run(files)

    def close(self) -> None:
        """Keep no connection; what is still being fetched is nobody's any more."""
        self._closed = True
        self._listers.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _check_open(self, **_: object) -> None:
        """Have nothing sent any more: the end of the process waits for threads that try again."""
        if self._closed:
            raise InputUnavailable("this worker is about to end")

    def _greet(self, place: Place) -> None:
        try:
            self._client.list_objects_v2(Bucket=place.bucket, Prefix=place.prefix, MaxKeys=1)
        except (BotoCoreError, ClientError) as error:
            _log.warning("inputs: %s", _unavailable(place, error))

    def _plan(self, place: Place, quota: InputQuota, deadline: Deadline) -> list[InputFile]:
        deadline.left_s()  # it may have stood in the queue behind listings that hang
        try:
            return plan_files(place, self._list(place, quota, deadline))
        except (BotoCoreError, ClientError) as error:
            raise _unavailable(place, error) from None
        except msgspec.ValidationError as error:
            raise InputUnavailable(f"{place}: the listing makes no sense: {error}") from None

    def _list(self, place: Place, quota: InputQuota, deadline: Deadline) -> Iterator[Listed]:
        """List page by page, no further than a job may have."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=place.bucket, Prefix=place.prefix
        )
        for page in pages:
            deadline.left_s()
            for entry in page.get("Contents", ()):
                listed = msgspec.convert(entry, Listed)
                quota.take(listed.size)
                yield listed


class _Fetching:
    """One job's objects, a few at a time."""

    def __init__(
        self, transfers: TransferManager, place: Place, folder: Path, deadline: Deadline
    ) -> None:
        self._transfers = transfers
        self._place = place
        self._folder = folder
        self._deadline = deadline
        self._ended: queue.SimpleQueue[TransferFuture] = queue.SimpleQueue()
        self._going: dict[TransferFuture, _Transfer] = {}

    def run(self, files: Sequence[InputFile]) -> None:
        """Fetch them all."""
        waiting = deque(_Transfer(file) for file in files)
        try:
            while waiting or self._going:
                while waiting and len(self._going) < AT_A_TIME:
                    self._begin(waiting.popleft())
                if self._going and (failed := self._next()) is not None:
                    waiting.append(failed)
        finally:
            for future, transfer in self._going.items():
                transfer.incoming.close()
                future.cancel()

    def _begin(self, transfer: "_Transfer") -> None:
        listed = transfer.file.listed
        transfer.attempt += 1
        transfer.incoming = IncomingFile(self._folder / transfer.file.path, listed.size)
        if listed.size == 0:
            transfer.incoming.finish()
            transfer.incoming.close()
            return
        future = self._transfers.download(
            self._place.bucket,
            listed.key,
            cast(IO[bytes], transfer.incoming),
            subscribers=[_Reporter(listed, self._ended)],
        )
        self._going[future] = transfer

    def _next(self) -> "_Transfer | None":
        """Wait until one has ended; return it if it is to be tried again."""
        future = None
        while future is None:
            self._deadline.left_s()
            try:
                future = self._ended.get(timeout=TURN_S)
            except queue.Empty:
                continue
        transfer = self._going.pop(future)
        transfer.incoming.close()
        try:
            future.result()
        except _BROKEN as error:
            return self._again(transfer, str(error))
        except (BotoCoreError, ClientError, S3DownloadFailedError) as error:
            raise _unavailable(self._place, error, transfer.file.path) from None
        except InputUnavailable as error:
            raise InputUnavailable(f"{self._place}{transfer.file.path}: {error}") from None
        if not transfer.incoming.is_whole:
            return self._again(transfer, "S3 sent less than it listed")
        return None

    def _again(self, transfer: "_Transfer", problem: str) -> "_Transfer":
        if transfer.attempt < _ATTEMPTS:
            return transfer
        raise InputUnavailable(
            f"{self._place}{transfer.file.path} came broken {_ATTEMPTS} times: {problem}"
        )


class _Transfer:
    """One object's fetching, over all its attempts."""

    def __init__(self, file: InputFile) -> None:
        self.file = file
        self.attempt = 0
        self.incoming: IncomingFile


class _Reporter(BaseSubscriber):
    """Tells the transfer manager what is known already, which saves a request; and us the end."""

    def __init__(self, listed: Listed, ended: "queue.SimpleQueue[TransferFuture]") -> None:
        self._listed = listed
        self._ended = ended

    def on_queued(self, future: TransferFuture, **_: object) -> None:
        future.meta.provide_transfer_size(self._listed.size)
        future.meta.provide_object_etag(self._listed.etag or None)

    def on_done(self, future: TransferFuture, **_: object) -> None:
        self._ended.put(future)


def _open_client(aws: AwsCredentials | None) -> "S3Client":
    session = boto3.session.Session(
        aws_access_key_id=aws.access_key_id if aws else None,
        aws_secret_access_key=aws.secret_access_key if aws else None,
        aws_session_token=aws.session_token if aws else None,
    )
    deadline = Config(
        connect_timeout=3,
        read_timeout=10,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        max_pool_connections=2 * _THREADS,
    )
    return session.client("s3", config=deadline)


def _make_folders(files: Sequence[InputFile], folder: Path) -> None:
    for path in sorted({file.path.rpartition("/")[0] for file in files} - {""}):
        try:
            (folder / path).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(path, error) from None


def _unavailable(place: Place, error: Exception, path: str = "") -> Exception:
    """Say whose fault an error of S3's is: most are not the request's."""
    where = f"{place}{path}"
    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        if code == "InvalidObjectState":
            return UnusableInput(f"{where} is archived: restore it first")
        if code == "NoSuchKey":
            return InputUnavailable(f"{where} was removed while it was fetched: ask again")
        remedy = f": {_REMEDIES[code]}" if code in _REMEDIES else ""
        return InputUnavailable(f"{where} cannot be read: {error}{remedy}")
    if isinstance(error, S3DownloadFailedError):
        return InputUnavailable(f"{where} was changed while it was fetched: ask again")
    return InputUnavailable(f"{where} cannot be read: {error}")
