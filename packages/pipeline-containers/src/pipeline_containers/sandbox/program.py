"""Whether an image has the file that is called as its tool, and how it can be called."""

import stat
from pathlib import Path

from pipeline_containers.errors import ImageInvalid
from pipeline_containers.sandbox.tools import SHELL, ToolKind, tool_file
from pipeline_containers.system.files import FileRefused, head_in_root, status_in_root

_ELF = b"\x7fELF"


def check_program(root: Path, kind: ToolKind, program: tuple[str, ...]) -> None:
    """Raise `ImageInvalid` if a root folder does not have the tool's file, or not to execute.

    What an interpreter is given needs no right to be executed.
    """
    path = tool_file(kind, program)
    try:
        status = status_in_root(root, path)
    except FileNotFoundError as error:
        raise ImageInvalid(f"{path} is missing") from error
    except FileRefused as error:
        raise ImageInvalid(str(error)) from error
    if not stat.S_ISREG(status.st_mode):
        raise ImageInvalid(f"{path} is not a regular file")
    if program[0] == path and not status.st_mode & 0o111:
        raise ImageInvalid(f"{path} is not executable: chmod +x it in the repository")


def can_wait_in_shell(root: Path, program: tuple[str, ...]) -> bool:
    """Return whether a shell in the image would call the program as the runtime does.

    A shell runs a file of no known format by itself; the runtime refuses it. What is looked for
    along PATH is the base image's, and a program.
    """
    try:
        shell = status_in_root(root, SHELL)
        head = head_in_root(root, program[0], len(_ELF)) if "/" in program[0] else _ELF
    except (FileNotFoundError, FileRefused):
        return False
    is_program = stat.S_ISREG(shell.st_mode) and bool(shell.st_mode & 0o111)
    return is_program and (head.startswith(b"#!") or head == _ELF)
