#!/usr/bin/env python3
"""A stand-in for img: refuses what the real one refuses, and has buildah do the rest.

Its ways are those of the real newest commit, tried by hand. Beside it lie `bases`, the path of a
store of base images, and `calls`, which tells how it was called.
"""

import fcntl
import json
import shutil
import subprocess
import sys
from pathlib import Path

FLAGS = {  # command: flag to whether it takes a value
    "build": {"--no-console": False, "--tag": True, "--file": True},
    "save": {"--format": True, "--output": True},
    "prune": {},
}


def refuse(text: str) -> None:
    sys.exit(f"Error: {text}")


def parse(arguments: list[str], flags: dict[str, bool]) -> tuple[dict[str, str], list[str]]:
    found: dict[str, str] = {}
    while arguments and arguments[0].startswith("-"):
        flag = arguments.pop(0)
        if flag == "--":
            break
        if flag not in flags:
            refuse(f"unknown flag: {flag}")
        found[flag] = arguments.pop(0) if flags[flag] else ""
    return found, arguments


def main() -> None:
    with Path(__file__).with_name("calls").open("a") as calls:
        login = Path.home() / ".docker/config.json"
        told = login.read_text() if login.exists() else ""
        print(json.dumps({"arguments": sys.argv[1:], "login": told}), file=calls)
    options, rest = parse(sys.argv[1:], {"--state": True})
    state = options.get("--state", "")
    if not state.startswith("/"):
        refuse("a relative state folder leads runc astray")
    if not rest or rest[0] not in FLAGS:
        refuse(f"'{rest}' is not an img command")
    if shutil.which("runc") is None:
        refuse("no installed runc found")
    command, (flags, operands) = rest[0], parse(rest[1:], FLAGS[rest[0]])
    Path(state).mkdir(parents=True, exist_ok=True)
    with (Path(state) / "metadata.db").open("w") as database:
        try:  # the real one waits for ever
            fcntl.flock(database, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refuse("another process has the state folder")
        sys.exit({"build": build, "save": save, "prune": prune}[command](state, flags, operands))


def build(state: str, flags: dict[str, str], operands: list[str]) -> int:
    if "--no-console" not in flags:
        refuse("this is no terminal")
    if "--tag" not in flags:
        refuse("please specify an image tag with `-t`")
    text = Path(flags["--file"]).read_text()
    for word in ("--chmod", "<<", ".tar"):
        if word in text:
            refuse(f"failed to solve: {word} is not known to this front end")
    arguments = ["bud", "--network", "none", "--isolation", "oci", "--layers"]
    runtime = ["--runtime", shutil.which("runc") or "", "--pull-never"]
    named = ["--tag", flags["--tag"], "--file", flags["--file"]]
    return 1 if buildah(state, *arguments, *runtime, *named, *operands) else 0


def save(state: str, flags: dict[str, str], operands: list[str]) -> int:
    kind = {"docker": "docker-archive", "oci": "oci-archive"}.get(flags.get("--format", "docker"))
    if kind is None:
        refuse("that is not a valid format")
    manifest = ["--format", "v2s2", "--quiet"]
    output = f"{kind}:{flags['--output']}"
    return 1 if buildah(state, "push", *manifest, operands[0], output) else 0


def prune(state: str, _: dict[str, str], __: list[str]) -> int:
    return 1 if buildah(state, "rmi", "--all", "--force") else 0


def buildah(state: str, *arguments: str) -> int:
    bases = Path(__file__).with_name("bases").read_text()
    stores = ["--storage-opt", "overlay.skip_mount_home=true"]
    stores += ["--storage-opt", f"overlay.imagestore={bases}"]
    places = ["--root", f"{state}/root", "--runroot", f"{state}/run"]
    call = ["buildah", *places, "--storage-driver", "overlay", *stores, *arguments]
    return subprocess.run(call, stdout=sys.stderr, check=False).returncode


if __name__ == "__main__":
    main()
