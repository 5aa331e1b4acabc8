import re
from typing import get_args

import pytest

from pipeline_protocol import CHANNELS, STATUSES, requests, status
from pipeline_protocol.channels import (
    ACTION_OF_ALIAS,
    CHANNEL_OF_ACTION,
    CHANNEL_OF_ALIAS,
    channel_named,
    tool_channel_named,
)
from pipeline_protocol.names import described, nearest
from pipeline_protocol.status import Blame, Retry


def test_every_worker_served_action_has_one_channel() -> None:
    served = {struct.__struct_config__.tag for struct in get_args(requests.WorkerServed)}
    assert set(CHANNEL_OF_ACTION) == served
    assert sum(len(row.actions) for row in CHANNELS.values()) == len(served)


def test_builders_alone_serve_all_tracks() -> None:
    assert [row.name for row in CHANNELS.values() if not row.scopable] == ["builders"]


def test_tools_are_named_by_their_track() -> None:
    assert all("{track}" in (row.tool or "") for row in CHANNELS.values() if row.scopable)


def test_tool_channel() -> None:
    assert tool_channel_named("representers") is channel_named("representers")
    with pytest.raises(ValueError, match="run no tool"):
        tool_channel_named("builders")


def test_each_alias_means_one_thing_of_its_own_row() -> None:
    names = [*CHANNELS, *(alias for row in CHANNELS.values() for alias in row.aliases)]
    actions = [*requests.ACTIONS, *(a for row in CHANNELS.values() for a in row.action_aliases)]
    assert len(set(names)) == len(names)
    assert len(set(actions)) == len(actions)
    for row in CHANNELS.values():
        assert set(row.action_aliases.values()) <= set(row.actions)
        assert all(channel_named(alias) is row for alias in row.aliases)


def test_the_names_that_the_earlier_client_says() -> None:
    assert CHANNEL_OF_ALIAS == {"static_analyzers": "static_analysers"}
    assert ACTION_OF_ALIAS == {
        "analyze_iteration": "analyse_solution",
        "represent": "represent_solution",
    }


def test_unknown_channel_is_not_echoed_at_length() -> None:
    with pytest.raises(ValueError, match="unknown channel") as caught:
        channel_named("x" * 100_000)
    assert len(str(caught.value)) < 300


def test_stored_replies_are_those_of_what_ran() -> None:
    stored = {row.code for row in STATUSES.values() if row.stored}
    assert stored == {200, 401, 402, 403, 513, 514}
    assert all(
        row.retry is Retry.NEVER and row.blame in (Blame.NOBODY, Blame.LIMIT, Blame.TOOL)
        for row in STATUSES.values()
        if row.stored
    )


def test_what_is_worth_a_retry() -> None:
    later = {row.code for row in STATUSES.values() if row.retry is Retry.LATER}
    assert later == {429, 503, 504, 511, 512, 101, 102}
    assert [row.code for row in STATUSES.values() if row.retry is Retry.ONCE] == [510]


def test_constants_are_rows() -> None:
    constants = {value for value in vars(status).values() if isinstance(value, int)}
    assert constants == set(STATUSES)


def test_names_are_described_in_words() -> None:
    pattern = r"\A[a-z0-9][a-z0-9-]{0,63}\Z"
    error = described(f"Expected `str` matching regex {pattern!r} - at `$.track_slug`")
    assert re.search(r"^Expected a slug \(.*\) - at `\$.track_slug`$", error)
    assert described("anything else") == "anything else"


def test_nearest() -> None:
    assert nearest("pong", ["ping", "cancel"]) == " (did you mean 'ping'?)"
    assert nearest("xyz", ["ping", "cancel"]) == ""
