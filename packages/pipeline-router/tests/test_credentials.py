"""Credentials for workers: when new ones are asked for, what is taken for some, who gets them."""

import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_protocol.link import Configure
from pipeline_protocol.settings import NOT_YET_MINTED, Credentials
from pipeline_router import credentials as subject
from pipeline_router.config import Config, Sts
from pipeline_router.config_parse import BadConfig
from pipeline_router.credentials import (
    BadAnswer,
    Minter,
    Renewal,
    check_credentials,
    describe,
    read_answer,
)
from pipeline_router.events import ConfigRead, Minted

ROLE = Sts(role_arn="arn:aws:iam::123456789012:role/workers")
OTHER = Sts(role_arn="arn:aws:iam::123456789012:role/others")
STS = Config(credentials="sts", sts=ROLE)
NOW = 1_700_000_000.0
ANSWER = {
    "AccessKeyId": "ASIA1",
    "SecretAccessKey": "hush-secret",
    "SessionToken": "hush-token",
    "Expiration": datetime.fromtimestamp(NOW + 3600, UTC),
}
MINTED = Credentials("ASIA1", "hush-secret", "hush-token", NOW + 3600)


# --- when


@pytest.mark.parametrize(
    ("life_s", "due"), [(3600.0, 100 + 1800.0), (900.0, 100 + 450.0), (60.0, 100 + 30.0)]
)
def test_the_next_ones_are_asked_for_at_half_life(life_s: float, due: float) -> None:
    assert Renewal(0.0, failures=3).minted(100.0, life_s) == Renewal(due)


@pytest.mark.parametrize(
    ("failures", "chance", "wait_s"),
    [(0, 0.0, 0.5), (0, 1.0, 1.0), (1, 1.0, 2.0), (2, 0.0, 2.0), (5, 1.0, 32.0), (6, 1.0, 60.0)],
)
def test_after_a_failure_they_are_asked_for_ever_more_rarely(
    failures: int, chance: float, wait_s: float
) -> None:
    assert Renewal(7.0, failures).failed(7.0, chance) == Renewal(7.0 + wait_s, failures + 1)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=50))
def test_however_often_it_fails_a_minute_is_the_longest_wait(chances: list[float]) -> None:
    now, renewals = 0.0, [Renewal(0.0)]
    for chance in chances:
        renewals.append(renewals[-1].failed(now, chance))
        assert 0.5 <= renewals[-1].due - now <= 60.001
        now = renewals[-1].due
    assert all(before.due < after.due for before, after in pairwise(renewals))


# --- what


def test_an_answer_is_read_in_any_time_zone() -> None:
    assert read_answer(ANSWER, NOW) == MINTED
    elsewhere = timezone(timedelta(hours=9))
    there = datetime.fromtimestamp(NOW + 3600, elsewhere)
    assert read_answer({**ANSWER, "Expiration": there}, NOW) == MINTED


RUBBISH: list[Any] = [
    None,
    "hush",
    {},
    {k: v for k, v in ANSWER.items() if k != "SecretAccessKey"},
    {k: v for k, v in ANSWER.items() if k != "Expiration"},
    {**ANSWER, "AccessKeyId": ""},
    {**ANSWER, "SessionToken": "hush" * 10_000},
    {**ANSWER, "SessionToken": 7},
    {**ANSWER, "Expiration": "hush"},
    {**ANSWER, "Expiration": datetime.fromtimestamp(NOW - 1, UTC)},
    {**ANSWER, "Expiration": datetime.fromtimestamp(NOW + 59, UTC)},
]


@pytest.mark.parametrize("answer", RUBBISH, ids=range(len(RUBBISH)))
def test_rubbish_is_no_answer_and_is_not_repeated(answer: Any) -> None:
    with pytest.raises(BadAnswer) as caught:
        read_answer(answer, NOW)
    assert "hush" not in str(caught.value)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(BadAnswer, match="missing or wrong: SessionToken"):
        read_answer({**ANSWER, "SessionToken": None}, NOW)
    with pytest.raises(BadAnswer, match="missing or wrong: Expiration"):
        read_answer({k: v for k, v in ANSWER.items() if k != "Expiration"}, NOW)


def test_an_error_that_may_quote_an_answer_is_told_by_its_kind_alone() -> None:
    assert describe(ValueError("<SecretAccessKey>hush")) == "its answer makes no sense (ValueError)"


# --- whether at all


def test_credentials_are_not_sent_where_others_can_read_them() -> None:
    check_credentials(STS, link_is_private=True)
    check_credentials(Config(), link_is_private=False)
    with pytest.raises(BadConfig, match="loopback or an encrypted link only"):
        check_credentials(STS, link_is_private=False)


def test_a_router_without_the_extra_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setattr(subject, "find_spec", lambda _: None)
    check_credentials(Config(), link_is_private=True)
    with pytest.raises(BadConfig, match=r"pip install 'pipeline-router\[aws\]'"):
        check_credentials(STS, link_is_private=True)


# --- who


def configured(harness: Any, config: Config) -> Any:
    harness.do(ConfigRead(config))
    return harness


def test_workers_get_what_is_minted_and_what_is_minted_next(harness: Any) -> None:
    worker = harness.worker()
    assert worker.heard(Configure)[-1].credentials is None
    configured(harness, STS)
    assert worker.heard(Configure)[-1].credentials == NOT_YET_MINTED
    later = msgspec.structs.replace(MINTED, access_key_id="ASIA2")
    for credentials in (MINTED, later):
        harness.do(Minted(ROLE, credentials))
        told = worker.heard(Configure)
        assert told[-1].credentials == credentials
    assert harness.worker("w2").heard(Configure)[-1].credentials == later


def test_another_roles_credentials_are_not_mixed_up(harness: Any) -> None:
    worker = harness.worker()
    configured(harness, STS)
    harness.do(Minted(ROLE, MINTED))
    configured(harness, Config(credentials="sts", sts=OTHER))
    assert worker.heard(Configure)[-1].credentials == NOT_YET_MINTED
    harness.do(Minted(ROLE, MINTED))
    assert worker.heard(Configure)[-1].credentials == NOT_YET_MINTED
    configured(harness, Config())
    assert worker.heard(Configure)[-1].credentials is None
    harness.do(Minted(OTHER, MINTED))
    assert worker.heard(Configure)[-1].credentials is None


def test_builders_may_have_a_role_of_their_own_whose_credentials_nobody_else_is_sent(
    harness: Any,
) -> None:
    runner, builder = harness.worker(), harness.worker("b1", channel="builders", ready=())
    own = msgspec.structs.replace(ROLE, builder_role_arn=OTHER.role_arn)
    config = configured(harness, Config(credentials="sts", sts=own)).core.sessions.config
    assert config.roles == {ROLE, OTHER}
    pushing = msgspec.structs.replace(MINTED, access_key_id="ASIAPUSH")
    harness.do(Minted(OTHER, pushing))
    assert runner.heard(Configure)[-1].credentials == NOT_YET_MINTED
    assert builder.heard(Configure)[-1].credentials == pushing
    harness.do(Minted(ROLE, MINTED))
    assert runner.heard(Configure)[-1].credentials == MINTED
    assert builder.heard(Configure)[-1].credentials == pushing
    assert "ASIAPUSH" not in str(runner.told)


def test_a_configuration_read_again_keeps_what_is_minted(harness: Any) -> None:
    worker = harness.worker()
    configured(harness, STS)
    harness.do(Minted(ROLE, MINTED))
    configured(harness, STS)
    assert worker.heard(Configure)[-1].credentials == MINTED


def test_no_answer_to_operators_has_a_secret(harness: Any) -> None:
    harness.worker()
    configured(harness, STS)
    harness.do(Minted(ROLE, MINTED))
    for action in ("current_config", "describe_workers", "current_worker_status"):
        reply = harness.reply(harness.ask(action=action))
        assert reply is not None
        text = msgspec.json.encode(reply).decode()
        assert "hush" not in text
        assert "ASIA1" not in text
    assert ROLE.role_arn in str(harness.response(harness.ask(action="current_config")))


# --- the thread


class FakeSts:
    """Does what it is told when it is asked, and says who asked."""

    def __init__(self) -> None:
        self.opened: queue.SimpleQueue[Sts] = queue.SimpleQueue()
        self.answer: Callable[[], Any] = self.fresh

    def open(self, sts: Sts) -> Callable[[], Any]:
        self.opened.put(sts)
        return lambda: self.answer()

    def fresh(self) -> Any:
        return {**ANSWER, "Expiration": datetime.now(UTC) + timedelta(hours=1)}

    def fail(self) -> Any:
        raise PermissionError("hush")


@pytest.fixture
def sts() -> FakeSts:
    return FakeSts()


@pytest.fixture
def minted() -> "queue.SimpleQueue[Minted]":
    return queue.SimpleQueue()


@pytest.fixture
def minter(sts: FakeSts, minted: "queue.SimpleQueue[Minted]") -> Iterator[Minter]:
    own = Minter(minted.put, sts.open)
    yield own
    own.close()


def test_credentials_are_there_soon_after_they_are_wanted(
    minter: Minter, minted: "queue.SimpleQueue[Minted]"
) -> None:
    minter.want(ROLE)
    event = minted.get(timeout=10)
    assert (event.sts, event.credentials.access_key_id) == (ROLE, "ASIA1")
    minter.want(OTHER)
    assert minted.get(timeout=10).sts == OTHER


def test_they_are_renewed_when_half_their_life_is_over(
    minter: Minter,
    sts: FakeSts,
    minted: "queue.SimpleQueue[Minted]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Renewal, "minted", lambda self, now, life_s: Renewal(now + life_s / 72_000))
    minter.want(ROLE)
    for _ in range(3):
        minted.get(timeout=10)
    assert sts.opened.qsize() == 1


def test_a_failure_is_told_and_tried_again_with_the_hosts_credentials_read_anew(
    minter: Minter,
    sts: FakeSts,
    minted: "queue.SimpleQueue[Minted]",
    caplog: pytest.LogCaptureFixture,
) -> None:
    sts.answer = sts.fail
    with caplog.at_level(logging.INFO):
        minter.want(ROLE)
        for _ in range(2):
            sts.opened.get(timeout=10)
        sts.answer = sts.fresh
        minted.get(timeout=10)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned
    for said in ("workers have none", "sts:AssumeRole", ROLE.role_arn, "asking again"):
        assert said in warned[0]
    assert "hush" not in caplog.text


def test_an_sts_that_hangs_holds_up_neither_a_change_nor_the_end(
    sts: FakeSts, minted: "queue.SimpleQueue[Minted]"
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def hang() -> Any:
        asked.set()
        go_on.wait(60)
        return sts.fresh()

    sts.answer = hang
    minter = Minter(minted.put, sts.open)
    minter.want(ROLE)
    assert asked.wait(10)
    minter.want(OTHER)
    minter.close()
    go_on.set()
    until = time.monotonic() + 10
    while any(thread.name == "credentials" for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert minted.empty()
