"""An OCI configuration, taken apart: whatever of it nobody asked for is an error."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from pipeline_containers.errors import SandboxError

_NONE = object()


class Section:
    """A part of it, by its name; at its end each of its entries must have been taken."""

    def __init__(self, name: str, content: Any) -> None:
        if not isinstance(content, Mapping):
            raise SandboxError(f"{name} of the container's configuration is no object")
        self._name = name
        self._left = dict(content)

    def take(self, key: str, default: Any = _NONE) -> Any:
        """Take an entry; without a default it must be there."""
        value = self._left.pop(key, default)
        if value is _NONE:
            raise SandboxError(f"{self._name} of the container's configuration has no {key}")
        return value

    def text(self, key: str, default: Any = _NONE) -> str:
        """Take one that is a text."""
        return str(self._of(str, key, default))

    def number(self, key: str, default: Any = _NONE) -> int:
        """Take one that is a whole number."""
        value = self._of(int, key, default)
        if isinstance(value, bool):
            raise SandboxError(f"{key} of {self._name} is no number")
        return int(value)

    def switch(self, key: str, default: Any = _NONE) -> bool:
        """Take one that is true or false."""
        return bool(self._of(bool, key, default))

    def texts(self, key: str) -> list[str]:
        """Take a list of texts; a missing one is empty."""
        found = self.take(key, [])
        if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
            raise SandboxError(f"{key} of {self._name} is no list of texts")
        return found

    def sections(self, key: str) -> list["Section"]:
        """Take a list of parts; a missing one is empty."""
        found = self.take(key, [])
        if not isinstance(found, list):
            raise SandboxError(f"{key} of {self._name} is no list")
        return [Section(f"{self._name}.{key}", content) for content in found]

    def section(self, key: str, default: Any = _NONE) -> "Section":
        """Take a part."""
        return Section(f"{self._name}.{key}", self.take(key, default))

    def must_be(self, key: str, *allowed: Any) -> None:
        """Take one that has to be one of these: anything else is not known here."""
        value = self.take(key)
        if not any(value == known and type(value) is type(known) for known in allowed):
            raise self.unknown(f"{key} {value!r}")

    def unknown(self, what: str) -> SandboxError:
        """Return the error for what this launcher does not know."""
        return SandboxError(f"the launcher does not know {what} of {self._name}: use runc")

    def _of(self, kind: type, key: str, default: Any) -> Any:
        value = self.take(key, default)
        if not isinstance(value, kind):
            raise SandboxError(f"{key} of {self._name} is no {kind.__name__}")
        return value

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None and self._left:
            raise self.unknown(", ".join(sorted(map(str, self._left))))
