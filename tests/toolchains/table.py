"""The toolchains that are tried: packages, an exercise with its test, and what they need beside."""

import tomllib
from pathlib import Path

from msgspec import Struct, convert
from msgspec.structs import asdict

from pipeline_containers.sandbox.limits import Limits
from pipeline_router.config_parse import read_config

FOLDER = Path(__file__).parent
FAMILIES = ("compiled", "functional", "managed", "scripts")
USERS = ("", "appuser")
"""An image without USER, which is root's, and one whose user's HOME is /tmp."""


class Layer(Struct, frozen=True, forbid_unknown_fields=True):
    """Packages of Debian's, by their names, and the layer that they are unpacked over.

    `setup` is what their maintainer scripts would have done, as commands in the root folder.
    """

    packages: str
    over: str = ""
    setup: str = ""


class Toolchain(Struct, frozen=True, forbid_unknown_fields=True):
    """A layer of its own, if it has packages, and a test runner's commands, in the job's folder.

    With `like` it has the image of another, and `says` is what a case's commands must have said.
    `files` are the job's, `tool` those of the tool's own folder, `users` what its image's USER is.
    `env` is its image's. `limits` are as a track's are configured: without any one, it fails, and
    so does a case without any of its `env` if it needs no limit.
    """

    files: dict[str, str]
    run: str
    compile: str = ":"
    over: str = ""
    packages: str = ""
    setup: str = ""
    like: str = ""
    tool: dict[str, str] = {}
    users: tuple[str, ...] = USERS
    says: str = ""
    env: dict[str, str] = {}
    limits: dict[str, str | float | bool] = {}

    @property
    def needs(self) -> tuple[str, ...]:
        """Name the limits that it cannot do without, or else what its image must set."""
        return (*self.limits,) or (*self.env,)

    @property
    def layer(self) -> Layer | None:
        return Layer(self.packages, self.over, self.setup) if self.packages else None

    def limits_of_job(self, without: str = "") -> Limits:
        """Return the limits of its jobs, as a router reads them, without one of them."""
        limits = {name: value for name, value in self.limits.items() if name != without}
        config = read_config({"limits": limits})
        return Limits(**asdict(config.channels["test_runners"].defaults.limits))


def _read(family: str) -> dict[str, object]:
    return tomllib.loads((FOLDER / f"{family}.toml").read_text("utf-8"))


LAYERS = convert(_read("layers"), dict[str, Layer])
"""What several have in common, by name."""
TOOLCHAINS = {
    name: convert(data, Toolchain) for family in FAMILIES for name, data in _read(family).items()
}
"""By name; a name is that of its own layer too. Each solves the same exercise."""
CASES = {name: convert(data, Toolchain) for name, data in _read("cases").items()}
"""What some of them do beside, by name."""
ALL = TOOLCHAINS | CASES


def layers_of(name: str) -> list[str]:
    """Return the layers of a toolchain's image, the top one first."""
    toolchain = ALL[name]
    if toolchain.like:
        return layers_of(toolchain.like)
    return [*([name] if toolchain.layer else []), *with_lower(toolchain.over)]


def with_lower(layer: str) -> list[str]:
    """Return a common layer, and those that it lies over."""
    over = LAYERS[layer].over
    return [layer, *(with_lower(over) if over else [])]
