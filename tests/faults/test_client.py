"""The client while its router dies, stands still, or cannot be reached: it costs only time."""

import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from faults.networks import ROUTER, Networks, networks
from faults.waiting import await_that
from faults.yard import TESTS, Yard

from pipeline_client import PipelineClient

AT_A_TIME = 1_000
NAMES = ("ruby", "two-fer", "v1")


def waiting(yard: Yard) -> int:
    """How many jobs wait in the router."""
    channels: dict[str, Any] = yard.say({"action": "current_worker_status"})["response"]["channels"]
    return int(channels["test_runners"]["waiting"])


def runs(client: PipelineClient, number: int, plan: str) -> Callable[[], list[str]]:
    """Begin runs, a thread each; the result waits for their tokens."""
    pool = ThreadPoolExecutor(number)
    begun = [
        pool.submit(client.test_solution, *NAMES, files={"plan": plan, "token": str(n)})
        for n in range(number)
    ]

    def tokens() -> list[str]:
        with pool:
            return [run.result(100).response["token"] for run in begun]

    return tokens


@pytest.mark.parametrize("how", ["sync", "async"])
def test_router_that_is_killed_while_a_thousand_wait(yard: Yard, how: str) -> None:
    """The next one hears of all of them; each is done once, and all are answered."""
    yard.start_router(queue=2 * AT_A_TIME)
    yard.start_workers(2, slots=4)
    blocking = yard.requests(8, "sleep 600")
    yard.crowd(resend_after_s=0.5).ask(*(yard.abandon(one) for one in blocking))
    for one in blocking:
        yard.await_running(one)
    service = yard.own.start(
        f"service-{how}",
        *("/usr/bin/env", f"PYTHONPATH={TESTS}", sys.executable),
        *("-m", "support.client_programs", how, yard.address, str(AT_A_TIME)),
    )
    await_that(lambda: waiting(yard) == AT_A_TIME, 60, "a thousand waiting")
    yard.router.kill()
    yard.start_router(queue=2 * AT_A_TIME)
    await_that(lambda: waiting(yard) == AT_A_TIME, 60, "a thousand waiting again")
    for one in blocking:
        cancel = {"action": "cancel", "id": one.id}
        await_that(lambda cancel=cancel: yard.say(cancel)["response"]["cancelled"])  # type: ignore[misc]
    service.wait_for(f"^{AT_A_TIME} right\n", 60)
    done = [ran for name, ran in yard.journal.executions().items() if name.startswith("service")]
    assert [len(ran) for ran in done] == [1] * AT_A_TIME


@pytest.mark.soak
def test_router_that_is_killed_again_and_again_under_load(yard: Yard) -> None:
    yard.start_router(queue=AT_A_TIME)
    yard.start_workers(2)
    with PipelineClient(yard.address, timeout_s=100, resend_after_s=1) as client:
        tokens = runs(client, 90, "sleep 0.05")
        for share in (20, 40, 60):
            await_that(lambda share=share: len(yard.journal.executions()) >= share)  # type: ignore[misc]
            yard.router.kill()
            yard.start_router(queue=AT_A_TIME)
        assert tokens() == [str(number) for number in range(90)]


@pytest.mark.soak
def test_router_that_stands_still_for_a_while(yard: Yard) -> None:
    """Nobody hears that a connection is lost; what is asked meanwhile is answered afterwards."""
    yard.start_router()
    yard.start_workers(1)
    with PipelineClient(yard.address, timeout_s=100, resend_after_s=0.5) as client:
        client.ping()
        yard.router.send(signal.SIGSTOP)
        tokens = runs(client, 4, "")
        yard.pause(5)
        yard.router.send(signal.SIGCONT)
        assert sorted(tokens()) == ["0", "1", "2", "3"]


@pytest.fixture
def lines() -> Iterator[Networks]:
    with networks("service") as own:
        yield own


@pytest.mark.parametrize(
    "lost",
    [
        ("input", "output"),
        pytest.param(("input",), marks=pytest.mark.soak),
        pytest.param(("output",), marks=pytest.mark.soak),
    ],
    ids="-".join,
)
def test_network_that_loses_everything_for_a_while(
    yard: Yard, lines: Networks, lost: tuple[str, ...]
) -> None:
    """Jobs end while nobody can be told of it; their answers come when the network is back."""
    yard.host, yard.enter = ROUTER, lines.enter("router")
    yard.start_router("--bind", ROUTER, "--insecure", under=lines.under("router"))
    yard.start_worker("worker-1", under=lines.under("router"), slots=4)
    service = yard.own.start(
        "service",
        *(*lines.under("service"), "/usr/bin/env", f"PYTHONPATH={TESTS}", sys.executable),
        *("-m", "support.client_programs", "sync", yard.address, "4", "sleep 1"),
    )
    await_that(lambda: len(yard.journal.executions()) == 4, what="4 running")
    lines.cut("service", *lost)
    yard.pause(6)
    lines.heal("service")
    service.wait_for("^4 right\n", 60)
    assert [len(ran) for ran in yard.journal.executions().values()] == [1] * 4
