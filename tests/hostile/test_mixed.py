"""Hostile and honest jobs at random through one worker, which stays as it was."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import zmq
from hostile.case import WALL_S, Case
from hostile.families import FAMILIES
from hostile.lab import SLOTS, HostileLab
from hostile.traces import Traces, resident_bytes
from support.pace import paced

pytestmark = pytest.mark.e2e

SEED = 20_240_501
MIB = 1 << 20
PATIENCE_S = 60
CASES = [
    replace(case, wall_s=20) if case.wall_s == WALL_S else case  # beside others it takes longer
    for cases in FAMILIES.values()
    for case in cases
    if not (case.before or case.beside)
]


@dataclass(frozen=True)
class Job:
    """A request, and what its answer has to be."""

    request: dict[str, Any]
    case: Case | None
    """None: an honest one."""
    word: str

    def check(self, reply: dict[str, Any]) -> None:
        code = reply["status"]["code"]
        if self.case is None:
            assert code == 200, reply
            assert reply["response"]["message"] == self.word, reply
        else:
            assert code in self.case.codes, f"{self.case.name}: {reply}"


def jobs(lab: HostileLab, count: int, chance: random.Random) -> Iterator[Job]:
    """Make as many hostile jobs as honest ones, in an order of chance."""
    for number in range(count):
        word = f"mixed-{number}"
        if chance.random() < 0.5:
            yield Job(lab.honest_request(word), None, word)
        else:
            case = chance.choice(CASES)
            yield Job(lab.case_request(case), case, word)


def run_all(lab: HostileLab, mixed: Iterator[Job]) -> None:
    """Keep twice as many jobs in flight as the worker has slots, and check every answer."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(lab.own.address)
        flying: dict[bytes, Job] = {}
        while True:
            while len(flying) < 2 * SLOTS and (job := next(mixed, None)):
                number = job.word.encode()
                flying[number] = job
                socket.send_multipart([number, b"", json.dumps(job.request).encode()])
            if not flying:
                return
            assert socket.poll(int(paced(PATIENCE_S) * 1000)), (
                f"no answer to any of {flying.values()}"
            )
            number, _, reply = socket.recv_multipart()
            flying.pop(number).check(json.loads(reply))


def mix(lab: HostileLab, before: Traces, count: int, growth_bytes: int) -> None:
    chance = random.Random(SEED)
    run_all(lab, jobs(lab, 60, chance))  # what a worker learns, it keeps: not counted
    memory = resident_bytes(lab.worker.pid)
    run_all(lab, jobs(lab, count, chance))
    lab.honest_everywhere()
    assert lab.worker.alive
    assert lab.settle(before) == before
    assert resident_bytes(lab.worker.pid) < memory + growth_bytes


def test_a_hundred_jobs_of_all_kinds(lab: HostileLab, before: Traces) -> None:
    mix(lab, before, 100, 16 * MIB)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_a_thousand_jobs_of_all_kinds(lab: HostileLab, before: Traces) -> None:
    mix(lab, before, 1000, 16 * MIB)
