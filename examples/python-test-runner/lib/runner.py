"""Run a solution's tests: runner.py SLUG INPUT_DIR OUTPUT_DIR.

They run in a process of their own (child.py), and results.json is made here of what that process
got round to saying. Whatever the solution does there, the file is written by this one.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from suite import Suite

OUTPUT_LIMIT = 500
"""Characters of one test's output, by the interface."""
MESSAGE_LIMIT = 10_000
"""Characters of one message: the platform refuses result files beyond 500 kB."""
TRUNCATED = f"\n\nOutput was truncated: it is limited to {OUTPUT_LIMIT} characters."
CHILD = Path(__file__).with_name("child.py")


def main(slug: str, input_folder: str, output_folder: str) -> None:
    folder = Path(input_folder).resolve()
    test_file = find_test_file(folder, slug)
    if test_file is None:
        results = broken("No test file: a file named *_test.py is needed.")
    else:
        results = Run(test_file).results()
    write(Path(output_folder, "results.json"), results)


def find_test_file(folder: Path, slug: str) -> Path | None:
    named = folder / f"{slug.replace('-', '_')}_test.py"
    return next((it for it in (named, *sorted(folder.glob("*_test.py"))) if it.is_file()), None)


class Run:
    """One run of the tests of a file."""

    def __init__(self, test_file: Path) -> None:
        self._folder = test_file.parent
        self._test_file = test_file
        self._suite = Suite(test_file.read_text(encoding="utf-8", errors="replace"))
        # files, not pipes: nobody waits for a grandchild that keeps them open
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as report:
            self._status = self._run_child(output.fileno(), report.fileno())
            output.seek(0)
            self._output = output.read()
            report.seek(0)
            self._report = report.read()

    def _run_child(self, output: int, report: int) -> int:
        child = subprocess.Popen(
            [sys.executable, "-s", "-E", str(CHILD), str(self._test_file), str(report)],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[report],
            start_new_session=True,
        )
        status = child.wait()
        with suppress(ProcessLookupError):  # nobody outlived the child, which is the usual case
            os.killpg(child.pid, signal.SIGKILL)
        return status

    def results(self) -> dict[str, Any]:
        tests: list[dict[str, Any]] = []
        begun: dict[str, Any] | None = None
        for event in self._events():
            match event:
                case {"broken": str(message)}:
                    return broken(self._shortened(message))
                case {"begin": str(), "at": int()}:
                    begun = event
                case {"status": "pass" | "fail" | "error", "message": str(), "at": int()} if begun:
                    tests.append(self._test(begun, event))
                case {"done": True}:
                    return self._finished(tests)
        return self._cut_short(begun)

    def _events(self) -> list[Any]:
        """Read what the child said, up to what is no line of its own: it may be a stranger's."""
        events = []
        for line in self._report.splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                break
        return events

    def _test(self, begun: dict[str, Any], ended: dict[str, Any]) -> dict[str, Any]:
        code, task_id = self._suite.test(begun["begin"])
        test = {
            "name": humanized(begun["begin"]),
            "test_code": code,
            "status": ended["status"],
            "message": self._shortened(ended["message"]) or None,
            "output": self._printed(begun["at"], ended["at"]),
            "task_id": task_id,
        }
        return {key: value for key, value in test.items() if value is not None}

    def _finished(self, tests: list[dict[str, Any]]) -> dict[str, Any]:
        if not tests:
            return broken(f"{self._test_file.name} holds no tests.")
        status = "pass" if all(test["status"] == "pass" for test in tests) else "fail"
        return {"version": 3, "status": status, "message": None, "tests": tests}

    def _cut_short(self, begun: dict[str, Any] | None) -> dict[str, Any]:
        how = (
            f"was killed by signal {-self._status}"
            if self._status < 0
            else f"exited with status {self._status}"
        )
        place = f' during the test "{humanized(begun["begin"])}"' if begun else ""
        return broken(f"The program {how}{place}, before all tests had run.")

    def _printed(self, start: int, end: int) -> str | None:
        text = self._output[max(start, 0) : end].decode(errors="replace")
        if not text:
            return None
        return text if len(text) <= OUTPUT_LIMIT else text[:OUTPUT_LIMIT] + TRUNCATED

    def _shortened(self, message: str) -> str:
        return message.replace(f"{self._folder}/", "")[:MESSAGE_LIMIT]


def broken(message: str) -> dict[str, Any]:
    return {"version": 3, "status": "error", "message": message, "tests": []}


def humanized(name: str) -> str:
    words = name.rpartition(".")[2].removeprefix("test_").replace("_", " ")
    return words[:1].upper() + words[1:]


def write(path: Path, results: dict[str, Any]) -> None:
    """Write aside and rename: never half a file, and none through a link of the solution's."""
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    with aside.open("x", encoding="utf-8") as file:
        json.dump(results, file, indent=2)
        file.write("\n")
    aside.replace(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
