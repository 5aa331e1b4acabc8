"""Versions on their way to being ready, with a store and an image check that do as a test says."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from pipeline_containers.errors import ImageInvalid, SandboxError, StoreError
from pipeline_containers.images.image import StoredImage
from pipeline_containers.store.progress import OnProgress, PullProgress
from pipeline_containers.store.store import Store
from pipeline_containers.system.command import CancelFlag
from pipeline_protocol.link import Readiness, VersionState
from pipeline_protocol.settings import RegistrySettings, Settings, WantedVersion
from pipeline_worker.events import Event, VersionMoved
from pipeline_worker.versions import manager as version_manager
from pipeline_worker.versions import registry as registries
from pipeline_worker.versions.manager import AT_A_TIME, VersionManager
from pipeline_worker.versions.memory_file import MemoryFile
from pipeline_worker.versions.preparing import explain

WAIT_S = 10.0


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


class FakeRegistry:
    """Says what a tag stands for: its manifest is nothing but its digest."""

    place = "registry.example"

    def __init__(self, tags: dict[str, str]) -> None:
        self._tags = tags

    def manifest(self, _: str, tag: str, *, cancelled: object) -> bytes | None:
        found = self._tags.get(tag)
        return None if found is None else found.encode()


class FakeStore:
    """Pulls images, and what happens on the way; a version whose gate is closed hangs."""

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}
        self.here: set[str] = set()
        self.gates: dict[str, threading.Event] = {}
        self.hanging: dict[str, threading.Event] = {}
        self.progress: list[PullProgress] = []
        self.failures: list[Exception] = []
        self.pulls: list[str] = []
        self.collected: list[set[str]] = []
        self.disk = threading.Event()
        self.disk.set()
        self.disk_failure: OSError | None = None

    def pull(
        self,
        registry: object,
        repository: str,
        reference: str,
        on_progress: OnProgress,
        *,
        cancelled: threading.Event,
    ) -> str:
        name = {found: tag for tag, found in self.tags.items()}[reference]
        self.pulls.append(f"{repository}:{name}")
        if name in self.gates:
            self.hanging.setdefault(name, threading.Event()).set()
            while not self.gates[name].wait(0.005):
                if cancelled.is_set():
                    raise StoreError("it was cancelled")
        if self.failures:
            raise self.failures.pop(0)
        for progress in self.progress:
            on_progress(progress)
        self.here.add(reference)
        return reference

    def close_gate(self, reference: str) -> None:
        self.gates[reference] = threading.Event()
        self.hanging[reference] = threading.Event()

    def digests(self) -> list[str]:
        return sorted(self.here)

    def image(self, wanted: str) -> StoredImage:
        return StoredImage(wanted, (Path("/nowhere"),))

    def settle(self) -> None:
        assert self.disk.wait(WAIT_S)
        if self.disk_failure is not None:
            raise self.disk_failure

    def collect(self, keep: set[str]) -> list[str]:
        self.collected.append(set(keep))
        gone = self.here - set(keep)
        self.here -= gone
        return sorted(gone)


class VersionManagerHarness:
    """VersionManager, and what they say."""

    def __init__(self, folder: Path) -> None:
        self.store = FakeStore()
        self.prove: Callable[[StoredImage, CancelFlag], None] = lambda *_: None
        self.forgotten: list[str] = []
        self.said: list[VersionState] = []
        self._news = threading.Condition()
        self.version_manager = VersionManager(
            "test_runners",
            cast(Store, self.store),
            lambda image, cancelled: self.prove(image, cancelled),
            self.forgotten.append,
            MemoryFile(folder / "served.json"),
        )
        self.version_manager.report_to(self._hear)

    def _hear(self, event: Event) -> None:
        assert isinstance(event, VersionMoved)
        with self._news:
            self.said.append(event.state)
            self._news.notify_all()

    def want(self, *versions: WantedVersion, prepare: bool = True) -> None:
        for one in versions if prepare else ():
            self.version_manager.prepare(one)
        self.version_manager.keep(versions)

    def await_that(self, true: Callable[[], object]) -> None:
        with self._news:
            for _ in range(int(WAIT_S / 0.01)):
                if true():
                    return
                self._news.wait(0.01)
        raise AssertionError(f"never so; said: {self.said}")

    def await_state(self, version: str, state: Readiness, times: int = 1) -> VersionState:
        def found() -> list[VersionState]:
            return [one for one in self.said if (one.version, one.state) == (version, state)]

        self.await_that(lambda: len(found()) >= times)
        return found()[-1]

    def ready(self, version: str) -> str | None:
        with self.version_manager.use("ruby", version) as image:
            return None if image is None else image.digest


def ruby(version: str, pinned: str | None = None) -> WantedVersion:
    return WantedVersion("ruby", version, pinned)


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[VersionManagerHarness]:
    made = VersionManagerHarness(tmp_path)
    made.store.tags |= {f"v{letter}": digest(letter) for letter in "123"}
    made.store.tags |= {f"git-{number}": digest(f"{number:x}") for number in range(5, 15)}
    registry = FakeRegistry(made.store.tags)
    monkeypatch.setattr(registries, "open_registry", lambda *_: registry)
    monkeypatch.setattr(version_manager, "digest_of", bytes.decode)
    yield made
    made.version_manager.close()


def test_images_that_nobody_wants_stay_while_they_are_to_be_kept(
    harness: VersionManagerHarness,
) -> None:
    harness.want(ruby("v1"), ruby("v2"))
    for version in ("v1", "v2"):
        harness.await_state(version, Readiness.READY)
    harness.version_manager.keep([], [digest("2")])
    harness.await_that(lambda: harness.store.here == {digest("2")})
    assert harness.ready("v2") is None
    harness.want(ruby("v3"))
    harness.await_state("v3", Readiness.READY)
    harness.await_that(lambda: harness.store.here == {digest("3")})


def test_a_version_is_pulled_proved_and_only_then_ready(harness: VersionManagerHarness) -> None:
    seen: list[str | None] = []
    harness.prove = lambda *_: seen.append(harness.ready("v1"))
    harness.store.progress = [PullProgress(0, 10), PullProgress(5, 10), PullProgress(10, 10)]
    harness.want(ruby("v1"))
    state = harness.await_state("v1", Readiness.READY)
    assert (state.digest, state.percent) == (digest("1"), 100)
    assert seen == [None]
    assert harness.ready("v1") == digest("1")
    assert harness.store.pulls == ["ruby-test-runner:v1"]
    phases = [(one.phase, one.percent) for one in harness.said[:-1]]
    assert phases[0] == ("pulling", 0)
    assert phases[-1] == ("checking", 99)


def test_jobs_do_not_wait_for_the_disk(harness: VersionManagerHarness) -> None:
    harness.store.disk.clear()
    harness.want(ruby("v1"))
    harness.await_state("v1", Readiness.READY)
    assert harness.ready("v1") == digest("1")
    harness.store.disk.set()


def test_a_disk_that_fails_when_all_is_here_costs_no_version(
    harness: VersionManagerHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.store.disk_failure = OSError(5, "Input/output error")
    harness.want(ruby("v1"))
    harness.await_state("v1", Readiness.READY)
    harness.await_that(lambda: "the disk may not have all" in caplog.text)
    harness.await_that(lambda: harness.store.collected)
    assert harness.ready("v1") == digest("1")


def test_an_image_that_is_no_such_tool_fails_with_its_reason_and_is_not_ready(
    harness: VersionManagerHarness,
) -> None:
    def refuse(*_: object) -> None:
        raise ImageInvalid("not a usable test_runner image: opt/test-runner/bin/run.sh is missing")

    harness.prove = refuse
    harness.want(ruby("v1"))
    assert "bin/run.sh is missing" in harness.await_state("v1", Readiness.FAILED).reason
    assert harness.ready("v1") is None
    assert harness.version_manager.is_wanted("ruby", "v1")


def test_what_was_pulled_stays_here_for_the_next_try(harness: VersionManagerHarness) -> None:
    def refuse(*_: object) -> None:
        raise SandboxError("no cgroups")

    harness.prove = refuse
    harness.want(ruby("v1"))
    assert "could not be tried on this host" in harness.await_state("v1", Readiness.FAILED).reason
    harness.await_that(lambda: harness.store.collected)
    assert harness.store.here == {digest("1")}
    harness.prove = lambda *_: None
    harness.version_manager.prepare(ruby("v1"))
    harness.await_state("v1", Readiness.READY)


def test_what_a_failed_pull_brought_is_kept_until_the_version_is_not_wanted(
    harness: VersionManagerHarness,
) -> None:
    harness.store.failures = [StoreError("the registry went away")]
    harness.want(ruby("v1"))
    harness.await_state("v1", Readiness.FAILED)
    harness.version_manager.keep([ruby("v1")])
    harness.await_that(
        lambda: harness.store.collected and digest("1") in harness.store.collected[-1]
    )
    harness.want()
    harness.await_that(lambda: harness.store.collected[-1] == set())


def test_a_version_that_was_never_built_is_told_so(harness: VersionManagerHarness) -> None:
    harness.want(ruby("never"))
    reason = harness.await_state("never", Readiness.FAILED).reason
    assert reason == "registry.example/ruby-test-runner has no never: build it first"


def test_one_that_hangs_and_one_that_fails_do_not_stop_the_others(
    harness: VersionManagerHarness,
) -> None:
    harness.store.close_gate("git-5")
    harness.want(ruby("git-5"), ruby("v1"), ruby("v2"))
    harness.await_state("v1", Readiness.READY)
    harness.await_state("v2", Readiness.READY)
    harness.store.failures = [StoreError("the disk is full")]
    harness.version_manager.prepare(ruby("v3"))
    assert harness.await_state("v3", Readiness.FAILED).reason == "the disk is full"
    assert harness.ready("v1") == digest("1")


def test_ten_at_once_are_prepared_a_few_at_a_time(harness: VersionManagerHarness) -> None:
    most = 0
    running = 0
    lock = threading.Lock()

    def count(*_: object) -> None:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.01)
        with lock:
            running -= 1

    harness.prove = count
    many = [ruby(f"git-{number}") for number in range(5, 15)]
    harness.want(*many)
    for one in many:
        harness.await_state(one.version, Readiness.READY)
    assert most <= AT_A_TIME


def test_a_pull_of_what_is_not_wanted_any_more_is_given_up(harness: VersionManagerHarness) -> None:
    harness.store.close_gate("v1")
    harness.want(ruby("v1"), ruby("v2"))
    assert harness.store.hanging["v1"].wait(WAIT_S)
    harness.await_state("v2", Readiness.READY)
    harness.version_manager.keep([ruby("v2")])
    harness.await_that(lambda: harness.store.collected)  # nothing is under way any more
    assert {one.version for one in harness.said if one.state is Readiness.FAILED} == set()
    assert not harness.version_manager.is_wanted("ruby", "v1")


def test_deployed_again_while_its_first_pull_hangs_it_is_ready_by_the_second(
    harness: VersionManagerHarness,
) -> None:
    harness.store.close_gate("v1")
    harness.want(ruby("v1"))
    assert harness.store.hanging["v1"].wait(WAIT_S)
    harness.want()
    del harness.store.gates["v1"]
    harness.want(ruby("v1"))
    harness.await_state("v1", Readiness.READY)
    assert harness.ready("v1") == digest("1")


def test_closing_gives_up_what_hangs_without_calling_it_failed(
    harness: VersionManagerHarness,
) -> None:
    harness.store.close_gate("v1")
    harness.want(ruby("v1"))
    assert harness.store.hanging["v1"].wait(WAIT_S)
    harness.version_manager.close()
    assert not [one for one in harness.said if one.state is Readiness.FAILED]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("release")]


def test_an_unloaded_image_stays_until_its_last_job_ends(harness: VersionManagerHarness) -> None:
    harness.want(ruby("v1"), ruby("v2"))
    for version in ("v1", "v2"):
        harness.await_state(version, Readiness.READY)
    with harness.version_manager.use("ruby", "v1") as image:
        assert image is not None
        collections = len(harness.store.collected)
        harness.version_manager.keep([ruby("v2")])
        harness.await_that(lambda: len(harness.store.collected) > collections)
        assert harness.ready("v1") is None
        assert digest("1") in harness.store.here
    harness.await_that(lambda: digest("1") not in harness.store.here)
    assert harness.forgotten == [digest("1")]
    assert harness.store.here == {digest("2")}


def test_unloaded_and_deployed_again_while_a_job_runs_it_is_not_forgotten(
    harness: VersionManagerHarness,
) -> None:
    harness.want(ruby("v1"))
    harness.await_state("v1", Readiness.READY)
    with harness.version_manager.use("ruby", "v1"):
        harness.want()
        assert harness.ready("v1") is None
        harness.want(ruby("v1"))
        harness.await_state("v1", Readiness.READY, times=2)
    assert harness.ready("v1") == digest("1")
    assert harness.forgotten == []


def test_a_worker_that_starts_keeps_what_is_wanted_and_removes_what_the_last_one_left(
    harness: VersionManagerHarness,
) -> None:
    harness.store.here = {digest("1"), digest("9")}
    harness.store.failures = [StoreError("the registry is down")]
    harness.want(ruby("v1", digest("1")))
    harness.await_state("v1", Readiness.FAILED)
    harness.await_that(lambda: digest("9") not in harness.store.here)
    assert harness.store.here == {digest("1")}
    assert harness.forgotten == [digest("9")]


def test_another_digest_of_a_version_replaces_the_one_that_serves_only_when_it_is_ready(
    harness: VersionManagerHarness,
) -> None:
    harness.want(ruby("v1"))
    harness.await_state("v1", Readiness.READY)
    harness.store.close_gate("v2")
    harness.want(ruby("v1", digest("2")))
    assert harness.store.hanging["v2"].wait(WAIT_S)
    assert harness.ready("v1") == digest("1")
    harness.store.gates["v2"].set()
    harness.await_state("v1", Readiness.READY, times=2)
    assert harness.ready("v1") == digest("2")
    harness.await_that(lambda: harness.store.here == {digest("2")})


def test_what_is_unloaded_while_others_are_removed_is_removed_too(
    harness: VersionManagerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.want(ruby("v1"), ruby("v2"))
    for version in ("v1", "v2"):
        harness.await_state(version, Readiness.READY)
    collect, begun, go_on = harness.store.collect, threading.Event(), threading.Event()

    def take_long(keep: set[str]) -> list[str]:
        begun.set()
        assert go_on.wait(WAIT_S)
        return collect(keep)

    monkeypatch.setattr(harness.store, "collect", take_long)
    harness.version_manager.keep([ruby("v2")])
    assert begun.wait(WAIT_S)
    asked = len(harness.store.collected)
    harness.version_manager.keep([])
    harness.version_manager._threads.submit(
        go_on.set
    )  # once the one before it has looked, and found it busy
    harness.await_that(lambda: len(harness.store.collected) > asked and not harness.store.here)


def test_old_versions_that_could_not_be_removed_are_removed_next_time(
    harness: VersionManagerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.want(ruby("v1"), ruby("v2"))
    for version in ("v1", "v2"):
        harness.await_state(version, Readiness.READY)
    collect, failed = harness.store.collect, threading.Event()

    def fail(_: set[str]) -> list[str]:
        failed.set()
        raise StoreError("locked")

    monkeypatch.setattr(harness.store, "collect", fail)
    harness.version_manager.keep([ruby("v2")])
    assert failed.wait(WAIT_S)
    monkeypatch.setattr(harness.store, "collect", collect)
    with harness.version_manager.use("ruby", "v2"):
        pass
    harness.version_manager.prepare(ruby("v2"))
    harness.await_that(lambda: harness.store.here == {digest("2")})


def test_a_registry_is_opened_once_until_the_settings_name_another(
    harness: VersionManagerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def open_registry(_: str, location: str, __: Any) -> object:
        opened.append(location)
        return FakeRegistry(harness.store.tags)

    monkeypatch.setattr(registries, "open_registry", open_registry)
    for location in ("one", "one", "two"):
        harness.version_manager.adopt(Settings(registry=RegistrySettings("folder", location)), None)
        harness.version_manager.prepare(ruby("v1"))
        harness.await_state("v1", Readiness.READY, times=len(harness.store.pulls) or 1)
        harness.await_that(lambda: harness.ready("v1"))
    harness.await_that(lambda: opened[-1] == "two")
    assert opened == ["one", "two"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StoreError("28 bytes are free"), "28 bytes are free"),
        (SandboxError("no cgroups"), "it could not be tried on this host: no cgroups"),
        (OSError(28, "No space left on device"), "this worker's disk: [Errno 28]"),
        (StoreError("\x1b[2J\0\ud800"), r"\x1b[2J\x00\ud800"),
        (KeyError("defect"), "KeyError('defect'); the worker's log has more"),
    ],
)
def test_every_failure_has_a_reason_in_words(error: Exception, said: str) -> None:
    assert explain(error).startswith(said)
