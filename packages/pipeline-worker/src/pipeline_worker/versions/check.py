"""Whether an image does for jobs on this host: it is tried before any job gets it.

It goes the way of the sandbox' self-test, with the image in its place: mounted, its USER found, a
container of it made and started under the rules that hold for jobs. No solution is needed for it.

    FOLDER/KIND-DIGEST   of each image that did: a worker that starts need not try it again
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pipeline_containers.building.validate import ImageCandidate, validate
from pipeline_containers.errors import BuildTimedOut, SandboxError
from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tools import ToolKind
from pipeline_containers.system.command import CancelFlag
from pipeline_containers.system.deadline import Deadline
from pipeline_containers.system.scratch import scratch_folder

_log = logging.getLogger(__name__)

DEADLINE_S = 60.0
"""For the whole; what runs of the image itself has a shorter one."""


class ImageCheck:
    """Tries images as one kind of tool."""

    def __init__(
        self, sandbox: Sandbox, kind: ToolKind, folder: Path, on_trouble: Callable[[str], None]
    ) -> None:
        """`on_trouble` is told when it was this host that failed, not the image."""
        self._sandbox = sandbox
        self._kind = kind
        self._folder = folder
        self._on_trouble = on_trouble
        with scratch_folder(folder):
            pass  # a dead worker's trials go when another begins: now, not with the next version

    def prove(self, image: StoredImage, cancelled: CancelFlag) -> None:
        """Try an image.

        Raises `ImageInvalid` if it is no such tool, `SandboxError` if this host fails.
        """
        done = self._mark(image.digest)
        if done.exists():
            return
        try:
            self._try(image, cancelled)
        except SandboxError as error:
            self._on_trouble(f"{image.digest} could not be tried: {error}")
            raise
        with suppress(OSError):  # the mark saves time, no more
            done.touch()

    def forget(self, digest: str) -> None:
        """Let go of an image that is to be removed."""
        self._sandbox.forget(digest)
        self._mark(digest).unlink(missing_ok=True)

    def _try(self, image: StoredImage, cancelled: CancelFlag) -> None:
        deadline = Deadline(DEADLINE_S, cancelled)
        with scratch_folder(self._folder) as aside:
            # its fixtures were tried when it was built
            candidate = ImageCandidate(image, self._kind, None, aside)
            try:
                validate(candidate, self._sandbox, deadline, _log.debug)
            except BuildTimedOut as error:
                raise SandboxError(f"that took longer than {DEADLINE_S:g} s") from error

    def _mark(self, digest: str) -> Path:
        return self._folder / f"{self._kind.name}-{digest.replace(':', '-')}"
