"""What a stranger's Dockerfile may not ask for.

`# syntax=` names an image that would run the build. `RUN --mount` binds a source into the build,
and buildah 1.28 follows a link there, out of the repository and onto the host (the class of
CVE-2024-1753 and CVE-2024-9407): seen to show the host's /etc to a build.
"""

import re

_DIRECTIVE = re.compile(r"#\s*([A-Za-z]+)\s*=")
_COMMENT = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
_NOISE = re.compile(r"[\\`'\"\s]")  # what a flag may be broken up by: escapes, quotes, line ends


def directives(dockerfile: str) -> set[str]:
    """Name the parser directives that a Dockerfile begins with, in lower case."""
    names = set()
    for line in dockerfile.removeprefix("\ufeff").splitlines():
        match = _DIRECTIVE.match(line.strip())
        if match is None:
            break
        names.add(match[1].lower())
    return names


def has_mount(dockerfile: str) -> bool:
    """Return whether `--mount` may be in a Dockerfile, however it is written.

    Rather once too often: the real parser's rules for escapes, quotes and comments within a
    continued line are many.
    """
    return any(
        "--mount" in _NOISE.sub("", text) for text in (dockerfile, _COMMENT.sub("", dockerfile))
    )


def refusal(dockerfile: str, *, allow_syntax: bool = False, allow_mounts: bool = False) -> str:
    """Return why a Dockerfile is not built; nothing when it is."""
    if "syntax" in directives(dockerfile) and not allow_syntax:
        return (
            "the Dockerfile asks for a foreign front end (# syntax=...), which is an image that "
            "would run the build: remove that line"
        )
    if has_mount(dockerfile) and not allow_mounts:
        return "the Dockerfile asks for RUN --mount, which can reach the host: use COPY instead"
    return ""
