"""What a job is held against: the same tool over the same image, without the sandbox."""

import itertools
import json
import os
import queue
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pipeline_containers.images.image import ImageConfig, StoredImage
from pipeline_containers.sandbox.container import mounts
from pipeline_containers.sandbox.container.bundle import Bundle, runtime_config
from pipeline_containers.sandbox.container.identities import open_user_namespace
from pipeline_containers.sandbox.container.layers import mount_root
from pipeline_containers.sandbox.container.roots import Roots
from pipeline_containers.sandbox.container.seccomp import load_filter
from pipeline_containers.sandbox.container.users import User
from pipeline_containers.sandbox.host import cgroups
from pipeline_containers.sandbox.host.enforcement import host_ceilings
from pipeline_containers.sandbox.host.hierarchies import find_cgroup_mounts, find_hierarchies
from pipeline_containers.sandbox.host.id_ranges import FIRST_HOST_ID
from pipeline_containers.sandbox.host.ids import host_range
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.tools import JOB_FOLDER, TOOLS, tool_command, tool_program
from pipeline_containers.system.mountinfo import unmount

KIND = TOOLS["test_runner"]
SLUG = "two-fer"
SCRIPT = """\
#!/bin/sh
printf '{"version": 1, "status": "pass"}' > "$3results.json"
"""
LIMITS = Limits()
_BOXES = (996, 997, 998, 999)
"""Numbers of isolate's: it has 1,000, and whoever uses it begins at 0."""


def make_image(folder: Path) -> StoredImage:
    """Make an image of busybox with a tool that does next to nothing."""
    script = folder / KIND.folder.strip("/") / "bin/run.sh"
    script.parent.mkdir(parents=True)
    script.write_text(SCRIPT)
    script.chmod(0o755)
    (folder / "bin").mkdir()
    shutil.copy("/bin/busybox", folder / "bin/sh")
    folder.chmod(0o755)
    return StoredImage(digest="bench", layers=(folder,))


class Bare:
    """What `runc run` takes for the bundle that the sandbox makes; nothing else."""

    def __init__(self, folder: Path, image: StoredImage) -> None:
        self._folder = folder
        self._names = (f"bare-{number}" for number in itertools.count())
        self._bundles: dict[Path, None] = {}
        self._boxes: queue.SimpleQueue[int] = queue.SimpleQueue()
        for box in _BOXES:
            self._boxes.put(box)
        self._parent = f"/pipeline-bench-{os.getpid()}"
        namespace = open_user_namespace()
        self._roots = Roots(folder, host_range(FIRST_HOST_ID), namespace)
        root = self._roots.mount(image)
        self._root = folder / "mapped"
        self._root.mkdir()
        mount_root(root.layers, self._root, namespace)
        os.close(namespace)

    def bundle(self) -> Path:
        """Make a bundle, with an empty job folder; not part of what is measured."""
        place = self._folder / next(self._names)
        job = place / "job"
        job.mkdir(parents=True)
        first = FIRST_HOST_ID
        mounts.mount_job_folder(job, LIMITS, first, first)
        self._bundles[place] = None
        (place / "tmp").mkdir()
        tmp = mounts.mount_tmp(place / "tmp", LIMITS, first, (first, first), has_home=False)
        bundle = Bundle(
            root=self._root,
            job_folder=job,
            tmp=tmp,
            command=tool_command(tool_program(KIND, ImageConfig()), SLUG),
            cwd=KIND.folder,
            env=(),
            user=User(),
            cgroup=f"{self._parent}/{place.name}",
            ids=host_range(first),
            seccomp=load_filter(),
            swap_is_counted=cgroups.swap_is_counted(find_hierarchies(), "/"),
            ceilings=host_ceilings(),
        )
        (place / "config.json").write_text(json.dumps(runtime_config(bundle, LIMITS)))
        return place

    def discard(self, bundle: Path) -> None:
        """Unmount a bundle, outside of what is measured.

        A host's mounts are copied for every container, and read by runc several times: thousands of
        them, kept until the end, cost all sides more from round to round.
        """
        for name in ("job", "tmp"):
            if (bundle / name).is_mount():
                unmount(bundle / name)
        del self._bundles[bundle]

    def run(self, bundle: Path, runtime: str = "runc") -> None:
        """Run it."""
        state = str(self._folder / f"state-{runtime}")
        self._run([runtime, "--root", state, "run", "--bundle", str(bundle), bundle.name])

    def run_bwrap(self, bundle: Path) -> None:
        """Run the tool in what `bwrap` makes of it, in a folder of this user's own."""
        job = bundle / "plain"
        job.mkdir()
        places = ("--ro-bind", str(self._root), "/", "--bind", str(job), JOB_FOLDER)
        own = ("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp")
        limits = ("--unshare-all", "--die-with-parent", "--new-session", "--chdir", KIND.folder)
        tool = tool_command(tool_program(KIND, ImageConfig()), SLUG)
        self._run(["bwrap", *limits, *places, *own, *tool])

    def run_isolate(self, bundle: Path, *, with_cgroup: bool) -> None:
        """Run it in a box of `isolate`, as those who use it do: made and removed for one job."""
        box = self._boxes.get()
        call = ["isolate", f"--box-id={box}", *(["--cg"] if with_cgroup else [])]
        held = (f"--wall-time={LIMITS.wall_s}", f"--processes={LIMITS.pids}", "--silent")
        memory = f"--cg-mem={LIMITS.memory_bytes >> 10}"
        places = (f"--dir={name}={self._root / name}" for name in ("bin", "opt"))
        script = f"{KIND.folder}/bin/run.sh"
        try:
            self._run([*call, "--init"])
            limits = [*held, *([memory] if with_cgroup else [])]
            self._run([*call, *limits, *places, "--run", "--", script, SLUG, "/box/", "/box/"])
            self._run([*call, "--cleanup"])
        finally:
            self._boxes.put(box)

    def others(self) -> Iterator[tuple[str, Callable[[Path], None]]]:
        """List what can run a bundle here without the sandbox."""
        yield "bare", self.run
        if shutil.which("crun") and "memory" not in find_cgroup_mounts():
            yield "crun", partial(self.run, runtime="crun")
        if shutil.which("bwrap"):
            yield "bwrap", self.run_bwrap
        if shutil.which("isolate"):
            yield "isolate", partial(self.run_isolate, with_cgroup=_isolate_has_cgroups())

    @staticmethod
    def _run(command: list[str]) -> None:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)

    def close(self) -> None:
        """Unmount everything."""
        for bundle in list(self._bundles):
            self.discard(bundle)
        unmount(self._root)
        self._roots.close()
        cgroups.remove_tree(find_hierarchies(), self._parent)


def _isolate_has_cgroups() -> bool:
    """Return whether its box can have a cgroup here: that takes version 2, and its keeper."""
    call = ["isolate", f"--box-id={_BOXES[0]}", "--cg"]
    done = subprocess.run([*call, "--init"], capture_output=True, check=False)
    subprocess.run([*call, "--cleanup"], capture_output=True, check=False)
    return done.returncode == 0
