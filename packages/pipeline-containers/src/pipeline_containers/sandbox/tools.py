"""THE table of tool kinds: where each lives in its image, how it is called, what it leaves.

The contract is that of the Exercism track tooling. A new kind of tool is a new row.
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline_containers.images.image import ImageConfig
from pipeline_containers.sandbox import checks

JOB_FOLDER = "/mnt/exercism-iteration"
"""Where a run finds its input and leaves its output, inside the container."""

HOST_NAME = "tool"
"""What each container calls itself."""

SHELL = "/bin/sh"
"""What a container that is made ahead of its job waits in, if its image has it."""

_SHIM = (
    "IFS= read -r pipeline_slug && unset PWD OLDPWD SHLVL && "
    f'exec "$@" "$pipeline_slug" {JOB_FOLDER}/ {JOB_FOLDER}/ </dev/null'
)
_LINE_CHARACTERS = 1000
_COMMAND_OPTION = re.compile(r"-[a-z]*c")


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One file that a tool leaves: its name, the field of the response it fills, its shape.

    `field` None: the file's object is the response itself.
    """

    file: str
    field: str | None
    check: checks.Check
    required: bool = True
    is_json: bool = True


@dataclass(frozen=True, slots=True)
class ToolKind:
    """A kind of tool: its name, its folder in the image, the files that it leaves."""

    name: str
    folder: str
    outputs: tuple[OutputFile, ...]


TOOLS: Mapping[str, ToolKind] = {
    kind.name: kind
    for kind in (
        ToolKind(
            "test_runner", "/opt/test-runner", (OutputFile("results.json", None, checks.results),)
        ),
        ToolKind(
            "analyser",
            "/opt/analyzer",
            (
                OutputFile("analysis.json", "analysis", checks.analysis),
                OutputFile("tags.json", "tags", checks.object_or_list, required=False),
            ),
        ),
        ToolKind(
            "recommender",
            "/opt/recommender",
            (OutputFile("recommendations.json", "recommendations", checks.object_or_list),),
        ),
        ToolKind(
            "representer",
            "/opt/representer",
            (
                OutputFile("representation.txt", "representation", checks.text, is_json=False),
                OutputFile("mapping.json", "mapping", checks.mapping),
                OutputFile(
                    "representation.json", "representation_json", checks.an_object, required=False
                ),
            ),
        ),
    )
}


def tool_program(kind: ToolKind, config: ImageConfig) -> tuple[str, ...]:
    """Return what is executed in the tool's folder, before its arguments.

    An image whose entry point is a file of the tool's own folder (by itself, with options behind
    it, or as the last word of an interpreter's or an init's line: `["sh", ".../run.sh"]`) is called
    by that entry point. Any other is one that the image has from its base (`node`'s, `python`'s),
    or a shell's `-c` line that would drop the arguments: there `bin/run.sh` is called by itself, as
    the contract has it. A file is called by its whole path: crun makes the first argument one, and
    runc does not.
    """
    script = f"{kind.folder}/bin/run.sh"
    if not config.entrypoint:
        return (script,)
    first, last = config.entrypoint[0], config.entrypoint[-1]
    if own := _own_file(kind, config.workdir, first):
        return (own, *config.entrypoint[1:])
    is_line_of_shell = any(map(_COMMAND_OPTION.fullmatch, config.entrypoint[1:]))
    if not is_line_of_shell and (own := _own_file(kind, config.workdir, last)):
        return (*config.entrypoint[:-1], own)
    return (script,)


def tool_file(kind: ToolKind, program: tuple[str, ...]) -> str:
    """Return the file of the tool's own folder that a program is."""
    return program[0] if _is_within(kind.folder, program[0]) else program[-1]


def tool_command(program: tuple[str, ...], slug: str) -> tuple[str, ...]:
    """Return how a program is called for an exercise."""
    return (*program, slug, f"{JOB_FOLDER}/", f"{JOB_FOLDER}/")


def late_command(program: tuple[str, ...]) -> tuple[str, ...]:
    """Return how a program is called for an exercise that is named later, in a line of its stdin.

    A container's arguments are fixed when it is made. A shell that reads the last one, and then
    becomes the program, leaves nothing behind for the tool to see.
    """
    return (SHELL, "-c", _SHIM, "sh", *program)


def _own_file(kind: ToolKind, workdir: str, word: str) -> str:
    """Return the whole path of a word of an entry point that is a file of the tool; else nothing.

    A word without a slash is looked for along PATH.
    """
    if "/" not in word or word.startswith("-"):
        return ""
    is_script = posixpath.normpath(word) == "bin/run.sh"  # wherever the image's WORKDIR is
    path = posixpath.normpath(posixpath.join(kind.folder if is_script else workdir or "/", word))
    return path if _is_within(kind.folder, path) else ""


def _is_within(folder: str, path: str) -> bool:
    return path.startswith(f"{folder}/")


def is_line(slug: str) -> bool:
    """Return whether a slug survives being a line: those of real exercises do."""
    return slug.isprintable() and len(slug) <= _LINE_CHARACTERS
