"""The same request twice: one answer to one request."""

from typing import Any

import pytest


def test_a_second_sending_attaches_and_both_are_answered(harness: Any) -> None:
    worker = harness.worker()
    first, second = harness.ask("same"), harness.ask("same")
    assert len(worker.jobs) == 1
    worker.finish()
    assert (harness.code(first), harness.code(second)) == (200, 200)


def test_the_ninth_sender_is_refused_and_pushes_nobody_out(harness: Any) -> None:
    worker = harness.worker()
    clients = [harness.ask("same") for _ in range(10)]
    assert [harness.code(client) for client in clients] == [None] * 8 + [503] * 2
    assert "in a moment" in harness.error(clients[-1])
    worker.finish()
    assert [harness.code(client) for client in clients[:8]] == [200] * 8
    assert harness.code(harness.ask("same")) == 200, "by then it is stored"


def test_one_sender_that_repeats_itself_is_answered_once(harness: Any) -> None:
    worker = harness.worker()
    client = harness.ask("same", sender=b"c")
    harness.ask("same", sender=b"c")
    worker.finish()
    assert len(harness.answers[client]) == 1


@pytest.mark.parametrize(
    ("code", "stored"),
    [
        *((code, True) for code in (200, 401, 402, 403, 513, 514)),
        *((code, False) for code in (400, 499, 500, 510, 511, 512)),
    ],
)
def test_afterwards_a_stored_reply_is_sent(harness: Any, code: int, stored: bool) -> None:
    worker = harness.worker()
    harness.ask("same")
    worker.finish(code=code)
    again = harness.ask("same")
    assert harness.code(again) == (code if stored else None)
    assert len(worker.jobs) == (1 if stored else 2)


def test_stored_replies_are_forgotten_in_time(build: Any) -> None:
    harness = build(result_ttl_s=10)
    worker = harness.worker()
    harness.ask("same")
    worker.finish()
    harness.wait(9)
    assert harness.code(harness.ask("same")) == 200
    harness.wait(2)
    assert len(harness.core.dispatcher.stored) == 0
    harness.ask("same")
    assert len(worker.jobs) == 2


def test_other_bytes_under_an_id_in_flight_are_502(harness: Any) -> None:
    worker = harness.worker()
    client = harness.ask("same", sender=b"c")
    harness.ask("same", sender=b"c", exercise_slug="leap")
    (refused,) = harness.answers.pop(client)
    assert b'"code":502' in refused
    assert b"in use" in refused
    worker.finish()
    assert harness.code(client) == 200
    harness.answers.clear()
    harness.ask("same", sender=b"c", exercise_slug="leap")
    assert len(worker.jobs) == 2


def test_an_id_is_its_connections_own_and_keeps_nobody_else_from_it(harness: Any) -> None:
    worker = harness.worker(slots=2)
    first, other = harness.ask("same"), harness.ask("same", exercise_slug="leap")
    assert len(worker.jobs) == 2
    harness.ask("same", sender=first, action="cancel")
    taken_back, _ = harness.answers[first]
    assert b'"code":499' in taken_back
    assert harness.code(other) is None, "the other's of that name goes on"


def test_what_several_connections_call_the_same_is_cancelled_by_its_own_alone(
    harness: Any,
) -> None:
    worker = harness.worker(slots=2)
    first, other = harness.ask("same"), harness.ask("same", exercise_slug="leap")
    stranger = harness.ask("same", action="cancel")
    assert harness.code(stranger) == 502
    assert "on the connection" in harness.error(stranger)
    worker.finish(1)
    assert harness.response(harness.ask("same", action="cancel")) == {"cancelled": 1}
    assert (harness.code(first), harness.code(other)) == (499, 200)


def test_attaching_does_not_prolong_the_deadline(harness: Any) -> None:
    harness.worker()
    first = harness.ask("same", timeout_s=2)
    harness.wait(1.5)
    second = harness.ask("same", timeout_s=2)
    harness.wait(1)
    assert (harness.code(first), harness.code(second)) == (504, 504)


def test_without_an_id_nothing_is_merged(harness: Any) -> None:
    builder = harness.worker("b", channel="builders", slots=2)
    build = {"action": "build_container", "track_slug": "ruby", "channel": "test_runners"}
    for _ in range(2):
        harness.ask(git_reference="main", **build)
    assert len(builder.jobs) == 2
    assert builder.jobs[0].key == b""


def test_nothing_is_kept_about_an_answered_request(harness: Any) -> None:
    worker = harness.worker()
    for code in (200, 500):
        harness.ask()
        worker.finish(code=code)
    ledger = harness.core.dispatcher.inflight
    assert not ledger.works
    assert not ledger._by_key
    assert not ledger._by_name
    assert ledger.next_deadline() is None
