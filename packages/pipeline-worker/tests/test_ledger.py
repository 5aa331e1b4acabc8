"""What is held for the router, and its bounds."""

from pipeline_protocol.link import HeldJob, Job
from pipeline_worker import ledger
from pipeline_worker.ledger import Ledger


def test_running_and_held_jobs_are_listed_with_the_time_they_have_left() -> None:
    book = Ledger()
    book.start(Job(1, 1, 5000, 0, key=b"a"), 10.0)
    book.start(Job(2, 1, 5000, 0, key=b"b"), 10.0)
    book.finish(2, 1, 200, b"reply", 11.0)
    assert book.jobs(12.0) == (
        HeldJob(b"a", 1, 1, 3000, done=False),
        HeldJob(b"b", 2, 1, 3000, done=True),
    )
    assert book.jobs(100.0)[0].remaining_ms == 0


def test_the_oldest_results_go_when_they_are_too_many_bytes() -> None:
    book = Ledger()
    half = b"x" * (ledger.HELD_BYTES // 2)
    for number in (1, 2, 3):
        book.start(Job(number, 1, 5000, 0), 0.0)
        book.finish(number, 1, 200, half, 0.0)
    assert list(book.held) == [(2, 1), (3, 1)]


def test_results_go_when_they_are_too_old() -> None:
    book = Ledger()
    for number, now in ((1, 0.0), (2, ledger.HELD_S + 1)):
        book.start(Job(number, 1, 5000, 0), now)
        book.finish(number, 1, 200, b"", now)
    assert list(book.held) == [(2, 1)]
