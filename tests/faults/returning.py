"""A crowd whose router is killed: how long until all are back, and who was lost meanwhile."""

import time

from faults.lab import FaultLab
from faults.waiting import await_that
from msgspec import Struct
from support.crowd import Crowd, leaving

from pipeline_protocol.requests import Role


class Return(Struct, frozen=True):
    """How many seconds after the kill."""

    listens_s: float
    """The next router, which was started at once, listens."""
    workers_s: float
    """All workers serve it."""
    clients_s: float
    """All clients were answered by it."""
    lost: list[str]
    """What the router said of workers that were lost: then, or in the next seconds."""
    silent_s: float
    """So long the crowd itself did nothing at most: nobody is alive who is silent for too long."""


def kill_and_return(
    lab: FaultLab, *, workers: int, clients: int, liveness_s: float, seconds: float
) -> Return:
    """Let a crowd in, kill the router and start it again; all are to be back in so many seconds."""
    under = ("/usr/bin/prlimit", "--nofile=1024:20000")
    lab.start_router(under=under, liveness_s=liveness_s)
    crowd = Crowd(
        lab.address,
        workers=workers,
        clients=clients,
        worker_keys=lab.keys[Role.WORKER],
        client_keys=lab.keys[Role.CLIENT],
    )
    with leaving(crowd):
        await_that(lambda: crowd.serves_other_than(0), seconds, f"{workers} workers")
        crowd.ask()
        await_that(lambda: crowd.answered == clients, seconds, f"{clients} clients")
        (epoch,) = crowd.epochs()
        killed = time.monotonic()
        lab.router.kill()
        crowd.ask()
        lab.start_router(under=under, liveness_s=liveness_s)
        listens_s = time.monotonic() - killed
        back: dict[str, float] = {}

        def are_back() -> bool:
            now = time.monotonic() - killed
            if crowd.serves_other_than(epoch):
                back.setdefault("workers", now)
            if crowd.answered == clients:
                back.setdefault("clients", now)
            return len(back) == 2

        await_that(are_back, seconds, "the crowd's return")
        lab.pause(liveness_s + 2)
        assert not crowd.left, crowd.left[:3]
        lost = [line for line in lab.router.output().splitlines() if " is lost (" in line]
    return Return(listens_s, back["workers"], back["clients"], lost, crowd.longest_turn_s)
