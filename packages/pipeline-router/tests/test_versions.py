"""Deploying, unloading, and how far the workers are."""

import json
from typing import Any

import pytest

from pipeline_protocol.link import Configure, Job, Readiness, Result
from pipeline_router.config import Config, RouterOptions
from pipeline_router.events import ConfigRead, Saved, StopAsked

TRACK = {"track_slug": "ruby", "channel": "test_runners"}
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def deploy(harness: Any, version: str, **more: str) -> bytes:
    client: bytes = harness.ask(
        action="deploy_container_version", new_version=version, **(TRACK | more)
    )
    return client


def check(harness: Any) -> Any:
    return harness.response(harness.ask(action="deployment_check", **TRACK))


def wanted(worker: Any) -> list[str]:
    return [want.version for want in worker.heard(Configure)[-1].settings.versions]


def test_a_deploy_is_saved_before_it_is_answered_and_before_workers_hear(harness: Any) -> None:
    harness.saves_at_once = False
    worker = harness.worker()
    client = deploy(harness, harness.V2)
    assert harness.code(client) is None
    assert harness.saves[-1].versions["test_runners"]["ruby"] == {
        harness.V1: None,
        harness.V2: None,
    }
    assert wanted(worker) == [harness.V1]
    assert harness.code(harness.ask(container_version=harness.V2)) == 505
    harness.do(Saved())
    assert harness.response(client)["versions"] == [harness.V1, harness.V2]
    assert harness.response(client)["workers"] == 1
    assert wanted(worker) == [harness.V1, harness.V2]


def test_a_deploy_that_cannot_be_saved_is_512_and_changes_nothing(harness: Any) -> None:
    harness.saves_at_once = False
    worker = harness.worker()
    client = deploy(harness, harness.V2)
    harness.do(Saved(error="No space left on device"))
    assert harness.code(client) == 512
    assert "No space left" in harness.error(client)
    assert wanted(worker) == [harness.V1]
    assert harness.code(harness.ask(container_version=harness.V2)) == 505


def test_changes_that_come_during_a_save_are_saved_together_next(harness: Any) -> None:
    harness.saves_at_once = False
    clients = [deploy(harness, version) for version in ("v1", "v2", "v3")]
    assert len(harness.saves) == 1
    harness.do(Saved())
    assert [harness.code(client) for client in clients] == [200, None, None]
    assert len(harness.saves) == 2
    harness.do(Saved())
    assert [harness.code(client) for client in clients] == [200, 200, 200]
    assert list(harness.saves[1].versions["test_runners"]["ruby"]) == [harness.V1, "v1", "v2", "v3"]


def test_a_deploy_for_a_new_track_adds_it(harness: Any) -> None:
    deploy(harness, "v1", track_slug="bash")
    worker = harness.worker("w", "bash")
    assert wanted(worker) == ["v1"]


def test_scoped_workers_hear_only_of_their_tracks(build: Any) -> None:
    harness = build(wanted=[("ruby", build.V1), ("bash", build.V2)])
    assert wanted(harness.worker("a", "ruby")) == [harness.V1]
    assert wanted(harness.worker("b")) == [harness.V1, harness.V2]


def test_other_channels_hear_nothing_of_it(harness: Any) -> None:
    builder = harness.worker("b", channel="builders")
    deploy(harness, "v1")
    assert len(builder.heard(Configure)) == 1


def test_unloading_refuses_what_waits_for_it_and_lets_the_rest_go_on(harness: Any) -> None:
    worker = harness.worker()
    running, waiting = harness.ask(), harness.ask()
    client = harness.ask(action="unload_container_version", version=harness.V1, **TRACK)
    assert harness.response(client)["versions"] == []
    assert harness.code(waiting) == 505
    worker.finish()
    assert harness.code(running) == 200
    assert harness.code(harness.ask()) == 505


def test_a_lost_job_of_an_unloaded_version_is_505(harness: Any) -> None:
    worker = harness.worker("w", "ruby")
    harness.worker("other")
    client = harness.ask()
    harness.ask(action="unload_container_version", version=harness.V1, **TRACK)
    harness.cut(worker)
    harness.wait(1.5)
    assert harness.code(client) == 505


def test_a_version_that_comes_back_is_served_by_who_has_it_still(harness: Any) -> None:
    worker = harness.worker()
    harness.ask(action="unload_container_version", version=harness.V1, **TRACK)
    deploy(harness, harness.V1)
    harness.ask()
    assert len(worker.jobs) == 1


def test_update_wants_exactly_those(harness: Any) -> None:
    client = harness.ask(action="update_container_versions", versions=["v1", "v2", "v1"], **TRACK)
    assert harness.response(client)["versions"] == ["v1", "v2"]


def test_there_is_a_bound(harness: Any) -> None:
    versions = [f"v{n}" for n in range(100)]
    harness.ask(action="update_container_versions", versions=versions, **TRACK)
    client = deploy(harness, "one-more")
    assert harness.code(client) == 400


def found(builder: Any, digests: Any, number: int = -1) -> None:
    """Have a builder answer what the router itself asks."""
    job = builder.jobs[number]
    response = {"image": "ruby", "versions": list(digests), "digests": digests}
    reply = {"status": {"code": 200, "message": "OK"}, "response": response}
    builder.say(Result(job.job, job.attempt, 200), json.dumps(reply).encode())


def builder_of(harness: Any, name: str = "builder", **hello: Any) -> Any:
    builder = harness.worker(name, channel="builders", ready=(), **hello)
    harness.wait(1)
    return builder


def test_a_digest_that_a_builder_finds_is_saved_and_sent_to_all(harness: Any) -> None:
    worker = harness.worker("w1", ready=())
    builder = builder_of(harness)
    ((_, asked),) = [told for told in builder.told if isinstance(told[0], Job)]
    assert json.loads(asked) == {
        "action": "list_available_containers",
        "track_slug": "ruby",
        "channel": "test_runners",
        "version": harness.V1,
    }
    found(builder, {harness.V1: A})
    assert harness.saves[-1].versions["test_runners"]["ruby"] == {harness.V1: A}
    assert worker.heard(Configure)[-1].settings.versions[0].digest == A
    harness.wait(120)
    assert len(builder.jobs) == 1, "what is known is not asked again"


def test_a_workers_word_on_a_digest_counts_for_itself_alone(harness: Any) -> None:
    """One that lies makes no honest one fail, and nothing of it is kept."""
    liar, honest = harness.worker("liar", ready=()), harness.worker("honest", ready=())
    liar.state("ruby", harness.V1, Readiness.READY, digest=B)
    honest.state("ruby", harness.V1, Readiness.READY, digest=A)
    assert harness.saves == []
    states = {
        worker["worker"]: worker["state"] for worker in check(harness)["versions"][0]["workers"]
    }
    assert states == {"liar": "ready", "honest": "ready"}
    found(builder_of(harness), {harness.V1: A})
    states = {worker["worker"]: worker for worker in check(harness)["versions"][0]["workers"]}
    assert states["honest"]["state"] == "ready"
    assert states["liar"]["state"] == "failed"
    assert A in states["liar"]["reason"]
    harness.ask()
    harness.ask()
    assert (len(honest.jobs), len(liar.jobs)) == (1, 0)


def test_another_digest_than_the_registrys_is_a_failure(harness: Any) -> None:
    found(builder_of(harness), {harness.V1: A})
    first, second = harness.worker("first", ready=()), harness.worker("second", ready=())
    first.state("ruby", harness.V1, Readiness.READY, digest=A)
    second.state("ruby", harness.V1, Readiness.READY, digest=B)
    harness.ask()
    harness.ask()
    assert (len(first.jobs), len(second.jobs)) == (1, 0)


def test_a_digest_known_during_a_save_is_not_lost(harness: Any) -> None:
    builder = builder_of(harness)
    harness.saves_at_once = False
    deploy(harness, harness.V2)
    found(builder, {harness.V1: A})
    harness.do(Saved())
    assert harness.saves[-1].versions["test_runners"]["ruby"] == {harness.V1: A, harness.V2: None}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"status": {"code": 200, "message": "OK"}}',
        b'{"status": {"code": 500, "message": "-"}}',
        b'{"status": {"code": 200, "message": "OK"}, "response": []}',
        b'{"status": {"code": 200, "message": "OK"}, "response": {"image": "x", "versions": [],'
        b' "digests": {"v": "sha1:x"}}}',
    ],
)
def test_an_answer_that_tells_no_digest_is_asked_for_again(harness: Any, body: bytes) -> None:
    builder = builder_of(harness)
    builder.say(Result(builder.jobs[0].job, 1, 200), body)
    assert harness.saves == []
    (told,) = [note for note in harness.notes if "is not known" in note]
    assert harness.V1 in told
    harness.wait(30)
    assert len(builder.jobs) == 1
    harness.wait(40)
    found(builder, {})
    assert harness.saves == []
    harness.wait(70)
    found(builder, {harness.V1: A})
    assert harness.saves[-1].versions["test_runners"]["ruby"] == {harness.V1: A}


def test_builders_at_work_are_left_alone(harness: Any) -> None:
    builder = harness.worker("builder", channel="builders", ready=())
    build = {"channel": "test_runners", "track_slug": "ruby", "git_reference": "main"}
    client = harness.ask(action="build_container", **build)
    harness.wait(10)
    assert len(builder.jobs) == 1
    builder.finish()
    assert harness.code(client) == 200
    harness.wait(1)
    assert len(builder.jobs) == 2


def test_an_inquiry_is_nobodys_to_wait_for(harness: Any) -> None:
    """Neither a router that stops nor a builder that is lost is held up by one."""
    lost = builder_of(harness)
    lost.beats = False
    harness.wait(4)
    builder = builder_of(harness, "other")
    assert [
        json.loads(body)["version"] for message, body in builder.told if isinstance(message, Job)
    ]
    harness.do(StopAsked())
    assert harness.finished


@pytest.mark.parametrize(
    ("states", "overall"),
    [
        ([], "no_workers"),
        ([None], "preparing"),
        ([Readiness.READY], "deployed"),
        ([Readiness.READY, Readiness.PREPARING], "partly_deployed"),
        ([Readiness.READY, Readiness.FAILED], "partly_deployed"),
        ([Readiness.PREPARING, Readiness.FAILED], "preparing"),
        ([Readiness.FAILED, Readiness.FAILED], "failed"),
    ],
)
def test_a_deployment_check(harness: Any, states: list[Readiness | None], overall: str) -> None:
    for number, state in enumerate(states):
        worker = harness.worker(f"w{number}", ready=())
        if state is not None:
            worker.state("ruby", harness.V1, state, percent=30, reason="because")
    checked = check(harness)
    assert checked["state"] == checked["versions"][0]["state"] == overall
    assert len(checked["versions"][0]["workers"]) == len(states)


def test_a_check_says_how_far_and_why_not(harness: Any) -> None:
    harness.worker("w1", ready=()).state("ruby", harness.V1, Readiness.PREPARING, percent=30)
    harness.worker("w2", ready=()).state("ruby", harness.V1, Readiness.FAILED, reason="disk full")
    workers = check(harness)["versions"][0]["workers"]
    assert [worker["percent"] for worker in workers] == [30, 0]
    assert [worker["reason"] for worker in workers] == ["", "disk full"]


def test_a_check_of_a_track_without_versions(harness: Any) -> None:
    client = harness.ask(action="deployment_check", track_slug="bash", channel="test_runners")
    assert harness.response(client)["state"] == "nothing_wanted"


def test_a_removed_version_is_served_no_more(harness: Any) -> None:
    worker = harness.worker()
    worker.state("ruby", harness.V1, Readiness.REMOVED)
    client = harness.ask()
    assert not worker.jobs
    assert harness.code(client) is None, "it is wanted: the worker will prepare it"


def test_a_configuration_read_again_is_in_force_and_sent(harness: Any) -> None:
    worker = harness.worker()
    harness.do(ConfigRead(Config(router=RouterOptions(queue=0))))
    assert len(worker.heard(Configure)) == 2
    harness.ask()
    assert harness.code(harness.ask()) == 503


def test_a_configuration_changed_by_hand_comes_with_a_save(harness: Any) -> None:
    harness.worker()
    harness.saves_at_once = False
    deploy(harness, "v1")
    harness.do(Saved(config=Config(router=RouterOptions(queue=0))))
    harness.ask()
    assert harness.code(harness.ask()) == 503


def test_a_failed_version_that_is_tried_again_is_noted_once_for_each_reason(harness: Any) -> None:
    worker = harness.worker("w1", ready=())
    for percent in (0, 30, 60):
        worker.state("ruby", harness.V1, Readiness.FAILED, reason="disk full", percent=percent)
    (state,) = check(harness)["versions"][0]["workers"]
    assert (state["state"], state["percent"], state["reason"]) == ("failed", 60, "disk full")
    worker.state("ruby", harness.V1, Readiness.FAILED, reason="registry down")
    failures = [note for note in harness.notes if "could not prepare" in note]
    assert [note.rpartition(": ")[2] for note in failures] == ["disk full", "registry down"]
