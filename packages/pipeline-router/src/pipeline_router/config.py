"""What the configuration says, in force: limits overlaid, sizes in bytes, no file in sight.

`configfile` reads it from YAML and writes the versions back.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import asdict

from pipeline_protocol.channels import CHANNELS
from pipeline_protocol.settings import (
    GIB,
    MIB,
    CeilingSettings,
    ChannelLimits,
    InputSettings,
    LimitSettings,
    RegistrySettings,
    Seconds,
    Settings,
    Size,
    SourceSettings,
    TrackLimits,
    WantedVersion,
)

Versions = Mapping[str, Mapping[str, Mapping[str, str | None]]]
"""Channel to track to version to its digest, if one is known."""


class RouterOptions(Struct, frozen=True):
    """How the router itself works."""

    queue: Annotated[int, Meta(ge=0, le=1_000_000)] = 100
    """Waiting jobs per channel; 0: none waits."""
    queue_bytes: Size = 64 * MIB
    """Of the waiting jobs' requests, per channel."""
    liveness_s: Annotated[float, Meta(ge=1.5, le=600)] = 3.0
    """After this long a silence a worker, which beats every second, is lost."""
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 2
    """How many workers one job may be lost with."""
    result_ttl_s: Annotated[float, Meta(ge=0, le=86_400)] = 120.0
    """How long replies are kept for the same request sent again."""
    max_timeout_s: Seconds = 3600.0
    """The longest that a request may ask to wait."""


class Sts(Struct, frozen=True):
    """The role by which the router mints credentials for its workers."""

    role_arn: Annotated[str, Meta(pattern=r"\A(arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]+)?\Z")] = ""
    builder_role_arn: Annotated[
        str, Meta(pattern=r"\A(arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]+)?\Z")
    ] = ""
    """Another one for builders, who push; empty: theirs is the same."""
    duration_s: Annotated[int, Meta(ge=900, le=43_200)] = 3600
    """How long they last; they are renewed at half of it."""
    session_name: Annotated[str, Meta(pattern=r"\A[\w+=,.@-]{2,64}\Z")] = "pipeline"
    """What AWS' own logs call who uses them."""
    region: Annotated[str, Meta(pattern=r"\A[a-z0-9-]{0,32}\Z")] = ""
    """Of the STS to ask; empty: the host's own."""
    external_id: Annotated[str, Meta(pattern=r"\A([\w+=,.@:/-]{2,1224})?\Z")] = ""
    """What the role's trust policy may ask for; no secret."""


class ChannelConfig(Struct, frozen=True):
    """One channel's tool and limits."""

    tool: str | None
    defaults: TrackLimits
    tracks: dict[str, TrackLimits] = {}


def default_channels() -> dict[str, ChannelConfig]:
    """Return what a configuration without a word about channels means."""
    own = {"builders": LimitSettings(wall_s=1800, memory_bytes=6 * GIB)}
    channels = {}
    for name, row in CHANNELS.items():
        limits = own.get(name, LimitSettings())
        channels[name] = ChannelConfig(
            row.tool, TrackLimits(limits, CeilingSettings(limits.wall_s))
        )
    return channels


class Config(Struct, frozen=True):
    """Everything that people configure."""

    router: RouterOptions = RouterOptions()
    registry: RegistrySettings = RegistrySettings()
    sources: SourceSettings = SourceSettings()
    inputs: InputSettings = InputSettings()
    credentials: Literal["ambient", "sts"] = "ambient"
    """The workers': each host's own, or minted by the router."""
    sts: Sts = Sts()
    channels: dict[str, ChannelConfig] = msgspec.field(default_factory=default_channels)

    @property
    def roles(self) -> frozenset[Sts]:
        """What credentials are to be minted by: one role, or two with the builders' own."""
        return frozenset(role for channel in CHANNELS if (role := self.role_of(channel)))

    def role_of(self, channel: str) -> Sts | None:
        """Return what a channel's workers have credentials minted by; None: they have their own."""
        if self.credentials != "sts":
            return None
        own = "" if CHANNELS[channel].scopable else self.sts.builder_role_arn
        arn = own or self.sts.role_arn
        return msgspec.structs.replace(self.sts, role_arn=arn, builder_role_arn="")

    def settings(
        self, channel: str, topics: frozenset[str], wanted: tuple[WantedVersion, ...]
    ) -> Settings:
        """Return what workers of a channel are told; scoped ones their own tracks alone."""
        own = self.channels[channel]
        if CHANNELS[channel].scopable:
            tools, channels = {channel: own.tool or ""}, {}
        else:
            with_tools = {name: row for name, row in self.channels.items() if row.tool}
            tools = {name: row.tool or "" for name, row in with_tools.items()}
            channels = {
                name: ChannelLimits(row.defaults, row.tracks) for name, row in with_tools.items()
            }
        return Settings(
            registry=self.registry,
            sources=self.sources,
            inputs=self.inputs,
            tools=tools,
            defaults=own.defaults,
            tracks={t: row for t, row in own.tracks.items() if not topics or t in topics},
            versions=tuple(want for want in wanted if not topics or want.track in topics),
            channels=channels,
        )

    def describe(self, versions: Versions) -> dict[str, Any]:
        """Return what `current_config` answers: no secret is ever in it."""
        return {
            "router": asdict(self.router),
            "registry": asdict(self.registry),
            "sources": asdict(self.sources),
            "inputs": asdict(self.inputs),
            "credentials": self.credentials,
            "sts": asdict(self.sts),
            "channels": {
                name: {
                    "tool": channel.tool,
                    **_described(channel.defaults, channel.tool),
                    "tracks": {
                        track: _described(limits, channel.tool)
                        for track, limits in channel.tracks.items()
                    },
                }
                for name, channel in self.channels.items()
            },
            "versions": versions,
        }


def _described(limits: TrackLimits, tool: str | None) -> dict[str, Any]:
    """Return limits and ceilings with every key, defaults too."""
    described: dict[str, Any] = {
        "limits": asdict(limits.limits),
        "ceilings": asdict(limits.ceilings),
    }
    return described if tool is None else described | {"validation": limits.validation}
