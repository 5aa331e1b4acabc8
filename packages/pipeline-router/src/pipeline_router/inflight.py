"""Every request that has been accepted and not answered: by job, by key and by name."""

from collections.abc import Collection
from hashlib import blake2b
from heapq import heapify, heappop, heappush

from pipeline_router.events import Requested
from pipeline_router.model import Name, Work
from pipeline_router.principals import Sender

KEY_BYTES = 16


def key_of(sender: Sender, body: bytes) -> bytes:
    """Return what the same request, sent again by the same sender, is known by."""
    if sender is None:
        return blake2b(body, digest_size=KEY_BYTES).digest()
    return blake2b(body, digest_size=KEY_BYTES, key=sender.name.encode()[:64]).digest()


def owner_of(event: Requested) -> str:
    """Return whose the requests are that come so: a key's, or without keys a connection's."""
    return event.envelope[0].hex() if event.sender is None else event.sender.name


class Inflight:
    """Finds work in flight, and tells whose deadline has passed.

    The heap of deadlines keeps a finished job's entry until it surfaces or outnumbers the living;
    an entry is two numbers.
    """

    def __init__(self) -> None:
        self.works: dict[int, Work] = {}
        self._by_key: dict[bytes, Work] = {}
        self._by_name: dict[Name, Work] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._of_owner: dict[str, int] = {}
        """How many there are of each owner that has a quota."""

    def __len__(self) -> int:
        return len(self.works)

    def add(self, work: Work) -> None:
        """Keep account of it from now on."""
        self.works[work.job] = work
        if work.name is not None:
            self._by_key[work.key] = work
            self._by_name[work.name] = work
        if work.quota is not None:
            self._of_owner[work.owner] = self._of_owner.get(work.owner, 0) + 1
        deadlines = self._deadlines
        if len(deadlines) > 4 * len(self.works) + 1024:
            deadlines[:] = [entry for entry in deadlines if entry[1] in self.works]
            heapify(deadlines)
        heappush(deadlines, (work.deadline, work.job))

    def remove(self, work: Work) -> None:
        """Forget it."""
        del self.works[work.job]
        if work.name is not None:
            del self._by_key[work.key]
            del self._by_name[work.name]
        if work.quota is not None:
            self._of_owner[work.owner] -= 1
            if not self._of_owner[work.owner]:
                del self._of_owner[work.owner]

    def of_owner(self, owner: str) -> int:
        """Return how many requests an owner with a quota has in flight."""
        return self._of_owner.get(owner, 0)

    def rename(self, work: Work, job: int) -> None:
        """Know it by the job that an earlier router gave it."""
        self.remove(work)
        work.job = job
        self.add(work)

    def with_key(self, key: bytes) -> Work | None:
        """Return the request in flight with the same bytes from the same sender."""
        return self._by_key.get(key)

    def named(self, name: Name) -> Work | None:
        """Return the request in flight that its sender calls so."""
        return self._by_name.get(name)

    def called(self, owner: str, actions: Collection[str], request_id: str) -> list[Work]:
        """List an owner's requests of that id; where there is none, those of all others."""
        own = [self._by_name.get((owner, action, request_id)) for action in actions]
        if found := [work for work in own if work is not None]:
            return found
        return [
            work
            for (_, action, name), work in self._by_name.items()
            if name == request_id and action in actions
        ]

    def next_deadline(self) -> float | None:
        """Return when the first deadline of a living request is."""
        deadlines = self._deadlines
        while deadlines:
            when, job = deadlines[0]
            if job in self.works:
                return when
            heappop(deadlines)
        return None

    def overdue(self, now: float) -> Work | None:
        """Return a request whose deadline has passed; the caller is to finish it."""
        when = self.next_deadline()
        if when is None or when > now:
            return None
        return self.works[heappop(self._deadlines)[1]]
