"""Programs that use up what the kernel counts for a whole user, or for the whole host."""

from hostile.case import Case

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
)
