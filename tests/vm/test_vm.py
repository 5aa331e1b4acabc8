"""What virtual machines are made of, and what is told of a run in them."""

import subprocess
import tarfile
from pathlib import Path

import pytest

from vm.distributions import DISTRIBUTIONS, packages_of, parse_version, sources
from vm.image import ROOT, checkout_tar
from vm.suites import SUITES, closing_line, table


def test_a_guest_has_every_package_that_dev_installs() -> None:
    names = packages_of((ROOT / "dev").read_text())
    assert {"runc", "buildah", "skopeo", "busybox-static", "docker-registry", "jq"} <= set(names)
    assert not {name for name in names if not name.replace("-", "").replace(".", "").isalnum()}


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)", (7, 2)),
        ("QEMU emulator version 10.0.2 (Debian)", (10, 0)),
        ("", (0, 0)),
    ],
)
def test_the_emulators_version(said: str, version: tuple[int, ...]) -> None:
    assert parse_version(said) == version
    assert (version >= DISTRIBUTIONS["debian-13"].emulator) == (version == (10, 0))


def test_packages_come_from_the_machines_own_mirrors_or_from_debians() -> None:
    own = "http://mirror/debian/|bookworm\nhttp://mirror/sec/|bookworm-security\nhttp://x/|other\n"
    assert sources(own, "trixie") == [
        "deb http://mirror/debian trixie main",
        "deb http://mirror/debian trixie-updates main",
        "deb http://mirror/sec trixie-security main",
    ]
    assert sources("", "bookworm")[0] == "deb http://deb.debian.org/debian bookworm main"


def test_the_checkout_is_taken_as_it_is_with_what_git_ignores_left_out(tmp_path: Path) -> None:
    archive = tmp_path / "checkout.tar"
    with archive.open("wb") as output:
        subprocess.run(checkout_tar(), stdout=output, cwd=ROOT, check=True)
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    assert "dev" in names
    assert "vm/image.py" in names
    assert not [name for name in names if name.startswith((".venv", ".git/"))]


def test_suites_are_run_as_a_service_whose_limit_holds_the_jobs() -> None:
    scripts = {suite.name: suite.script() for suite in SUITES}
    assert len(scripts) == len(SUITES)
    for name in ("hostile", "containers", "demo", "hostile, crun"):
        assert "Delegate=yes" in scripts[name]
        assert "MemoryMax=" in scripts[name]
    assert "PIPELINE_RUNTIME=crun" in scripts["hostile, crun"]


@pytest.mark.parametrize(
    ("output", "closing"),
    [
        ("x\n==== 3 passed, 1 failed in 2.00s ====\n", "3 passed, 1 failed in 2.00s"),
        ("\n21 of 21 as promised, in 8.3 s\n", "21 of 21 as promised, in 8.3 s"),
        ("killed\n", "no closing line"),
    ],
)
def test_the_closing_line(output: str, closing: str) -> None:
    assert closing_line(output) == closing
    assert table([("debian-12", "hostile", 1, closing)]).endswith(f"FAILED  {closing}")
