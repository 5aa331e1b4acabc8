"""A Dockerfile as a list of instructions. No I/O.

Lines that go on, comments among them, the escape directive, heredocs and flags are read as the
reference parser (BuildKit's) reads them. What it would read in another way than what it seems is
refused rather than guessed at. Lines are counted from 1.
"""

import re
from dataclasses import dataclass, field

from pipeline_containers.building.dockerfile.words import (
    HeredocStart,
    heredoc_starts,
    split_flags,
)

INSTRUCTIONS = frozenset(
    {
        *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK"),
        *("LABEL", "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME"),
        "WORKDIR",
    }
)
MOST = 2_000
"""Instructions and heredocs of a Dockerfile."""
_HEREDOCS = frozenset({"RUN", "COPY", "ADD"})
_DIRECTIVES = frozenset({"syntax", "escape", "check"})
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+)")
_KEYWORD = re.compile(r"[\t\v\f\r ]+")


class DockerfileError(Exception):
    """A Dockerfile is not built; says the line and why."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A text within a Dockerfile, with the lines' ends; see `HeredocStart`."""

    start: HeredocStart
    content: str


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: `keyword` in capitals, `flags` without quotes, the rest as it stands.

    `trigger` is what an ONBUILD holds.
    """

    line: int
    keyword: str
    flags: tuple[str, ...] = ()
    rest: str = ""
    heredocs: tuple[Heredoc, ...] = ()
    trigger: "Instruction | None" = None


@dataclass(frozen=True, slots=True)
class Directive:
    """A line like `# syntax=...` before all else."""

    line: int
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """What a Dockerfile says, and what its lines are continued with."""

    instructions: tuple[Instruction, ...]
    directives: tuple[Directive, ...] = ()
    escape: str = "\\"


def parse(text: str) -> Dockerfile:
    """Read a Dockerfile; raises `DockerfileError`."""
    lines = _Lines(text.removeprefix("\ufeff").split("\n"))
    directives = _take_directives(lines)
    escape = next((it.value for it in directives if it.name == "escape"), "\\")
    instructions: list[Instruction] = []
    count = 0
    while not lines.at_end:
        line = lines.number
        statement = _take_statement(lines, escape)
        if not statement:
            continue
        instruction = _with_heredocs(_instruction(line, statement), lines)
        instructions.append(instruction)
        count += 1 + len((instruction.trigger or instruction).heredocs)
        if count > MOST:
            raise DockerfileError(line, f"more than {MOST} instructions and heredocs")
    return Dockerfile(tuple(instructions), tuple(directives), escape)


@dataclass(slots=True)
class _Lines:
    """The lines that are left to read."""

    lines: list[str]
    place: int = field(default=0)

    @property
    def at_end(self) -> bool:
        return self.place == len(self.lines)

    @property
    def number(self) -> int:
        return self.place + 1

    def take(self) -> str:
        line = self.lines[self.place]
        if any(0xD800 <= ord(char) < 0xE000 for char in line) or "\0" in line:
            raise DockerfileError(self.number, "it is not UTF-8 text: save the file as UTF-8")
        self.place += 1
        return line


def _take_directives(lines: _Lines) -> list[Directive]:
    found: list[Directive] = []
    if not lines.at_end and lines.lines[0].startswith("#!"):
        lines.take()
    while not lines.at_end:
        match = _DIRECTIVE.fullmatch(lines.lines[lines.place].strip())
        if match is None or match[1].lower() not in _DIRECTIVES:
            break
        directive = Directive(lines.number, match[1].lower(), match[2])
        if any(directive.name == other.name for other in found):
            raise DockerfileError(directive.line, f"a second {directive.name} directive")
        if directive.name == "escape" and directive.value not in ("\\", "`"):
            raise DockerfileError(directive.line, "escape is \\ or `")
        found.append(directive)
        lines.take()
    return found


def _take_statement(lines: _Lines, escape: str) -> str:
    """Read a line and those that go on with it; empty if there is nothing in it."""
    first = lines.take().strip()
    if first.startswith("#"):
        return ""
    text, goes_on = _continued(first, escape)
    while goes_on and not lines.at_end:
        line = lines.take().rstrip("\r\n")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        more, goes_on = _continued(line, escape)
        text += more
    return text.strip()


def _continued(line: str, escape: str) -> tuple[str, bool]:
    """Take off the character that has a line go on; a doubled one does not."""
    bare = line.rstrip(" \t")
    if bare.endswith(escape) and not bare.endswith(escape * 2):
        return bare[:-1], True
    return line, False


def _instruction(line: int, statement: str) -> Instruction:
    keyword, *rest = _KEYWORD.split(statement, maxsplit=1)
    keyword = keyword.upper()
    if keyword not in INSTRUCTIONS:
        raise DockerfileError(line, f"{keyword[:40]!r} is not an instruction")
    flags, text = split_flags(rest[0] if rest else "")
    for flag in flags:
        if not flag.isascii() or not flag.isprintable():
            raise DockerfileError(line, f"{keyword} has a flag with characters beyond ASCII")
    if keyword != "ONBUILD":
        return Instruction(line, keyword, tuple(flags), text)
    trigger = _instruction(line, text) if text else None
    if trigger is None or trigger.keyword in ("ONBUILD", "FROM", "MAINTAINER"):
        raise DockerfileError(line, "ONBUILD takes an instruction, and not every one")
    return Instruction(line, keyword, tuple(flags), trigger=trigger)


def _with_heredocs(instruction: Instruction, lines: _Lines) -> Instruction:
    """Read the texts that an instruction begins, which follow it."""
    holder = instruction.trigger or instruction
    if holder.keyword not in _HEREDOCS:
        return instruction
    try:
        starts = heredoc_starts(holder.rest)
    except ValueError as error:
        raise DockerfileError(instruction.line, str(error)) from None
    heredocs = tuple(_take_heredoc(start, instruction.line, lines) for start in starts)
    if not heredocs:
        return instruction
    holder = Instruction(holder.line, holder.keyword, holder.flags, holder.rest, heredocs)
    if instruction.trigger is None:
        return holder
    return Instruction(instruction.line, instruction.keyword, instruction.flags, trigger=holder)


def _take_heredoc(start: HeredocStart, line: int, lines: _Lines) -> Heredoc:
    content: list[str] = []
    while not lines.at_end:
        text = lines.take()
        end = text.rstrip("\r")
        if (end.lstrip("\t") if start.chomp else end) == start.name:
            return Heredoc(start, "".join(content))
        content.append(f"{text}\n")
    raise DockerfileError(line, f"the heredoc {start.name} has no end")
