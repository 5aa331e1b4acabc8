"""Programs that do not end, or do not end alone."""

from hostile.case import Case
from support.pace import paced

OVER = f"wall time of {paced(0.5):g} s"

CASES = (
    Case("a busy loop", "while :; do :; done", 401, (OVER,), wall_s=0.5),
    Case("a long sleep", "sleep 600", 401, (OVER,), wall_s=0.5),
    Case("signals trapped", "trap '' TERM INT HUP QUIT; sleep 600", 401, (OVER,), wall_s=0.5),
    Case("every signal ignored", "exec bomb deaf", 401, (OVER,), wall_s=0.5),
    Case("stopped by itself", "sleep 600 & kill -STOP $!; wait", 401, (OVER,), wall_s=0.5),
    Case("standard streams closed", "exec <&- >&- 2>&-; sleep 600", 401, (OVER,), wall_s=0.5),
    Case(
        "a child in a session of its own",
        "setsid sh -c 'trap \"\" HUP TERM; sleep 600' & sleep 600",
        401,
        (OVER,),
        wall_s=0.5,
    ),
    Case(
        "a reader of an empty FIFO",
        "mkfifo fifo; cat fifo",
        401,
        (OVER,),
        wall_s=0.5,
    ),
    # With a result, a run that waited for the daemon would be a 200 too: so there is none.
    Case("a daemon that outlives its parent", "setsid sleep 600 & exit 7", 513, ("status 7",)),
    Case(
        "a grandchild that ignores signals",
        "sh -c 'bomb deaf & exit 0'; exit 7",
        513,
        ("status 7",),
    ),
    Case("a result, and then no end", "pass done; sleep 600", says=("^done$",), wall_s=0.5),
    Case("killing everything in reach", "sleep 600 & kill -9 -1; pass alive", says=("^alive$",)),
    Case(
        "more time than the ceiling",
        "sleep 600",
        401,
        (f"wall time of {paced(1):g} s",),
        wall_s=1,
        asked_s=86_400,
        track="hasty",
    ),
)
