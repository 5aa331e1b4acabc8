"""THE table of tool kinds: where each lives in its image, how it is called, what it leaves.

The contract is that of the Exercism track tooling. A new kind of tool is a new row.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline_containers.sandbox import checks

JOB_FOLDER = "/mnt/exercism-iteration"
"""Where a run finds its input and leaves its output, inside the container."""

SHELL = "/bin/sh"
"""What a container that is made ahead of its job waits in, if its image has it."""

_SHIM = (
    "IFS= read -r pipeline_slug && unset PWD OLDPWD SHLVL && "
    f'exec "$@" "$pipeline_slug" {JOB_FOLDER}/ {JOB_FOLDER}/ </dev/null'
)
_LINE_CHARACTERS = 1000


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


def tool_program(kind: ToolKind, entrypoint: tuple[str, ...]) -> tuple[str, ...]:
    """Return what is executed in the tool's folder, before its arguments.

    The contract is that `bin/run.sh` is called. An image whose entry point ends in that file, as
    most do (by itself, or as `["sh", ".../bin/run.sh"]`, or behind an init), is called by its entry
    point. Any other entry point is one that the image has from its base (`node`'s, `python`'s), or
    a shell's `-c` line that would drop the arguments: there the file is called by itself. It is
    called by its whole path: crun makes the first argument one, and runc does not.
    """
    script = f"{kind.folder}/bin/run.sh"
    names = ("bin/run.sh", "./bin/run.sh", script)
    if entrypoint and entrypoint[-1] in names and "-c" not in entrypoint:
        return (*entrypoint[:-1], script)
    return (script,)


def tool_command(program: tuple[str, ...], slug: str) -> tuple[str, ...]:
    """Return how a program is called for an exercise."""
    return (*program, slug, f"{JOB_FOLDER}/", f"{JOB_FOLDER}/")


def late_command(program: tuple[str, ...]) -> tuple[str, ...]:
    """Return how a program is called for an exercise that is named later, in a line of its stdin.

    A container's arguments are fixed when it is made. A shell that reads the last one, and then
    becomes the program, leaves nothing behind for the tool to see.
    """
    return (SHELL, "-c", _SHIM, "sh", *program)


def is_line(slug: str) -> bool:
    """Return whether a slug survives being a line: those of real exercises do."""
    return slug.isprintable() and len(slug) <= _LINE_CHARACTERS
