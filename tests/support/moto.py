"""moto, as a server of its own: AWS' interfaces without Amazon."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.pace import paced


@contextmanager
def moto(folder: Path) -> Iterator[str]:
    """Give its address for as long as the block lasts; it logs into `folder`."""
    log = folder / "moto.log"
    program = Path(sys.executable).parent / "moto_server"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(program), "--host", "127.0.0.1", "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        until = time.monotonic() + paced(60)
        while not (found := re.search(r"Running on (http://\S+)", log.read_text())):
            assert time.monotonic() < until, log.read_text()
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        yield found[1]
    finally:
        process.kill()
        process.wait()
