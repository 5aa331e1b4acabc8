"""Programs that take more memory than they may, of every kind that there is."""

from hostile.case import Case

MEMORY = f"memory of {64 << 20} bytes"

TOO_MUCH = r"([2-9]\d\d|\d{4}) MiB"
"""Of what a job has in its sockets: three times as much as it may have in all, or more."""

CASES = (
    # A child dies of it, and the tool exits with 0: the exit status tells nothing.
    Case("memory touched", "bomb touched 256; exit 0", 403, (MEMORY,)),
    Case("memory touched by the first process", "exec bomb touched 256", 403, (MEMORY,)),
    Case("shared memory", "bomb shared 256; exit 0", 403, (MEMORY,)),
    Case("a file in memory", "bomb memfd 256; exit 0", 403, (MEMORY,)),
    Case("a System V segment", "bomb segment 256; exit 0", 403, (MEMORY,)),
    Case("full pipes", "bomb pipes; exit 0", 403, (MEMORY,)),
    Case("full socket buffers", "bomb sockets; exit 0", 403, (MEMORY,)),
    *(
        Case(
            f"{name}, by {processes} processes",
            f"for i in $(seq {processes}); do bomb {bomb} & done; wait; sleep 0.1; pass held",
            (200, 403),
            (f"(?s)\\A(?!.*{TOO_MUCH})",),
            wall_s=20,
        )
        # version 1 ends the job; version 2 has the sockets take no more
        for name, bomb in (("full connections", "tcp 400"), ("unread datagrams", "udp 1000"))
        for processes in (1, 8)
    ),
    Case(
        "messages to the kernel, which nobody would count",
        "bomb netlink 1000; pass tried",
        says=("^0 MiB in 0 sockets", "^tried$"),
    ),
    Case("a file in /dev/shm", "head -c 200m /dev/zero > /dev/shm/big; exit 0", 403, (MEMORY,)),
    Case(
        "a file in /dev/shm that has no name",
        "exec 9> /dev/shm/big; rm /dev/shm/big; head -c 200m /dev/zero >&9; exit 0",
        403,
        (MEMORY,),
    ),
    Case(
        "children with a little each",
        "for i in 1 2 3 4 5 6 7 8; do\n"
        "  (x=$(head -c 16m /dev/zero | tr '\\0' x); sleep 1) & done; wait; exit 0",
        403,
        (MEMORY,),
        wall_s=20,  # a shell is slow to fill its memory
    ),
    Case(
        "an endless line in a shell",
        "x=$(tr '\\0' x < /dev/zero); exit 0",
        403,
        (MEMORY,),
        wall_s=20,
    ),
    Case(
        "a killed child, and a tool that copes", "bomb touched 256; pass coped", says=("^coped$",)
    ),
    Case("memory for a moment, within the limit", "bomb touched 40; pass", says=("40 of them",)),
)
