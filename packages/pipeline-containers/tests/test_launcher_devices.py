"""Devices in version 2 of cgroups, by runc and by the native launcher, on hosts that have both.

In a mount namespace, where version 2 is all that is seen. Its controllers are version 1's, so that
nothing limits memory; but both attach their device filters, as on a host with version 2 alone.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_containers.sandbox.host.hierarchies import UNIFIED, find_cgroup_mounts

pytestmark = pytest.mark.e2e

PROGRAM = """
import json, os, stat, sys
from pathlib import Path
from pipeline_containers.sandbox import sandbox as module, side_by_side
from pipeline_containers.sandbox.host.cgroup_root import CONTROLLERS, CgroupRoot
from pipeline_containers.sandbox.host.hierarchies import (
    PLACE, UNIFIED, Hierarchies, parse_own_cgroups)

work, first = Path(sys.argv[1]), int(sys.argv[2])
nodes = []
numbers = [*((1, minor) for minor in range(3, 12)), (5, 0), (5, 2), (10, 200), (60, 0), (60, 1),
           *((136, minor) for minor in range(3)), (137, 0)]
for kind, letter in ((stat.S_IFCHR, "c"), (stat.S_IFBLK, "b")):
    for major, minor in numbers:
        node = work / f"{letter}-{major}-{minor}"
        os.mknod(node, kind | 0o666, os.makedev(major, minor))
        nodes.append((node, kind, os.makedev(major, minor)))

def tried(folder):
    '''Open and make files of devices as a process of a cgroup; what the kernel says of each.'''
    read, write = os.pipe()
    if not os.fork():
        (folder / "cgroup.procs").write_text("0")
        answers = {}
        for node, kind, device in nodes:
            for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
                try:
                    os.close(os.open(node, flags | os.O_NOCTTY | os.O_NONBLOCK))
                    error = 0
                except OSError as caught:
                    error = caught.errno
                answers[f"{node.name} {flags}"] = error
            try:
                os.mknod(work / "made", kind, device)
                os.unlink(work / "made")
                answers[f"{node.name} made"] = 0
            except OSError as caught:
                answers[f"{node.name} made"] = caught.errno
        os.write(write, json.dumps(answers).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as said:
        return json.load(said)

def root(name, parent):
    (PLACE / name).mkdir()
    missing = dict.fromkeys(CONTROLLERS, "they are version 1's")
    return CgroupRoot(Hierarchies({UNIFIED: PLACE}), f"/{name}", missing, "version 2")

from_host, seen = side_by_side._from_host, []
def looked(pid):
    found = from_host(pid)
    cgroup = parse_own_cgroups(Path(f"/proc/{pid}/cgroup").read_text())[UNIFIED]
    seen.append((found["device filter"], tried(PLACE / cgroup.strip("/"))))
    return found

side_by_side._from_host, module.open_cgroup_root = looked, root
free = tried(PLACE)
with module.Sandbox(work / "sandbox", launcher="native", first_host_id=first,
                    allow_unenforced=CONTROLLERS) as sandbox:
    passed = sandbox.self_test().succeeded
    sandbox.settle()
    left = [str(folder) for folder in sandbox.cgroup_root.folders()[0].glob("job-*")]
    launcher = sandbox.launcher
print(json.dumps([launcher, passed, left, free, seen]))
"""
EPERM = 1


@pytest.mark.parametrize("propagation", ["private", "shared"])
def test_both_containers_may_use_the_same_devices(
    work: Path, first_host_id: int, propagation: str
) -> None:
    """Where mounts are the host's alone, and where they are shared, as by systemd."""
    mounts = find_cgroup_mounts()
    if UNIFIED not in mounts or "memory" not in mounts:
        pytest.skip("not a host with both versions; on one with version 2 all tests do this")
    script = """
umount -R /sys/fs/cgroup
mount --make-r$0 /
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec "$@"
"""
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, propagation]
    program = [sys.executable, "-c", PROGRAM, str(work), str(first_host_id)]
    done = subprocess.run([*command, *program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    launcher, passed, left, free, seen = json.loads(done.stdout)
    assert launcher == "native"
    assert passed
    assert left == []
    assert len(seen) == 4  # strict and loose, by each
    assert {programs for programs, _ in seen} == {"1 with flags 2"}
    assert all(answers == seen[0][1] for _, answers in seen)
    refused = {name for name, error in seen[0][1].items() if error == EPERM}
    assert all(free[name] != EPERM for name in refused)
    assert {name for name in refused if name.startswith("c-1-")} == {
        f"c-1-{minor} {flags}" for minor in (4, 6, 10, 11) for flags in range(3)
    }
    assert {f"c-60-0 {flags}" for flags in range(3)} < refused
    assert {f"b-1-3 {flags}" for flags in range(3)} < refused
    assert not any(name.endswith("made") for name in refused)
