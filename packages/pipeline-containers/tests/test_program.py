"""Which file of an image is the tool, by its entry point, and that it is called."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.markdown import Document, codes
from support.tracks import ROOT

from pipeline_containers.errors import ImageInvalid
from pipeline_containers.images.image import ImageConfig, StoredImage
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.program import can_wait_in_shell, check_program
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import TOOLS, tool_file, tool_program

RUNNER = TOOLS["test_runner"]
ROWS = Document(ROOT / "docs/tools.md").table(
    "of a test runner, `ENTRYPOINT`", "`WORKDIR`", "is called"
)
ECHO = """#!/bin/sh
printf '{"version": 1, "status": "pass", "message": "%s"}' "$0 $*" >"${2:-$1}/results.json"
"""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0][:50]} in {row[1]}")
def test_the_table_of_the_document(row: list[str]) -> None:
    entrypoint = tuple(json.loads(codes(row[0])[0])) if row[0] != "none" else ()
    (workdir,) = codes(row[1]) or [""]
    program = tool_program(RUNNER, ImageConfig(entrypoint=entrypoint, workdir=workdir))
    assert " ".join(program) == codes(row[2])[0]
    assert tool_file(RUNNER, program).startswith("/opt/test-runner/")


@pytest.mark.e2e
@pytest.mark.parametrize("warm", [0, 1])
@pytest.mark.parametrize(
    ("kind", "file", "entrypoint", "mode"),
    [
        ("test_runner", "bin/run.tcl", ["/opt/test-runner/bin/run.tcl"], 0o755),
        ("analyser", "bin/analyze.sh", ["/opt/analyzer/bin/analyze.sh"], 0o755),
        ("test_runner", "bin/run.sh", ["sh", "/opt/test-runner/bin/run.sh"], 0o644),
        ("test_runner", "tool", ["/bin/busybox", "sh", "/opt/test-runner/tool"], 0o644),
    ],
)
def test_the_entry_point_is_called_with_slug_input_and_output(
    open_sandbox: Callable[..., Sandbox],
    busybox_layer: Path,
    work: Path,
    quick_limits: Limits,
    warm: int,
    kind: str,
    file: str,
    entrypoint: list[str],
    mode: int,
) -> None:
    path = work / "layer" / TOOLS[kind].folder.strip("/") / file
    path.parent.mkdir(parents=True)
    output = TOOLS[kind].outputs[0].file
    path.write_text(ECHO.replace("results.json", output))
    path.chmod(mode)
    config = ImageConfig(entrypoint=tuple(entrypoint))
    image = StoredImage("test:entry", (work / "layer", busybox_layer), config)
    run = ToolRun(image, TOOLS[kind], "two-fer", lambda _: None, quick_limits)
    with open_sandbox(warm) as sandbox:
        for _ in range(1 + warm):
            report = sandbox.run(run)
            sandbox.settle()
        assert report.was_made_ahead == bool(warm)
    assert report.outputs is not None, report
    answer = report.outputs.get("analysis", report.outputs)
    folder = "/mnt/exercism-iteration/"
    assert answer["message"] == f"{TOOLS[kind].folder}/{file} two-fer {folder} {folder}"


@pytest.mark.parametrize(
    ("entrypoint", "problem"),
    [
        (("/opt/test-runner/bin/run.tcl",), r"bin/run\.tcl is missing"),
        (("/opt/test-runner/bin/plain",), "bin/plain is not executable"),
        (("/opt/test-runner/bin",), "bin is not a regular file"),
        (("sh", "/opt/test-runner/bin/gone"), "bin/gone is missing"),
        ((), r"bin/run\.sh is missing"),
        (("node",), r"bin/run\.sh is missing"),
        (("sh", "/opt/test-runner/bin/plain"), None),
    ],
)
def test_a_file_that_is_not_there_or_not_to_be_executed(
    tmp_path: Path, entrypoint: tuple[str, ...], problem: str | None
) -> None:
    plain = tmp_path / "opt/test-runner/bin/plain"
    plain.parent.mkdir(parents=True)
    plain.write_text("")
    program = tool_program(RUNNER, ImageConfig(entrypoint=entrypoint))
    if problem is None:
        check_program(tmp_path, RUNNER, program)
        return
    with pytest.raises(ImageInvalid, match=problem):
        check_program(tmp_path, RUNNER, program)


def test_what_a_shell_would_call_otherwise_than_the_runtime_does_not_wait_in_one(
    tmp_path: Path,
) -> None:
    tool = tmp_path / "opt/test-runner/bin/tool"
    tool.parent.mkdir(parents=True)
    tool.write_text("echo no first line")
    shell = tmp_path / "bin/sh"
    shell.parent.mkdir()
    shell.write_bytes(b"\x7fELF")
    shell.chmod(0o755)
    path = "/opt/test-runner/bin/tool"
    assert not can_wait_in_shell(tmp_path, (path,))
    assert can_wait_in_shell(tmp_path, ("sh", path)), "it is the shell that is executed"
    assert can_wait_in_shell(tmp_path, ("/bin/sh", path))
    tool.write_text("#!/bin/sh")
    assert can_wait_in_shell(tmp_path, (path,))
    shell.unlink()
    assert not can_wait_in_shell(tmp_path, (path,))
