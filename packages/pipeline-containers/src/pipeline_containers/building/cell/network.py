"""The network of a build: a namespace with nothing but a loopback in it, or with a way out.

The namespace is the host's, and entered by the build's container: what runs there cannot change its
rules. slirp4netns carries the packets of a way out, as connections of its own; nothing of the
host's network is set up or changed for it. Source: slirp4netns(1), ip-netns(8).
"""

import os
import select
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline_containers.building.cell import egress
from pipeline_containers.errors import ContainersError, ToolMissing
from pipeline_containers.system.command import run_command

_DEVICE = "out"
_STEP_S = 30.0
_MTU = 65_520  # packets go no further than to a process of this host


@contextmanager
def open_network(place: Path, way_out: bool, allowed: Sequence[str] = ()) -> Iterator[None]:
    """Make a network namespace that is found at `place`, a file; with a way out, or without.

    Through that, only what lies beyond this host and what is near it can be reached, and what is
    `allowed`. The file is left to be unmounted with all else. Raises `ContainersError`.
    """
    for program in ("unshare", "nsenter", "ip", *(("nft", "slirp4netns") if way_out else ())):
        if shutil.which(program) is None:
            raise ToolMissing(program)
    place.touch()
    _run("unshare", f"--net={place}", "--", "true")
    within = ("nsenter", f"--net={place}", "--")
    _run(*within, "ip", "link", "set", "lo", "up")
    if not way_out:
        yield
        return
    own = _run("ip", "-json", "-4", "route", "show", "table", "local", "type", "local")
    rules = place.with_suffix(".nft")
    rules.write_text(egress.rules(egress.parse_own_addresses(own), allowed))
    _run(*within, "nft", "--file", str(rules))
    with _carried(place):
        yield


@contextmanager
def _carried(place: Path) -> Iterator[None]:
    """Have packets carried for as long as the block lasts."""
    said, saying = os.pipe()
    log = place.with_suffix(".log")
    arguments = [
        *("setpriv", "--pdeathsig", "KILL", "--"),
        *("unshare", "--mount", "--"),  # its sandbox wants a /tmp that is nobody else's
        *("slirp4netns", "--configure", f"--mtu={_MTU}", f"--cidr={egress.SUBNET}"),
        *("--disable-host-loopback", "--enable-sandbox"),
        *("--enable-seccomp", f"--ready-fd={saying}", "--netns-type=path", str(place), _DEVICE),
    ]
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(saying,),
                start_new_session=True,
            )
    finally:
        os.close(saying)
    try:
        ready, _, _ = select.select([said], [], [], _STEP_S)
        if not ready or not os.read(said, 1):
            raise ContainersError(f"slirp4netns gives no network: {_trouble(log)}")
        yield
    finally:
        os.close(said)
        process.kill()
        process.wait()


def _run(*arguments: str) -> str:
    done = run_command(arguments, timeout_s=_STEP_S)
    if not done.ok:
        program = next(name for name in arguments if name in ("unshare", "ip", "nft"))
        raise ContainersError(f"no network for a build: {program}: {done.tail.strip()}")
    return done.stdout


def _trouble(log: Path) -> str:
    said = log.read_text(errors="replace").splitlines()
    told = [line for line in said if line and not line.startswith(("*", "WARNING", "Starting"))]
    return "; ".join(told[-3:]) or "it says nothing"
