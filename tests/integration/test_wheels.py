"""The two wheels that another service installs, alone in an empty environment."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from support.pace import paced
from support.processes import machine
from support.uv import uv

ROOT = Path(__file__).parents[2]
DEPENDENCIES = ("msgspec", "pyzmq")

SYNC = """
import sys
from pipeline_client import PipelineClient, PlatformError

with PipelineClient(sys.argv[1], timeout_s=30, retries=None) as client:
    print(client.ping().version)
    print(client.deploy_container_version("ruby", "test_runners", "v1").versions[0].version)
    try:
        client.test_solution("ruby", "two-fer", "v1", files={"two_fer.rb": ""})
    except PlatformError as error:
        print(error.code, error.retryable)
"""

ASYNC = """
import asyncio, sys
from pipeline_client import AsyncPipelineClient, PlatformError

async def main():
    async with AsyncPipelineClient(sys.argv[1], timeout_s=30, retries=None) as client:
        print((await client.ping()).version)
        deployed = await client.deploy_container_version("ruby", "test_runners", "v1")
        print(deployed.versions[0].version)
        try:
            await client.test_solution("ruby", "two-fer", "v1", files={"two_fer.rb": ""})
        except PlatformError as error:
            print(error.code, error.retryable)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("wheels")
    for package in ("pipeline-protocol", "pipeline-client"):
        uv("build", "--package", package, "--no-sources", "--out-dir", folder)
    return sorted(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheels in it.

    They are named as files: a stranger's package of the same name is never taken for them.
    """
    folder = tmp_path_factory.mktemp("empty") / "venv"
    uv("venv", "--python", sys.executable, folder)
    known = [f"{name}=={version(name)}" for name in DEPENDENCIES]
    uv("pip", "install", "--python", folder, *wheels, *known)
    return folder / "bin" / "python"


@pytest.fixture
def router_address(tmp_path: Path) -> Iterator[str]:
    """The workspace's router, with nobody to work for it."""
    with machine(tmp_path) as own:
        own.router(ROOT / "config" / "pipeline.yml")
        yield own.address


def test_wheels_hold_the_package_and_its_types(wheels: list[Path]) -> None:
    for wheel, package in zip(wheels, ("pipeline_client", "pipeline_protocol"), strict=True):
        names = zipfile.ZipFile(wheel).namelist()
        assert f"{package}/py.typed" in names
        assert {name.split("/")[0].split("-")[0] for name in names} == {package}
        assert not [name for name in names if "test_" in name]


def test_nothing_else_is_installed(python: Path) -> None:
    listed = json.loads(uv("pip", "list", "--python", python, "--format", "json"))
    assert {package["name"] for package in listed} == {
        "pipeline-client",
        "pipeline-protocol",
        *DEPENDENCIES,
    }


@pytest.mark.parametrize("program", [SYNC, ASYNC], ids=["sync", "async"])
def test_installed_client_talks_to_a_router(
    python: Path, router_address: str, program: str
) -> None:
    done = subprocess.run(
        [python, "-I", "-W", "error", "-c", program, router_address],
        capture_output=True,
        text=True,
        timeout=paced(100),
        check=False,
    )
    said = [version("pipeline-router"), "v1", "503 True"]
    assert (done.stdout.splitlines(), done.stderr) == (said, "")
