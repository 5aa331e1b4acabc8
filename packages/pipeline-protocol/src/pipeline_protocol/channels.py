"""THE table of channels: what each is called, who serves it, and by which kind of tool.

A new flavour of worker is a row here, a row in the table of tools (pipeline-containers) and a
struct for its action in `requests`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from pipeline_protocol.names import nearest


class Channel(Struct, frozen=True):
    """One kind of work and the workers that do it."""

    name: str
    """As in a worker's address and in requests: ``test_runners``."""
    flavour: str
    """What a worker of it is called in prose."""
    actions: Mapping[str, float]
    """The requests it serves, and how long each may take, in seconds, if it does not say."""
    tool_kind: str | None
    """The row in the table of tools; None: its workers run no tool."""
    tool: str | None
    """The tool's usual name, ``{track}`` filled in; the configuration may say another."""
    aliases: tuple[str, ...] = ()
    """What clients, addresses and configurations may call it as well."""
    action_aliases: Mapping[str, str] = MappingProxyType({})
    """What clients may call its actions as well: to each of these names, the action."""

    @property
    def scopable(self) -> bool:
        """Whether a worker of it may keep to certain tracks."""
        return self.tool_kind is not None


CHANNELS = MappingProxyType(
    {
        row.name: row
        for row in (
            Channel(
                "test_runners",
                "test-runner",
                {"test_solution": 60.0},
                "test_runner",
                "{track}-test-runner",
            ),
            Channel(
                "static_analysers",
                "static-analyser",
                {"analyse_solution": 60.0},
                "analyser",
                "{track}-analyzer",
                aliases=("static_analyzers",),
                action_aliases={"analyze_iteration": "analyse_solution"},
            ),
            Channel(
                "recommenders",
                "recommender",
                {"recommend_solution": 60.0},
                "recommender",
                "{track}-recommender",
            ),
            Channel(
                "representers",
                "representer",
                {"represent_solution": 60.0},
                "representer",
                "{track}-representer",
                action_aliases={"represent": "represent_solution"},
            ),
            Channel(
                "builders",
                "builder",
                {"build_container": 1800.0, "list_available_containers": 60.0},
                None,
                None,
            ),
        )
    }
)

CHANNEL_OF_ACTION = MappingProxyType(
    {action: row.name for row in CHANNELS.values() for action in row.actions}
)
"""Which channel serves an action; what is not here, the router answers itself."""

CHANNEL_OF_ALIAS = MappingProxyType(
    {alias: row.name for row in CHANNELS.values() for alias in row.aliases}
)
"""The channel's own name, by what else it may be called."""

ACTION_OF_ALIAS = MappingProxyType(
    {alias: name for row in CHANNELS.values() for alias, name in row.action_aliases.items()}
)
"""The action's own name, by what else it may be called."""

TIMEOUT_S = MappingProxyType(
    {action: seconds for row in CHANNELS.values() for action, seconds in row.actions.items()}
)
"""How long a request that workers serve may take, if it does not say."""
ROUTER_TIMEOUT_S = 10.0
"""How long a client waits for what the router answers by itself, if it is not told."""


def channel_named(name: str) -> Channel:
    """Return the row of that name, or alias.

    Raises ValueError, with the nearest name, if there is none.
    """
    try:
        return CHANNELS[CHANNEL_OF_ALIAS.get(name, name)]
    except KeyError:
        known = ", ".join(CHANNELS)
        raise ValueError(
            f"unknown channel {name[:64]!r}{nearest(name[:64], CHANNELS)}; channels are {known}"
        ) from None


def tool_channel_named(name: str) -> Channel:
    """Return the row of a channel whose workers run tools; raises ValueError if it is another."""
    row = channel_named(name)
    if not row.scopable:
        raise ValueError(f"channel {name!r} has no versions: its workers run no tool")
    return row
