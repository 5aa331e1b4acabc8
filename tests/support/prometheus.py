"""A real Prometheus with our rules, their times made short, on a port of its own."""

import json
import re
import socket
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from faults.waiting import await_that

from support.processes import Process
from support.tracks import ROOT

RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
EVERY = "500ms"


def in_seconds(rules: str) -> str:
    """Make every time of the rules short: what takes minutes there takes seconds."""
    rules = re.sub(r"for: \d+m", "for: 1s", rules)
    rules = rules.replace("[5m]", "[5s]").replace("30m", "60s")
    return re.sub(r"(_seconds\)) > \d+", r"\1 > 2", rules)


class Prometheus:
    """Asks monitors twice a second."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self._port = port

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        url = f"http://127.0.0.1:{self._port}/api/v1/alerts"
        with urllib.request.urlopen(url, timeout=10) as answer:
            alerts = json.load(answer)["data"]["alerts"]
        return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}

    def await_alert(self, alert: str, *, fires: bool = True) -> None:
        """Wait until an alert fires, or does not any more."""
        what = f"{alert} {'fires' if fires else 'is over'}"
        await_that(lambda: (alert in self.firing()) == fires, 60, what)


@contextmanager
def prometheus(folder: Path, monitors: Sequence[int]) -> Iterator[Prometheus]:
    """Run one that scrapes monitors at these ports."""
    folder.mkdir()
    (folder / "rules.yml").write_text(in_seconds(RULES.read_text()))
    targets = [f"127.0.0.1:{port}" for port in monitors]
    scraped = {"job_name": "pipeline", "static_configs": [{"targets": targets}]}
    config = {
        "global": {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY},
        "rule_files": ["rules.yml"],
        "scrape_configs": [scraped],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        *("/usr/bin/prometheus", f"--config.file={folder}/prometheus.yml"),
        *(f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"),
    ]
    process = Process("prometheus", command, folder / "prometheus.log")
    try:
        process.wait_for("Server is ready to receive web requests")
        yield Prometheus(process, port)
    finally:
        process.stop(10)
