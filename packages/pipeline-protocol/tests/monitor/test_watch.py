"""A loop shows itself once a second, with its longest turn; a look that fails ends nothing."""

import pytest
from support.monitors import snapshot

from pipeline_protocol.monitor.lag import KEPT
from pipeline_protocol.monitor.snapshot import Snapshot
from pipeline_protocol.monitor.watch import BROKEN_S, Watch


class Loop:
    def __init__(self) -> None:
        self.now = 100.0
        self.shown: list[Snapshot] = []
        self.lags: list[float] = []
        self.watch = Watch(self, self.now)

    def offer(self, snapshot: Snapshot) -> bool:
        self.shown.append(snapshot)
        return True

    def look(self, lag_s: float) -> Snapshot:
        self.lags.append(lag_s)
        return snapshot()

    def turn(self, seconds: float) -> None:
        began, self.now = self.now, self.now + seconds
        self.watch.turned(began, self.now, self.look)


def test_it_shows_itself_once_a_second() -> None:
    loop = Loop()
    for _ in range(31):
        loop.turn(0.1)
    assert len(loop.shown) == 3


def test_the_longest_turn_is_told_for_a_minute() -> None:
    loop = Loop()
    loop.turn(0.25)
    loop.turn(3)
    for _ in range(KEPT):
        loop.turn(1.0)
    assert loop.lags[0] == pytest.approx(0.25)
    assert loop.lags[1:KEPT] == pytest.approx([3.0] * (KEPT - 1))
    assert loop.lags[KEPT + 1] == pytest.approx(1.0)


def test_a_look_that_fails_is_tried_again_later() -> None:
    loop = Loop()

    def broken(_: float) -> Snapshot:
        raise KeyError("a defect")

    loop.watch.turned(loop.now, loop.now, broken)
    for _ in range(int(BROKEN_S) - 1):
        loop.turn(1.0)
    assert loop.shown == []
    loop.turn(2.0)
    assert len(loop.shown) == 1
