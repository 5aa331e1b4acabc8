"""When a host is proved, and what two failures mean: a table of times and outcomes."""

import pytest

from pipeline_worker.host.health import PAUSE_S, RETRY_S, Health, Verdict


def test_nobody_looks_without_a_doubt() -> None:
    assert not Health().due(100.0)


def test_one_proof_at_a_time_and_a_pause_between_them() -> None:
    health = Health()
    health.doubt()
    assert health.due(100.0)
    health.doubt()
    assert not health.due(200.0)
    assert health.proved("", 200.0) is Verdict.SAME
    assert not health.due(200.0 + PAUSE_S / 2)
    assert health.due(200.0 + PAUSE_S)


@pytest.mark.parametrize(
    ("outcomes", "verdicts"),
    [
        (("", ""), "same same"),
        (("bad", "", "bad", ""), "same same same same"),
        (("bad", "bad"), "same out"),
        (("bad", "bad", "bad", ""), "same out same well"),
        (("bad", "bad", "", "bad", "bad"), "same out well same out"),
    ],
)
def test_two_failures_in_a_row_take_it_out(outcomes: tuple[str, ...], verdicts: str) -> None:
    health, now, found = Health(), 100.0, []
    for problem in outcomes:
        health.doubt()
        now += RETRY_S
        assert health.due(now)
        found.append(health.proved(problem, now).value)
    assert " ".join(found) == verdicts
    assert bool(health.trouble) == verdicts.endswith("out")


def test_out_of_the_pool_it_tries_again_by_itself_but_seldom() -> None:
    health = Health()
    health.doubt()
    assert health.due(100.0)
    health.proved("bad", 100.0)
    assert health.due(101.0)
    assert health.proved("bad", 101.0) is Verdict.OUT
    health.doubt()
    assert not health.due(101.0 + RETRY_S - 1)
    assert health.due(101.0 + RETRY_S)
