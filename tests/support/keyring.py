"""A router's file of keys and the files that it gives out, made by the command itself."""

from pathlib import Path
from typing import Any

import zmq
from click.testing import CliRunner

from pipeline_protocol.keys import in_bytes, read_member_keys
from pipeline_router.cli import main


def show_key(socket: "zmq.Socket[Any]", file: Path | None) -> None:
    """Have a socket that is not connected yet show the key of a file; without one, none."""
    if file is not None:
        keys = read_member_keys(file.read_bytes(), str(file))
        socket.set(zmq.CURVE_PUBLICKEY, in_bytes(keys.public))
        socket.set(zmq.CURVE_SECRETKEY, in_bytes(keys.secret))
        socket.set(zmq.CURVE_SERVERKEY, in_bytes(keys.routers[0]))


class Keyring:
    """Files of keys in one folder, made if there are none; each member's is NAME.keys."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "router.keys"
        if not self.path.exists():
            self.run("init")

    def run(self, command: str, *arguments: str) -> str:
        """Run `pipeline-router keys COMMAND`; return what it printed."""
        done = CliRunner().invoke(main, ["keys", command, "--keys", str(self.path), *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    def add(self, name: str, role: str, *options: str, file: str = "") -> Path:
        """Let somebody in; return its file."""
        path = self.file(file or name)
        self.run("add", "--role", role, name, "--output", str(path), *options)
        return path

    def file(self, name: str) -> Path:
        return self._folder / f"{name}.keys"

    def revoke(self, name: str) -> None:
        self.run("revoke", name)

    def rotate(self) -> None:
        self.run("rotate")

    def refresh(self, *names: str) -> None:
        self.run("refresh", *[str(self.file(name)) for name in names])
