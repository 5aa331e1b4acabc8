"""Runs of an image that is not released yet."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pipeline_containers.images.image import StoredImage
from pipeline_containers.sandbox.result.report import RunReport
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.system.deadline import Deadline


@dataclass(frozen=True, slots=True)
class Trials:
    """Runs of a candidate, under a name that no other run of the image has."""

    image: StoredImage
    sandbox: Sandbox
    deadline: Deadline

    def run(self, run: ToolRun) -> RunReport:
        """Run it; raises when the build's time is up, or when it is cancelled."""
        left_s = self.deadline.left_s()
        if self.deadline.cancelled is not None:
            run = replace(run, cancelled=self.deadline.cancelled)
        wall_s = min(run.limits.wall_s, left_s)
        run = replace(run, limits=replace(run.limits, wall_s=wall_s), is_trial=True)
        report = self.sandbox.run(run)
        self.deadline.left_s()
        return report


@contextmanager
def open_trials(image: StoredImage, sandbox: Sandbox, deadline: Deadline) -> Iterator[Trials]:
    """Try an image for as long as the block lasts; nothing of it stays mounted."""
    own = replace(image, digest=f"candidate:{uuid.uuid4()}")
    try:
        yield Trials(own, sandbox, deadline)
    finally:
        sandbox.forget(own.digest)
