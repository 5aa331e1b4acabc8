"""The Dockerfile of a checkout, read as a stranger's file."""

import os
from pathlib import Path

from pipeline_containers.building.builder import BuildOptions
from pipeline_containers.building.dockerfile.dialect import Dialect
from pipeline_containers.building.dockerfile.parser import DockerfileError
from pipeline_containers.building.dockerfile.plan import Plan, plan
from pipeline_containers.errors import SourceRefused
from pipeline_containers.system.files import FileRefused, read_beneath

_NAMES = ("Dockerfile", "Containerfile")
_BYTES = 1024 * 1024


def read_plan(context: Path, dialect: Dialect, options: BuildOptions) -> Plan:
    """Read a checkout's Dockerfile, or its Containerfile, for a builder.

    Raises `SourceRefused` if there is none, or one that asks for too much.
    """
    name, text = _read(context)
    try:
        return plan(text, dialect, allow_mounts=options.allow_run_mounts)
    except DockerfileError as error:
        raise SourceRefused(f"{name}, {error}") from error


def _read(context: Path) -> tuple[str, str]:
    folder = os.open(context, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in _NAMES:
            try:
                return name, read_beneath(folder, name, _BYTES).decode(errors="surrogateescape")
            except FileNotFoundError:
                continue
            except FileRefused as error:
                raise SourceRefused(f"the repository's {error}") from error
    finally:
        os.close(folder)
    raise SourceRefused("the repository has no Dockerfile in its top folder, and no Containerfile")
