"""What the router's command line says to somebody who got something wrong, and what it leaves."""

import subprocess
from pathlib import Path

import pytest
from support.pace import paced
from support.processes import BIN, machine
from support.tracks import ROOT

SEED = ROOT / "config" / "pipeline.yml"
MARKER = next(line for line in SEED.read_text().splitlines() if "below this line" in line)


def router(config: Path, *options: str | Path) -> tuple[int, str]:
    done = subprocess.run(
        [BIN / "pipeline-router", config, "--port", "0", "--link-port", "0", *options],
        capture_output=True,
        text=True,
        timeout=paced(30),
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("router: {queues: 1}", "queues"),
        ("router: {queue: many}", "router.queue"),
        ("limits: {memory: 3GB of it}", "limits.memory"),
        ("registry: {kind: ftp}", "registry.kind"),
        ("channels: {test_runner: {}}", "test_runner"),
        ("versions: {test_runners: {}}", "below the line"),
        (f"{MARKER}\nversions: {{test_runners: {{Ruby: {{git-1: {{}}}}}}}}", "Ruby"),
        ("[1, 2]", "pipeline.yml"),
        ("router: {queue: 1", "pipeline.yml"),
    ],
)
def test_a_bad_configuration_is_one_line_with_the_key(text: str, said: str, tmp_path: Path) -> None:
    config = tmp_path / "pipeline.yml"
    config.write_text(text)
    code, error = router(config)
    assert code == 2
    assert said in error
    assert len(error.splitlines()) == 1
    assert config.read_text() == text


def test_a_missing_configuration_asks_for_a_seed(tmp_path: Path) -> None:
    code, error = router(tmp_path / "pipeline.yml")
    assert code == 2
    assert "--seed" in error
    assert list(tmp_path.iterdir()) == []


def test_a_bad_seed_is_not_copied(tmp_path: Path) -> None:
    seed = tmp_path / "seed.yml"
    seed.write_text("router: {queues: 1}")
    code, error = router(tmp_path / "pipeline.yml", "--seed", seed)
    assert code == 2
    assert "queues" in error
    assert not (tmp_path / "pipeline.yml").exists()


def test_a_stranger_s_address_needs_a_word_of_its_own(tmp_path: Path) -> None:
    code, error = router(tmp_path / "pipeline.yml", "--seed", SEED, "--bind", "0.0.0.0")
    assert code == 2
    assert "--insecure" in error


def test_a_second_router_on_the_same_file_is_kept_out(tmp_path: Path) -> None:
    with machine(tmp_path) as own:
        own.router(SEED)
        code, error = router(tmp_path / "pipeline.yml", "--seed", SEED)
        assert code == 1
        assert len(error.splitlines()) == 1
        other = tmp_path / "other.yml"
        code, error = router(other, "--seed", SEED, "--port", str(own.port))
        assert code == 1
        assert str(own.port) in error
