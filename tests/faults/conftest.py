"""A yard for each fault; a test ends by having it judged."""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.yard import Yard
from support.processes import machine


@pytest.fixture
def yard(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Yard]:
    """Give a yard without any process yet; PIPELINE_FAULTS_SEED varies what is random in it."""
    seed = zlib.crc32(request.node.name.encode()) ^ int(os.environ.get("PIPELINE_FAULTS_SEED", "0"))
    with machine(tmp_path) as own:
        yard = Yard(own, seed)
        try:
            yield yard
        finally:
            yard.close()
