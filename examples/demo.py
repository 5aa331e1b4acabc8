"""The running example of the brief, on real parts: what it promises is done, shown and checked.

Run by `./dev demo`, as root. Whatever it starts, mounts or makes is gone when it ends.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from support.bare import say
from support.leftovers import find_leftovers
from support.pace import paced
from support.processes import BIN, Machine, Process, machine
from support.tracks import SOLUTIONS, make_repository, write_seed

BOLD, DIM, RED, GREEN, PLAIN = (
    ("\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[0m") if sys.stdout.isatty() else ("",) * 5
)


class Demo:
    """The steps, and what was seen of each."""

    def __init__(self, folder: Path, base_images: Path) -> None:
        self.folder = folder
        self.base_images = base_images
        self.seen: list[tuple[str, str, bool, float]] = []
        self.began = time.monotonic()

    def step(self, title: str) -> None:
        print(f"\n{BOLD}{time.monotonic() - self.began:6.1f} s  {title}{PLAIN}", flush=True)

    def note(self, what: str, seen: str, promised: bool, since: float) -> None:
        """Keep a line of the table that ends the demo."""
        self.seen.append((what, seen, promised, time.monotonic() - since))
        mark = f"{GREEN}as promised{PLAIN}" if promised else f"{RED}NOT as promised{PLAIN}"
        print(f"          {seen}: {mark}", flush=True)

    def ask(self, address: str, message: dict[str, Any]) -> dict[str, Any]:
        """Send one of the brief's messages over a bare REQ socket, and show both ways."""
        print(f"{DIM}          > {json.dumps(message)}{PLAIN}", flush=True)
        reply = say(address, message, 120)
        short = json.dumps(reply)
        print(
            f"{DIM}          < {short[:300]}{'...' if len(short) > 300 else ''}{PLAIN}", flush=True
        )
        return reply

    def call(self, own: Machine, *arguments: str) -> tuple[int, str]:
        """Call the command `pipeline` as a person does; show what is typed and what comes back."""
        print(f"{BOLD}          $ pipeline {' '.join(arguments)}{PLAIN}", flush=True)
        done = subprocess.run(
            [str(BIN / "pipeline"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PIPELINE_ADDRESS": own.address},
            timeout=paced(120),
            check=False,
        )
        for line in done.stdout.splitlines():
            print(f"{DIM}          {line}{PLAIN}", flush=True)
        return done.returncode, done.stdout

    def run(self) -> bool:
        """Do all of it; whether it was as promised."""
        try:
            with machine(self.folder) as own:
                self._brief(own)
        finally:
            self._look_for_leftovers()
        self._table()
        return all(promised for _, _, promised, _ in self.seen)

    def _brief(self, own: Machine) -> None:
        self.step("A git repository with a Ruby test runner, and solutions to try it with")
        repositories, inputs = self.folder / "repositories", self.folder / "inputs"
        sha = make_repository("ruby-test-runner", repositories)
        shutil.copytree(SOLUTIONS / "ruby" / "two-fer", inputs)
        print(f"          {repositories}/ruby-test-runner, master is {sha[:12]}")

        self.step("The router, its configuration made from the seed")
        since = time.monotonic()
        router = own.router(write_seed(self.folder, repositories), "--force-worker-restart")
        made = (self.folder / "pipeline.yml").is_file()
        self.note("router from the seed", f"listens on {own.address}", made, since)

        self.step("A builder, and worker-1, which serves every track")
        since = time.monotonic()
        builder = own.worker("builder-1", "builders", "--base-images", str(self.base_images))
        serve = ("--file-inputs", str(inputs))
        worker_1 = own.worker("worker-1", "test_runners", *serve)
        self.note("builder and generic worker", "both serve", builder.alive, since)

        version = self._build(own, sha)
        self._deploy(own, version)
        for solution, expected in (("passing", "pass"), ("failing", "fail"), ("broken", "error")):
            self.step(f"test_solution: the {solution} solution")
            self._test(own, version, solution, expected, "worker-1")

        self.step("The same by hand: `pipeline test` finds the version by itself")
        for solution, exit_status in (("passing", 0), ("failing", 4)):
            since = time.monotonic()
            status, _ = self.call(own, "test", "ruby", "two-fer", str(inputs / solution))
            good = status == exit_status
            self.note(f"pipeline test, {solution}", f"exit {status}", good, since)

        self.step("worker-2, scoped to ruby: it takes the ruby work")
        worker_2 = own.worker("worker-2", "test_runners?topic=ruby", *serve)
        self._await_version(own, version, workers=2)
        self._test(own, version, "passing", "pass", "worker-2")
        since = time.monotonic()
        _, shown = self.call(own, "workers")
        ready = sum(line.split()[-2:] == ["1/1", "ready"] for line in shown.splitlines())
        self.note("pipeline workers", f"{ready} test runners ready", ready == 2, since)

        self.step("worker-2 is killed: worker-1 takes over")
        worker_2.kill()
        self._test(own, version, "failing", "fail", "worker-1")

        self.step("worker-2 comes back, clears what it left, and takes the ruby work again")
        worker_2 = own.worker("worker-2", "test_runners?topic=ruby", *serve)
        self._await_version(own, version, workers=2)
        self._test(own, version, "passing", "pass", "worker-2")

        self._stop(own, router, [worker_1, worker_2, builder], version)

    def _build(self, own: Machine, sha: str) -> str:
        self.step("build_container: master of that repository")
        build = {
            "action": "build_container",
            "track_slug": "ruby",
            "channel": "test_runners",
            "git_reference": "master",
        }
        since = time.monotonic()
        reply = self.ask(own.address, build)
        response = reply.get("response", {})
        version = response.get("image_tag", "")
        as_promised = (response.get("outcome"), version) == ("built", f"git-{sha}")
        self.note(
            "build_container master", f"{reply['status']['code']} {version}", as_promised, since
        )
        since = time.monotonic()
        reply = self.ask(own.address, build)
        outcome = reply.get("response", {}).get("outcome", "")
        self.note("the same build again", str(outcome), outcome == "ignored", since)
        since = time.monotonic()
        status, shown = self.call(own, "build", "ruby", "test_runners", "master")
        named = f"pipeline deploy ruby test_runners git-{sha}" in shown
        said = f"exit {status}, names the deploy"
        self.note("pipeline build, by hand", said, status == 0 and named, since)
        return f"git-{sha}"

    def _deploy(self, own: Machine, version: str) -> None:
        self.step("deploy_container_version")
        since = time.monotonic()
        reply = self.ask(
            own.address,
            {
                "action": "deploy_container_version",
                "track_slug": "ruby",
                "channel": "test_runners",
                "new_version": version,
            },
        )
        kept = version in (self.folder / "pipeline.yml").read_text()
        good = reply["status"]["code"] == 200 and kept
        self.note("deploy_container_version", "saved in the configuration", good, since)
        since = time.monotonic()
        state = self._await_version(own, version, workers=1)
        self.note("usable on the worker", state, state == "deployed", since)
        since = time.monotonic()
        status, shown = self.call(own, "deploy", "ruby", "test_runners", version)
        ready = "ready on 1 of 1 worker" in shown
        said = f"exit {status}, ready on all workers"
        self.note("pipeline deploy, by hand", said, status == 0 and ready, since)

    def _await_version(self, own: Machine, version: str, workers: int) -> str:
        check = {"action": "deployment_check", "track_slug": "ruby", "channel": "test_runners"}
        until = time.monotonic() + paced(60)
        while True:
            response = say(own.address, check)["response"]
            states = [v for v in response["versions"] if v["version"] == version]
            ready = [w for v in states for w in v["workers"] if w["state"] == "ready"]
            if len(ready) >= workers or time.monotonic() > until:
                return str(response["state"])
            time.sleep(0.05)

    def _test(self, own: Machine, version: str, solution: str, expected: str, worker: str) -> None:
        since = time.monotonic()
        reply = self.ask(
            own.address,
            {
                "action": "test_solution",
                "id": f"{solution}-{len(self.seen)}",
                "track_slug": "ruby",
                "exercise_slug": "two-fer",
                "s3_uri": f"file://{self.folder}/inputs/{solution}/",
                "container_version": version,
            },
        )
        status = reply.get("response", {}).get("status", reply["status"])
        by = reply.get("context", {}).get("worker", "nobody")
        good = (status, by) == (expected, worker)
        self.note(f"test_solution, {solution}", f"{status}, by {by}", good, since)

    def _stop(self, own: Machine, router: Process, workers: list[Process], version: str) -> None:
        self.step("All workers stop: the next request is refused at once, with what to do")
        statuses = [worker.stop() for worker in workers]
        since = time.monotonic()
        reply = self.ask(
            own.address,
            {
                "action": "test_solution",
                "id": "refused",
                "track_slug": "ruby",
                "exercise_slug": "two-fer",
                "s3_uri": f"file://{self.folder}/inputs/passing/",
                "container_version": version,
            },
        )
        code = reply["status"]["code"]
        self.note("no worker left", f"{code} {reply['status']['message']}", code == 503, since)
        since = time.monotonic()
        folder = str(self.folder / "inputs" / "passing")
        status, shown = self.call(own, "test", "ruby", "two-fer", folder)
        named = "`pipeline-worker listen worker-1" in shown
        said = f"exit {status}, names the worker's command"
        self.note("pipeline test, no worker", said, status == 1 and named, since)
        since = time.monotonic()
        statuses.append(router.stop())
        ended = f"exit statuses {statuses}"
        self.note("router and workers stop", ended, statuses == [0, 0, 0, 0], since)

    def _look_for_leftovers(self) -> None:
        self.step("What is left")
        since = time.monotonic()
        left = find_leftovers(self.folder)
        self.note("processes, mounts, cgroups left", str(left) if left else "none", not left, since)

    def _table(self) -> None:
        width = max(len(what) for what, *_ in self.seen)
        print(f"\n{BOLD}{'what':{width}}  {'time':>8}  seen{PLAIN}")
        for what, seen, promised, seconds in self.seen:
            mark = "" if promised else f"  {RED}<- NOT as promised{PLAIN}"
            print(f"{what:{width}}  {seconds:6.2f} s  {seen}{mark}")
        good = sum(promised for _, _, promised, _ in self.seen)
        print(f"\n{good} of {len(self.seen)} as promised, in {time.monotonic() - self.began:.1f} s")


def run_in(home: Path, kind: type[Demo]) -> int:
    """Run a demo in a folder of its own beneath `home`, which keeps the base images."""
    folder = home / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o711)
    good = False
    try:
        good = kind(folder, home / "base-images").run()
    finally:
        if good:
            shutil.rmtree(folder)
        else:
            print(f"{RED}the logs are in {folder}{PLAIN}", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(run_in(Path(sys.argv[1]), Demo))
