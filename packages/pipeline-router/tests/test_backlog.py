"""What waits for a connection, and whose is too much."""

from pipeline_router.backlog import DEAF_S, MOST_IN_MEMORY, Account, Bounds, TcpState, excess, weigh

MIB = 1 << 20
BOUNDS = Bounds(each=10 * MIB, all=30 * MIB, unfinished=5 * MIB)


def accounts(*bytes_unread: int) -> tuple[list[Account], dict[int, TcpState]]:
    states = {fd: TcpState(fd, 0, received) for fd, received in enumerate(bytes_unread)}
    return [Account(fd, fd, 0.0) for fd in states], states


def ended(*bytes_unread: int, grown: int = 0) -> set[int]:
    return {one.account.fd for one in excess(weigh(*accounts(*bytes_unread), 0.0), BOUNDS, grown)}


def test_what_is_above_its_bound_is_ended() -> None:
    assert ended(9 * MIB, 11 * MIB, 0, 12 * MIB) == {1, 3}


def test_a_message_without_end_is_ended_sooner() -> None:
    (account,), states = accounts(8 * MIB)

    def is_ended() -> bool:
        return bool(excess(weigh([account], states, 0.0), BOUNDS, 0))

    account.read = 1
    assert [is_ended() for _ in range(3)] == [False, False, True]
    account.read += MIB
    assert [is_ended() for _ in range(2)] == [False, False], "something was read: it had an end"


def test_of_too_much_in_all_the_largest_are_ended() -> None:
    assert ended(8 * MIB, 9 * MIB, 7 * MIB, 6 * MIB) == set()
    assert ended(8 * MIB, 9 * MIB, 7 * MIB, 8 * MIB) == {1}


def test_what_costs_more_in_memory_counts_as_that() -> None:
    assert ended(2 * MIB) == set()
    assert ended(2 * MIB, grown=21 * MIB) == {0}
    assert ended(MIB // 4, grown=500 * MIB) == set(), "that cannot all be its doing"
    assert BOUNDS.each > MOST_IN_MEMORY * MIB / 4


def test_what_was_read_and_what_both_ends_say_by_themselves_do_not_wait() -> None:
    account = Account(3, 3, since=100.0)
    account.read = 50 * MIB
    state = TcpState(3, 0, 50 * MIB + 2000)
    assert account.unread(state, 100.0) == 0
    a_day_of_heartbeats = TcpState(3, 0, 50 * MIB + 2000 + 86_400 * 9)
    assert account.unread(a_day_of_heartbeats, 100.0 + 86_400) == 0


def test_what_was_counted_too_high_is_no_credit() -> None:
    account = Account(3, 3, since=100.0)
    account.read = 50 * MIB
    assert account.unread(TcpState(3, 0, 40 * MIB), 100.0) == 0
    assert account.unread(TcpState(3, 0, 50 * MIB), 100.0) > 9 * MIB


def test_what_was_sent_waits_until_it_is_taken_in() -> None:
    account = Account(3, 3, 0.0)
    account.sent = 1000
    assert account.untaken(TcpState(3, 400, 0)) == 600
    assert account.untaken(TcpState(3, 1000, 0)) == 0
    assert account.untaken(TcpState(3, 5000, 0)) == 0
    account.sent += 10
    assert account.untaken(TcpState(3, 5000, 0)) == 10, "what was not counted is no credit"


def test_what_nobody_has_read_for_a_while_is_deaf() -> None:
    account = Account(3, 3, 0.0)
    account.read = 100
    assert not account.is_deaf(TcpState(3, 0, 100), 0.0)
    for second in range(20):
        assert not account.is_deaf(TcpState(3, 0, 100 + 9 * second), float(second)), "heartbeats"
    request = TcpState(3, 0, 600)
    assert not account.is_deaf(request, 20.0)
    assert not account.is_deaf(request, 20.0 + DEAF_S / 2)
    assert account.is_deaf(request, 20.0 + DEAF_S)


def test_what_is_still_coming_is_not_deaf() -> None:
    account = Account(3, 3, 0.0)
    for second in range(20):
        assert not account.is_deaf(TcpState(3, 0, 100 * second), float(second))
