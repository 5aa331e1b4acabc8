"""The top layer of every root: the mount points, and what a container is told of names.

A read-only root must bring its mount points, and they hide links in their place. A file here hides
whatever an image has of its name, a link or a folder too: nothing is mounted over it, and no link
of an image is followed. Source: overlayfs, and hosts(5), hostname(5), resolv.conf(5).
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from pipeline_containers.sandbox.tools import HOST_NAME, JOB_FOLDER

FOLDERS = {"dev": 0o755, "proc": 0o755, "sys": 0o755, "tmp": 0o1777, JOB_FOLDER.strip("/"): 0o755}
"""With their modes: the runtime gives a tmpfs that of what it covers."""

_ETC = "etc"
FILES = {
    f"{_ETC}/hosts": (
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        f"127.0.0.1\t{HOST_NAME}\n"
        f"::1\t{HOST_NAME}\n"
    ),
    f"{_ETC}/hostname": f"{HOST_NAME}\n",
    # There is nobody to ask. Without a word, a libc may wait ten seconds for an answer.
    f"{_ETC}/resolv.conf": "options timeout:1 attempts:1\n",
}


def make_skeleton(folder: Path, *, has_files: bool) -> None:
    """Make the layer, or complete one that is there; all in it is of the folder's owner."""
    folder.mkdir(parents=True, exist_ok=True)
    owner = folder.stat()
    folders = {**FOLDERS, **({_ETC: 0o755} if has_files else {})}
    for name, mode in folders.items():
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(mode)
        os.chown(place, owner.st_uid, owner.st_gid)
    for name, text in FILES.items() if has_files else ():
        file = folder / name
        if not file.exists():  # else containers have it already
            file.write_text(text)
            file.chmod(0o644)
            os.chown(file, owner.st_uid, owner.st_gid)
    folder.chmod(0o755)


def takes_files(layers: Sequence[Path]) -> bool:
    """Return whether files can be laid over an image's own, by its layers, the top one first.

    Not where its /etc is a link: a folder in the link's place would hide all that is there.
    """
    for layer in layers:
        try:
            mode = (layer / _ETC).lstat().st_mode
        except FileNotFoundError:
            continue
        return not (stat.S_ISLNK(mode) or stat.S_ISREG(mode))
    return True
