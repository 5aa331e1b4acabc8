"""All who were connected come back at once, with keys: each handshake costs the router time."""

from pathlib import Path

import pytest
from faults.lab import FaultLab
from faults.returning import kill_and_return
from support.pace import paced
from support.processes import machine


@pytest.mark.parametrize(
    ("workers", "clients"),
    [
        (100, 500),
        pytest.param(1_000, 5_000, marks=[pytest.mark.soak, pytest.mark.timeout(600)]),
    ],
)
def test_all_come_back_after_the_routers_death_and_no_live_worker_is_lost(
    tmp_path: Path, workers: int, clients: int
) -> None:
    with machine(tmp_path) as own:
        lab = FaultLab(own, 1, has_keys=True)
        try:
            # more than a busy machine keeps the crowd's own threads waiting
            back = kill_and_return(
                lab, workers=workers, clients=clients, liveness_s=paced(10), seconds=90
            )
            assert back.lost == []
            assert back.workers_s >= back.listens_s
            lab.judge()
        finally:
            lab.close()
