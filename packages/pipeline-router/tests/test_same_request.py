"""The same request twice: one answer to one request."""

from typing import Any

import pytest


def test_a_second_sending_attaches_and_both_are_answered(house: Any) -> None:
    worker = house.worker()
    first, second = house.ask("same"), house.ask("same")
    assert len(worker.jobs) == 1
    worker.finish()
    assert (house.code(first), house.code(second)) == (200, 200)


def test_the_latest_eight_senders_are_answered(house: Any) -> None:
    worker = house.worker()
    clients = [house.ask("same") for _ in range(10)]
    worker.finish()
    assert [house.code(client) for client in clients] == [None, None] + [200] * 8


def test_one_sender_that_repeats_itself_is_answered_once(house: Any) -> None:
    worker = house.worker()
    client = house.ask("same", sender=b"c")
    house.ask("same", sender=b"c")
    worker.finish()
    assert len(house.answers[client]) == 1


@pytest.mark.parametrize(
    ("code", "stored"),
    [
        *((code, True) for code in (200, 401, 402, 403, 513, 514)),
        *((code, False) for code in (400, 499, 500, 510, 511, 512)),
    ],
)
def test_afterwards_a_stored_reply_is_sent(house: Any, code: int, stored: bool) -> None:
    worker = house.worker()
    house.ask("same")
    worker.finish(code=code)
    again = house.ask("same")
    assert house.code(again) == (code if stored else None)
    assert len(worker.jobs) == (1 if stored else 2)


def test_stored_replies_are_forgotten_in_time(build: Any) -> None:
    house = build(result_ttl_s=10)
    worker = house.worker()
    house.ask("same")
    worker.finish()
    house.wait(9)
    assert house.code(house.ask("same")) == 200
    house.wait(2)
    assert len(house.core.dispatcher.stored) == 0
    house.ask("same")
    assert len(worker.jobs) == 2


def test_other_bytes_under_an_id_in_flight_are_502(house: Any) -> None:
    worker = house.worker()
    first = house.ask("same")
    other = house.ask("same", exercise_slug="leap")
    assert house.code(other) == 502
    assert "in use" in house.error(other)
    worker.finish()
    assert house.code(first) == 200
    house.ask("same", exercise_slug="leap")
    assert len(worker.jobs) == 2


def test_attaching_does_not_prolong_the_deadline(house: Any) -> None:
    house.worker()
    first = house.ask("same", timeout_s=2)
    house.wait(1.5)
    second = house.ask("same", timeout_s=2)
    house.wait(1)
    assert (house.code(first), house.code(second)) == (504, 504)


def test_without_an_id_nothing_is_merged(house: Any) -> None:
    builder = house.worker("b", channel="builders", slots=2)
    build = {"action": "build_container", "track_slug": "ruby", "channel": "test_runners"}
    for _ in range(2):
        house.ask(git_reference="main", **build)
    assert len(builder.jobs) == 2
    assert builder.jobs[0].key == b""


def test_nothing_is_kept_about_an_answered_request(house: Any) -> None:
    worker = house.worker()
    for code in (200, 500):
        house.ask()
        worker.finish(code=code)
    ledger = house.core.dispatcher.inflight
    assert not ledger.works
    assert not ledger._by_key
    assert not ledger._by_name
    assert ledger.next_deadline() is None
