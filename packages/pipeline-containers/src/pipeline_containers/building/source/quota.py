"""How much the sources of one build may be: a commit's files, LFS objects, submodules."""

from pipeline_containers.errors import SourceRefused
from pipeline_containers.system.units import GIB

MAX_FILES = 50_000
"""Of a build's sources; real tools have hundreds."""
MAX_BYTES = GIB
"""Of these files, unpacked."""
MAX_SUBMODULES = 50
"""Each is fetched by itself, and may have its own, or itself, within."""


class SourceQuota:
    """Counts what is about to be written; nothing is, once there would be too much."""

    def __init__(self) -> None:
        self._files = 0
        self._bytes = 0
        self._submodules = 0

    def take(self, what: str, files: int, size_bytes: int) -> None:
        """Count files; raises `SourceRefused` if that is too much."""
        others = f", {what} among them," if self._files else ""
        self._files += files
        self._bytes += size_bytes
        if self._files > MAX_FILES:
            raise self.too_many(what, str(self._files), others)
        if self._bytes > MAX_BYTES:
            raise SourceRefused(
                f"{self._subject(what, others)} {self._bytes} bytes of files, and {MAX_BYTES} are "
                "allowed: keep what the tool is not made of elsewhere"
            )

    def take_submodule(self, what: str) -> None:
        """Count a submodule; raises `SourceRefused` if that is one too many."""
        self._submodules += 1
        if self._submodules > MAX_SUBMODULES:
            raise SourceRefused(
                f"{what} has over {MAX_SUBMODULES} submodules, those within counted"
            )

    def too_many(self, what: str, count: str, others: str = "") -> SourceRefused:
        """Return why so many files are refused."""
        return SourceRefused(
            f"{self._subject(what, others)} {count} files, and {MAX_FILES} are allowed: keep what "
            "the tool is not made of elsewhere"
        )

    def _subject(self, what: str, others: str) -> str:
        return f"the sources{others} have" if others else f"{what} has"
