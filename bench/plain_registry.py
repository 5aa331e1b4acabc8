"""A registry of this machine, without TLS and without a login."""

import json
import re
import subprocess
import time
from pathlib import Path


class PlainRegistry:
    """Debian's docker-registry, on a port of its own choice."""

    def __init__(self, folder: Path) -> None:
        config = folder / "registry.json"
        config.write_text(
            json.dumps(
                {
                    "version": "0.1",
                    "log": {"level": "info"},
                    "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
                    "http": {"addr": "127.0.0.1:0", "secret": "of the benchmark"},
                }
            )
        )
        log = folder / "registry.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        while (found := re.search(r"listening on \S+:(\d+)", log.read_text())) is None:
            assert self._process.poll() is None, log.read_text()
            time.sleep(0.02)
        self.host = f"127.0.0.1:{found[1]}"

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
