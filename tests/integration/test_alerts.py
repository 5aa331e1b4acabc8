"""The alerts: promtool takes them, each is explained, and they are about metrics that there are."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.markdown import Document, codes
from support.tracks import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
RULES = (FOLDER / "rules.yml").read_text()
ALERTS = re.findall(r"- alert: (\w+)", RULES)


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    assert program, "Debian's package prometheus is missing: ./dev test installs it"
    return subprocess.run(
        [program, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False
    )


def test_the_rules_are_rules() -> None:
    done = promtool("check", "rules", "rules.yml")
    assert done.returncode == 0, done.stderr
    assert "10 rules found" in done.stdout


def test_each_fires_when_it_should_and_else_does_not() -> None:
    done = promtool("test", "rules", "rules.test.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    tests = (FOLDER / "rules.test.yml").read_text()
    fired = re.findall(r"- alertname: (\w+)\n\s+eval_time: \S+\n\s+exp_alerts:\n", tests)
    assert sorted(set(fired)) == sorted(ALERTS)


def test_they_are_about_metrics_that_there_are() -> None:
    document = Document(ROOT / "docs" / "monitoring.md")
    known = {
        name
        for column in ("metric", "worker's metric")
        for names, _ in document.table(column, "labels")
        for name in codes(names)
    }
    panels = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(asked) > 15
    for text in (RULES, *asked):
        named = {name.removesuffix("_bucket") for name in re.findall(r"\bpipeline_\w+", text)}
        assert named
        assert named <= known


def test_the_dashboard_asks_what_prometheus_understands(tmp_path: Path) -> None:
    panels = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    rules = [{"record": f"asked:{n}", "expr": text} for n, text in enumerate(asked)]
    file = tmp_path / "asked.json"  # JSON is YAML
    text = json.dumps({"groups": [{"name": "asked", "rules": rules}]})
    file.write_text(text.replace("$channel", "any").replace("$action", "any"))
    done = promtool("check", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_each_is_explained(alert: str) -> None:
    text = (ROOT / "docs" / "alerts.md").read_text()
    assert f"\n## {alert}\n" in text
    assert f"runbook: docs/alerts.md#{alert.lower()}\n" in RULES
