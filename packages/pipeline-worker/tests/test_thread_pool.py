"""Work in the background: in order, bounded, and not in the way of the end."""

import threading

from pipeline_worker.thread_pool import ThreadPool


def test_one_thread_does_one_thing_after_the_other() -> None:
    threads, done, over = ThreadPool("test", 1), [], threading.Event()
    for number in range(5):
        threads.submit(lambda number=number: done.append(number))  # type: ignore[misc]
    threads.submit(over.set)
    assert over.wait(10)
    assert done == [0, 1, 2, 3, 4]
    assert threads.close(10)


def test_a_defect_costs_one_piece_of_work() -> None:
    threads, over = ThreadPool("test", 1), threading.Event()
    threads.submit(lambda: 1 / 0)  # type: ignore[arg-type]
    threads.submit(over.set)
    assert over.wait(10)
    assert threads.close(10)


def test_closing_leaves_behind_what_hangs_and_begins_nothing_more() -> None:
    threads, begun, gate = ThreadPool("test", 1), threading.Event(), threading.Event()
    later: list[str] = []

    def hang() -> None:
        begun.set()
        gate.wait()

    threads.submit(hang)
    threads.submit(lambda: later.append("never"))
    assert begun.wait(10)
    assert not threads.close(0.01)
    gate.set()
    assert threads.close(10)
    assert later == []
