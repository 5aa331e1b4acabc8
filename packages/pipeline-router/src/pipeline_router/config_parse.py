"""Data from YAML to a configuration; what is wrong is one line that names the key."""

import re
from collections.abc import Callable
from string import Formatter
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict, fields, replace

from pipeline_protocol.channels import CHANNELS, channel_named, tool_channel_named
from pipeline_protocol.names import (
    BUCKET,
    Digest,
    Installation,
    Slug,
    Version,
    described,
    nearest,
)
from pipeline_protocol.settings import (
    CeilingSettings,
    InputSettings,
    LimitSettings,
    RegistrySettings,
    Seconds,
    Size,
    SourceSettings,
    TrackLimits,
    Validation,
)
from pipeline_router.config import ChannelConfig, Config, RouterOptions, Sts, default_channels

T = TypeVar("T")
S = TypeVar("S", bound=Struct)


class BadConfig(ValueError):
    """A configuration that is of no use; the message is one line: the key's path, and why."""


class LimitsText(
    Struct,
    frozen=True,
    rename={
        "memory_bytes": "memory",
        "stdout_bytes": "stdout",
        "stderr_bytes": "stderr",
        "result_bytes": "result",
        "job_folder_bytes": "job_folder",
        "tmp_bytes": "tmp",
        "writable_root_bytes": "writable_root",
    },
):
    """LimitSettings as people write them; what is left out is inherited."""

    wall_s: Seconds | UnsetType = UNSET
    memory_bytes: Size | UnsetType = UNSET
    cpus: Annotated[float, Meta(gt=0, le=1024)] | UnsetType = UNSET
    pids: Annotated[int, Meta(ge=1, le=1 << 22)] | UnsetType = UNSET
    stdout_bytes: Size | UnsetType = UNSET
    stderr_bytes: Size | UnsetType = UNSET
    result_bytes: Size | UnsetType = UNSET
    job_folder_bytes: Size | UnsetType = UNSET
    job_folder_files: Annotated[int, Meta(ge=1, le=10_000_000)] | UnsetType = UNSET
    tmp_bytes: Size | UnsetType = UNSET
    writable_root_bytes: Annotated[int, Meta(ge=0, le=1 << 50)] | UnsetType = UNSET
    ptrace: bool | UnsetType = UNSET
    root_capabilities: bool | UnsetType = UNSET

    def over(self, limits: LimitSettings) -> LimitSettings:
        """Return `limits`, changed where this says something."""
        return replace(limits, **_said(self))


class CeilingsText(Struct, frozen=True):
    """CeilingSettings as people write them; what is left out is inherited."""

    wall_s: Seconds | UnsetType = UNSET

    def above(self, limits: LimitSettings) -> CeilingSettings:
        """Return ceilings: never lower than `limits`, higher where this says so."""
        return CeilingSettings(
            **{
                name: max(getattr(limits, name), _said(self).get(name, 0))
                for name in CeilingSettings.__struct_fields__
            }
        )


class _Track(Struct, frozen=True):
    limits: Any = None
    ceilings: Any = None
    validation: Validation | UnsetType = UNSET


class _Channel(_Track, frozen=True):
    tool: str | UnsetType = UNSET
    tracks: dict[Any, Any] | None = None


class _File(Struct, frozen=True):
    router: Any = None
    registry: Any = None
    sources: Any = None
    inputs: Any = None
    credentials: str = "ambient"
    sts: Any = None
    limits: Any = None
    channels: dict[Any, Any] | None = None


class Entry(Struct, frozen=True):
    """What the file keeps about a wanted version."""

    digest: Digest | None = None
    deployed_at: str = ""


Entries = dict[str, dict[str, dict[str, Entry]]]
"""Channel to track to version."""


def read_config(data: Any) -> Config:
    """Return what people configured; raises BadConfig if a key or a value is wrong."""
    file = _struct(data, _File, "")
    if file.credentials not in ("ambient", "sts"):
        raise BadConfig(f"credentials: {file.credentials!r} is neither ambient nor sts")
    limits = _limits(file.limits, "limits")
    config = Config(
        router=_struct(file.router, RouterOptions, "router"),
        registry=_struct(file.registry, RegistrySettings, "registry"),
        sources=_struct(file.sources, SourceSettings, "sources"),
        inputs=_struct(file.inputs, InputSettings, "inputs"),
        credentials="sts" if file.credentials == "sts" else "ambient",
        sts=_struct(file.sts, Sts, "sts"),
        channels=_channels(file.channels or {}, limits),
    )
    _check_template(config.registry.image, {"tool"}, "registry.image")
    _check_template(config.sources.url, {"tool"}, "sources.url")
    if config.registry.kind != "ecr" and not config.registry.location:
        raise BadConfig("registry.location: a folder, or host[/prefix], is needed")
    if config.credentials == "sts" and not config.sts.role_arn:
        raise BadConfig("sts.role_arn: credentials: sts needs the role to mint credentials by")
    for number, prefix in enumerate(config.inputs.s3_prefixes):
        if not _S3_PREFIX.fullmatch(prefix):
            where = f"inputs.s3_prefixes[{number}]"
            raise BadConfig(f"{where}: {prefix!r} is not s3://BUCKET/PREFIX/ with a '/' at its end")
    return config


def read_state(data: Any) -> tuple[str, Entries]:
    """Return what the router wrote: the installation's id, "" if there is none, and the versions.

    Raises BadConfig if it is not as the router writes it.
    """
    sections = _mapping(data, "")
    for key in sections:
        if key not in ("installation", "versions"):
            raise BadConfig(f"{key}: belongs above the line below which the router writes")
    installation = _name(sections.get("installation", ""), Installation, "installation")
    return installation, _entries(sections)


def _entries(sections: dict[Any, Any]) -> Entries:
    entries: Entries = {}
    for channel, tracks in _mapping(sections.get("versions"), "versions").items():
        path = f"versions.{channel}"
        name = _checked(tool_channel_named, str(channel), path).name
        if name in entries:
            raise BadConfig(f"{path}: {name} are there already, by another name")
        entries[name] = {}
        for track, versions in _mapping(tracks, path).items():
            _name(track, Slug, f"{path}.{track}")
            entries[name][track] = {
                _name(version, Version, f"{path}.{track}.{version}"): _struct(
                    entry, Entry, f"{path}.{track}.{version}"
                )
                for version, entry in _mapping(versions, f"{path}.{track}").items()
            }
    return entries


def _channels(data: dict[Any, Any], limits: LimitsText) -> dict[str, ChannelConfig]:
    said = {}
    for name, content in data.items():
        channel = _checked(channel_named, str(name), f"channels.{name}").name
        if channel in said:
            raise BadConfig(f"channels.{name}: {channel} are there already, by another name")
        said[channel] = _struct(content, _Channel, f"channels.{name}")
    return {
        name: _channel(name, default, said.get(name, _Channel()), limits)
        for name, default in default_channels().items()
    }


def _channel(
    name: str, default: ChannelConfig, said: _Channel, limits: LimitsText
) -> ChannelConfig:
    path = f"channels.{name}"
    tool = default.tool
    if said.tool is not UNSET:
        if not CHANNELS[name].scopable:
            raise BadConfig(f"{path}.tool: {name} run no tool")
        _check_template(said.tool, {"track"}, f"{path}.tool")
        tool = said.tool
    validation = said.validation if said.validation is not UNSET else default.defaults.validation
    if said.validation is not UNSET and tool is None:
        raise BadConfig(f"{path}.validation: {name} run no tool")
    # the channel's own default, builders' longer time, stands above what holds for every tool
    common = default.defaults.limits if tool is None else limits.over(default.defaults.limits)
    own = _limits(said.limits, f"{path}.limits").over(common)
    ceilings = _struct(said.ceilings, CeilingsText, f"{path}.ceilings")
    tracks = {}
    for track, data in (said.tracks or {}).items():
        where = f"{path}.tracks.{track}"
        _name(track, Slug, where)
        if tool is None:
            raise BadConfig(f"{where}: {name} serve all tracks")
        told = _struct(data, _Track, where)
        held_to = _limits(told.limits, f"{where}.limits").over(own)
        own_ceilings = replace(
            ceilings, **_said(_struct(told.ceilings, CeilingsText, f"{where}.ceilings"))
        )
        tracks[track] = TrackLimits(
            held_to,
            own_ceilings.above(held_to),
            told.validation if told.validation is not UNSET else validation,
        )
    return ChannelConfig(tool, TrackLimits(own, ceilings.above(own), validation), tracks)


def _limits(data: Any, path: str) -> LimitsText:
    return _struct(data, LimitsText, path)


# --- values

_UNITS: Final = {
    "": 1,
    "B": 1,
    **{f"{prefix}B": 1000**n for n, prefix in enumerate("kMGT", 1)},
    **{f"{prefix}iB": 1024**n for n, prefix in enumerate("KMGT", 1)},
}
_SIZES: Final = frozenset(
    {
        *("queue_bytes", "memory", "stdout", "stderr", "result", "job_folder", "tmp"),
        "writable_root",
    }
)
"""Keys whose values are sizes."""
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([A-Za-z]*)")
_S3_PREFIX: Final = re.compile(rf"s3://{BUCKET}/(?:[^\x00-\x1f\x7f]*/)?")


def size(value: object) -> int:
    """Read a size: a number of bytes, or text like ``64MiB``; raises ValueError otherwise."""
    found = _SIZE.fullmatch(str(value)) if not isinstance(value, bool) else None
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"{value!r} is not a size like 64MiB or 500kB")
    return int(float(found[1]) * _UNITS[found[2]])


def _said(struct: Struct) -> dict[str, Any]:
    return {name: value for name, value in asdict(struct).items() if value is not UNSET}


def _mapping(data: Any, path: str) -> dict[Any, Any]:
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise BadConfig(f"{path or 'the file'}: a mapping is expected, not {data!r:.60}")
    return data


def _struct(data: Any, type_: type[S], path: str) -> S:
    """Convert a mapping; an error names the path of its key."""
    known = [field.encode_name for field in fields(type_)]
    dotted = f"{path}." if path else ""
    read = dict(_mapping(data, path))
    for key, value in read.items():
        if key not in known:
            raise BadConfig(f"{dotted}{key}: unknown key{nearest(str(key), known)}")
        if key in _SIZES:
            read[key] = _checked(size, value, f"{dotted}{key}")
        if key == "validation" and value is False:
            read[key] = "off"  # which YAML takes for a boolean, unless it is in quotes
    try:
        return msgspec.convert(read, type_)
    except msgspec.ValidationError as error:
        message, _, at = str(error).partition(" - at `$")
        where = f"{path}{at.rstrip('`')}".lstrip(".")
        raise BadConfig(f"{where}: {described(message)}") from None


def _name(value: Any, type_: Any, path: str) -> str:
    try:
        return str(msgspec.convert(value, type_))
    except msgspec.ValidationError as error:
        quote = "" if isinstance(value, str) else " (put it in quotes)"
        raise BadConfig(f"{path}: {described(str(error))}{quote}") from None


def _checked(check: Callable[[Any], T], value: Any, path: str) -> T:
    try:
        return check(value)
    except ValueError as error:
        raise BadConfig(f"{path}: {error}") from None


def _check_template(text: str, allowed: set[str], path: str) -> None:
    """Make sure that only what will be filled in stands between braces."""
    wanted = " and ".join(f"{{{name}}}" for name in sorted(allowed))
    try:
        parts = [part for part in Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        raise BadConfig(f"{path}: {error}") from None
    if not text or any(name not in allowed or spec or how for _, name, spec, how in parts):
        raise BadConfig(f"{path}: {text!r} may hold only {wanted} between braces")
