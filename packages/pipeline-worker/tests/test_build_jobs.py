"""What comes of a builder's request, whatever the build does; the builds are made up."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from pipeline_containers import errors
from pipeline_containers.building.build import BuildOutcome, BuildRequest, Workshop
from pipeline_containers.building.builder import BuildOptions
from pipeline_containers.building.builders import Builders
from pipeline_containers.building.source.git import GitSources
from pipeline_containers.building.validation import Validation
from pipeline_containers.registries.folder import FolderRegistry
from pipeline_containers.registries.registry import AwsCredentials
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_protocol.settings import (
    CeilingSettings,
    ChannelLimits,
    Credentials,
    LimitSettings,
    RegistrySettings,
    Settings,
    SourceSettings,
    TrackLimits,
)
from pipeline_worker import build_jobs
from pipeline_worker.build_jobs import LINES_A_SECOND, BuildJobs, RateLimitedOutput
from pipeline_worker.executor import Assignment
from pipeline_worker.host.cache import CacheKeeper
from pipeline_worker.versions import registry as registries

SHA = "0123456789" * 4
DIGEST = f"sha256:{'0' * 64}"
MINTED = Credentials("id", "secret", "token", expires_at=1e12)
EXPIRED = Credentials("id", "secret", "token", expires_at=0.0)


def assignment(**fields: Any) -> Assignment:
    request = {"track_slug": "ruby", "channel": "test_runners"} | fields
    return Assignment(
        request=json.dumps(request).encode(),
        attempt=1,
        queued_s=0.0,
        deadline=time.monotonic() + 60,
        cancelled=threading.Event(),
        print_line=lambda _: None,
    )


BUILD = {"action": "build_container", "git_reference": "main"}


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[BuildJobs]:
    cache = CacheKeeper(tmp_path, lambda: None)
    workshop = Workshop(cast(Builders, None), cast(Sandbox, None), GitSources(tmp_path), tmp_path)
    opened = BuildJobs("builder-1", workshop, cache, BuildOptions())
    settings = Settings(
        registry=RegistrySettings("folder", str(tmp_path), "images/{tool}"),
        sources=SourceSettings("https://example.org/{tool}"),
        tools={"test_runners": "{track}-test-runner"},
    )
    opened.adopt(settings, None)
    yield opened
    cache.close()


def test_what_is_built_and_where_it_goes(jobs: BuildJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(request: BuildRequest, *_: object, **__: object) -> BuildOutcome:
        assert request.url == "https://example.org/ruby-test-runner"
        assert request.repository == "images/ruby-test-runner"
        assert request.reference == "main"
        assert request.kind.name == "test_runner"
        return BuildOutcome("built", request.repository, f"git-{SHA}", DIGEST, SHA, "ä" * 99_999)

    monkeypatch.setattr(build_jobs, "build_and_publish", build)
    code, body = jobs.perform(assignment(**BUILD))
    reply = json.loads(body)
    assert code == reply["status"]["code"] == 200
    assert reply["response"] == {
        "outcome": "built",
        "image": "images/ruby-test-runner",
        "image_tag": f"git-{SHA}",
        "digest": DIGEST,
        "git_sha": SHA,
    }
    assert len(reply["context"]["logs"]["stdout"].encode()) <= 64 * 1024


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.BadReference("no such branch"), 400),
        (errors.SourceRefused("a foreign front end"), 400),
        (errors.BuildTimedOut("too long"), 401),
        (errors.BuildOutputLimit("too much"), 402),
        (errors.BuildCancelled("not wanted"), 499),
        (errors.SourceError("no such repository"), 512),
        (errors.RegistryError("down"), 512),
        (errors.StoreError("full"), 512),
        (errors.SandboxError("no cgroups"), 512),
        (errors.ToolMissing("buildah"), 512),
        (OSError(28, "No space left on device"), 512),
        (errors.BuildFailed(7, "the end"), 513),
        (errors.ImageInvalid("no run.sh"), 514),
    ],
)
def test_every_error_has_its_code_its_reason_and_the_logs_end(
    jobs: BuildJobs, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def build(*_: object, **__: object) -> BuildOutcome:
        if isinstance(error, errors.ContainersError):
            error.log_tail = "==> building\nthe end"
        raise error

    monkeypatch.setattr(build_jobs, "build_and_publish", build)
    given, body = jobs.perform(assignment(**BUILD))
    reply = json.loads(body)
    assert given == reply["status"]["code"] == code
    assert str(error) in reply["status"]["error"]
    assert "response" not in reply
    if isinstance(error, errors.ContainersError):
        assert reply["context"]["logs"]["stdout"].endswith("the end")


@pytest.mark.parametrize(("submodules", "lfs"), [(False, False), (True, False), (False, True)])
def test_what_the_configuration_says_of_sources_holds(
    jobs: BuildJobs, monkeypatch: pytest.MonkeyPatch, submodules: bool, lfs: bool
) -> None:
    def build(_: BuildRequest, workshop: Workshop, *__: object, **___: object) -> BuildOutcome:
        seen.append((workshop.sources.submodules, workshop.sources.lfs))
        return BuildOutcome("built", "x", f"git-{SHA}", DIGEST, SHA)

    seen: list[tuple[bool, bool]] = []
    monkeypatch.setattr(build_jobs, "build_and_publish", build)
    jobs.adopt(Settings(sources=SourceSettings(submodules=submodules, lfs=lfs)), None)
    assert jobs.perform(assignment(**BUILD))[0] == 200
    assert seen == [(submodules, lfs)]


@pytest.mark.parametrize(
    ("track", "wall_s", "validation"),
    [("ruby", 30.0, Validation.WARN), ("bash", 10.0, Validation.OFF)],
)
def test_a_tool_is_tried_as_its_track_is_configured(
    jobs: BuildJobs,
    monkeypatch: pytest.MonkeyPatch,
    track: str,
    wall_s: float,
    validation: Validation,
) -> None:
    def build(
        request: BuildRequest, *_: object, options: BuildOptions, **__: object
    ) -> BuildOutcome:
        seen.append((request.limits.wall_s, request.validation))
        assert options.timeout_s > 30, "the builders' own time is another matter"
        return BuildOutcome("built", "x", f"git-{SHA}", DIGEST, SHA, warnings=("a", "b\n+c"))

    seen: list[tuple[float, Validation]] = []
    monkeypatch.setattr(build_jobs, "build_and_publish", build)
    limits = {name: LimitSettings(wall_s=said) for name, said in (("all", 10.0), ("ruby", 30.0))}
    channel = ChannelLimits(
        TrackLimits(limits["all"], CeilingSettings(), "off"),
        {"ruby": TrackLimits(limits["ruby"], CeilingSettings(), "warn")},
    )
    defaults = TrackLimits(LimitSettings(wall_s=1800), CeilingSettings())
    jobs.adopt(Settings(defaults=defaults, channels={"test_runners": channel}), None)
    code, body = jobs.perform(assignment(**BUILD | {"track_slug": track}))
    assert code == 200
    assert seen == [(wall_s, validation)]
    assert json.loads(body)["context"]["warnings"] == ["a", "b\n+c"]


def test_a_router_that_says_nothing_of_tracks_and_limits_that_none_could_keep(
    jobs: BuildJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(request: BuildRequest, *_: object, **__: object) -> BuildOutcome:
        assert (request.limits, request.validation) == (Limits(), Validation.REQUIRE)
        return BuildOutcome("built", "x", f"git-{SHA}", DIGEST, SHA)

    monkeypatch.setattr(build_jobs, "build_and_publish", build)
    code, body = jobs.perform(assignment(**BUILD))
    assert code == 200
    assert "warnings" not in json.loads(body)["context"]
    small = ChannelLimits(TrackLimits(LimitSettings(memory_bytes=1), CeilingSettings()))
    jobs.adopt(Settings(channels={"test_runners": small}), None)
    code, body = jobs.perform(assignment(**BUILD))
    assert code == 512
    assert "the track's limits: memory_bytes" in json.loads(body)["status"]["error"]


@pytest.mark.parametrize(("log", "replaced"), [("a\ufffd", ["stdout"]), ("a", None), ("", None)])
def test_what_was_no_text_in_a_builds_log_is_said(
    jobs: BuildJobs, monkeypatch: pytest.MonkeyPatch, log: str, replaced: list[str] | None
) -> None:
    outcome = BuildOutcome("built", "images/ruby-test-runner", f"git-{SHA}", DIGEST, SHA, log)
    monkeypatch.setattr(build_jobs, "build_and_publish", lambda *_, **__: outcome)
    _, body = jobs.perform(assignment(**BUILD))
    assert json.loads(body)["context"].get("replaced") == replaced


def test_a_listing(jobs: BuildJobs) -> None:
    code, body = jobs.perform(assignment(action="list_available_containers"))
    assert code == 200
    assert json.loads(body)["response"] == {"image": "images/ruby-test-runner", "versions": []}


def test_a_look_at_one_version(
    jobs: BuildJobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Registry(FolderRegistry):
        def digest(self, repository: str, reference: str) -> str | None:
            assert repository == "images/ruby-test-runner"
            return DIGEST if reference == "v1" else None

    monkeypatch.setattr(registries, "open_registry", lambda *_: Registry(tmp_path))
    for version, digests in (("v1", {"v1": DIGEST}), ("v2", {})):
        look = assignment(action="list_available_containers", version=version)
        code, body = jobs.perform(look)
        assert code == 200
        response = json.loads(body)["response"]
        assert (response["versions"], response.get("digests", {})) == ([*digests], digests)


def test_a_registry_is_opened_once_and_anew_with_other_credentials(
    jobs: BuildJobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened: list[AwsCredentials | None] = []

    def open_registry(_: str, __: str, aws: AwsCredentials | None) -> FolderRegistry:
        opened.append(aws)
        return FolderRegistry(tmp_path)

    monkeypatch.setattr(registries, "open_registry", open_registry)
    listing = assignment(action="list_available_containers")
    settings = Settings()
    for credentials in (None, None, MINTED, MINTED):
        jobs.adopt(settings, credentials)
        jobs.perform(listing)
    assert opened == [None, AwsCredentials("id", "secret", "token")]


def test_credentials_that_have_expired_are_told_before_a_registry_is_asked(jobs: BuildJobs) -> None:
    jobs.adopt(Settings(registry=RegistrySettings("ecr", "")), EXPIRED)
    code, body = jobs.perform(assignment(action="list_available_containers"))
    assert code == 512
    assert "see the router's log" in json.loads(body)["status"]["error"]


def test_a_flood_of_lines_trickles() -> None:
    lines: list[str] = []
    now = 0.0
    trickle = RateLimitedOutput(lines.append, lambda: now)
    for number in range(10_000):
        trickle(str(number))
    assert len(lines) == LINES_A_SECOND
    now = 1.5
    trickle("later")
    assert lines[LINES_A_SECOND:] == [f"... {10_000 - LINES_A_SECOND} lines left out", "later"]
