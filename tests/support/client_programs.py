"""Services that ask for very many runs at a time, in a process of their own.

    python -m support.client_programs sync|async ADDRESS NUMBER [PLAN]

Each run does what the plan says; in the end it prints how many got their own answer. PIPELINE_KEYS
is its file of keys.
"""

import asyncio
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline_client import Answer, AsyncPipelineClient, PipelineClient

NAMES = ("ruby", "two-fer", "v1")
OPTIONS: dict[str, Any] = {
    "timeout_s": 100.0,
    "resend_after_s": 1,
    "keys": os.environ.get("PIPELINE_KEYS"),
}


def request(number: int, plan: str) -> dict[str, Any]:
    return {"files": {"plan": plan, "token": str(number)}, "id": f"service-{number}"}


def is_of(number: int, answer: Answer[dict[str, Any]]) -> bool:
    return bool(answer.response["token"] == str(number))


def by_threads(address: str, number: int, plan: str) -> int:
    """All at the same moment, a thread each."""
    together = threading.Barrier(number)

    def run(one: int) -> bool:
        together.wait()
        return is_of(one, client.test_solution(*NAMES, **request(one, plan)))

    with (
        ThreadPoolExecutor(number) as pool,
        PipelineClient(address, **OPTIONS) as client,
    ):
        return sum(pool.map(run, range(number)))


async def by_tasks(address: str, number: int, plan: str) -> int:
    """All at the same moment, a task each."""
    async with AsyncPipelineClient(address, **OPTIONS) as client:
        calls = (client.test_solution(*NAMES, **request(one, plan)) for one in range(number))
        answers = await asyncio.gather(*calls)
    return sum(is_of(one, answer) for one, answer in enumerate(answers))


def main(how: str, address: str, number: str, plan: str = "") -> None:
    if how == "sync":
        right = by_threads(address, int(number), plan)
    else:
        right = asyncio.run(by_tasks(address, int(number), plan))
    sys.stdout.write(f"{right} right\n")


def connections(pid: int, port: int) -> int:
    """Count those that a process has open to a port, by IPv4."""
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    columns = [line.split() for line in lines]
    there = {row[9] for row in columns if row[3] == "01" and row[2].endswith(f":{port:04X}")}
    links = [os.readlink(descriptor) for descriptor in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(f"socket:[{inode}]" in links for inode in there)


if __name__ == "__main__":
    main(*sys.argv[1:])
