"""Work in the background: in order, bounded, and not in the way of the end."""

import threading

from pipeline_worker.crew import Crew


def test_one_thread_does_one_thing_after_the_other() -> None:
    crew, done, over = Crew("test", 1), [], threading.Event()
    for number in range(5):
        crew.submit(lambda number=number: done.append(number))  # type: ignore[misc]
    crew.submit(over.set)
    assert over.wait(10)
    assert done == [0, 1, 2, 3, 4]
    assert crew.close(10)


def test_a_defect_costs_one_piece_of_work() -> None:
    crew, over = Crew("test", 1), threading.Event()
    crew.submit(lambda: 1 / 0)  # type: ignore[arg-type]
    crew.submit(over.set)
    assert over.wait(10)
    assert crew.close(10)


def test_closing_leaves_behind_what_hangs_and_begins_nothing_more() -> None:
    crew, begun, gate = Crew("test", 1), threading.Event(), threading.Event()
    later: list[str] = []

    def hang() -> None:
        begun.set()
        gate.wait()

    crew.submit(hang)
    crew.submit(lambda: later.append("never"))
    assert begun.wait(10)
    assert not crew.close(0.01)
    gate.set()
    assert crew.close(10)
    assert later == []
