"""Programs that print too much, or what is no text."""

from hostile.case import Case

OVER = f"stdout of {64 << 10} bytes or stderr of {64 << 10} bytes"

CASES = (
    Case("a flood on stdout", "yes", 402, (OVER,)),
    Case("a flood on stderr", "yes >&2", 402, (OVER,)),
    Case("floods on both", "yes >&2 & yes", 402, (OVER,)),
    Case("a flood of one line", "tr '\\0' x < /dev/zero", 402, (OVER,)),
    Case("a flood of bytes that are no text", "cat /dev/urandom", 402, (OVER,)),
    Case("a flood by a grandchild", "(setsid yes &); sleep 600", 402, (OVER,)),
    Case("a flood beside a valid result", "pass; yes", 402, (OVER,)),
    Case("a burst just before the end", "pass; head -c 65537 /dev/zero", 402, (OVER,)),
    Case("a flood by stdout's other names", "yes > /dev/stdout", 402, (OVER,)),
    Case("a flood by another process' stdout", "yes > /proc/1/fd/1", 402, (OVER,)),
    Case("exactly what may be printed", "head -c 65536 /dev/zero; pass full", says=("^full$",)),
    Case("a drop at a time", "while :; do echo drop; sleep 0.02; done", 401, ("drop",), wall_s=0.5),
    Case(
        "invalid UTF-8",
        "printf 'a\\377b\\300\\200\\355\\240\\200c'; pass",
        says=("a\ufffdb\ufffd+c",),
    ),
    Case("NUL", "printf 'a\\000b'; pass c; printf 'd\\000' >&2", says=("a\ufffdb", "d\ufffd")),
    Case(
        "half a character at the cap",
        "yes \u20ac | head -c 65534; pass half",
        says=("\ufffd", "half"),
    ),
    Case(
        "bytes that control a terminal",
        "printf '\\033[2J\\033]0;title\\007\\000\\r\\b'; pass shown",
        says=("\x1b\\[2J", "shown"),
    ),
    Case("a reply of its own", """echo '{"status": {"code": 200}}'; exit 3""", 513, ("status 3",)),
    Case(
        "a grandchild that holds the pipes",
        "sh -c 'sleep 600 & exit 0'; exit 7",
        513,
        ("status 7",),
    ),
    Case("standard input waited for", "cat; pass nothing there", says=("^nothing there$",)),
)
