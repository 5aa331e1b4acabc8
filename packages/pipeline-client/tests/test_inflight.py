"""The rules of sending, sending again and hearing, with time as a number."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from pipeline_client import errors
from pipeline_client._plans.steps import Exchange
from pipeline_client._transport import inflight
from pipeline_client._transport.inflight import Delivery, InFlight
from pipeline_protocol import codec, replies

NOW = 1000.0
LASTS_S = 100.0
ONE, TWO = b"1", b"2"


def exchange(body: bytes = b"request", *, lines: bool = False, resendable: bool = True) -> Exchange:
    return Exchange(body, NOW + LASTS_S, "too late", print if lines else None, resendable)


def in_flight(*numbers: bytes, connected: bool = True, chance: float = 0.0) -> InFlight[str]:
    some = InFlight[str](5.0, lambda: chance)
    if connected:
        some.connect()
    for number in numbers:
        some.begin(number, exchange(), f"who asked {number!r}")
    return some


def sent(some: InFlight[str], now: float = NOW) -> list[bytes]:
    """Send all that is to be sent; return the numbers."""
    numbers = []
    while frames := some.next_to_send():
        numbers.append(frames[0])
        some.sent(now)
    return numbers


def silences(some: InFlight[str], until: float) -> list[float]:
    """Return after how many seconds something was sent again."""
    found = []
    while (now := some.wake_at()) <= NOW + until:
        some.wake(now)
        if sent(some, now):
            found.append(now - NOW)
    return found


def test_request_is_a_dealers_frames() -> None:
    assert in_flight(ONE).next_to_send() == (ONE, b"", b"request")


def test_all_are_sent_once_in_their_order() -> None:
    some = in_flight(ONE, TWO)
    assert sent(some) == [ONE, TWO]
    assert sent(some) == []


def test_what_the_socket_did_not_take_is_still_to_be_sent() -> None:
    some = in_flight(ONE)
    assert some.next_to_send() == some.next_to_send() == (ONE, b"", b"request")


def test_nothing_is_sent_before_there_is_a_connection() -> None:
    some = in_flight(ONE, connected=False)
    assert some.next_to_send() is None
    assert some.wake_at() == float("inf")
    some.connect()
    assert sent(some) == [ONE]


def test_new_connection_gets_all_that_waits() -> None:
    some = in_flight(ONE)
    sent(some)
    some.begin(TWO, exchange(), "who asked")
    some.disconnect()
    assert some.next_to_send() is None
    some.connect()
    assert sorted(sent(some)) == [ONE, TWO]


def test_new_connection_that_comes_before_the_news_of_the_loss() -> None:
    some = in_flight(ONE, TWO)
    sent(some)
    some.connect()
    some.connect()
    assert sorted(sent(some)) == [ONE, TWO]


def test_what_is_sent_once_is_sent_once_and_may_wait_for_a_connection() -> None:
    some = in_flight(connected=False)
    some.begin(ONE, exchange(resendable=False), "who asked")
    some.connect()
    assert sent(some) == [ONE]
    some.disconnect()
    some.connect()
    assert sent(some) == []
    assert some.wake_at() == float("inf")


def test_silence_is_answered_by_sending_again_more_and_more_seldom() -> None:
    some = in_flight(ONE)
    sent(some)
    assert silences(some, LASTS_S) == [5, 15, 35, 75]


def test_what_is_too_late_is_not_sent_again() -> None:
    """Even if nobody said that it is to be forgotten."""
    some = in_flight(ONE)
    sent(some)
    assert silences(some, 1000) == [5, 15, 35, 75]
    assert some.waiters() == []
    assert some.wake_at() == float("inf")


def test_chance_keeps_them_apart() -> None:
    some = in_flight(ONE, chance=0.5)
    sent(some)
    assert some.wake_at() == pytest.approx(NOW + 5.5)


def test_nothing_is_sent_again_while_there_is_no_connection() -> None:
    some = in_flight(ONE)
    sent(some)
    some.disconnect()
    assert silences(some, 200) == []


def test_answered_and_forgotten_are_not_sent_again() -> None:
    some = in_flight(ONE, TWO)
    sent(some)
    some.hear([ONE, b"", b"reply"], NOW)
    some.forget(TWO)
    some.connect()
    assert sent(some) == []
    assert silences(some, 200) == []


def test_answer_goes_to_who_asked() -> None:
    some = in_flight(ONE, TWO)
    sent(some)
    assert some.hear([TWO, b"", b"reply"], NOW) == Delivery("who asked b'2'", b"reply")
    assert some.waiters() == ["who asked b'1'"]


@pytest.mark.parametrize("frames", [[b""], [b"3", b"", b"late"], [b"", ONE, b"x"]])
def test_others_answers_are_passed_over(frames: list[bytes]) -> None:
    some = in_flight(ONE)
    assert some.hear(frames, NOW) is None
    assert some.waiters()


def test_second_answer_is_passed_over() -> None:
    some = in_flight(ONE)
    some.hear([ONE, b"", b"reply"], NOW)
    assert some.hear([ONE, b"", b"reply"], NOW) is None


@pytest.mark.parametrize(
    "frames", [[ONE], [ONE, b""], [ONE, b"x", b"y"], [ONE, b"", b"x", b"y"]], ids=len
)
def test_answer_in_other_frames_is_malformed(frames: list[bytes]) -> None:
    delivery = in_flight(ONE).hear(frames, NOW)
    assert delivery
    assert isinstance(delivery.heard, errors.MalformedReply)


def test_progress_is_no_silence() -> None:
    progress = codec.encode_json(replies.ProgressReply(replies.ProgressLines(("a", "b"))))
    some = in_flight()
    some.begin(ONE, exchange(lines=True), "who asked")
    sent(some)
    assert silences(some, 14) == [5]
    assert some.hear([ONE, b"", progress], NOW + 14) == Delivery("who asked", ("a", "b"))
    assert silences(some, 40) == [19, 29]
    assert some.hear([ONE, b"", b"reply"], NOW + 40) == Delivery("who asked", b"reply")


def test_router_never_owes_more_answers_than_it_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflight, "MOST", 2)
    some = in_flight(b"1", b"2", b"3", b"4")
    assert sent(some) == [b"1", b"2"]
    some.hear([b"1", b"", b"reply"], NOW)
    assert sent(some) == [b"3"]
    some.forget(b"2")
    assert sent(some) == [b"4"]
    some.connect()
    assert sent(some) == [b"3", b"4"]


class Sending(RuleBasedStateMachine):
    """Whatever happens in whatever order, beside the simplest account of it."""

    numbers = Bundle("numbers")

    def __init__(self) -> None:
        super().__init__()
        self.some = InFlight[bytes](5.0, lambda: 0.5)
        self.now = NOW
        self.count = 0
        self.connected = False
        self.waiting: dict[bytes, bool] = {}
        """Whether it may be sent more than once."""
        self.sent_ever: set[bytes] = set()
        self.sent_here: set[bytes] = set()

    @rule(target=numbers, resendable=st.booleans())
    def begin(self, resendable: bool) -> bytes:
        self.count += 1
        number = str(self.count).encode()
        self.some.begin(number, Exchange(b"", self.now + 1e6, "", None, resendable), number)
        self.waiting[number] = resendable
        return number

    @rule(number=numbers)
    def forget(self, number: bytes) -> None:
        self.some.forget(number)
        self.waiting.pop(number, None)

    @rule(number=numbers)
    def answer(self, number: bytes) -> None:
        delivery = self.some.hear([number, b"", b"reply"], self.now)
        assert (delivery is not None) == (number in self.waiting)
        assert delivery is None or delivery.waiter == number
        self.waiting.pop(number, None)

    @rule()
    def connect(self) -> None:
        self.some.connect()
        self.connected = True
        self.sent_here = set()

    @rule()
    def disconnect(self) -> None:
        self.some.disconnect()
        self.connected = False

    @rule(most=st.integers(1, 5))
    def send(self, most: int) -> None:
        for _ in range(most):
            frames = self.some.next_to_send()
            if frames is None:
                return
            assert self.connected
            number = frames[0]
            assert self.waiting[number] or number not in self.sent_ever
            self.some.sent(self.now)
            self.sent_ever.add(number)
            self.sent_here.add(number)

    @rule(seconds=st.floats(0.1, 100))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds
        self.some.wake(self.now)
        assert self.some.wake_at() > self.now

    @invariant()
    def those_who_wait_are_known(self) -> None:
        assert set(self.some.waiters()) == set(self.waiting)

    def teardown(self) -> None:
        """All that waits is sent over a connection that lasts."""
        if self.connected:
            while self.some.next_to_send():
                self.send(1)
            again = {number for number, resendable in self.waiting.items() if resendable}
            assert again <= self.sent_here
            assert set(self.waiting) <= self.sent_ever


TestSending = Sending.TestCase
