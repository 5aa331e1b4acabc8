"""`./dev vm`: the project in a virtual machine with a stock distribution."""

import argparse
import json
import os
import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path

from vm.distributions import DISTRIBUTIONS
from vm.guest import BootFailed, Guest, put_checkout, ssh_command
from vm.image import CHECKOUT, Image, find_image, say
from vm.suites import SUITES, closing_line, table

FOLDER = Path(os.environ.get("PIPELINE_DEV_FOLDER", "/var/lib/pipeline-dev")) / "vm"

WHAT = """\
what:
  demo            the running example
  smoke           one job of every ending, a build, a deploy, a killed worker
  hosts           every way in which people start a worker, on a host with systemd
  test [ARGS]     ./dev test ARGS
  soak [SUITE]    all suites that depend on the host, or those called so: an hour
  run COMMAND...  any command, in the checkout
  shell           a shell in it
  up              boot it and let it run; what is said next is done in it
  down            end it
"""


class Running:
    """The guest that `up` left running, by a file that says how to reach it."""

    def __init__(self, name: str) -> None:
        self._file = FOLDER / f"{name}.json"

    def note(self, guest: Guest) -> None:
        self._file.write_text(json.dumps({"pid": guest.pid, "port": guest.port}))

    def find(self) -> tuple[int, int] | None:
        """Give its process and its port; None if there is none."""
        with suppress(OSError, ValueError, KeyError):
            said = json.loads(self._file.read_text())
            command = Path(f"/proc/{said['pid']}/cmdline").read_bytes()
            if b"qemu" in command and f":{said['port']}-:22".encode() in command:
                return said["pid"], said["port"]
        return None

    def end(self) -> None:
        if found := self.find():
            os.kill(found[0], signal.SIGTERM)
        self._file.unlink(missing_ok=True)


def script_of(what: str, arguments: list[str]) -> str:
    """Say what a guest's shell is to do, in the checkout."""
    typed = shlex.join(arguments)
    scripts = {
        "demo": "./dev demo",
        "smoke": "./dev test tests/smoke",
        "hosts": "./dev test -m vm tests/hosts",
        "test": f"./dev test {typed}",
        "run": typed,
        "shell": "exec bash -l",
    }
    # a login's environment, and its folder for programs
    return f"cd /{CHECKOUT} && export HOME=/root && {scripts[what]}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="./dev vm", epilog=WHAT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "name", choices=DISTRIBUTIONS, metavar="name", help=", ".join(DISTRIBUTIONS)
    )
    parser.add_argument(
        "what", choices=("demo", "smoke", "hosts", "test", "soak", "run", "shell", "up", "down")
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    running = Running(asked.name)
    if asked.what == "down":
        running.end()
        return 0
    image = find_image(asked.name, FOLDER)
    if asked.what == "up":
        return _up(asked.name, image, running)
    if asked.what == "soak":
        return _soak(asked.name, image, asked.arguments)
    script = script_of(asked.what, asked.arguments)
    is_terminal = asked.what == "shell" or sys.stdout.isatty()
    if found := running.find():
        put_checkout(image, found[1])
        return os.spawnvp(
            os.P_WAIT, "ssh", ssh_command(image, found[1], script, terminal=is_terminal)
        )
    guest = Guest(asked.name, image, FOLDER)
    try:
        put_checkout(image, guest.port)
        return guest.call(script, terminal=is_terminal)
    finally:
        guest.stop()


def _soak(name: str, image: Image, names: list[str]) -> int:
    """Run the suites in a guest of their own; print what came of each."""
    suites = [suite for suite in SUITES if not names or suite.name in names]
    rows: list[tuple[str, str, int, str]] = []
    guest = Guest(name, image, FOLDER)
    try:
        put_checkout(image, guest.port)
        for suite in suites:
            say(f"{name}: {suite.name}")
            log = FOLDER / f"{name}.{suite.name.replace(', ', '-')}.log"
            status = guest.log(suite.script(), log)
            rows.append((name, suite.name, status, closing_line(log.read_text(errors="replace"))))
            print(table(rows[-1:]), flush=True)
    finally:
        guest.stop()
    print(f"\n{table(rows)}")
    return 1 if any(status for _, _, status, _ in rows) else 0


def _up(name: str, image: Image, running: Running) -> int:
    found = running.find()
    if found is None:
        guest = Guest(name, image, FOLDER, keep=True)
        running.note(guest)
        port = guest.port
    else:
        port = found[1]
    put_checkout(image, port)
    say(f"{name} is up; a command in it: {shlex.join(ssh_command(image, port, 'COMMAND'))}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BootFailed as error:
        sys.exit(f"vm: {error}")
