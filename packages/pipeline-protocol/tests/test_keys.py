"""Files of keys as they come from outside, and what is tried when a connection does not come."""

import msgspec
import pytest

from pipeline_protocol.handshakes import HandshakeFailure, Handshakes
from pipeline_protocol.keys import BadKeys, MemberKeys, check_mode, in_bytes, read_member_keys
from pipeline_protocol.requests import Role

ONE, TWO, SECRET = "1a" * 32, "2b" * 32, "5e" * 32
KEYS = MemberKeys(name="alice", role=Role.CLIENT, public=ONE, secret=SECRET, routers=(ONE, TWO))
ADDRESS = "tcp://router:5555"


def test_a_file_is_read_as_it_was_written() -> None:
    assert read_member_keys(msgspec.json.encode(KEYS), "alice.keys") == KEYS
    assert in_bytes(KEYS.secret) == b"\x5e" * 32


def test_no_secret_is_shown() -> None:
    assert SECRET not in repr(KEYS)
    assert SECRET not in f"{[KEYS]}"


@pytest.mark.parametrize(
    "change",
    [
        {"secret": SECRET + "0"},
        {"secret": SECRET.upper()},
        {"public": "0" * 63},
        {"routers": []},
        {"routers": [ONE] * 9},
        {"role": "root"},
        {"name": "../alice"},
        {"secretly": SECRET},
        {"kind": "another file"},
    ],
)
def test_what_is_no_file_of_keys_is_refused_without_a_word_of_it(change: dict[str, object]) -> None:
    data = msgspec.json.encode(msgspec.to_builtins(KEYS) | change)
    with pytest.raises(BadKeys, match=r"alice\.keys") as refused:
        read_member_keys(data, "alice.keys")
    assert SECRET[:16] not in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"[" * 100_000, b"\xff", b"x" * 70_000])
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadKeys):
        read_member_keys(data, "alice.keys")


@pytest.mark.parametrize(("mode", "is_good"), [(0o600, True), (0o400, True), (0o640, False)])
def test_a_file_that_others_may_read_is_refused(mode: int, is_good: bool) -> None:
    if is_good:
        check_mode(mode, "alice.keys")
    else:
        with pytest.raises(BadKeys, match="chmod 600"):
            check_mode(mode, "alice.keys")


# --- what is tried next


def test_the_next_key_is_tried_at_once_and_all_of_them_again_after_a_while() -> None:
    tries = Handshakes(ADDRESS, (ONE, TWO), "alice")
    assert tries.router == ONE
    assert tries.failed(HandshakeFailure.HUNG_UP, 0.5) == 0
    assert tries.router == TWO
    assert tries.failed(HandshakeFailure.HUNG_UP, 0.5) > 0
    assert tries.router == ONE
    assert not tries.trouble, "perhaps the router was just ended"
    tries.failed(HandshakeFailure.HUNG_UP, 0.5)
    assert "has another key" in tries.trouble


def test_the_key_that_the_router_has_is_kept() -> None:
    tries = Handshakes(ADDRESS, (ONE, TWO), "alice")
    tries.failed(HandshakeFailure.HUNG_UP, 0.5)
    tries.made()
    assert tries.router == TWO
    assert tries.failed(HandshakeFailure.HUNG_UP, 0.5) == 0
    assert tries.router == ONE


@pytest.mark.parametrize(
    ("routers", "failures", "said"),
    [
        ((ONE,), [HandshakeFailure.KEY_REFUSED], "does not let the key 'alice' in"),
        ((ONE,), [HandshakeFailure.MECHANISM], "has no keys, and this side has"),
        ((), [HandshakeFailure.MECHANISM], "lets nobody in without a key"),
        ((), [HandshakeFailure.HUNG_UP] * 3, "lets nobody in without a key"),
        ((ONE,), [HandshakeFailure.HUNG_UP] * 3, "has another key"),
        ((ONE, TWO), [HandshakeFailure.HUNG_UP] * 2, ""),
        ((), [HandshakeFailure.OTHER], "is not a pipeline router"),
        (
            (ONE,),
            [HandshakeFailure.MECHANISM, *[HandshakeFailure.HUNG_UP] * 4],
            "has no keys, and this side has",
        ),
    ],
)
def test_what_is_wrong_is_said(
    routers: tuple[str, ...], failures: list[HandshakeFailure], said: str
) -> None:
    tries = Handshakes(ADDRESS, routers, "alice")
    for failure in failures:
        tries.failed(failure, 0.5)
    assert said in tries.trouble
    assert bool(tries.trouble) is bool(said)
    tries.made()
    assert not tries.trouble


def test_it_is_tried_ever_more_rarely_and_not_by_all_at_once() -> None:
    tries = Handshakes(ADDRESS, (ONE,), "alice")
    pauses = [tries.failed(HandshakeFailure.KEY_REFUSED, 1.0) for _ in range(6)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert tries.failed(HandshakeFailure.KEY_REFUSED, 0.0) == 2.5


def test_keys_that_are_learnt_are_tried_from_the_first() -> None:
    tries = Handshakes(ADDRESS, (ONE, TWO), "alice")
    tries.failed(HandshakeFailure.HUNG_UP, 0.5)
    tries.learn((ONE, TWO))
    assert tries.router == TWO
    tries.learn((TWO, ONE))
    assert tries.router == TWO
