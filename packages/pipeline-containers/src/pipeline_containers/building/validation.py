"""What a tool's own fixtures decide."""

import enum


class Validation(enum.StrEnum):
    """What a tool's own fixtures are good for when its image is tried."""

    REQUIRE = "require"
    """Each has to yield a valid result; one that is not as expected is a warning."""
    WARN = "warn"
    """All that is amiss is a warning."""
    OFF = "off"
    """They are not tried."""
