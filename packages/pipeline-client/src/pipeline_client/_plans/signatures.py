"""How a function that makes a plan becomes a method of a client: arguments and words said once."""

import inspect
from collections.abc import Callable
from typing import Any, get_args


def copy_signature(method: Callable[..., Any], make: Callable[..., Any], owner: str) -> None:
    """Give a method the name, the words, the arguments and the result of what it carries out."""
    said = inspect.signature(make)
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    (result,) = get_args(said.return_annotation)
    method.__name__ = make.__name__
    method.__qualname__ = f"{owner}.{make.__name__}"
    method.__doc__ = make.__doc__
    method.__signature__ = said.replace(  # type: ignore[attr-defined]
        parameters=[this, *said.parameters.values()], return_annotation=result
    )
