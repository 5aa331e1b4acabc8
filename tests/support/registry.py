"""A real registry: Debian's docker-registry, behind TLS, with names and passwords."""

import base64
import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import trustme

from support.pace import paced


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ca = trustme.CA()
        self.file = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def bundle(self) -> Path:
        """Write a file of all that the host trusts, and this authority."""
        bundle = self.folder / "bundle.pem"
        host = Path("/etc/ssl/certs/ca-certificates.crt").read_bytes()
        bundle.write_bytes(host + self.file.read_bytes())
        return bundle

    def issue(self, name: str) -> tuple[Path, Path]:
        """Issue a server's certificate; its chain and its key."""
        issued = self._ca.issue_cert(name)
        chain, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        return chain, key


class RegistryServer:
    """A running registry; `host` is what images there are named by."""

    def __init__(self, folder: Path, name: str, address: str, users: Mapping[str, str]) -> None:
        self.folder = folder
        self.name = name
        self.address = address
        self.host = ""
        self.authority = Authority(folder)
        self._passwords = folder / "htpasswd"
        self._process: subprocess.Popen[bytes] | None = None
        self.set_users(users)

    def set_users(self, users: Mapping[str, str]) -> None:
        """Say who may come in; the registry looks at the file with every request."""
        hashed = {
            name: bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
            for name, password in users.items()
        }
        aside = self._passwords.with_suffix(".new")
        aside.write_text("".join(f"{name}:{text}\n" for name, text in hashed.items()))
        aside.rename(self._passwords)

    def login(self, name: str, password: str) -> Path:
        """Write the auth file of somebody who has logged in."""
        basic = base64.b64encode(f"{name}:{password}".encode()).decode()
        file = self.folder / f"auth-{name}.json"
        file.write_text(json.dumps({"auths": {self.host: {"auth": basic}}}))
        return file

    def start(self, notify: str = "") -> None:
        """Start it; `notify` is told of every push."""
        chain, key = self.authority.issue(self.name)
        endpoints = [{"name": "test", "url": notify, "timeout": "5s", "threshold": 9}]
        config = {
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}},
            "http": {
                "addr": self.address,
                "secret": "of the test",
                "tls": {"certificate": str(chain), "key": str(key)},
            },
            "auth": {"htpasswd": {"realm": "test", "path": str(self._passwords)}},
            "notifications": {
                "endpoints": [end | {"backoff": "100ms"} for end in endpoints if notify]
            },
        }
        file = self.folder / "registry.json"
        file.write_text(json.dumps(config))
        log = self.folder / "registry.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        port = _wait_for(log, self._process, r"listening on [^ ]*:(\d+), tls")
        self.host = self.name if port == "443" else f"{self.name}:{port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "it is not running"
        return self._process.pid

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def registry_server(
    folder: Path,
    users: Mapping[str, str],
    name: str = "localhost",
    address: str = "127.0.0.1:0",
    notify: str = "",
) -> Iterator[RegistryServer]:
    """Give a registry for as long as the block lasts."""
    server = RegistryServer(folder, name, address, users)
    try:
        server.start(notify)
        yield server
    finally:
        server.stop()


def _wait_for(log: Path, process: subprocess.Popen[bytes], pattern: str) -> str:
    until = time.monotonic() + paced(30)
    while time.monotonic() < until:
        ended = process.poll() is not None
        found = re.search(pattern, log.read_text(errors="replace"))
        if found:
            return found[1]
        assert not ended, log.read_text(errors="replace")[-2000:]
        time.sleep(0.02)
    raise AssertionError(f"{pattern!r} never came: {log.read_text(errors='replace')[-2000:]}")
