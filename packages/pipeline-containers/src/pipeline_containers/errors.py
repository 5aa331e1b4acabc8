"""What can go wrong on the way from a git reference to a run, in one family.

Every message says what happened and, where something can be done about it, what to do next.
"""

PACKAGES = {
    "buildah": "buildah",
    "crun": "crun",
    "git": "git",
    "git-lfs": "git-lfs",
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "prlimit": "util-linux",
    "runc": "runc",
    "runsc": "runsc",
    "setpriv": "util-linux",
    "skopeo": "skopeo",
    "slirp4netns": "slirp4netns",
    "unshare": "util-linux",
}
"""Debian's package for each program that is called."""


class ContainersError(Exception):
    """The base of every error that this package raises on purpose.

    `log_tail` is the end of the log, where the error came out of a build.
    """

    log_tail: str = ""


class ToolMissing(ContainersError):
    """A program that is needed is not installed."""

    def __init__(self, program: str) -> None:
        package = PACKAGES.get(program)
        remedy = f"install it (apt install {package})" if package else "install it"
        super().__init__(f"{program} is not on PATH: {remedy}, or name another binary")
        self.program = program


class RuntimeMissing(ToolMissing):
    """The container runtime is not installed."""


class BadReference(ContainersError):
    """The git reference is malformed, names nothing, or is reachable from no branch or tag."""


class SourceError(ContainersError):
    """The git repository could not be read."""


class SourceRefused(ContainersError):
    """What the repository holds is not built.

    It has too many files, no Dockerfile, or one that asks for too much.
    """


class BuildError(ContainersError):
    """An image was not built; the kinds of it follow."""

    def __init__(self, message: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.log_tail = log_tail


class BuildFailed(BuildError):
    """The build exited non-zero."""

    def __init__(self, exit_status: int, log_tail: str) -> None:
        lines = log_tail.strip().splitlines() or [""]
        # builders end with it on standard error, which may be read before standard output
        reason = next((line for line in reversed(lines) if line.startswith("Error: ")), lines[-1])
        super().__init__(f"build exited with status {exit_status}: {reason}", log_tail)
        self.exit = exit_status


class BuildTimedOut(BuildError):
    """The build took longer than it may."""


class BuildOutputLimit(BuildError):
    """The build printed more than it may."""


class BuildLimitExceeded(BuildError):
    """The build used more memory or disk than it may."""


class BuildCancelled(BuildError):
    """Somebody did not want the build any more."""


class ImageInvalid(ContainersError):
    """The image would not work as the kind of tool that it is meant to be."""


class RegistryError(ContainersError):
    """The registry could not be read or written, or what it holds is not what its digest says.

    `passing`: it may well be over in a moment.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class StoreError(ContainersError):
    """The host's image store could not be read or written."""


class SandboxError(ContainersError):
    """A run could not be set up or cleared away; nothing is said about the tool."""
