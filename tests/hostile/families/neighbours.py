"""What one job can see, or be in the way, of another of the same image that runs beside it."""

from hostile.case import BUSY, Case

RUN = "/opt/test-runner/bin"
IMAGE = f"/ /bin /etc /etc/passwd /etc/hosts /bin/busybox {RUN} {RUN}/run.sh"
OTHERS = "/tmp /dev/shm /proc /proc/version /proc/sys/kernel/osrelease /sys /sys/kernel"
DEVICES = "/dev /dev/null /dev/zero /dev/urandom /dev/pts"
CGROUP = "/sys/fs/cgroup/*.procs /sys/fs/cgroup/*/*.procs"
"""In version 2 and 1. Its counters are read by the worker, and a job may notice that."""
HIDDEN = "/proc/keys /proc/kcore /proc/locks"
"""A device's file is mounted over each."""

_PLACES = {"files of the image": IMAGE, "other places": OTHERS, "devices": DEVICES}
_PLACES["its cgroup"] = CGROUP
_LOCKS = {
    "a lock of the whole file": ("flock", _PLACES),
    "a lock of a record": ("record", _PLACES),
    # of files that no program of its own has open
    "a lease": ("lease", {"files of the image": "/etc/passwd /etc/group /call-as-root"}),
}
OF_DEVICES = (
    "watching, of devices",
    "watching, of what is hidden",
    "a lock of the whole file, of devices",
    "a lock of a record, of devices",
)
"""Jobs of a worker that is not the host's root have the host's own."""

STAY = f"""\
until grep -q taken taken; do sleep 0.01; done
touch {BUSY}
while [ -e {BUSY} ]; do sleep 0.01; done
pass"""

CASES = (
    *(
        Case(
            f"watching, of {name}",
            f"neighbour watch {places}; pass watched",
            says=("^it can watch$", "^watched$"),
            beside=f"touch {BUSY}; while [ -e {BUSY} ]; do for p in {places}; do\n"
            "  if [ -d $p ]; then ls -la $p; else head -c 1 $p; fi\n"
            "done > out 2>&1; head -c 1 /dev/urandom > /dev/null; sleep 0.05; done; pass",
            wall_s=8,
        )
        for name, places in {**_PLACES, "what is hidden": HIDDEN}.items()
    ),
    *(
        Case(
            f"{what}, of {name}",
            f"neighbour try {kind} {places}; pass tried",
            says=("^tried$", r"^[1-9]\d* of \d+ taken$"),
            beside=f"neighbour hold {kind} {places} > taken &\n" + STAY,
            wall_s=8,
        )
        for what, (kind, each) in _LOCKS.items()
        for name, places in each.items()
    ),
    Case(
        "the list of locks",
        "cat /proc/locks; pass looked",
        says=("^looked$",),
        hides=("ADVISORY",),
        beside=f"neighbour hold file {IMAGE} > taken &\n" + STAY,
    ),
)
