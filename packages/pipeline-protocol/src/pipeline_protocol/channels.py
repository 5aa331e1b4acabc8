"""THE table of channels: what each is called, who serves it, and by which kind of tool.

A new flavour of worker is a row here, a row in the table of tools (pipeline-containers) and a
struct for its action in `requests`.
"""

from types import MappingProxyType

from msgspec import Struct

from pipeline_protocol.names import nearest


class Channel(Struct, frozen=True):
    """One kind of work and the workers that do it."""

    name: str
    """As in a worker's address and in requests: ``test_runners``."""
    flavour: str
    """What a worker of it is called in prose."""
    actions: tuple[str, ...]
    """The requests it serves."""
    tool_kind: str | None
    """The row in the table of tools; None: its workers run no tool."""
    tool: str | None
    """The tool's usual name, ``{track}`` filled in; the configuration may say another."""

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
                ("test_solution",),
                "test_runner",
                "{track}-test-runner",
            ),
            Channel(
                "static_analysers",
                "static-analyser",
                ("analyse_solution",),
                "analyser",
                "{track}-analyzer",
            ),
            Channel(
                "recommenders",
                "recommender",
                ("recommend_solution",),
                "recommender",
                "{track}-recommender",
            ),
            Channel(
                "representers",
                "representer",
                ("represent_solution",),
                "representer",
                "{track}-representer",
            ),
            Channel(
                "builders",
                "builder",
                ("build_container", "list_available_containers"),
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


def channel_named(name: str) -> Channel:
    """Return the row of that name; ValueError, with the nearest one, if there is none."""
    try:
        return CHANNELS[name]
    except KeyError:
        known = ", ".join(CHANNELS)
        raise ValueError(
            f"unknown channel {name[:64]!r}{nearest(name[:64], CHANNELS)}; channels are {known}"
        ) from None


def tool_channel_named(name: str) -> Channel:
    """Return the row of a channel whose workers run tools; ValueError if it is another."""
    row = channel_named(name)
    if not row.scopable:
        raise ValueError(f"channel {name!r} has no versions: its workers run no tool")
    return row
