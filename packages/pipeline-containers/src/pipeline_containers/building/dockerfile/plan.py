"""A stranger's Dockerfile in the terms of the builder at hand, or why it is not built. No I/O.

A builder never sees the stranger's text, but one written anew from the instructions that were
understood: a line each, where the author has them, or a few where it is too long. What newer
Dockerfiles have and Debian's buildah 1.28 has not is said in older words that do the same:
heredocs, `SHELL` (it is dropped from images of the OCI kind), `--link`, modes in letters,
`RUN --network=none`. A `# syntax=` line names an image that would run the build: the official one
is what this module stands for, and no other is taken.
"""

import re
from dataclasses import dataclass, field

from pipeline_containers.building.dockerfile import steps
from pipeline_containers.building.dockerfile.dialect import Dialect
from pipeline_containers.building.dockerfile.parser import (
    Directive,
    Dockerfile,
    DockerfileError,
    Instruction,
    parse,
)
from pipeline_containers.images.pull_limits import PullLimits

_OFFICIAL = re.compile(
    r"(docker\.io/)?docker/dockerfile(:(1(\.\d+){0,2}|latest)(-labs)?)?(@sha256:\w+)?"
)
_LINE = 12 * 1024
"""Characters of a line that is written; buildah stops reading, silently, at one of 64 KiB."""
_LAYERS = PullLimits().layers
_LAYERED = frozenset({"RUN", "COPY", "ADD"})
_FOLD = re.compile(r"[A-Za-z0-9][A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a builder gets: a Dockerfile, and files that lie beside the context."""

    text: str
    files: tuple[steps.PlannedFile, ...] = ()
    cuts_networks: bool = False
    """Whether a step asks for having no network."""


def plan(text: str, dialect: Dialect, *, allow_mounts: bool = False) -> Plan:
    """Check a Dockerfile and write it for a builder; raises `DockerfileError`.

    `allow_mounts` lets `RUN --mount` through as it is.
    """
    dockerfile = parse(text)
    for directive in dockerfile.directives:
        _check(directive)
    return _Writer(dockerfile, dialect, allow_mounts).write()


def _check(directive: Directive) -> None:
    if directive.name == "syntax" and not _OFFICIAL.fullmatch(directive.value):
        raise DockerfileError(
            directive.line,
            "the Dockerfile asks for a foreign front end (# syntax=...), which is an image that "
            "would run the build: remove that line, or name docker/dockerfile:1",
        )


@dataclass(slots=True)
class _Writer:
    """Writes the lines for a builder, and keeps what holds for a stage."""

    dockerfile: Dockerfile
    dialect: Dialect
    allow_mounts: bool
    lines: list[str] = field(default_factory=list)
    shells: dict[str, tuple[str, ...]] = field(default_factory=dict)
    layers: dict[str, int] = field(default_factory=dict)
    stage: str = ""
    files: list[steps.PlannedFile] = field(default_factory=list)
    cuts_networks: bool = False

    def write(self) -> Plan:
        if self.dockerfile.escape != "\\":
            self.lines.append(f"# escape={self.dockerfile.escape}")
        for instruction in self.dockerfile.instructions:
            self.lines += [""] * (instruction.line - 1 - len(self.lines))
            try:
                for line in self._translated(instruction):
                    self.lines += _folded(line, self.dockerfile.escape)
            except ValueError as error:
                raise DockerfileError(instruction.line, str(error)) from None
        return Plan("\n".join([*self.lines, ""]), tuple(self.files), self.cuts_networks)

    def _translated(self, instruction: Instruction) -> list[str]:
        if instruction.trigger is not None:
            steps.check_flags(instruction, self.dialect)
            trigger = self._step(instruction.trigger, ())
            if trigger.files:
                raise ValueError("ONBUILD has a heredoc: what it holds would not be in the image")
            return [f"ONBUILD {line}" for line in trigger.lines]
        if instruction.keyword == "FROM":
            return self._from(instruction)
        if instruction.keyword == "SHELL":
            self.shells[self.stage] = steps.shell_of(instruction)
            return []
        step = self._step(instruction, self.shells.get(self.stage, ()))
        self.files += step.files
        self.cuts_networks = self.cuts_networks or step.cuts_network
        if instruction.keyword in _LAYERED:
            self._count(len(step.lines))
        return step.lines

    def _count(self, more: int) -> None:
        layers = self.layers.get(self.stage, 0) + more
        if layers > _LAYERS:
            raise ValueError(
                f"the image comes to more than {_LAYERS} layers here, one for each RUN, COPY and "
                "ADD and those of its base: put several commands into one RUN, by && or a heredoc"
            )
        self.layers[self.stage] = layers

    def _step(self, instruction: Instruction, shell: tuple[str, ...]) -> steps.Translation:
        return steps.translate(
            instruction, shell, self.dialect, self.dockerfile.escape, self.allow_mounts
        )

    def _from(self, instruction: Instruction) -> list[str]:
        """Begin a stage, with the shell and the layers of the one that it goes on with."""
        image, *rest = instruction.rest.split() or [""]
        alias = rest[1] if len(rest) == 2 and rest[0].lower() == "as" else ""
        shell = self.shells.get(image.lower(), ())
        layers = self.layers.get(image.lower(), 0 if image == "scratch" else 1)
        self.stage = alias.lower()
        self.shells[self.stage], self.layers[self.stage] = shell, layers
        return self._step(instruction, ()).lines


def _folded(line: str, escape: str) -> list[str]:
    """Write one line as several that mean the same, each short enough."""
    if line.endswith(escape):
        raise ValueError(f"the instruction ends in {escape}, which builders read differently")
    pieces = []
    while len(line) > _LINE:
        places = [match.start() + 1 for match in _FOLD.finditer(line, 1, _LINE)]
        if not places:
            raise ValueError(f"the instruction has more than {_LINE} characters without a word")
        pieces.append(line[: places[-1]] + escape)
        line = line[places[-1] :]
    return [*pieces, line]
