"""A lab for each fault; a test ends by having it judged."""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.lab import FaultLab
from support.processes import machine


@pytest.fixture
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FaultLab]:
    """Give a lab without any process yet; PIPELINE_FAULTS_SEED varies what is random in it."""
    seed = zlib.crc32(request.node.name.encode()) ^ int(os.environ.get("PIPELINE_FAULTS_SEED", "0"))
    with machine(tmp_path) as own:
        lab = FaultLab(own, seed)
        try:
            yield lab
        finally:
            lab.close()
