"""The benchmark of deployments runs, and its figures are sane beside each other."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.pace import paced

ROOT = Path(__file__).parents[2]


@pytest.mark.e2e
def test_a_shared_base_is_neither_fetched_nor_kept_twice(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "bench" / "deploy.py"), "--rounds", "1"]
    subprocess.run(
        [*command, "--base", "20", "--jobs", "3", "--results", str(tmp_path)],
        check=True,
        timeout=paced(110),
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
    )
    found = json.loads((tmp_path / "deploy.json").read_text())
    assert 0 < found["second_time_ratio"] < 1
    assert 0 < found["second_disk_ratio"] < 0.4
    assert 0 < found["first_time_ratio"] < 5
    assert found["usable_after_s"] > 0
    assert 0 < found["latency_ratio"] < 10
