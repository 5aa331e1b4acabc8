"""Containers made ahead of their jobs, so that a job waits only for what cannot be done ahead.

What is made mirrors the latest jobs: one container for each of the last `most`, so that never more
wait than there are slots, and those of the hottest versions. Each is single-use. They are made
when no job has begun for a moment; while jobs begin without a pause, making them ahead would take
from one job what it gives to another.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pipeline_containers.errors import ContainersError
from pipeline_containers.sandbox.container.container import Container, Recipe

_log = logging.getLogger(__name__)

PAUSE_S = 0.05
"""How long after a job's beginning nothing is made, lest it be in that job's way."""
PATIENCE_S = 0.5
"""After so long of jobs that begin without such a pause, one is made all the same."""

PoolKey = tuple[object, ...]
"""What two recipes must share for a container of the one to do for the other."""


def pool_key(recipe: Recipe) -> PoolKey:
    """Take what cannot be changed when a container is made: all but some of the limits."""
    place = (recipe.image, recipe.root, recipe.cwd)
    return (*place, recipe.program, recipe.env, recipe.user, recipe.limits.at_creation())


@dataclass(frozen=True, slots=True)
class WarmPlan:
    """The next step towards what should be there: one too many goes first, then one is made."""

    discard: PoolKey | None = None
    make: PoolKey | None = None


def plan(recent: Sequence[PoolKey], ready: Iterable[PoolKey]) -> WarmPlan:
    """Compare what is ready with the latest jobs, the last of them first."""
    wanted, there = Counter(recent), Counter(ready)
    superfluous = there - wanted
    if superfluous:
        return WarmPlan(discard=next(iter(superfluous)))
    missing = wanted - there
    return WarmPlan(make=next((key for key in reversed(recent) if key in missing), None))


class WarmPool:
    """Up to `most` containers that wait, made, for jobs; none at all if that is 0."""

    def __init__(
        self,
        most: int,
        make: Callable[[Recipe], Container],
        discard: Callable[[Container], None],
    ) -> None:
        """`make` may raise ContainersError or OSError; `discard` must not raise."""
        self._make = make
        self._discard = discard
        self._recent: deque[Recipe] = deque(maxlen=most)
        self._ready: list[tuple[PoolKey, Container]] = []
        self._making: Recipe | None = None
        self._discarding: PoolKey | None = None
        self._began_at = self._wanting_since = 0.0
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="warm", daemon=True)
        self._thread.start()

    def take(self, recipe: Recipe) -> Container | None:
        """Return a container that does for a recipe, if there is one; expect more such jobs."""
        key = pool_key(recipe)
        with self._changed:
            self._began_at = time.monotonic()
            self._recent.append(recipe)
            self._changed.notify_all()
            place = next((at for at, (own, _) in enumerate(self._ready) if own == key), None)
            return None if place is None else self._ready.pop(place)[1]

    def forget(self, image: str) -> None:
        """Discard the containers of an image, and make no more of them."""
        with self._changed:
            kept = [recipe for recipe in self._recent if recipe.image != image]
            self._recent = deque(kept, self._recent.maxlen)
            self._changed.wait_for(lambda: not self._is_at_work_on(image))
            gone = [entry for entry in self._ready if entry[0][0] == image]
            self._ready = [entry for entry in self._ready if entry[0][0] != image]
        for _, container in gone:
            self._discard(container)

    def settle(self, timeout_s: float = 10.0) -> bool:
        """Wait until all that the latest jobs call for is ready; false if it takes too long."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._is_at_work() and self._plan() == WarmPlan(), timeout_s
            )

    def close(self) -> None:
        """Discard all, and end."""
        with self._changed:
            self._is_closed = True
            self._recent.clear()
            self._changed.notify_all()
        self._thread.join()
        for _, container in self._ready:
            self._discard(container)
        self._ready.clear()

    def _is_at_work(self) -> bool:
        return self._making is not None or self._discarding is not None

    def _is_at_work_on(self, image: str) -> bool:
        making = self._making is not None and self._making.image == image
        return making or (self._discarding is not None and self._discarding[0] == image)

    def _plan(self) -> WarmPlan:
        return plan([pool_key(recipe) for recipe in self._recent], [own for own, _ in self._ready])

    def _work(self) -> None:
        while True:
            step = self._next_step()
            if isinstance(step, Recipe):
                self._add(step)
            elif step is not None:
                self._discard(step)
                with self._changed:
                    self._discarding = None
                    self._changed.notify_all()
            else:
                return

    def _next_step(self) -> Recipe | Container | None:
        """Wait for something to do: a recipe to make, a container to discard; None at the end."""
        with self._changed:
            while not self._is_closed:
                todo = self._plan()
                if todo == WarmPlan():
                    self._wanting_since = 0.0
                    self._changed.notify_all()  # it may be waited for
                    self._changed.wait()
                    continue
                now = time.monotonic()
                self._wanting_since = self._wanting_since or now
                due = min(self._began_at + PAUSE_S, self._wanting_since + PATIENCE_S)
                if now < due:
                    self._changed.wait(due - now)
                    continue
                self._wanting_since = 0.0
                if todo.make is None:
                    place = next(
                        at for at, (own, _) in enumerate(self._ready) if own == todo.discard
                    )
                    self._discarding, container = self._ready.pop(place)
                    return container
                self._making = next(one for one in self._recent if pool_key(one) == todo.make)
                return self._making
        return None

    def _add(self, recipe: Recipe) -> None:
        container = None
        try:
            container = self._make(recipe)
        except (ContainersError, OSError) as error:
            _log.warning("no container can be made ahead: %s", error)
        with self._changed:
            self._making = None
            if container is not None:
                self._ready.append((pool_key(recipe), container))
            else:  # until there is another such job
                others = [one for one in self._recent if pool_key(one) != pool_key(recipe)]
                self._recent = deque(others, self._recent.maxlen)
            self._changed.notify_all()
