"""The client while its router dies, stands still, or cannot be reached: it costs only time."""

import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from faults.lab import TESTS, FaultLab
from faults.networks import ROUTER, Networks, networks
from faults.waiting import await_that

from pipeline_client import PipelineClient
from pipeline_protocol.requests import Role

AT_A_TIME = 1_000
NAMES = ("ruby", "two-fer", "v1")


def waiting(lab: FaultLab) -> int:
    """How many jobs wait in the router."""
    channels: dict[str, Any] = lab.say({"action": "current_worker_status"})["response"]["channels"]
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
def test_router_that_is_killed_while_a_thousand_wait(lab: FaultLab, how: str) -> None:
    """The next one hears of all of them; each is done once, and all are answered."""
    lab.start_router(queue=2 * AT_A_TIME)
    lab.start_workers(2, slots=4)
    blocking = lab.requests(8, "sleep 600")
    lab.group(resend_after_s=0.5).ask(*(lab.abandon(one) for one in blocking))
    for one in blocking:
        lab.await_running(one)
    service = lab.own.start(
        f"service-{how}",
        *("/usr/bin/env", f"PYTHONPATH={TESTS}", *lab.key_of(Role.CLIENT)),
        *(sys.executable, "-m", "support.client_programs", how, lab.address, str(AT_A_TIME)),
    )
    await_that(lambda: waiting(lab) == AT_A_TIME, 60, "a thousand waiting")
    lab.router.kill()
    lab.start_router(queue=2 * AT_A_TIME)
    await_that(lambda: waiting(lab) == AT_A_TIME, 60, "a thousand waiting again")
    for one in blocking:
        cancel = {"action": "cancel", "id": one.id}
        await_that(lambda cancel=cancel: lab.say(cancel)["response"]["cancelled"])  # type: ignore[misc]
    service.wait_for(f"^{AT_A_TIME} right\n", 60)
    done = [ran for name, ran in lab.journal.executions().items() if name.startswith("service")]
    assert [len(ran) for ran in done] == [1] * AT_A_TIME


@pytest.mark.soak
def test_router_that_is_killed_again_and_again_under_load(lab: FaultLab) -> None:
    lab.start_router(queue=AT_A_TIME)
    lab.start_workers(2)
    with PipelineClient(
        lab.address, timeout_s=100, resend_after_s=1, keys=lab.keys[Role.OPERATOR]
    ) as client:
        tokens = runs(client, 90, "sleep 0.05")
        for share in (20, 40, 60):
            await_that(lambda share=share: len(lab.journal.executions()) >= share)  # type: ignore[misc]
            lab.router.kill()
            lab.start_router(queue=AT_A_TIME)
        assert tokens() == [str(number) for number in range(90)]


@pytest.mark.soak
def test_router_that_stands_still_for_a_while(lab: FaultLab) -> None:
    """Nobody hears that a connection is lost; what is asked meanwhile is answered afterwards."""
    lab.start_router()
    lab.start_workers(1)
    with PipelineClient(
        lab.address, timeout_s=100, resend_after_s=0.5, keys=lab.keys[Role.OPERATOR]
    ) as client:
        client.ping()
        lab.router.send(signal.SIGSTOP)
        tokens = runs(client, 4, "")
        lab.pause(5)
        lab.router.send(signal.SIGCONT)
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
    lab: FaultLab, lines: Networks, lost: tuple[str, ...]
) -> None:
    """Jobs end while nobody can be told of it; their answers come when the network is back."""
    lab.host, lab.enter = ROUTER, lines.enter("router")
    lab.start_router("--bind", ROUTER, "--insecure", under=lines.under("router"))
    lab.start_worker("worker-1", under=lines.under("router"), slots=4)
    service = lab.own.start(
        "service",
        *(*lines.under("service"), "/usr/bin/env", f"PYTHONPATH={TESTS}", *lab.key_of(Role.CLIENT)),
        *(sys.executable, "-m", "support.client_programs", "sync", lab.address, "4", "sleep 1"),
    )
    await_that(lambda: len(lab.journal.executions()) == 4, what="4 running")
    lines.cut("service", *lost)
    lab.pause(6)
    lines.heal("service")
    service.wait_for("^4 right\n", 60)
    assert [len(ran) for ran in lab.journal.executions().values()] == [1] * 4
