"""Limits on the command line: those of production, but for what is said."""

from dataclasses import asdict

import click

from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.system.units import split_unit

LimitChanges = tuple[tuple[str, float], ...]
"""Names of limits with their values."""

_NAMES = {name: type(value) for name, value in asdict(Limits()).items()}

_SWITCH = {"true": True, "false": False}


class LimitType(click.ParamType[tuple[str, float]]):
    """NAME=VALUE; bytes may be said in KiB, MiB and GiB."""

    name = "limit"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        """Take it apart."""
        name, _, text = str(value).partition("=")
        if name not in _NAMES:
            self.fail(f"{name!r} is none of {', '.join(_NAMES)}", param, ctx)
        if _NAMES[name] is bool:
            if text not in _SWITCH:
                self.fail(f"{text!r} is neither true nor false", param, ctx)
            return name, _SWITCH[text]
        number, unit_bytes = split_unit(text)
        try:
            return name, _NAMES[name](number) * unit_bytes
        except ValueError:
            self.fail(f"{text!r} is not a number, or one with KiB, MiB or GiB", param, ctx)


LIMIT = click.option(
    "--limit",
    "changes",
    type=LimitType(),
    multiple=True,
    metavar="NAME=VALUE",
    help="Another limit than in production: wall_s=6, memory_bytes=1GiB. May be given again.",
)


def limits_with(changes: LimitChanges) -> Limits:
    """Return production's limits, changed; raises `click.UsageError` for what cannot be."""
    try:
        return Limits(**asdict(Limits()) | dict(changes))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
