"""The router's benchmark runs, and its figures are sane beside each other; no absolute times."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.pace import paced

ROOT = Path(__file__).parents[2]
KEYS = {
    "jobs_per_s",
    "cpu_us_per_job",
    "forwarder_jobs_per_s",
    "forwarder_cpu_us_per_job",
    "rtt_ratio",
    "cpu_growth",
    "reject_ms_p50",
    "rss_mb_1000_workers",
    "monitor_cpu_ratio",
    "scrape_ms",
    "monitor_rss_mb",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("results")
    command = [sys.executable, str(ROOT / "bench" / "router.py"), "--rounds", "3"]
    subprocess.run(
        [*command, "--seconds", "0.2", "--results", str(folder)],
        check=True,
        timeout=paced(110),
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
    )
    found = json.loads((folder / "router.json").read_text())
    assert isinstance(found, dict)
    return found


@pytest.mark.soak
def test_what_keys_cost_is_measured(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "bench" / "router.py"), "--keys", "--rounds", "1"]
    subprocess.run(
        [*command, "--seconds", "0.2", "--crowd", "20", "80", "--results", str(tmp_path)],
        check=True,
        timeout=paced(110),
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
    )
    found = json.loads((tmp_path / "router-keys.json").read_text())
    assert 0.5 < found["keys_cpu_ratio"] < 5
    assert found["keyed_workers_lost"] == 0
    assert found["strangers_per_s"] > 10
    assert found["strangers_p99_ratio"] > 0


def test_it_reports_every_figure(results: dict[str, Any]) -> None:
    assert results.keys() >= KEYS
    assert all(results[key] > 0 for key in KEYS - {"cpu_us_per_job", "forwarder_cpu_us_per_job"})


def test_the_router_keeps_up_with_a_forwarder_that_has_no_rules(results: dict[str, Any]) -> None:
    assert results["jobs_per_s"] > 0.5 * results["forwarder_jobs_per_s"]
    assert results["rtt_ratio"] < 4


def test_a_crowd_costs_no_search(results: dict[str, Any]) -> None:
    assert results["cpu_growth"] < 3  # a look at each of 1,000 workers would make it hundreds


def test_overload_is_refused_and_the_workers_stay_at_work(results: dict[str, Any]) -> None:
    assert results["overload"] > 3
    assert results["goodput"] > 0.5


def test_the_load_is_not_what_is_measured(results: dict[str, Any]) -> None:
    assert results["broker_jobs_per_s"] > 1.5 * results["jobs_per_s"]


def test_a_monitor_is_hardly_felt(results: dict[str, Any]) -> None:
    assert results["monitor_cpu_ratio"] < 1.5
    assert results["monitor_rss_mb"] < 60
