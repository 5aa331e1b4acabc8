"""What a job does with all that a kind or a track can be given, and what is still closed to it.

`INSTEAD` is THE table of the families' cases that end otherwise then: by family and name.
"""

from dataclasses import replace
from typing import Any

from hostile.case import Case, refused
from hostile.families import FAMILIES

LIMITS = "writable_root: 16MiB, ptrace: true, root_capabilities: true"
"""All of them, as they are configured."""
ROOT = f"writable root of {16 << 20} bytes and 1000 files"
FULL = "No space left on device|I/O error"

OWN = (
    Case("every process but its own", "trace everybody; pass tried", says=("^0 found$",), wall_s=8),
    Case(
        "another container's process, beside it",
        "trace everybody; pass tried",
        says=("^0 found$",),
        beside="touch busy; while [ -e busy ]; do sleep 0.01; done; pass",
        wall_s=8,
    ),
    Case(
        "a call that a tracer changes after the filter",
        "trace calls; pass tried",
        says=("^5 changed$", "(?s)(forbidden: EPERM.*){5}"),
    ),
    Case("a filter that a tracer suspends", "trace suspend; pass tried", says=("^suspend: E",)),
    Case("a filter that a tracer reads", "trace filter; pass tried", says=("^filter: E",)),
    Case(
        "a set-user-ID program under a tracer",
        "trace program /call-as-root geteuid; cat /secret; pass tried",
        says=(r"geteuid.*\(1000\)", "Permission denied"),
        hides=(r"\(0\)",),
        track="unprivileged",
    ),
    Case(
        "locks of a tracer that is gone",
        "trace tracer; pass tried",
        says=("^locks of a tracer: ENOLCK$", "^tried$"),
    ),
    Case(
        "ids that are not the container's",
        "for id in 65536 100000 1879048192 4294967294; do\n"
        "chown $id program && echo got through; chgrp $id program && echo got through\n"
        "as $id true && echo got through; done; pass tried",
        says=("Invalid argument", "as: EINVAL", "^tried$"),
    ),
    Case(
        "files that are the host's",
        "for p in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/kernel/uevent_helper\n"
        "do chown 0 $p && echo got through; chmod 777 $p && echo got through\n"
        "[ -c $p ] && continue # hidden: what is there is the null device\n"
        "echo x >> $p && echo got through; done 2>&1; pass tried",
        says=("Read-only file system|Operation not permitted|Permission denied", "^tried$"),
    ),
    Case(
        "devices and whiteouts",
        "for p in /x $2/x /tmp/x /dev/x; do mknod $p b 8 0 && echo got through\n"
        "mknod $p c 1 1 && echo got through; done\n"
        "mknod /x c 0 0 && echo got through; pass tried",
        says=("Operation not permitted", "^tried$"),
    ),
    refused(
        "an overlay's own attributes",
        {
            "setxattr /etc/passwd trusted.overlay.opaque y 1 0": "EPERM",
            "setxattr /etc trusted.overlay.redirect /secret 7 0": "EPERM",
            "setxattr /bin/call security.capability @20 20 0": "E(PERM|INVAL)",
        },
    ),
    Case(
        "a set-user-ID program of its own",
        "chmod 711 $2; for p in /own $2/own /tmp/own; do cp /bin/call $p; chmod 6755 $p; ls -l $p\n"
        "as 1000 $p geteuid; done; pass tried",
        says=("-rwsr-sr-x", r"(?s)(geteuid: got through \(1000\).*){3}"),
        hides=(r"\(0\)",),
    ),
    Case(
        "rights once it is somebody else",
        "as 1000 grep -E '^Cap(Prm|Eff|Amb)' /proc/self/status; as 1000 chown 1 program && "
        "echo got through; as 1000 cat /secret; as 1000 as 0 true; pass tried",
        says=(*(rf"Cap{kind}:\t0{{16}}\n" for kind in ("Prm", "Eff", "Amb")), "as: EPERM"),
    ),
    Case("the root full", "head -c 100m /dev/zero > /big; exit 1", 403, (ROOT, FULL)),
    Case(
        "the root full of a file without a name",
        "exec 9> /big; rm /big; head -c 100m /dev/zero >&9; sleep 0.5; exit 1",
        403,
        (ROOT, FULL),
    ),
    Case("the root full of files", "i=0; while touch /$i; do i=$((i+1)); done", 403, (ROOT, FULL)),
    Case("the root full of links", "i=0; while ln /secret /$i; do i=$((i+1)); done", 403, (ROOT,)),
    Case(
        "the root full of whiteouts",
        "for p in /bin/*; do case $p in */rm|*/busybox|*/sh) ;; *) rm $p;; esac; done; echo '{}'",
        (403, 514),
    ),
    Case(
        "the root full of copies of the image's",
        "i=0; while cp /bin/busybox /copy$i; do i=$((i+1)); done; exit 1",
        403,
        (ROOT,),
    ),
    Case("a sparse file over the root", "truncate -s 1T /a /b; pass sparse", says=("^sparse$",)),
    Case(
        "the image, changed by the one before",
        "cat /etc/passwd; ls /; pass looked",
        says=("^looked$",),
        hides=("relic",),
        before="echo relic >> /etc/passwd; touch /relic; pass",
    ),
    Case(
        "a result that is somebody else's",
        "pass kept; chown 7:8 . results.json; chmod 0 . results.json",
        says=("^kept$",),
    ),
    # if nothing but each user's own were counted: 2,048,000 and 256,000
    Case(
        "what is counted by user, of many users",
        "users 2000; pass tried",
        says=(r"^\d{1,6} signals of 2000 users$", r"^\d{1,5} instances of 2000 users$"),
        wall_s=10,
    ),
)
"""What is ours to try of each."""

_CALLS = refused(
    "other processes",
    {
        "pidfd_getfd 0 0 0": "EPERM",
        "kcmp 1 1 0 0 0": "EPERM",
        "setpriority 0 0 -20": "EACCES",
        "sched_setscheduler 0 1 @4": "EINVAL",
    },
)
_NO_RECORDS: dict[str, Any] = {"says": (r"^0 of \d+ taken$", "no record on .*: ENOLCK", "^tried$")}
_SIX = "0{14}db"
INSTEAD: dict[str, dict[str, dict[str, Any]]] = {
    "counts": {
        "locks of records": {
            "program": "timeout 1 bomb records 1000000; neighbour try record /tmp; pass tried",
            "code": 200,
            **_NO_RECORDS,
        },
        "locks that a tool may well have": {
            "program": "neighbour try record . program /tmp; pass tried",
            **_NO_RECORDS,
        },
    },
    "disk": {
        # it is this job's alone: the next one, and the one beside it, see nothing of it
        "a place of the root file system": {"says": ("^tried$",), "hides": ("Read-only",)},
    },
    "privileges": {
        # what it writes over them is this job's alone, as all of its root is
        "names of hosts": {"says": ("^tried$",), "hides": ()},
        # the first process that it traces is its own: it stops itself
        "other processes": {"program": _CALLS.program, "says": _CALLS.says},
        "identities that nobody has": {
            "says": ("^setuid: EINVAL$", "^setgid: EINVAL$", "^setuid: got through"),
            "hides": (),
        },
        "owners changed": {
            "program": "for p in program /tmp; do chown 70000 $p && echo got through\n"
            "chgrp 65536 $p && echo got through; done; pass tried",
            "says": ("Invalid argument", "^tried$"),
        },
        "an identity of one's choice": {"says": (r"uid=0\(root\)", "^tried$"), "hides": ()},
        "what it is": {
            "says": (
                *(rf"Cap{kind}:\t{_SIX}\n" for kind in ("Prm", "Eff", "Bnd")),
                *(rf"Cap{kind}:\t0{{16}}\n" for kind in ("Inh", "Amb")),
                "NoNewPrivs:\t1\n",
                "Seccomp:\t2\n",
            ),
        },
    },
    "neighbours": {
        f"a lock of a record, of {what}": _NO_RECORDS
        for what in ("files of the image", "other places", "devices", "its cgroup")
    },
}
"""By family and name, what of a case is other."""


def cases() -> dict[str, tuple[Case, ...]]:
    """Return all families as they have to end, and our own."""
    found = {}
    for family, own in FAMILIES.items():
        other = INSTEAD.get(family, {})
        assert set(other) <= {case.name for case in own}
        found[family] = tuple(replace(case, **other.get(case.name, {})) for case in own)
    return found | {"loosened": OWN}
