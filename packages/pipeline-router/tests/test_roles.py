"""Keys in the core: who may ask for what, who may serve, what a key's end means for its work."""

from typing import Any

import msgspec
import pytest

from pipeline_protocol.codec import decode_request
from pipeline_protocol.link import RefusalReason, Refused, Result, Welcome
from pipeline_protocol.requests import ACTIONS, Role
from pipeline_router.events import KeysRead
from pipeline_router.principals import Principal
from pipeline_router.roles import why_not


def key(name: str, role: Role = Role.CLIENT, **more: Any) -> Principal:
    return Principal(f"key of {name}", name, role, **more)


ALICE, BOB = key("alice"), key("bob")
OPERATOR = key("olga", Role.OPERATOR)
RUNNER = key("runner", Role.WORKER, channels=frozenset({"test_runners"}), identity="w")
OTHER_RUNNER = key("other", Role.WORKER)
FIELDS = {
    "id": "1",
    "track_slug": "ruby",
    "channel": "test_runners",
    "identity": "w1",
    "exercise_slug": "leap",
    "container_version": "v1",
    "files": {"leap.rb": ""},
    "git_reference": "main",
    "new_version": "v1",
    "version": "v1",
    "versions": [],
}
"""All that any action needs."""
DEPLOY = {
    "action": "deploy_container_version",
    "track_slug": "ruby",
    "channel": "test_runners",
    "new_version": "v2",
}


# --- what may be asked for


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("role", Role)
def test_each_action_is_for_its_role_and_a_clients_for_operators_too(
    action: str, role: Role
) -> None:
    request = decode_request(msgspec.json.encode({"action": action, **FIELDS}))
    needed = request.role
    allowed = role is needed or (role is Role.OPERATOR and needed is Role.CLIENT)
    refusal = why_not(key("somebody", role), request)
    assert (refusal is None) is allowed
    if refusal is not None:
        assert refusal.code == 403
        assert f"the role {needed}" in refusal.error
        assert f"the role {role}" in refusal.error


def test_without_keys_everything_may_be_asked_for(harness: Any) -> None:
    assert harness.code(harness.ask(**DEPLOY)) == 200


@pytest.mark.parametrize("sender", [ALICE, RUNNER])
def test_whoever_is_no_operator_deploys_nothing(harness: Any, sender: Principal) -> None:
    client = harness.ask(key=sender, **DEPLOY)
    assert harness.code(client) == 403
    assert "deploy_container_version needs a key of the role operator" in harness.error(client)
    assert not harness.saves


def test_a_worker_key_asks_for_no_job(harness: Any) -> None:
    worker = harness.worker()
    assert harness.code(harness.ask(key=RUNNER)) == 403
    assert not worker.jobs


def test_a_worker_is_told_of_the_link_for_its_own_channels_only(harness: Any) -> None:
    said = {"action": "configure_worker", "protocol": 2}
    assert harness.code(harness.ask(key=RUNNER, channel="test_runners", **said)) == 200
    refused = harness.ask(key=RUNNER, channel="builders", **said)
    assert harness.code(refused) == 403
    assert "'runner' serves test_runners, not builders" in harness.error(refused)


# --- requests are their key's


def test_the_same_bytes_of_another_key_are_another_request(harness: Any) -> None:
    worker = harness.worker(slots=2)
    first = harness.ask("same", key=ALICE)
    second = harness.ask("same", key=BOB)
    assert len(worker.jobs) == 2
    worker.finish(1, said="for bob")
    assert harness.code(first) is None
    assert harness.response(second) == "for bob"


def test_the_same_bytes_of_the_same_key_are_one_request_on_whichever_connection(
    harness: Any,
) -> None:
    worker = harness.worker(slots=2)
    first = harness.ask("same", sender=b"before", key=ALICE)
    second = harness.ask("same", sender=b"after", key=ALICE)
    worker.finish()
    assert (harness.response(first), harness.response(second)) == ("done", "done")
    assert harness.response(harness.ask("same", key=ALICE)) == "done"
    assert len(worker.jobs) == 1


def test_a_request_is_cancelled_by_its_own_key_or_an_operators(harness: Any) -> None:
    harness.worker(slots=2)
    first, second = harness.ask("one", key=ALICE), harness.ask("two", key=ALICE)
    refused = harness.ask("one", action="cancel", key=BOB)
    assert harness.code(refused) == 403
    assert "role operator" in harness.error(refused)
    assert harness.code(first) is None
    assert harness.response(harness.ask("one", action="cancel", key=ALICE)) == {"cancelled": 1}
    assert harness.response(harness.ask("two", action="cancel", key=OPERATOR)) == {"cancelled": 1}
    assert (harness.code(first), harness.code(second)) == (499, 499)


# --- who may serve


@pytest.mark.parametrize(
    ("sender", "name", "channel", "why"),
    [
        (ALICE, "w1", "test_runners", "needs a key of the role worker"),
        (OPERATOR, "w1", "test_runners", "needs a key of the role worker"),
        (RUNNER, "w1", "builders", "serves test_runners, not builders"),
        (RUNNER, "x1", "test_runners", "names begin with 'w'"),
    ],
)
def test_a_hello_with_the_wrong_key_is_refused(
    harness: Any, sender: Principal, name: str, channel: str, why: str
) -> None:
    worker = harness.worker(name, channel=channel, ready=(), key=sender)
    (refused,) = worker.heard(Refused)
    assert refused.why is RefusalReason.ROLE
    assert why in refused.error
    assert not worker.heard(Welcome)
    harness.ask()
    assert not worker.jobs


def test_a_worker_with_the_right_key_serves(harness: Any) -> None:
    worker = harness.worker("w1", key=RUNNER)
    client = harness.ask(key=ALICE)
    worker.finish()
    assert harness.code(client) == 200


def test_a_message_on_a_workers_connection_with_another_key_is_not_the_workers(
    harness: Any,
) -> None:
    worker = harness.worker("w1", key=RUNNER)
    client = harness.ask(key=ALICE)
    worker.key = OTHER_RUNNER
    worker.finish(said="forged")
    assert harness.code(client) is None
    assert [refused.why for refused in worker.heard(Refused)] == [RefusalReason.UNKNOWN_SESSION]
    worker.key = RUNNER
    worker.finish(said="true")
    assert harness.response(client) == "true"


def test_another_key_does_not_take_a_session_over_by_its_instance(harness: Any) -> None:
    worker = harness.worker("w1", instance="i", key=RUNNER)
    forger = harness.worker("w1", instance="i", key=OTHER_RUNNER, peer=b"forger")
    assert [refused.why for refused in forger.heard(Refused)] == [RefusalReason.IDENTITY_ALIVE]
    harness.ask(key=ALICE)
    assert len(worker.jobs) == 1
    assert not forger.jobs


# --- the end of a key


def test_a_revoked_workers_jobs_go_to_others_and_its_results_are_not_believed(
    harness: Any,
) -> None:
    thief = harness.worker("w1", instance="i", key=RUNNER)
    client = harness.ask(key=ALICE)
    honest = harness.worker("w2", key=OTHER_RUNNER)
    harness.keys(ALICE, OTHER_RUNNER)
    assert len(honest.jobs) == 1
    thief.finish(said="forged")
    again = harness.worker("w1", instance="i", key=OTHER_RUNNER, peer=b"again")
    again.told += [(job, body) for job, body in thief.told if job in thief.jobs]
    again.finish(said="forged, too")
    assert harness.code(client) is None
    honest.finish(said="true")
    assert harness.response(client) == "true"
    assert not any(job.alone for job in honest.jobs)


def test_a_worker_whose_key_is_for_another_channel_by_now_is_shut_out(
    harness: Any,
) -> None:
    worker = harness.worker("w1", key=RUNNER)
    harness.keys(Principal(RUNNER.key, "runner", Role.WORKER, frozenset({"builders"})))
    assert [refused.why for refused in worker.heard(Refused)] == [RefusalReason.ROLE]
    assert not list(harness.core.sessions.presence)


def test_a_worker_whose_key_stays_good_is_not_disturbed(harness: Any) -> None:
    worker = harness.worker("w1", key=RUNNER)
    client = harness.ask(key=ALICE)
    same = Principal(RUNNER.key, "runner", Role.WORKER, frozenset({"test_runners"}), "w")
    harness.keys(ALICE, same)
    worker.key = same
    worker.finish()
    assert harness.code(client) == 200
    assert not worker.heard(Refused)


def test_what_a_revoked_client_asked_for_is_ended(harness: Any) -> None:
    worker = harness.worker(slots=1, key=RUNNER)
    running, waiting = harness.ask(key=ALICE), harness.ask(key=ALICE)
    other = harness.ask(key=BOB)
    harness.keys(BOB, RUNNER)
    assert (harness.code(running), harness.code(waiting)) == (403, 403)
    worker.finish(0, code=499)
    worker.finish(1)
    assert harness.code(other) == 200


# --- the router's own key is changed


def test_a_worker_whose_connection_goes_with_the_old_key_is_waited_for(harness: Any) -> None:
    worker = harness.worker("w1", instance="i", key=RUNNER)
    running = harness.ask(key=ALICE)
    harness.do(KeysRead({one.key: one for one in (ALICE, RUNNER, OTHER_RUNNER)}, rekeyed=True))
    harness.cut(worker)
    harness.wait(8)  # it is told of beats, and is not there; and silent for long
    waiting = harness.ask(key=ALICE)
    assert harness.code(waiting) is None, "nobody is refused meanwhile"
    other = harness.worker("w2", key=OTHER_RUNNER)
    assert len(other.jobs) == 1, "what it had is not run again"
    other.finish()
    assert harness.code(waiting) == 200
    again = harness.worker("w1", instance="i", key=RUNNER, peer=b"again", jobs=(worker.held(),))
    again.say(Result(worker.jobs[0].job, worker.jobs[0].attempt, 200), result(200))
    assert harness.code(running) == 200


def test_one_that_does_not_come_back_is_lost_all_the_same(harness: Any) -> None:
    worker = harness.worker("w1", key=RUNNER)
    client = harness.ask(key=ALICE)
    harness.do(KeysRead({one.key: one for one in (ALICE, OTHER_RUNNER, RUNNER)}, rekeyed=True))
    harness.cut(worker)
    harness.wait(12)
    assert not list(harness.core.sessions.presence)
    other = harness.worker("w2", key=OTHER_RUNNER)
    other.finish()
    assert harness.code(client) == 200


def result(code: int) -> bytes:
    return msgspec.json.encode({"status": {"code": code, "message": "-"}})
