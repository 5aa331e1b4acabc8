"""What clients may ask: one struct an action, tagged by ``action``.

Fields that are not known are ignored, so that newer clients can talk to older routers.
Every ValueError raised here reaches the sender as a 502 that names the field.

Actions and channels may come by an alias of the table of channels. A request, once it is read, has
the one name only.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, ClassVar

from msgspec import UNSET, Meta, Struct, UnsetType, defstruct
from msgspec.structs import asdict, force_setattr

from pipeline_protocol.channels import ACTION_OF_ALIAS, channel_named, tool_channel_named
from pipeline_protocol.names import (
    ExerciseSlug,
    FileName,
    GitReference,
    Identity,
    InputUri,
    RequestId,
    Seen,
    Slug,
    Version,
    unmatched,
)
from pipeline_protocol.settings import Seconds


class Role(StrEnum):
    """What the sender's key must allow; an operator may do what a client may."""

    CLIENT = "client"
    OPERATOR = "operator"
    WORKER = "worker"

    def may_act_as(self, needed: "Role") -> bool:
        """Return whether a key of this role is good for what needs that one."""
        return self is needed or (self is Role.OPERATOR and needed is Role.CLIENT)


class Priority(StrEnum):
    """Interactive work first; background work when no interactive work waits."""

    INTERACTIVE = "interactive"
    BACKGROUND = "background"


class _Action(Struct, frozen=True, kw_only=True, tag_field="action", omit_defaults=True, gc=False):
    role: ClassVar[Role] = Role.CLIENT

    def match_names(self) -> None:
        """Match the names that its decoder leaves alone; raises ValueError if one is bad."""


# --- served by workers


class _WorkerServed(_Action, frozen=True, kw_only=True):
    id: RequestId | UnsetType = UNSET
    """With it, the same bytes sent again meet the first sending's answer."""
    track_slug: Slug
    timeout_s: Seconds | UnsetType = UNSET
    """The whole request, from when the router first received it."""
    progress: bool = False
    """Whether lines of output are wanted on the way; for DEALER sockets only."""


_tracks, _exercises = Seen(Slug), Seen(ExerciseSlug)
_versions, _file_names = Seen(Version), Seen(FileName)

# What nearly every request says again is left to `match_names`.
_SeenTrack = Annotated[str, unmatched(Slug)]
_SeenExercise = Annotated[str, unmatched(ExerciseSlug)]
_SeenVersion = Annotated[str, unmatched(Version)]
_SeenFileName = Annotated[str, unmatched(FileName)]


class BinaryFile(Struct, frozen=True, gc=False):
    """A file that is not text: ``{"base64": "..."}`` on the wire, bytes here."""

    base64: bytes


FileContent = str | BinaryFile


class _SolutionRequest(_WorkerServed, frozen=True, kw_only=True):
    id: RequestId
    track_slug: _SeenTrack
    exercise_slug: _SeenExercise
    container_version: _SeenVersion
    s3_uri: InputUri | UnsetType = UNSET
    files: (
        Annotated[dict[_SeenFileName, FileContent], Meta(min_length=1, max_length=1000)] | UnsetType
    ) = UNSET
    """Small inputs: file name to text, or to bytes."""
    execution_timeout: Seconds | UnsetType = UNSET
    """The tool's wall limit, up to the track's ceiling."""
    priority: Priority = Priority.INTERACTIVE

    def __post_init__(self) -> None:
        if (self.s3_uri is UNSET) == (self.files is UNSET):
            raise ValueError("exactly one of `s3_uri` and `files` is needed")

    def match_names(self) -> None:
        if self.track_slug not in _tracks:
            _tracks.admit(self.track_slug, "`$.track_slug`")
        if self.exercise_slug not in _exercises:
            _exercises.admit(self.exercise_slug, "`$.exercise_slug`")
        if self.container_version not in _versions:
            _versions.admit(self.container_version, "`$.container_version`")
        if self.files is not UNSET:
            for name in self.files:
                if name not in _file_names:
                    _file_names.admit(name, "`key` in `$.files`")


class TestSolution(_SolutionRequest, frozen=True, kw_only=True, tag="test_solution"):
    """Run a track's test runner over a solution."""


class AnalyseSolution(_SolutionRequest, frozen=True, kw_only=True, tag="analyse_solution"):
    """Run a track's static analyser over a solution."""


class RecommendSolution(_SolutionRequest, frozen=True, kw_only=True, tag="recommend_solution"):
    """Run a track's recommender over a solution."""


class RepresentSolution(_SolutionRequest, frozen=True, kw_only=True, tag="represent_solution"):
    """Run a track's representer over a solution."""


class BuildContainer(_WorkerServed, frozen=True, kw_only=True, tag="build_container"):
    """Build a tool's image from a git reference and publish it."""

    role: ClassVar[Role] = Role.OPERATOR
    channel: str
    git_reference: GitReference

    def __post_init__(self) -> None:
        force_setattr(self, "channel", tool_channel_named(self.channel).name)


class ListAvailableContainers(
    _WorkerServed, frozen=True, kw_only=True, tag="list_available_containers"
):
    """List the versions of a tool that its registry has."""

    role: ClassVar[Role] = Role.OPERATOR
    channel: str
    version: Version | UnsetType = UNSET
    """This one alone, and its digest."""

    def __post_init__(self) -> None:
        force_setattr(self, "channel", tool_channel_named(self.channel).name)


# --- served by the router


class _VersionedAction(_Action, frozen=True, kw_only=True):
    role: ClassVar[Role] = Role.OPERATOR
    track_slug: Slug
    channel: str

    def __post_init__(self) -> None:
        force_setattr(self, "channel", tool_channel_named(self.channel).name)


class DeployContainerVersion(
    _VersionedAction, frozen=True, kw_only=True, tag="deploy_container_version"
):
    """Have every worker that serves the track prepare a version."""

    new_version: Version


class UnloadContainerVersion(
    _VersionedAction, frozen=True, kw_only=True, tag="unload_container_version"
):
    """Want a version no longer."""

    version: Version


class UpdateContainerVersions(
    _VersionedAction, frozen=True, kw_only=True, tag="update_container_versions"
):
    """Want exactly these versions of a track."""

    versions: Annotated[tuple[Version, ...], Meta(max_length=100)]


class DeploymentCheck(_VersionedAction, frozen=True, kw_only=True, tag="deployment_check"):
    """Ask which versions are wanted and which worker has them."""

    role: ClassVar[Role] = Role.CLIENT


class CurrentConfig(_Action, frozen=True, kw_only=True, tag="current_config"):
    """Ask for the configuration in force."""

    role: ClassVar[Role] = Role.OPERATOR


class CurrentWorkerStatus(_Action, frozen=True, kw_only=True, tag="current_worker_status"):
    """Ask how many workers, slots and waiting jobs each channel has."""

    role: ClassVar[Role] = Role.OPERATOR


class DescribeWorkers(_Action, frozen=True, kw_only=True, tag="describe_workers"):
    """Ask for every worker, one by one."""

    role: ClassVar[Role] = Role.OPERATOR


class Ping(_Action, frozen=True, kw_only=True, tag="ping"):
    """Ask whether the router is there."""


class Cancel(_Action, frozen=True, kw_only=True, tag="cancel"):
    """Take a request back."""

    id: RequestId
    of_action: str | UnsetType = UNSET
    """The action that it was sent with; needed where one id is in flight under several."""

    def __post_init__(self) -> None:
        if self.of_action is not UNSET:
            own = ACTION_OF_ALIAS.get(self.of_action, self.of_action)
            force_setattr(self, "of_action", own)


class RestartWorkers(_Action, frozen=True, kw_only=True, tag="restart_workers"):
    """Have every worker bootstrap again."""

    role: ClassVar[Role] = Role.OPERATOR


class DrainWorker(_Action, frozen=True, kw_only=True, tag="drain_worker"):
    """Have a worker finish what it runs and leave."""

    role: ClassVar[Role] = Role.OPERATOR
    identity: Identity


class ForgetImages(_Action, frozen=True, kw_only=True, tag="forget_images"):
    """Have workers remove the images that they keep although they are not wanted."""

    role: ClassVar[Role] = Role.OPERATOR
    workers: Annotated[tuple[Identity, ...], Meta(max_length=1000)] = ()
    """Which ones; empty: all."""


class DismissWorker(_Action, frozen=True, kw_only=True, tag="dismiss_worker"):
    """Miss a worker no longer that was lost and will not come back."""

    role: ClassVar[Role] = Role.OPERATOR
    identity: Identity


class ReadAudit(_Action, frozen=True, kw_only=True, tag="read_audit"):
    """Ask what was changed lately, and by whom."""

    role: ClassVar[Role] = Role.OPERATOR
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class ConfigureWorker(_Action, frozen=True, kw_only=True, tag="configure_worker"):
    """A worker's first question: where the link is."""

    role: ClassVar[Role] = Role.WORKER
    channel: str
    topics: Annotated[tuple[Slug, ...], Meta(max_length=100)] = ()
    protocol: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    """What it speaks on the link."""

    def __post_init__(self) -> None:
        channel = channel_named(self.channel)
        if self.topics and not channel.scopable:
            raise ValueError(f"{channel.name} serve all tracks: `topics` is not for them")
        force_setattr(self, "channel", channel.name)


SolutionRequest = TestSolution | AnalyseSolution | RecommendSolution | RepresentSolution
WorkerServed = SolutionRequest | BuildContainer | ListAvailableContainers
RouterServed = (
    DeployContainerVersion
    | UnloadContainerVersion
    | UpdateContainerVersions
    | DeploymentCheck
    | CurrentConfig
    | CurrentWorkerStatus
    | DescribeWorkers
    | Ping
    | Cancel
    | RestartWorkers
    | DrainWorker
    | ForgetImages
    | DismissWorker
    | ReadAudit
    | ConfigureWorker
)
Request = WorkerServed | RouterServed

ACTIONS = MappingProxyType(
    {
        struct.__struct_config__.tag: struct
        for struct in (*WorkerServed.__args__, *RouterServed.__args__)
    }
)
"""Action to struct."""

ALIASES = MappingProxyType(
    {
        alias: defstruct(
            f"{ACTIONS[action].__name__}Alias",
            (),
            bases=(ACTIONS[action],),
            tag=alias,
            frozen=True,
            kw_only=True,
            gc=False,
        )
        for alias, action in ACTION_OF_ALIAS.items()
    }
)
"""Alias of an action to the struct that it is read into, before `named_once`."""

_ALIASED = {struct: ACTIONS[ACTION_OF_ALIAS[alias]] for alias, struct in ALIASES.items()}


def named_once(request: Request) -> Request:
    """Return a request that came by an alias as one that came by the action's own name."""
    own = _ALIASED.get(type(request))
    return request if own is None else own(**asdict(request))
