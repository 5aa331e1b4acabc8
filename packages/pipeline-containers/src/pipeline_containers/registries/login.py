"""How a registry is logged in to: by an auth file, as docker, podman and skopeo write it.

Never by an argument, which every process of the host could read. Source: containers-auth.json(5).
"""

import json
import os
from pathlib import Path
from typing import Protocol


class Login(Protocol):
    """The way in to one registry."""

    def authfile(self, folder: Path) -> Path | None:
        """Return the auth file, perhaps written into a private folder; None: there is none."""
        ...

    def renew(self) -> bool:
        """Drop what was refused; whether there is something newer to try."""
        ...


class HostLogin:
    """What the host's administrator logged in with (`skopeo login`, `docker login`)."""

    def authfile(self, folder: Path) -> Path | None:
        """Find the file: REGISTRY_AUTH_FILE, or docker's own in the home folder."""
        named = os.environ.get("REGISTRY_AUTH_FILE")
        file = Path(named) if named else Path.home() / ".docker/config.json"
        return file.absolute() if file.is_file() else None

    def renew(self) -> bool:
        """Say no: it is the administrator's to renew."""
        return False


def write_authfile(folder: Path, host: str, basic: str) -> Path:
    """Write an auth file that only its owner reads; `basic` is base64 of `name:password`."""
    file = folder / "auth.json"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w") as opened:
        json.dump({"auths": {host: {"auth": basic}}}, opened)
    return file
