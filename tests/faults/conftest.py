"""A lab for each fault; a test ends by having it judged."""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.lab import FaultLab
from support.processes import machine

WITH_KEYS = {
    *("test_bytes", "test_client", "test_deployments", "test_killed_workers"),
    *("test_leaving_workers", "test_router_restarts", "test_sick_workers"),
}
"""What is tried with keys as well."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "lab" in metafunc.fixturenames and metafunc.module.__name__.split(".")[-1] in WITH_KEYS:
        metafunc.parametrize("lab", [False, True], ids=["plain", "keys"], indirect=True)


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
