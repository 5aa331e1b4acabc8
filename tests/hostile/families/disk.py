"""Programs that fill whatever can be written, or give it names that nobody expects."""

from hostile.case import Case

FOLDER = f"job folder of {16 << 20} bytes and 1000 files"
FULL = "No space left on device|I/O error"  # busybox says either

CASES = (
    Case("one big file", "head -c 100m /dev/zero > big", 403, (FOLDER, FULL)),
    Case(
        "one big file that grows slowly",
        "while head -c 256k /dev/zero >> big; do :; done",
        403,
        (FOLDER,),
    ),
    # What it filled is free again when it is dead: it has to be seen while it runs.
    Case(
        "one big file without a name",
        "exec 9> big; rm big; head -c 100m /dev/zero >&9; sleep 0.5; exit 1",
        403,
        (FOLDER, FULL),
    ),
    Case(
        "one big file without a name, and gone at once",
        "exec 9> big; rm big; head -c 100m /dev/zero >&9",
        (403, 513),
        (FULL,),
    ),
    Case("many small files", "i=0; while touch $i; do i=$((i+1)); done", 403, (FOLDER, FULL)),
    Case("many hard links", "i=0; while ln program $i; do i=$((i+1)); done", 403, (FOLDER, FULL)),
    Case("a deep tree", "while mkdir d && cd d; do :; done", 403, (FOLDER, FULL)),
    Case(
        "a tree deeper than a path can be long",
        "bomb tree 900; pass deep",
        says=("^900 folders", "^deep$"),
    ),
    Case(
        "names that nobody expects",
        "touch -- -rf '*' '$(reboot)' \"$(printf 'two\\nlines')\" \"$(printf '\\377\\376')\" ' ' "
        "\"$(printf '%0255d' 0)\" '~' '\\' \"$(printf '\\033[2J')\"; pass $(ls -A | wc -l) names",
        says=("names$",),
    ),
    Case("sparse files", "truncate -s 1099511627776 a b c && pass sparse", says=("^sparse$",)),
    Case(
        "sparse files written at their ends",
        "dd if=/dev/zero of=far bs=1 count=1 seek=8000000000000 && pass far",
        says=("^far$",),
    ),
    Case("/tmp full", "head -c 100m /dev/zero > /tmp/big; pass kept", says=(FULL, "^kept$")),
    Case(
        "/tmp full of small files",
        "cd /tmp; i=0; while touch $i; do i=$((i+1)); done; pass kept",
        says=(FULL, "^kept$"),
    ),
    Case("/dev full", "head -c 10m /dev/zero > /dev/big; pass kept", says=(FULL, "^kept$")),
    Case(
        "message queues",
        "i=0; while touch /dev/mqueue/$i; do i=$((i+1)); done; pass kept",
        says=("/dev/mqueue", "^kept$"),
    ),
    Case(
        "a job folder full, and a result that fits", "pass fits; head -c 100m /dev/zero > big; true"
    ),
    Case(
        "a place of the root file system",
        "for p in / /opt /bin /etc /mnt; do touch $p/new && echo got through; done\n"
        "for p in /opt/test-runner/bin/run.sh /bin/busybox /etc/passwd; do\n"
        "  echo x >> $p && echo got through; done; pass tried",
        says=("Read-only file system", "^tried$"),
    ),
)
