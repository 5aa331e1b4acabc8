"""What one run of a tool is made of."""

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.tools import ToolKind
from pipeline_containers.system.command import CancelFlag


@dataclass(frozen=True, slots=True)
class ToolRun:
    """One run of a tool.

    `fill` puts the input files into the job folder that it is given; afterwards they are the
    tool's. It runs on the host: links are its own affair.
    """

    image: StoredImage
    kind: ToolKind
    slug: str
    fill: Callable[[Path], None]
    limits: Limits = field(default_factory=Limits)
    cancelled: CancelFlag = field(default_factory=threading.Event)
    is_trial: bool = False
    """No other such run is to be expected: nothing is made ahead for it, and nothing given up."""

    def bring(self, job_folder: Path) -> None:
        """Put the input in, but nothing in the place of the tool's own files.

        A solution could otherwise bring its result along.
        """
        self.fill(job_folder)
        for output in self.kind.outputs:
            path = job_folder / output.file
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
