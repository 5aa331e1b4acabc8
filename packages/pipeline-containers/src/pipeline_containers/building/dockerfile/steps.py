"""Single instructions in the terms of the builder at hand. No I/O."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline_containers.building.dockerfile import modes
from pipeline_containers.building.dockerfile.dialect import Dialect
from pipeline_containers.building.dockerfile.mounts import read_mount
from pipeline_containers.building.dockerfile.parser import Heredoc, Instruction
from pipeline_containers.building.dockerfile.words import heredoc_start, join_flag, shell_words

TEXTS = "pipeline-heredocs"
"""How the folder with the texts of heredocs is called, as a source of `COPY --from`."""
NO_NETWORK = "/dev/.pipeline-no-network"
"""Where a step without a network has an empty folder: the runtime sees by it which those are."""
_PIPES = "/dev/pipes"
_SHELL = ("/bin/sh", "-c")
_TABS = re.compile(r"(?m)^\t+")


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file that a builder needs beside the context."""

    name: str
    content: str
    mode: int = 0o644


@dataclass(slots=True)
class Translation:
    """What an instruction became."""

    lines: list[str]
    files: list[PlannedFile] = field(default_factory=list)
    cuts_network: bool = False


def translate(
    instruction: Instruction,
    shell: Sequence[str],
    dialect: Dialect,
    escape: str,
    allow_mounts: bool,
) -> Translation:
    """Write an instruction for a builder; raises `ValueError` saying why it is refused.

    `shell` is what SHELL said, empty if it said nothing.
    """
    check_flags(instruction, dialect)
    if instruction.keyword == "RUN":
        return _run(instruction, shell, dialect, escape, allow_mounts)
    if instruction.keyword in ("COPY", "ADD"):
        return _copy(instruction, dialect)
    text = instruction.rest
    if instruction.keyword in ("CMD", "ENTRYPOINT") and shell and text and exec_form(text) is None:
        text = _json([*shell, text])
    return Translation([_line(instruction.keyword, instruction.flags, text)])


def check_flags(instruction: Instruction, dialect: Dialect) -> None:
    """Raise `ValueError` for a flag that the instruction has not."""
    for flag in instruction.flags:
        reason = dialect.refusal(instruction.keyword, flag[2:].partition("=")[0])
        if reason:
            raise ValueError(reason)


def shell_of(instruction: Instruction) -> tuple[str, ...]:
    """Return the words of a SHELL instruction."""
    words = exec_form(instruction.rest)
    if not words or instruction.flags:
        raise ValueError('SHELL takes a list like ["/bin/bash", "-c"]')
    return tuple(words)


def exec_form(text: str) -> list[str] | None:
    """Return the words of an instruction that is written as a JSON list, if it is."""
    if not text.startswith("["):
        return None
    try:
        words: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return words if all(isinstance(word, str) for word in words) else None


def _run(
    instruction: Instruction,
    shell: Sequence[str],
    dialect: Dialect,
    escape: str,
    allow_mounts: bool,
) -> Translation:
    flags: list[str] = []
    cuts_network = False
    for flag in instruction.flags:
        name, _, value = flag[2:].partition("=")
        if name == "mount":
            flags.append(flag if allow_mounts else _mount(value, dialect))
        elif name == "network" and value == "none":
            cuts_network = True
        elif (name, value) not in (("network", "default"), ("security", "sandbox")):
            raise ValueError(f"the Dockerfile asks for RUN --{name}={value[:40]}: it is not given")
    if cuts_network:
        _need_help(dialect, "RUN --network=none")
        flags.append(f"--mount=type=tmpfs,target={NO_NETWORK},tmpfs-size=4096")
    text = instruction.rest
    files: list[PlannedFile] = []
    if instruction.heredocs:
        text, files, more = _script(instruction, dialect)
        flags += more
    as_words = bool(shell or instruction.heredocs) or text.endswith(escape)
    if as_words and exec_form(text) is None:
        text = _json([*(shell or _SHELL), text])
    return Translation([_line("RUN", flags, text)], files, cuts_network)


def _mount(value: str, dialect: Dialect) -> str:
    mount = read_mount(value)
    if dialect.has_help or mount.kind != "tmpfs":
        return mount.flag()
    return f"--mount=type=tmpfs,target={mount.target}"  # img knows no size: memory is its limit


def _script(instruction: Instruction, dialect: Dialect) -> tuple[str, list[PlannedFile], list[str]]:
    """Return what the shell gets of a RUN with heredocs; a file and a mount for a `#!` text."""
    if len(shell_words(instruction.rest)) > 1:
        texts = (f"{one.content}{one.start.name}" for one in instruction.heredocs)
        return "\n".join([instruction.rest, *texts]), [], []
    heredoc = instruction.heredocs[0]
    content = _content(heredoc)
    if not content.startswith("#!"):
        return content, [], []
    _need_help(dialect, "RUN with a heredoc that begins with #!")
    folder = _folder([content])
    file = PlannedFile(f"{folder}/{heredoc.start.name}", content, 0o755)
    # as the builder itself sees that folder: no mount of it may have fewer restrictions
    mount = f"--mount=type=bind,from={TEXTS},source=/{folder},target={_PIPES},ro,nosuid,nodev"
    return f"{_PIPES}/{heredoc.start.name}", [file], [mount]


def _copy(instruction: Instruction, dialect: Dialect) -> Translation:
    keyword = instruction.keyword
    flags = [flag for flag in instruction.flags if not _has([flag], "link")]
    if not instruction.heredocs:
        of = modes.ANY if _has(flags, "from") or keyword == "ADD" else modes.CHECKOUT
        return Translation([_line(keyword, _with_octal_modes(flags, of), instruction.rest)])
    return _copy_texts(instruction, flags, dialect)


def _copy_texts(instruction: Instruction, flags: list[str], dialect: Dialect) -> Translation:
    """Copy heredocs from files beside the context, and what else is named from where it lies."""
    keyword = instruction.keyword
    _need_help(dialect, f"{keyword} with a heredoc")
    if _has(flags, "from"):
        raise ValueError(f"{keyword} --from has a heredoc: copy that in a step of its own")
    *sources, target = shell_words(instruction.rest)
    if heredoc_start(target) is not None:
        raise ValueError(f"{keyword} has no place where the heredoc goes")
    if len(sources) > 1 and not target.endswith("/"):
        raise ValueError(f"{keyword} has several sources: the last word has to end in /")
    contents = {one.start.name: _literal(one) for one in instruction.heredocs}
    folder = _folder(contents.values())
    lines = []
    paths = [source for source in sources if heredoc_start(source) is None]
    if paths:
        of = modes.ANY if keyword == "ADD" else modes.CHECKOUT
        lines.append(_line(keyword, _with_octal_modes(flags, of), " ".join([*paths, target])))
    own = [flag for flag in flags if _has([flag], "chown") or _has([flag], "chmod")]
    own = [f"--from={TEXTS}", *_with_octal_modes(own, modes.HEREDOC)]
    names = [f"{folder}/{name}" for name in contents]
    lines.append(_line("COPY", own, " ".join([*names, target])))
    return Translation(
        lines, [PlannedFile(f"{folder}/{name}", text) for name, text in contents.items()]
    )


def _with_octal_modes(flags: Iterable[str], of: Iterable[tuple[int, bool]]) -> list[str]:
    """Write modes as numbers."""
    written = []
    for flag in flags:
        mode = flag.removeprefix("--chmod=")
        if mode == flag or not modes.is_symbolic(mode):
            written.append(flag)
            continue
        octal = modes.one_mode(mode, of)
        if octal is None:
            raise ValueError(
                f"--chmod={mode[:40]} makes different modes of different files, which takes a "
                "number here: write one, like --chmod=755, in a step for each"
            )
        if octal != modes.KEPT:
            written.append(f"--chmod={octal}")
    return written


def _content(heredoc: Heredoc) -> str:
    return _TABS.sub("", heredoc.content) if heredoc.start.chomp else heredoc.content


def _literal(heredoc: Heredoc) -> str:
    """Return the text of a file; variables in it would need what the base image has."""
    content = _content(heredoc)
    if heredoc.start.expand and ("$" in content or "\\" in content):
        raise ValueError(
            f"the heredoc {heredoc.start.name} has $ or \\ in it, and nothing is put in their "
            f"place here: write <<'{heredoc.start.name}' if they belong to the file, or RUN with "
            "a shell if not"
        )
    return content


def _need_help(dialect: Dialect, what: str) -> None:
    if not dialect.has_help:
        raise ValueError(f"{dialect.name} does not know {what}: use buildah")


def _has(flags: Iterable[str], name: str) -> bool:
    return any(flag == f"--{name}" or flag.startswith(f"--{name}=") for flag in flags)


def _folder(contents: Iterable[str]) -> str:
    """Name a folder by what it holds, so that other texts are another step to a layer cache."""
    return hashlib.sha256("\0".join(contents).encode()).hexdigest()[:32]


def _json(words: Iterable[str]) -> str:
    return json.dumps(list(words))


def _line(keyword: str, flags: Iterable[str], rest: str) -> str:
    if rest.startswith("--"):  # or it would be read as flags
        rest = f"-- {rest}"
    return " ".join([keyword, *(join_flag(flag) for flag in flags), rest]).strip()
