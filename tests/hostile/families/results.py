"""Programs that leave something else than the result that is asked for."""

from hostile.case import Case

PASSED = '{"version": 1, "status": "pass", "message": "got through"}'


def bad(name: str, program: str, problem: str) -> Case:
    """Make a case of a tool that exits with 0, and whose result is of no use."""
    return Case(name, program, 514, (f"results.json {problem}",), ("got through", "root:"))


def written(name: str, content: str, problem: str) -> Case:
    """Make a case of a result with this content."""
    return bad(name, "cp content results.json", problem).with_files(content=content)


CASES = (
    bad("none", "true", "is missing"),
    bad("huge", "yes '{}' | head -c 600000 > results.json", "is larger than"),
    bad("sparse", "truncate -s 1099511627776 results.json", "is larger than"),
    bad("a link to /etc/passwd", "ln -s /etc/passwd results.json", "is a link"),
    bad("a link to a process' own memory", "ln -s /proc/self/mem results.json", "is a link"),
    bad("a link to an open file", "ln -s /proc/self/fd/0 results.json", "is a link"),
    bad("a link to a folder above", "ln -s ../../../../etc/passwd results.json", "is a link"),
    bad("a link to a valid result", f"echo '{PASSED}' > a; ln -s a results.json", "is a link"),
    bad("a link to itself", "ln -s results.json results.json", "is a link"),
    bad("a link to nothing", "ln -s nothing results.json", "is a link"),
    bad("a FIFO", "mkfifo results.json", "is not a regular file"),
    bad("a FIFO that is written to", "mkfifo results.json; echo > results.json &", "is not a reg"),
    bad("a socket", "reach leave results.json", "is not a regular file"),
    bad("a folder", "mkdir results.json", "is not a regular file"),
    bad("a device", "mknod results.json c 1 5; true", "is missing"),
    bad("a hard link to a host's file", "ln /etc/passwd results.json; true", "is missing"),
    bad(
        "a folder in the place of the job's",
        "rm -rf $2; mv $2 /tmp/x; ln -s /etc $2; true",
        "is missing",
    ),
    bad("nothing at all", ": > results.json", ""),
    bad("bytes that are no text", "printf '\\377\\376{' > results.json", "is not UTF-8"),
    bad("bytes of UTF-16", "printf '\\377\\376{\\0}\\0' > results.json", "is not UTF-8"),
    bad("an archive", "tar cz program > results.json", "is not UTF-8"),
    bad(
        "a depth bomb", "head -c 400000 /dev/zero | tr '\\0' '[' > results.json", "nests too deeply"
    ),
    bad(
        "a depth bomb of objects",
        """yes '{"a":' | head -n 60000 | tr -d '\\n' > results.json""",
        "nests too deeply",
    ),
    written("a bomb that is closed again", "[" * 5000 + "]" * 5000, "nests too deeply"),
    written("half a result", PASSED[:-9], ""),
    written("a result and more", PASSED + "{}", ""),
    written("a list", f"[{PASSED}]", "is not a JSON object"),
    written("a word", '"pass"', "is not a JSON object"),
    written("NaN", '{"status": "pass", "n": NaN}', "has NaN"),
    written("Infinity", '{"status": "pass", "n": -Infinity}', "has -Infinity"),
    written("a number that is too large", '{"status": "pass", "n": 1e999}', "has a number"),
    written(
        "an integer of a thousand digits", f'{{"status": "pass", "n": {"9" * 1000}}}', "has an int"
    ),
    written("a status that there is not", '{"status": "perfect"}', "has a status"),
    written("a version that there is not", '{"version": 4, "status": "pass"}', "has a version"),
    written("tests that are no list", '{"status": "pass", "tests": {"0": {}}}', "has tests"),
    written("a message that is no text", '{"status": "pass", "message": {}}', "has a message"),
    Case(
        "NUL and half a surrogate pair",
        "cp content results.json",
        says=("^a\ufffdb\ufffd$",),
        files={"content": r'{"status": "pass", "message": "a\u0000b\ud800"}'},
    ),
    Case("unreadable, and yet its own", "pass mine; chmod 000 results.json .", says=("^mine$",)),
    Case("a hard link to its own file", "pass mine; ln results.json b", says=("^mine$",)),
    Case("valid, and a failed exit", "pass mine; exit 9", 513, ("status 9",)),
    Case(
        "replaced while it runs",
        "pass a; exec 9< results.json; rm results.json; pass b",
        says=("^b$",),
    ),
    Case(
        "brought along by the solution",
        "sleep 600",
        401,
        wall_s=0.5,
        files={"results.json": PASSED},
    ),
)
