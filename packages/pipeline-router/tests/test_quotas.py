"""How many requests a client may have in flight, and how many it has."""

from typing import Any

import pytest

from pipeline_protocol.requests import Role
from pipeline_router.principals import Principal

FEW = Principal("1" * 64, "few", Role.CLIENT, quota=2)
MANY = Principal("2" * 64, "many", Role.CLIENT)
OLGA = Principal("3" * 64, "olga", Role.OPERATOR)


def status(harness: Any, key: Principal | None = OLGA) -> Any:
    return harness.response(harness.ask(action="current_worker_status", key=key))


def test_who_has_its_quota_in_flight_is_refused_in_words_and_told_when_to_ask_again(
    harness: Any,
) -> None:
    worker = harness.worker()
    first, second = harness.ask("1", key=FEW), harness.ask("2", key=FEW)
    third = harness.ask("3", key=FEW)
    assert harness.code(third) == 429
    assert "'few' has as many requests in flight as its quota allows, 2:" in harness.error(third)
    assert harness.reply(third).context.retry_after_s == 1
    assert harness.code(harness.ask("4", key=MANY)) is None, "a quota is one client's"
    worker.finish()
    assert harness.code(first) == 200
    again = harness.ask("3", key=FEW)
    assert harness.code(again) is None
    assert [harness.code(client) for client in (second, again)] == [None, None]


def test_the_same_request_sent_again_takes_no_more_of_the_quota(harness: Any) -> None:
    harness.worker()
    senders = [harness.ask("same", key=FEW, sender=f"c{n}".encode()) for n in range(4)]
    assert [harness.code(sender) for sender in senders] == [None] * 4
    assert harness.code(harness.ask("other", key=FEW)) is None
    assert harness.code(harness.ask("third", key=FEW)) == 429


@pytest.mark.parametrize("how", ["cancelled", "overdue", "refused"])
def test_a_request_that_ends_otherwise_gives_its_place_back(harness: Any, how: str) -> None:
    if how != "refused":
        harness.worker()
    asked = [harness.ask(f"{n}", key=FEW, timeout_s=5) for n in range(2)]
    if how == "cancelled":
        for n in range(2):
            harness.ask(f"{n}", action="cancel", key=FEW)
    elif how == "overdue":
        harness.wait(6)
    assert {harness.code(one) for one in asked} == {
        {"cancelled": 499, "overdue": 504}.get(how, 503)
    }
    assert not status(harness)["clients"]
    assert harness.code(harness.ask("next", key=FEW)) == (503 if how == "refused" else None)


def test_status_tells_who_has_how_much_in_flight_most_first(harness: Any) -> None:
    harness.worker()
    harness.ask("a", key=FEW)
    for number in range(3):
        harness.ask(f"b{number}", key=MANY)
    found = status(harness)["clients"]
    assert list(found.items()) == [
        ("many", {"running": 0, "waiting": 3}),
        ("few", {"running": 1, "waiting": 0, "quota": 2}),
    ]


def test_without_keys_nobody_is_told_apart(harness: Any) -> None:
    harness.worker()
    harness.ask("a")
    assert status(harness, None)["clients"] == {}
