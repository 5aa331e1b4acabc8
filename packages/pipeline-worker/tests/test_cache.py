"""A builder's cache: when it is too much, and that nothing is pruned while something is built."""

import threading
from pathlib import Path

import pytest

from pipeline_containers.errors import ContainersError
from pipeline_worker.host.cache import CacheKeeper, CacheLimits, too_much

GIB = 1 << 30
WAIT_S = 10.0


@pytest.mark.parametrize(
    ("cache", "free", "said"),
    [
        (1 * GIB, 50 * GIB, ""),
        (21 * GIB, 50 * GIB, "are allowed"),
        (6 * GIB, 5 * GIB, "are free on its disk"),
        (1 * GIB, 5 * GIB, ""),  # others have filled the disk
    ],
)
def test_a_cache_is_too_much_by_itself_or_for_its_disk(cache: int, free: int, said: str) -> None:
    reason = too_much(CacheLimits(), cache, free, disk_bytes=100 * GIB)
    assert said in reason
    assert bool(reason) == bool(said)


def fill(folder: Path, size: int = 100_000) -> None:
    (folder / "layer").mkdir(exist_ok=True)
    (folder / "layer/file").write_bytes(b"x" * size)


def test_what_the_process_before_left_is_pruned_when_nothing_is_built(tmp_path: Path) -> None:
    fill(tmp_path)
    pruned = threading.Event()
    keeper = CacheKeeper(tmp_path, pruned.set, CacheLimits(cache_bytes=50_000, idle_s=0.01))
    assert pruned.wait(WAIT_S)
    keeper.close()


def test_nothing_is_pruned_during_a_build_and_a_build_waits_for_what_is_being_pruned(
    tmp_path: Path,
) -> None:
    at_work, go_on, log = threading.Event(), threading.Event(), []

    def prune() -> None:
        at_work.set()
        assert go_on.wait(WAIT_S)
        log.append("pruned")

    keeper = CacheKeeper(tmp_path, prune, CacheLimits(cache_bytes=50_000, idle_s=0.01))
    with keeper.building():
        fill(tmp_path)
        with keeper.building():
            assert not at_work.wait(0.1)
    assert at_work.wait(WAIT_S)

    def build() -> None:
        with keeper.building():
            log.append("built")

    builder = threading.Thread(target=build)
    builder.start()
    go_on.set()
    builder.join(WAIT_S)
    assert log[:2] == ["pruned", "built"]
    keeper.close()


def test_a_small_cache_stays(tmp_path: Path) -> None:
    pruned = threading.Event()
    keeper = CacheKeeper(
        tmp_path, pruned.set, CacheLimits(cache_bytes=50_000, free_share=0, idle_s=0.001)
    )
    for _ in range(3):
        with keeper.building():
            fill(tmp_path, 10)
    assert not pruned.wait(0.1)
    keeper.close()


def test_a_cache_that_cannot_be_pruned_is_looked_at_again_after_the_next_build(
    tmp_path: Path,
) -> None:
    fill(tmp_path)
    tries: list[int] = []
    tried = threading.Semaphore(0)

    def fail() -> None:
        tries.append(1)
        tried.release()
        raise ContainersError("busy")

    keeper = CacheKeeper(tmp_path, fail, CacheLimits(cache_bytes=50_000, idle_s=0.01))
    assert tried.acquire(timeout=WAIT_S)
    with keeper.building():
        pass
    assert tried.acquire(timeout=WAIT_S)
    keeper.close()
    assert len(tries) == 2
