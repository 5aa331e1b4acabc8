"""Inputs from an S3 that says what the test has it say: whole and right, or refused with a reason.

The product finds it as it would find any other: by AWS' own configuration.
"""

import base64
import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.s3 import Answer, MadeUp, login, made_up, without_aws

from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.system.deadline import Deadline
from pipeline_protocol.requests import TestSolution as Request
from pipeline_protocol.settings import NOT_YET_MINTED, Credentials, InputSettings, Settings
from pipeline_worker.inputs.deadline import InputCancelled, InputTimedOut, input_deadline
from pipeline_worker.inputs.fetch import Inputs
from pipeline_worker.inputs.quota import InputUnavailable, UnusableInput
from pipeline_worker.inputs.s3_file import IncomingFile

SETTINGS = Settings(inputs=InputSettings(("s3://bucket/in/", "s3://missing/")))


# a transfer that is called off lets go of its connection without closing it
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeUp]:
    """One that AWS' configuration leads to."""
    before = threading.active_count()
    with made_up() as server, pytest.MonkeyPatch.context() as patch:
        for name in without_aws():
            patch.delenv(name)
        folder = tmp_path_factory.mktemp("aws")
        for name, value in login(folder, "HOSTKEY", "secret", server.endpoint).items():
            patch.setenv(name, value)
        yield server
    until = time.monotonic() + 30
    while threading.active_count() > before:  # let every connection go while that is allowed
        assert time.monotonic() < until, threading.enumerate()
        gc.collect()
        time.sleep(0.02)
    gc.collect()


@pytest.fixture(scope="module")
def opened(server: MadeUp) -> Iterator[Inputs]:
    """What goes by the host's own credentials; it has greeted each prefix."""
    own = Inputs()
    own.adopt(SETTINGS, None)
    until = time.monotonic() + 30
    while not {"GET /bucket", "GET /missing"} <= set(server.requests):
        assert time.monotonic() < until
        time.sleep(0.01)
    yield own
    own.close()


@pytest.fixture
def s3(server: MadeUp, opened: Inputs) -> Iterator[MadeUp]:
    """It, empty."""
    server.objects.clear()
    server.sizes.clear()
    server.refusals.clear()
    server.requests.clear()
    server.keys.clear()
    server.page, server.on_list = 1000, lambda: None
    yield server
    server.let_go()


@pytest.fixture
def inputs(s3: MadeUp, opened: Inputs) -> Inputs:
    return opened


@pytest.fixture
def fresh(s3: MadeUp) -> Iterator[Inputs]:
    """Inputs that have adopted nothing yet."""
    own = Inputs()
    yield own
    own.close()


@pytest.fixture
def job(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    folder.mkdir()
    return folder


def request(place: str = "bucket/in/1/") -> Request:
    return Request(
        id="1",
        track_slug="ruby",
        exercise_slug="two-fer",
        container_version="v1",
        s3_uri=f"s3://{place}",
    )


def deadline(seconds: float = 60, cancelled: threading.Event | None = None) -> Deadline:
    return input_deadline(time.monotonic() + seconds, cancelled or threading.Event())


def bring(
    inputs: Inputs, job: Path, place: str = "bucket/in/1/", limits: Limits | None = None
) -> None:
    inputs.bring(request(place), job, limits or Limits(), deadline())


def files(job: Path) -> dict[str, bytes]:
    return {str(p.relative_to(job)): p.read_bytes() for p in job.rglob("*") if p.is_file()}


# --- what comes


def test_files_come_with_their_folders_and_without_the_consoles_markers(
    s3: MadeUp, inputs: Inputs, job: Path
) -> None:
    s3.put("in/1/", b"")
    s3.put("in/1/a.rb", "code")
    s3.put("in/1/lib/", b"")
    s3.put("in/1/lib/b c+é%2e.rb", "more")
    s3.put("in/1/empty", b"")
    s3.put("in/10/not-mine", "x")
    bring(inputs, job)
    assert files(job) == {"a.rb": b"code", "lib/b c+é%2e.rb": b"more", "empty": b""}
    assert not (job / "a.rb").stat().st_mode & 0o111


def test_a_small_input_costs_a_listing_and_a_request_for_each_file(
    s3: MadeUp, inputs: Inputs, job: Path
) -> None:
    s3.put("in/1/a", "a")
    bring(inputs, job)
    assert s3.requests == ["GET /bucket", "GET /bucket/in/1/a"]


def test_all_pages_of_a_listing_count(s3: MadeUp, inputs: Inputs, job: Path) -> None:
    s3.page = 7
    wanted = {f"{number}/{number}": str(number).encode() for number in range(50)}
    for name, body in wanted.items():
        s3.put(f"in/1/{name}", body)
    bring(inputs, job)
    assert files(job) == wanted


def test_a_large_file_comes_in_parts_and_whole(s3: MadeUp, inputs: Inputs, job: Path) -> None:
    content = bytes(range(256)) * (36 << 10)  # over the transfer manager's 8 MiB
    s3.put("in/1/large", content)
    bring(inputs, job)
    assert (job / "large").read_bytes() == content
    assert s3.requests == ["GET /bucket", "GET /bucket/in/1/large", "GET /bucket/in/1/large"]


def test_several_jobs_at_once_get_each_its_own(s3: MadeUp, inputs: Inputs, tmp_path: Path) -> None:
    for number in range(6):
        for name in range(20):
            s3.put(f"in/{number}/{name}", f"{number}-{name}")
    folders = [tmp_path / f"job-{number}" for number in range(6)]
    threads = []
    for number, folder in enumerate(folders):
        folder.mkdir()
        place = f"bucket/in/{number}/"
        threads.append(threading.Thread(target=bring, args=(inputs, folder, place)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, folder in enumerate(folders):
        assert files(folder) == {str(n): f"{number}-{n}".encode() for n in range(20)}


# --- what is refused


@pytest.mark.parametrize(
    "key", ["../x", "a/../../x", "/x", "a//b", "a\\b", "a\nb", "a\udcff", "b/"]
)
def test_a_hostile_key_refuses_all_before_anything_is_fetched(
    s3: MadeUp, inputs: Inputs, job: Path, key: str
) -> None:
    s3.put("in/1/honest", "x")
    s3.put(f"in/1/{key}", "x")
    with pytest.raises(UnusableInput, match="the key"):
        bring(inputs, job)
    assert files(job.parent) == {}
    assert not [line for line in s3.requests if line.startswith("GET /bucket/")]


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [
        (Limits(job_folder_files=3), [1] * 4),
        (Limits(job_folder_bytes=100), [40, 40, 40]),
        (Limits(), [300 << 20]),
        (Limits(), [1 << 62]),
    ],
)
def test_too_much_is_refused_by_the_listing(
    s3: MadeUp, inputs: Inputs, job: Path, limits: Limits, sizes: list[int]
) -> None:
    for number, size in enumerate(sizes):
        s3.put(f"in/1/{number}", "x")
        s3.sizes[f"in/1/{number}"] = size
    with pytest.raises(UnusableInput, match="does not fit"):
        bring(inputs, job, limits=limits)
    assert files(job) == {}


def test_a_listing_without_end_is_read_no_further_than_a_job_may_have(
    s3: MadeUp, inputs: Inputs, job: Path
) -> None:
    s3.page = 10
    for number in range(1000):
        s3.put(f"in/1/{number}", "x")
    with pytest.raises(UnusableInput, match="over 25 files"):
        bring(inputs, job, limits=Limits(job_folder_files=25))
    assert s3.requests == ["GET /bucket"] * 3


def test_nothing_there_is_the_requests_fault(inputs: Inputs, job: Path) -> None:
    with pytest.raises(UnusableInput, match="nothing is at s3://bucket/in/1/"):
        bring(inputs, job)


# --- an S3 that is not well


def checksum(value: bytes) -> dict[str, str]:
    return {"x-amz-checksum-crc32": base64.b64encode(value).decode()}


BROKEN = {
    "cut-short": Answer(b"con", length=7),
    "less-than-listed": Answer(b"con"),
    "wrong-checksum": Answer(b"content", headers=checksum(bytes(4))),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_body_is_fetched_again(
    s3: MadeUp, inputs: Inputs, job: Path, broken: Answer
) -> None:
    s3.put("in/1/a", b"content", broken, Answer(b"content"))
    bring(inputs, job)
    assert files(job) == {"a": b"content"}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_body_that_stays_broken_is_told(
    s3: MadeUp, inputs: Inputs, job: Path, broken: Answer
) -> None:
    s3.put("in/1/a", b"content", broken)
    s3.put("in/1/b", b"content")
    with pytest.raises(InputUnavailable, match=r"s3://bucket/in/1/a came broken 3 times: \S+"):
        bring(inputs, job)


def test_an_object_that_grows_brings_no_byte_more_than_was_listed(
    s3: MadeUp, inputs: Inputs, job: Path
) -> None:
    s3.put("in/1/a", b"small", Answer(bytes(10 << 20)))
    with pytest.raises(InputUnavailable, match="grew while it was fetched: ask again"):
        bring(inputs, job)
    assert sum(map(len, files(job).values())) <= 5


def test_an_object_that_goes_is_told(s3: MadeUp, inputs: Inputs, job: Path) -> None:
    s3.put("in/1/a", b"x")
    s3.put("in/1/b", b"x")
    s3.objects["in/1/b"] = [Answer(code=404, error="NoSuchKey")]
    with pytest.raises(InputUnavailable, match="in/1/b was removed while it was fetched"):
        bring(inputs, job)


@pytest.mark.parametrize(
    ("code", "error"), [(503, "SlowDown"), (500, "InternalError"), (503, "ServiceUnavailable")]
)
def test_a_throttled_listing_is_asked_for_again(
    s3: MadeUp, inputs: Inputs, job: Path, code: int, error: str
) -> None:
    s3.put("in/1/a", b"x")
    s3.refusals.append(Answer(code=code, error=error))
    bring(inputs, job)
    assert not s3.refusals


@pytest.mark.parametrize(
    ("code", "error", "kind", "says"),
    [
        (503, "SlowDown", InputUnavailable, "cannot be read"),
        (403, "AccessDenied", InputUnavailable, "allow these credentials s3:ListBucket"),
        (403, "InvalidAccessKeyId", InputUnavailable, "correct the AWS credentials"),
        (403, "SignatureDoesNotMatch", InputUnavailable, "correct the AWS credentials"),
        (400, "ExpiredToken", InputUnavailable, "renew the AWS credentials"),
        (403, "InvalidObjectState", UnusableInput, "restore it first"),
        (412, "PreconditionFailed", InputUnavailable, "was changed while it was fetched"),
    ],
)
def test_errors_of_s3_are_told_with_what_to_do(
    s3: MadeUp,
    inputs: Inputs,
    job: Path,
    code: int,
    error: str,
    kind: type[Exception],
    says: str,
) -> None:
    s3.put("in/1/a", b"x", Answer(code=code, error=error))
    with pytest.raises(kind, match=says):
        bring(inputs, job)


def test_a_bucket_that_is_promised_but_missing_is_the_platforms_fault(
    inputs: Inputs, job: Path
) -> None:
    with pytest.raises(InputUnavailable, match=r"create it, or correct inputs\.s3_prefixes"):
        bring(inputs, job, "missing/1/")


def test_a_listing_that_is_none_is_told(s3: MadeUp, inputs: Inputs, job: Path) -> None:
    s3.put("in/1/a", b"x")
    s3.refusals.extend(Answer(b"<Conte") for _ in range(9))
    with pytest.raises(InputUnavailable, match="cannot be read"):
        bring(inputs, job)


@pytest.mark.parametrize("size", [-1, 1 << 64])
def test_a_listing_that_lies_beyond_measure_is_not_believed(
    s3: MadeUp, inputs: Inputs, job: Path, size: int
) -> None:
    s3.put("in/1/a", b"x")
    s3.sizes["in/1/a"] = size
    with pytest.raises((InputUnavailable, UnusableInput), match=r"makes no sense|does not fit"):
        bring(inputs, job)


# --- deadline


def stalled(s3: MadeUp) -> threading.Event:
    """Have an object stop in the middle until the event is set."""
    go_on = threading.Event()
    s3.put("in/1/a", b"content", Answer(b"content", wait=go_on))
    return go_on


def test_a_cancelled_job_waits_for_nothing(s3: MadeUp, inputs: Inputs, job: Path) -> None:
    go_on, cancelled = stalled(s3), threading.Event()
    s3.on_list = lambda: threading.Timer(0.2, cancelled.set).start()
    with pytest.raises(InputCancelled):
        inputs.bring(request(), job, Limits(), deadline(60, cancelled))
    go_on.set()


def test_what_comes_too_late_leaves_nothing(tmp_path: Path) -> None:
    incoming = IncomingFile(tmp_path / "a", 10)
    incoming.write(b"early")
    incoming.close()
    with pytest.raises(InputUnavailable, match="nobody waits"):
        incoming.write(b"late")
    never = IncomingFile(tmp_path / "b", 10)
    never.close()
    with pytest.raises(InputUnavailable):
        never.write(b"late")
    assert files(tmp_path) == {"a": b"early"}


def test_the_deadline_holds_whatever_s3_does(s3: MadeUp, inputs: Inputs, job: Path) -> None:
    stalled(s3)
    began = time.monotonic()
    with pytest.raises(InputTimedOut):
        inputs.bring(request(), job, Limits(), deadline(0.5))
    assert time.monotonic() - began < 30


def test_however_many_wait_for_a_stalled_s3_each_keeps_its_deadline(
    s3: MadeUp, inputs: Inputs, tmp_path: Path
) -> None:
    stalled(s3)
    for number in range(1, 12):
        s3.put(f"in/1/{number}", b"content", *s3.objects["in/1/a"])
    jobs = 12  # twelve objects of each: over four times as many as there are threads
    ended: list[type] = []

    def attempt(folder: Path) -> None:
        try:
            inputs.bring(request(), folder, Limits(), deadline(0.5))
        except InputTimedOut as error:
            ended.append(type(error))

    threads = []
    for number in range(jobs):
        folder = tmp_path / f"job-{number}"
        folder.mkdir()
        threads.append(threading.Thread(target=attempt, args=(folder,)))
        threads[-1].start()
    for thread in threads:
        thread.join(30)
    assert ended == [InputTimedOut] * jobs
    s3.let_go()
    s3.objects.clear()
    s3.put("in/2/a", b"next")
    (tmp_path / "next").mkdir()
    bring(inputs, tmp_path / "next", "bucket/in/2/")
    assert files(tmp_path / "next") == {"a": b"next"}


def test_a_listing_that_stalls_holds_nobody_up(s3: MadeUp, inputs: Inputs, job: Path) -> None:
    s3.put("in/1/a", b"x")
    go_on = threading.Event()

    def wait() -> None:
        go_on.wait(60)

    s3.on_list = wait
    with pytest.raises(InputTimedOut):
        inputs.bring(request(), job, Limits(), deadline(0.3))
    go_on.set()
    bring(inputs, job)


# --- credentials


def test_the_hosts_own_credentials_count_unless_the_router_mints(
    s3: MadeUp, fresh: Inputs, job: Path
) -> None:
    s3.put("in/1/a", b"x")
    fresh.adopt(SETTINGS, None)
    bring(fresh, job)
    assert s3.keys == {"HOSTKEY"}
    for minted in ("MINTED1", "MINTED2"):
        fresh.adopt(SETTINGS, Credentials(minted, "s", "t", time.time() + 3600))
        s3.keys.clear()
        bring(fresh, job)
        assert s3.keys == {minted}


@pytest.mark.parametrize(
    ("credentials", "says"),
    [(NOT_YET_MINTED, "STS"), (Credentials("K", "s", "t", 1.0), "expired at 1970")],
)
def test_minted_credentials_that_are_of_no_use_are_not_replaced_by_the_hosts(
    s3: MadeUp, fresh: Inputs, job: Path, credentials: Credentials, says: str
) -> None:
    s3.put("in/1/a", b"x")
    fresh.adopt(SETTINGS, None)
    bring(fresh, job)
    s3.keys.clear()
    fresh.adopt(SETTINGS, credentials)
    with pytest.raises(InputUnavailable, match=says):
        bring(fresh, job)
    assert s3.keys == set()


def test_a_host_without_credentials_is_told_so(
    tmp_path: Path, fresh: Inputs, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    fresh.adopt(SETTINGS, None)
    with pytest.raises(InputUnavailable, match="credentials"):
        bring(fresh, job)


def test_a_host_whose_aws_is_set_up_wrongly_is_asked_again_when_it_is_not(
    s3: MadeUp, fresh: Inputs, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put("in/1/a", b"x")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    fresh.adopt(SETTINGS, None)
    with pytest.raises(InputUnavailable, match=r"AWS is not set up on this host.*nobody"):
        bring(fresh, job)
    monkeypatch.delenv("AWS_PROFILE")
    bring(fresh, job)
