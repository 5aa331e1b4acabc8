"""Which versions are prepared when, and what the router hears of them: a table of events."""

import pytest

from pipeline_protocol.link import PreparingPhase, Readiness, VersionState
from pipeline_protocol.settings import WantedVersion
from pipeline_worker.versions.desired import RETRY_MOST_S, RETRY_S, DesiredVersions

ONE, OTHER = (f"sha256:{digit * 64}" for digit in "12")


def ruby(digest: str | None = None) -> WantedVersion:
    return WantedVersion("ruby", "v1", digest)


def state(readiness: Readiness, **fields: object) -> VersionState:
    return VersionState("ruby", "v1", readiness, **fields)  # type: ignore[arg-type]


READY = state(Readiness.READY, digest=ONE, percent=100)
FAILED = state(Readiness.FAILED, reason="the registry is down")


@pytest.fixture
def desired() -> DesiredVersions:
    made = DesiredVersions(())
    assert made.want([ruby()]).prepare == (ruby(),)
    return made


def test_what_waits_for_its_turn_is_queued(desired: DesiredVersions) -> None:
    assert [(one.state, one.phase) for one in desired.states()] == [("preparing", "queued")]


def test_tries_come_ever_less_often_until_one_works(desired: DesiredVersions) -> None:
    now, waits = 100.0, []
    for _ in range(8):
        assert desired.moved(FAILED, now) == FAILED
        began = now
        while not desired.due(now):
            now += RETRY_S
        waits.append(now - began)
    assert waits[:4] == [RETRY_S, 2 * RETRY_S, 4 * RETRY_S, 8 * RETRY_S]
    assert waits[-1] == RETRY_MOST_S
    assert desired.moved(READY, now) == READY
    assert desired.due(now + 1e6) == []


def test_a_try_that_is_under_way_is_not_due(desired: DesiredVersions) -> None:
    desired.moved(FAILED, 0.0)
    assert desired.due(1e6) == [ruby()]
    assert desired.due(2e6) == []


def test_the_reason_stays_while_it_is_tried_again(desired: DesiredVersions) -> None:
    desired.moved(FAILED, 0.0)
    desired.due(1e6)
    desired.moved(state(Readiness.PREPARING, percent=30, phase=PreparingPhase.PULLING), 1e6)
    (told,) = desired.progress()
    assert (told.state, told.reason) == (Readiness.FAILED, FAILED.reason)
    assert (told.percent, told.phase) == (30, "pulling")
    again = state(Readiness.FAILED, reason="the disk is full")
    assert desired.moved(again, 2e6) == again
    assert desired.progress() == ()


def test_another_workers_digest_of_a_tag_that_moved_is_fetched_at_once(
    desired: DesiredVersions,
) -> None:
    """The tag led this worker elsewhere while another was the first to be ready."""
    assert desired.want([ruby(OTHER)]).prepare == ()
    told = desired.moved(READY, 100.0)
    assert told is not None
    assert (told.state, told.digest) == (Readiness.FAILED, None)
    assert ONE in told.reason
    assert OTHER in told.reason
    assert desired.due(100.0) == [ruby(OTHER)]
    other = state(Readiness.READY, digest=OTHER)
    assert desired.moved(other, 101.0) == other
    assert desired.all_ready()


def test_a_digest_that_is_never_right_is_not_tried_without_a_pause(
    desired: DesiredVersions,
) -> None:
    desired.want([ruby(OTHER)])
    desired.moved(READY, 100.0)
    desired.due(100.0)
    desired.moved(READY, 101.0)
    assert desired.due(101.0) == []


def test_ready_with_another_digest_than_turns_out_to_be_deployed_it_is_prepared_anew(
    desired: DesiredVersions,
) -> None:
    desired.moved(READY, 100.0)
    assert desired.want([ruby(ONE)]).prepare == ()
    change = desired.want([ruby(OTHER)])
    assert change.prepare == (ruby(OTHER),)
    assert [one.state for one in change.changed] == [Readiness.PREPARING]


def test_what_is_said_of_a_version_that_was_unloaded_meanwhile_is_of_no_interest(
    desired: DesiredVersions,
) -> None:
    assert [one.state for one in desired.want([]).changed] == [Readiness.REMOVED]
    assert desired.moved(READY, 100.0) is None
    assert desired.wanted() == ()
