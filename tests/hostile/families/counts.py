"""Programs that use up what the kernel counts for a whole user, or for the whole host."""

from hostile.case import BUSY, Case

_OF_USERS = {
    "inotify instances": "instances",
    "pipes of full size": "pipes",
    "sent files": "flying",
}
BY_USER = tuple(f"{what}, beside one that has them all" for what in _OF_USERS)
"""What the kernel counts by user, each of which the jobs of a worker without root are one for."""

CASES = (
    # 96,000 for the host's root and all jobs together
    Case("timers", "bomb timers; pass tried", says=("^10[0-2]\\d timers, then EAGAIN", "^tried$")),
    Case(
        "signals that wait",
        "bomb signals; pass tried",
        says=("^10[0-2]\\d queued signals, then EAGAIN", "^tried$"),
    ),
    # 819,200 bytes of them for the same
    Case(
        "message queues",
        "bomb queues; pass tried",
        says=("^0 message queues, then EMFILE", "^tried$"),
    ),
    # 3,071 of all jobs
    Case(
        "terminals",
        "bomb terminals; pass tried",
        says=("^16 terminals, then ENOSPC", "^tried$"),
    ),
    *(
        Case(
            name,
            f"count {kind} 100; pass tried",
            says=(f"^enough {kind}$", "^tried$"),
            beside=f"count hold {kind} > all &\n"
            "until grep -q then all; do sleep 0.01; done\n"
            f"touch {BUSY}; while [ -e {BUSY} ]; do sleep 0.01; done; pass",
            wall_s=8,
        )
        for name, kind in zip(BY_USER, _OF_USERS.values(), strict=True)
    ),
    Case(
        "locks of records",
        "for i in 1 2 3; do bomb records 1000000 & done; wait; pass tried",
        403,
        ("10000 locks on files",),
        wall_s=20,
    ),
    Case(
        "locks of records, by processes that are gone and files that stay",
        "bomb orphans; pass tried",
        says=("^0 orphans, then (EPERM|ENOSYS)$", "^tried$"),
    ),
    Case(
        "locks of records, by open files",
        "neighbour try file / /bin /etc; pass tried",
        says=("^0 of 3 taken$", "EINVAL", "^tried$"),
    ),
    Case("locks that a tool may well have", "bomb records 5000; pass fine", says=("^fine$",)),
)
