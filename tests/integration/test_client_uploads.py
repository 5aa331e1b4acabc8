"""A client that uploads what is too large to be sent along, to an S3 that is really spoken to."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from support.moto import moto
from support.pace import paced
from support.s3 import rclone

from pipeline_client import AsyncPipelineClient, PipelineClient, PlatformError
from pipeline_client.testing import FakeRouter
from pipeline_protocol import requests

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAMES = ("ruby", "two-fer", "v1")
CONTENT = {"two_fer.rb": b"puts 1", "lib/picture.png": b"\xff\xd8" * 1000} | {
    f"data/{number}": b"x" * 20_000 for number in range(60)
}
LATE = """
import sys
from pipeline_client import ClientTimedOut, PipelineClient

with PipelineClient("tcp://127.0.0.1:1", upload_to="s3://inputs/") as client:
    try:
        client.test_solution("ruby", "two-fer", "v1", folder=sys.argv[1], timeout_s=2)
    except ClientTimedOut as error:
        print(error)
"""
ASYNC_LATE = """
import asyncio, sys
from pipeline_client import AsyncPipelineClient, ClientTimedOut

async def main():
    async with AsyncPipelineClient("tcp://127.0.0.1:1", upload_to="s3://inputs/") as client:
        asked = ("ruby", "two-fer", "v1")
        asyncio.create_task(client.test_solution(*asked, folder=sys.argv[1], timeout_s=600))
        try:
            await client.test_solution(*asked, folder=sys.argv[1], timeout_s=2)
        except ClientTimedOut as error:
            print(error)

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """What AWS' library looks for."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing-testing-testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def s3(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> "Iterator[S3Client]":
    """An S3 with the bucket `inputs`."""
    with moto(tmp_path_factory.mktemp("moto")) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        client = boto3.client("s3")
        client.create_bucket(Bucket="inputs")
        yield client
        client.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in CONTENT.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.fixture
def router() -> Iterator[FakeRouter]:
    with FakeRouter().returning("test_solution", {"status": "pass"}) as router:
        yield router


def found(s3: "S3Client", uri: str) -> dict[str, bytes]:
    """Return what lies beneath a URI."""
    prefix = uri.removeprefix("s3://inputs/")
    listed = s3.list_objects_v2(Bucket="inputs", Prefix=prefix)["Contents"]
    return {
        one["Key"].removeprefix(prefix): s3.get_object(Bucket="inputs", Key=one["Key"])[
            "Body"
        ].read()
        for one in listed
    }


def uris(router: FakeRouter) -> list[str]:
    return [
        str(request.s3_uri)
        for request in router.requests
        if isinstance(request, requests.TestSolution)
    ]


def test_folder_is_uploaded_below_a_prefix_of_its_own(
    s3: "S3Client", folder: Path, router: FakeRouter
) -> None:
    with PipelineClient(router.address, upload_to="s3://inputs/solutions") as client:
        for _ in range(2):
            client.test_solution(*NAMES, folder=folder)
    first, second = uris(router)
    assert first != second
    for uri in (first, second):
        assert uri.startswith("s3://inputs/solutions/")
        assert uri.endswith("/")
        assert found(s3, uri) == CONTENT


def test_folder_is_uploaded_beside_an_event_loop(
    s3: "S3Client", folder: Path, router: FakeRouter
) -> None:
    async def main() -> None:
        async with AsyncPipelineClient(router.address, upload_to="s3://inputs/") as client:
            run = asyncio.create_task(client.test_solution(*NAMES, folder=folder))
            await client.ping()
            assert not run.done()
            await run

    asyncio.run(main())
    assert found(s3, uris(router)[0]) == CONTENT


def test_bucket_that_there_is_not(s3: "S3Client", folder: Path, router: FakeRouter) -> None:
    with (
        PipelineClient(router.address, upload_to="s3://others/") as client,
        pytest.raises(PlatformError, match=r"s3://others/ failed.*NoSuchBucket") as caught,
    ):
        client.test_solution(*NAMES, folder=folder)
    assert caught.value.code == 512
    assert router.heard == []


@pytest.mark.parametrize("program", [LATE, ASYNC_LATE], ids=["sync", "async"])
def test_s3_that_answers_nothing_holds_up_neither_the_call_nor_the_end(
    tmp_path_factory: pytest.TempPathFactory,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
) -> None:
    with rclone(tmp_path_factory.mktemp("rclone"), "testing", "testing") as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        server.stall()
        try:
            done = subprocess.run(
                [sys.executable, "-W", "error", "-c", program, folder],
                capture_output=True,
                text=True,
                timeout=paced(25),  # less than it would take to give up the connections
                check=True,
            )
        finally:
            server.go_on()
    assert "took longer than 2 s" in done.stdout
    assert done.stderr == ""
