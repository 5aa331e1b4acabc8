"""Sizes in bytes, by their names, and as people write them."""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_UNITS = {"KiB": KIB, "MiB": MIB, "GiB": GIB}


def split_unit(text: str) -> tuple[str, int]:
    """Take KiB, MiB or GiB off the end of a number; what is left, and how many bytes it counts."""
    unit = next((unit for unit in _UNITS if text.endswith(unit)), "")
    return text.removesuffix(unit), _UNITS.get(unit, 1)
