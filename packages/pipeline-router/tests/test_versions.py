"""Deploying, unloading, and how far the workers are."""

from typing import Any

import pytest

from pipeline_protocol.link import Configure, Readiness
from pipeline_router.config import Config, RouterOptions
from pipeline_router.events import ConfigRead, Saved

TRACK = {"track_slug": "ruby", "channel": "test_runners"}
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def deploy(house: Any, version: str, **more: str) -> bytes:
    client: bytes = house.ask(
        action="deploy_container_version", new_version=version, **(TRACK | more)
    )
    return client


def check(house: Any) -> Any:
    return house.response(house.ask(action="deployment_check", **TRACK))


def wanted(worker: Any) -> list[str]:
    return [want.version for want in worker.heard(Configure)[-1].settings.versions]


def test_a_deploy_is_saved_before_it_is_answered_and_before_workers_hear(house: Any) -> None:
    house.saves_at_once = False
    worker = house.worker()
    client = deploy(house, house.V2)
    assert house.code(client) is None
    assert house.saves[-1].versions["test_runners"]["ruby"] == {house.V1: None, house.V2: None}
    assert wanted(worker) == [house.V1]
    assert house.code(house.ask(container_version=house.V2)) == 505
    house.do(Saved())
    assert house.response(client)["versions"] == [house.V1, house.V2]
    assert house.response(client)["workers"] == 1
    assert wanted(worker) == [house.V1, house.V2]


def test_a_deploy_that_cannot_be_saved_is_512_and_changes_nothing(house: Any) -> None:
    house.saves_at_once = False
    worker = house.worker()
    client = deploy(house, house.V2)
    house.do(Saved(error="No space left on device"))
    assert house.code(client) == 512
    assert "No space left" in house.error(client)
    assert wanted(worker) == [house.V1]
    assert house.code(house.ask(container_version=house.V2)) == 505


def test_changes_that_come_during_a_save_are_saved_together_next(house: Any) -> None:
    house.saves_at_once = False
    clients = [deploy(house, version) for version in ("v1", "v2", "v3")]
    assert len(house.saves) == 1
    house.do(Saved())
    assert [house.code(client) for client in clients] == [200, None, None]
    assert len(house.saves) == 2
    house.do(Saved())
    assert [house.code(client) for client in clients] == [200, 200, 200]
    assert list(house.saves[1].versions["test_runners"]["ruby"]) == [house.V1, "v1", "v2", "v3"]


def test_a_deploy_for_a_new_track_adds_it(house: Any) -> None:
    deploy(house, "v1", track_slug="bash")
    worker = house.worker("w", "bash")
    assert wanted(worker) == ["v1"]


def test_scoped_workers_hear_only_of_their_tracks(build: Any) -> None:
    house = build(wanted=[("ruby", build.V1), ("bash", build.V2)])
    assert wanted(house.worker("a", "ruby")) == [house.V1]
    assert wanted(house.worker("b")) == [house.V1, house.V2]


def test_other_channels_hear_nothing_of_it(house: Any) -> None:
    builder = house.worker("b", channel="builders")
    deploy(house, "v1")
    assert len(builder.heard(Configure)) == 1


def test_unloading_refuses_what_waits_for_it_and_lets_the_rest_go_on(house: Any) -> None:
    worker = house.worker()
    running, waiting = house.ask(), house.ask()
    client = house.ask(action="unload_container_version", version=house.V1, **TRACK)
    assert house.response(client)["versions"] == []
    assert house.code(waiting) == 505
    worker.finish()
    assert house.code(running) == 200
    assert house.code(house.ask()) == 505


def test_a_lost_job_of_an_unloaded_version_is_505(house: Any) -> None:
    worker = house.worker("w", "ruby")
    house.worker("other")
    client = house.ask()
    house.ask(action="unload_container_version", version=house.V1, **TRACK)
    house.cut(worker)
    house.wait(1.5)
    assert house.code(client) == 505


def test_a_version_that_comes_back_is_served_by_who_has_it_still(house: Any) -> None:
    worker = house.worker()
    house.ask(action="unload_container_version", version=house.V1, **TRACK)
    deploy(house, house.V1)
    house.ask()
    assert len(worker.jobs) == 1


def test_update_wants_exactly_those(house: Any) -> None:
    client = house.ask(action="update_container_versions", versions=["v1", "v2", "v1"], **TRACK)
    assert house.response(client)["versions"] == ["v1", "v2"]


def test_there_is_a_bound(house: Any) -> None:
    versions = [f"v{n}" for n in range(100)]
    house.ask(action="update_container_versions", versions=versions, **TRACK)
    client = deploy(house, "one-more")
    assert house.code(client) == 400


def test_the_first_ready_digest_is_saved_and_sent_to_all(house: Any) -> None:
    first, second = house.worker("first", ready=()), house.worker("second", ready=())
    first.state("ruby", house.V1, Readiness.READY, digest=A)
    assert house.saves[-1].versions["test_runners"]["ruby"] == {house.V1: A}
    assert second.heard(Configure)[-1].settings.versions[0].digest == A


def test_another_digest_is_a_failure(house: Any) -> None:
    first, second = house.worker("first", ready=()), house.worker("second", ready=())
    first.state("ruby", house.V1, Readiness.READY, digest=A)
    second.state("ruby", house.V1, Readiness.READY, digest=B)
    house.ask()
    house.ask()
    assert (len(first.jobs), len(second.jobs)) == (1, 0)
    states = {worker["worker"]: worker for worker in check(house)["versions"][0]["workers"]}
    assert states["second"]["state"] == "failed"
    assert A in states["second"]["reason"]


def test_a_digest_known_during_a_save_is_not_lost(house: Any) -> None:
    worker = house.worker(ready=())
    house.saves_at_once = False
    deploy(house, house.V2)
    worker.state("ruby", house.V1, Readiness.READY, digest=A)
    house.do(Saved())
    assert house.saves[-1].versions["test_runners"]["ruby"] == {house.V1: A, house.V2: None}


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
def test_a_deployment_check(house: Any, states: list[Readiness | None], overall: str) -> None:
    for number, state in enumerate(states):
        worker = house.worker(f"w{number}", ready=())
        if state is not None:
            worker.state("ruby", house.V1, state, percent=30, reason="because")
    checked = check(house)
    assert checked["state"] == checked["versions"][0]["state"] == overall
    assert len(checked["versions"][0]["workers"]) == len(states)


def test_a_check_says_how_far_and_why_not(house: Any) -> None:
    house.worker("w1", ready=()).state("ruby", house.V1, Readiness.PREPARING, percent=30)
    house.worker("w2", ready=()).state("ruby", house.V1, Readiness.FAILED, reason="disk full")
    workers = check(house)["versions"][0]["workers"]
    assert [worker["percent"] for worker in workers] == [30, 0]
    assert [worker["reason"] for worker in workers] == ["", "disk full"]


def test_a_check_of_a_track_without_versions(house: Any) -> None:
    client = house.ask(action="deployment_check", track_slug="bash", channel="test_runners")
    assert house.response(client)["state"] == "nothing_wanted"


def test_a_removed_version_is_served_no_more(house: Any) -> None:
    worker = house.worker()
    worker.state("ruby", house.V1, Readiness.REMOVED)
    client = house.ask()
    assert not worker.jobs
    assert house.code(client) is None, "it is wanted: the worker will prepare it"


def test_a_configuration_read_again_is_in_force_and_sent(house: Any) -> None:
    worker = house.worker()
    house.do(ConfigRead(Config(router=RouterOptions(queue=0))))
    assert len(worker.heard(Configure)) == 2
    house.ask()
    assert house.code(house.ask()) == 503


def test_a_configuration_changed_by_hand_comes_with_a_save(house: Any) -> None:
    house.worker()
    house.saves_at_once = False
    deploy(house, "v1")
    house.do(Saved(config=Config(router=RouterOptions(queue=0))))
    house.ask()
    assert house.code(house.ask()) == 503


def test_a_failed_version_that_is_tried_again_is_noted_once_for_each_reason(house: Any) -> None:
    worker = house.worker("w1", ready=())
    for percent in (0, 30, 60):
        worker.state("ruby", house.V1, Readiness.FAILED, reason="disk full", percent=percent)
    (state,) = check(house)["versions"][0]["workers"]
    assert (state["state"], state["percent"], state["reason"]) == ("failed", 60, "disk full")
    worker.state("ruby", house.V1, Readiness.FAILED, reason="registry down")
    failures = [note for note in house.notes if "could not prepare" in note]
    assert [note.rpartition(": ")[2] for note in failures] == ["disk full", "registry down"]
