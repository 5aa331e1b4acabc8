"""A lab for each fault; a test ends by having it judged."""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.lab import FaultLab
from support.processes import machine

QUICK_WITH_KEYS = {
    *("test_bytes", "test_client", "test_deployments", "test_greedy_clients"),
    *("test_killed_workers", "test_leaving_workers", "test_networks", "test_router_restarts"),
    "test_sick_workers",
}
"""What is tried with keys each time."""
LONG_WITH_KEYS = {"test_clocks", "test_endurance", "test_files", "test_many_clients"}
"""What is tried with keys in the soak."""
LONG = {
    "test_network_that_loses_everything_for_a_while",
    "test_sigterm_while_the_router_is_away_loses_no_result",
}
"""What takes long in the former: with keys, in the soak too."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try every fault with keys as well."""
    module = metafunc.module.__name__.split(".")[-1]
    if module not in QUICK_WITH_KEYS | LONG_WITH_KEYS or "lab" not in metafunc.fixturenames:
        return
    is_quick = module in QUICK_WITH_KEYS and metafunc.function.__name__ not in LONG
    keys = pytest.param(True, id="keys", marks=() if is_quick else pytest.mark.soak)
    metafunc.parametrize("lab", [pytest.param(False, id="plain"), keys], indirect=True)


@pytest.fixture
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FaultLab]:
    """Give a lab without any process yet; PIPELINE_FAULTS_SEED varies what is random in it."""
    seed = zlib.crc32(request.node.name.encode()) ^ int(os.environ.get("PIPELINE_FAULTS_SEED", "0"))
    with machine(tmp_path) as own:
        lab = FaultLab(own, seed, has_keys=getattr(request, "param", False))
        try:
            yield lab
        finally:
            lab.close()
