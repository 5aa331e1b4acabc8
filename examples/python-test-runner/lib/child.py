"""Run the tests of one file: child.py TEST_FILE DESCRIPTOR, and say there how they went.

It shares its process with the solution, which is free to break it. What it said until then still
counts (runner.py). A line of JSON each:

    {"begin": "TwoFerTest.test_name", "at": 0}       a test begins; so much had been printed
    {"status": "fail", "message": "...", "at": 6}    it ended
    {"broken": "..."}                                the tests or the solution cannot be loaded
    {"done": true}                                   all tests have run
"""

import importlib
import json
import os
import sys
import traceback
import unittest
from pathlib import Path
from types import TracebackType

Failure = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class Report(unittest.TestResult):
    """Says of each test how it went, as soon as it has."""

    def __init__(self, descriptor: int, folder: Path) -> None:
        super().__init__()
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor
        self._folder = folder
        self._status, self._message = "pass", ""

    def say(self, **event: object) -> None:
        os.write(self._descriptor, json.dumps(event).encode() + b"\n")

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        self._status, self._message = "pass", ""
        self.say(begin=".".join(test.id().split(".")[-2:]), at=printed())

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        self.say(status=self._status, message=self._message, at=printed())

    def addFailure(self, test: unittest.TestCase, err: Failure) -> None:  # noqa: N802
        self._ended("fail", str(err[1]))

    def addError(self, test: unittest.TestCase, err: Failure) -> None:  # noqa: N802
        if not isinstance(test, unittest.TestCase):  # a class or a module cannot be set up
            self.say(broken=self.described(err[1]))
        self._ended("error", self.described(err[1]))

    def addSubTest(  # noqa: N802
        self, test: unittest.TestCase, subtest: unittest.TestCase, err: Failure | None
    ) -> None:
        if err is not None and isinstance(err[1], test.failureException):
            self.addFailure(test, err)
        elif err is not None:
            self.addError(test, err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        self._ended("error", f"It was skipped: {reason}")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        self._ended("fail", "It was expected to fail, and did not.")

    def _ended(self, status: str, message: str) -> None:
        if self._status == "pass":  # the first of several is what is shown
            self._status, self._message = status, message

    def described(self, error: BaseException | None) -> str:
        """Return an error, and where in the student's files it came from."""
        if isinstance(error, SyntaxError):
            return "".join(traceback.format_exception_only(error)).strip()
        frames = traceback.extract_tb(error.__traceback__) if error else []
        places = [
            f"    {frame.filename}:{frame.lineno} in {frame.name}"
            for frame in frames
            if Path(frame.filename).is_relative_to(self._folder)
        ]
        return "\n".join([f"{type(error).__name__}: {error}", *places[-10:]])


def printed() -> int:
    """Count what has been printed, in bytes; a solution may have closed its streams."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue
    return os.fstat(1).st_size


def tests_in_order(module: str) -> list[unittest.TestCase]:
    """Load the tests, in the order of the file."""

    def flat(suite: unittest.TestSuite | unittest.TestCase) -> list[unittest.TestCase]:
        if isinstance(suite, unittest.TestCase):
            return [suite]
        return [test for inner in suite for test in flat(inner)]

    def line(test: unittest.TestCase) -> int:
        method = getattr(test, test.id().rpartition(".")[2], None)
        code = getattr(method, "__code__", None)
        return code.co_firstlineno if code else 0

    loaded = unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(module))
    return sorted(flat(loaded), key=line)


def main(test_file: str, descriptor: str) -> None:
    path = Path(test_file)
    report = Report(int(descriptor), path.parent)
    sys.path[0] = str(path.parent)
    sys.dont_write_bytecode = True
    try:
        tests = tests_in_order(path.stem)
    except BaseException as error:  # whatever the solution raises while it is loaded
        report.say(broken=report.described(error))
    else:
        unittest.TestSuite(tests).run(report)
        report.say(done=True)
    printed()
    os._exit(0)  # without what the solution has registered for the end


if __name__ == "__main__":
    main(*sys.argv[1:])
