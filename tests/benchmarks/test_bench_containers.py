"""The containers' benchmark runs, and its figures are sane beside each other; no absolute times."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.pace import paced

ROOT = Path(__file__).parents[2]


@pytest.mark.e2e
def test_what_is_done_ahead_is_not_waited_for(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "bench" / "containers.py"), "--rounds", "1"]
    subprocess.run(
        [*command, "--jobs", "3", "--results", str(tmp_path)],
        check=True,
        timeout=paced(60),
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
    )
    found = json.loads((tmp_path / "containers.json").read_text())
    assert 0 < found["warm_ratio"] < found["cold_ratio"] < 4
    assert found["throughput_ratio"] > 0.3
    assert 10 < found["idle_worker_rss_mb"] < 100
