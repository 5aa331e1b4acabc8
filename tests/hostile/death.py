"""A worker's death, at any step that it takes, and its rising again."""

import os
from pathlib import Path

from hostile.lab import HostileLab
from hostile.traces import Traces
from support.leftovers import sandbox_cgroups

DYING = Path(__file__).parent / "dying"


class Death:
    """Has an lab's worker die by `dying/sitecustomize.py`; knows the steps that it takes."""

    def __init__(self, lab: HostileLab) -> None:
        self._arena = lab
        self._folder = lab.own.folder / "dying"
        self._folder.mkdir()

    def environment(self) -> dict[str, str]:
        """Give what has a worker count its steps."""
        run = self._arena.worker_folder / "run"
        watched = {str(run), *(path.name for path in sandbox_cgroups(run))}
        return {
            "PYTHONPATH": os.pathsep.join([str(DYING), os.environ.get("PYTHONPATH", "")]),
            "PIPELINE_DYING": str(self._folder),
            "PIPELINE_STEPS": os.pathsep.join(watched),
        }

    def steps(self) -> list[str]:
        """List all that was taken so far, by all its lives."""
        return (self._folder / "steps").read_text().splitlines()

    def comes_after(self, steps: int) -> None:
        """Have it come when the worker has taken so many steps more."""
        aside = self._folder / "kill.new"
        aside.write_text(str(steps))
        aside.rename(self._folder / "kill")

    def rise(self, wanted: Traces) -> None:
        """Start the dead worker again; everything has to be as it was."""
        self._arena.worker.wait()
        last = self.steps()[-1]
        (self._folder / "kill").unlink(missing_ok=True)
        self._arena.start_worker()
        assert self._arena.settle(wanted) == wanted, f"it died at {last}"
