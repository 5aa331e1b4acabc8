"""Programs that multiply."""

from hostile.case import Case

PROCESSES = "64 processes and threads"

FORKED = (401, 403)
"""What is forked and refused without a pause may take the memory too."""

CASES = (
    Case("a fork bomb", "bomb forks", FORKED, (PROCESSES,), wall_s=1),
    Case(
        "a fork bomb of shells",
        "b() { b | b & }; b & while :; do :; done",
        FORKED,
        (PROCESSES,),
        wall_s=1,
    ),
    Case("a fork bomb that is left alone", "bomb forks & sleep 0.3; exit 1", 403, (PROCESSES,)),
    Case("a thread bomb", "bomb threads", 401, ("threads, then EAGAIN", PROCESSES), wall_s=1),
    Case("children that stay", "bomb children", 401, ("then EAGAIN", PROCESSES), wall_s=1),
    Case("zombies", "bomb zombies", 401, ("zombies, then EAGAIN", PROCESSES), wall_s=1),
    Case(
        "orphans that nobody waits for",
        "i=0; while [ $i -lt 40 ]; do (setsid true &); i=$((i+1)); done; pass $i",
        says=("^40$",),
    ),
    Case(
        "no process left to have, and a tool that copes",
        "(bomb children > said &); while [ ! -s said ]; do :; done; printf '%s' "
        '\'{"version": 1, "status": "pass", "message": "coped"}\' > results.json',
        says=("^coped$",),
    ),
)
