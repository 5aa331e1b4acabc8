"""What the router tells its workers of the configuration. Sizes in bytes, times in seconds."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from pipeline_protocol.names import Digest, Slug, Version

Size = Annotated[int, Meta(ge=1, le=1 << 50)]
"""Bytes."""
Seconds = Annotated[float, Meta(gt=0, le=86_400)]

MIB = 1 << 20
GIB = 1 << 30


class LimitSettings(Struct, frozen=True, omit_defaults=True):
    """Every limit of one run."""

    wall_s: Seconds = 20.0
    memory_bytes: Size = 3 * GIB
    cpus: Annotated[float, Meta(gt=0, le=1024)] = 1.0
    pids: Annotated[int, Meta(ge=1, le=1 << 22)] = 1024
    stdout_bytes: Size = MIB
    stderr_bytes: Size = MIB
    result_bytes: Size = 500_000
    job_folder_bytes: Size = 512 * MIB
    job_folder_files: Annotated[int, Meta(ge=1, le=10_000_000)] = 100_000
    tmp_bytes: Size = 256 * MIB
    writable_root_bytes: Annotated[int, Meta(ge=0, le=1 << 50)] = 0
    """Bytes that may be written over the image's files; 0: none."""
    ptrace: bool = False
    """Whether a job's processes may trace each other."""
    root_capabilities: bool = False
    """Whether root in a container has a container's usual rights over files."""


class RegistrySettings(Struct, frozen=True):
    """Where images are published and fetched."""

    kind: Literal["folder", "docker", "ecr"] = "folder"
    location: str = "./registry"
    """A folder; ``host[/prefix]``; for ecr nothing: AWS says it."""
    image: str = "{tool}"
    """An image's repository, from its tool's name."""


class SourceSettings(Struct, frozen=True):
    """Where tools' git repositories are."""

    url: str = "https://github.com/exercism/{tool}"
    submodules: bool = False
    """Whether builders fetch those of a tool, from where its repository says."""
    lfs: bool = False
    """Whether they fetch a tool's Git LFS objects, from its repository's own host."""


class InputSettings(Struct, frozen=True):
    """Where solutions may be read from."""

    s3_prefixes: tuple[str, ...] = ()
    """``s3://bucket/prefix/`` each; none: no s3 input is accepted."""


class Credentials(Struct, frozen=True):
    """Short-lived AWS credentials, minted by the router where the configuration asks for it."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at: float
    """Seconds since the epoch, UTC."""

    def __repr__(self) -> str:
        """Show which they are and how long they last, nothing that could be used."""
        return f"Credentials({self.access_key_id!r}, expires_at={self.expires_at!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show no more to those who print prettily."""
        return [("access_key_id", self.access_key_id), ("expires_at", self.expires_at)]


NOT_YET_MINTED = Credentials("", "", "", 0.0)
"""The router is to mint credentials but has none so far: the workers' own are not to be used."""


class WantedVersion(Struct, frozen=True):
    """A version that workers of the channel are to have ready."""

    track: Slug
    version: Version
    digest: Digest | None = None
    """What the registry has, as a builder found; a worker that has another one has failed."""


class CeilingSettings(Struct, frozen=True, omit_defaults=True):
    """How far a request may raise a limit: those limits that it can name, and no others."""

    wall_s: Seconds = LimitSettings().wall_s
    """Of `execution_timeout`."""


Validation = Literal["require", "warn", "off"]
"""Of a tool's own fixtures when it is built: each has to yield a valid result; all that is amiss is
a warning; they are not tried."""


class TrackLimits(Struct, frozen=True, omit_defaults=True):
    """What a track's tools are held to, and how far a request may raise it."""

    limits: LimitSettings
    ceilings: CeilingSettings
    validation: Validation = "require"


class ChannelLimits(Struct, frozen=True):
    """What the tools of a channel are held to."""

    defaults: TrackLimits
    """For the tracks that `tracks` does not name."""
    tracks: dict[str, TrackLimits] = {}

    def of(self, track: str) -> TrackLimits:
        """Return a track's."""
        return self.tracks.get(track, self.defaults)


class Settings(Struct, frozen=True, omit_defaults=True):
    """All that a worker needs from the router's configuration to do its channel's work."""

    registry: RegistrySettings = RegistrySettings()
    sources: SourceSettings = SourceSettings()
    inputs: InputSettings = InputSettings()
    tools: dict[str, str] = {}
    """Channel to tool name, ``{track}`` to be filled in: builders serve all channels."""
    defaults: TrackLimits = TrackLimits(LimitSettings(), CeilingSettings())
    """For the tracks that `tracks` does not name."""
    tracks: dict[str, TrackLimits] = {}
    versions: tuple[WantedVersion, ...] = ()
    channels: dict[str, ChannelLimits] = {}
    """Of builders: what the tools that they try are held to, by channel."""
