"""What one job can see of the one before it."""

from hostile.case import Case

LOOK = "find /tmp /dev/shm /dev/mqueue -mindepth 1; ls -A; ps; pass looked"
CASES = (
    Case(
        "files in every place that can be written",
        LOOK,
        says=("^looked$",),
        hides=("relic",),
        before="for p in . /tmp /dev/shm /dev/mqueue /dev; do touch $p/relic; done; pass",
    ),
    Case(
        "processes",
        "ps; ls -d /proc/[0-9]*; pass looked",
        says=("looked",),
        hides=("relic",),
        before="for i in 1 2 3; do setsid sh -c ': relic; sleep 600' & done; pass",
    ),
    Case(
        "abstract sockets",
        "reach abstract relic; cat /proc/net/unix; pass",
        says=("abstract: ECONNREFUSED",),
        hides=("relic", "got through"),
        before="setsid reach offer relic & sleep 0.2; pass",
    ),
    Case(
        "System V segments",
        "cat /proc/sysvipc/shm; pass",
        says=("shmid",),
        hides=(r"^ +\d",),
        before="bomb segment 4; pass",
    ),
    Case(
        "the image, which it may have changed",
        "ls / /opt/test-runner /bin | grep relic; cat /opt/test-runner/bin/run.sh; pass looked",
        says=('cd "\\$2"',),
        hides=("relic",),
        before="for p in / /opt/test-runner /bin; do touch $p/relic; done\n"
        "echo relic >> /opt/test-runner/bin/run.sh; pass",
    ),
    Case(
        "a result that it left",
        "true",
        514,
        ("is missing",),
        before="pass got through",
    ),
    Case(
        "a whole job folder, mounted away and left busy",
        "ls -A; mount | grep -c exercism; pass looked",
        says=("program\n1\n",),
        before="(cd $2; exec 9> held; setsid sleep 600 <&9 &); exit 1",
    ),
)
