#!/usr/bin/env python3
"""A stand-in for img: refuses what the real one refuses, and has buildah do the rest.

Its ways are those of the real newest commit, tried by hand. In its state it leaves `calls`, which
tells how it was called; the base image, which the real one fetches, lies in the context.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

BASE = "localhost/pipeline-base/busybox:1"
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
    options, rest = parse(sys.argv[1:], {"--backend": True, "--state": True})
    if options.get("--backend") != "native":
        refuse("a root of a user namespace has no other that works")
    state = options.get("--state", "")
    if not state.startswith("/"):
        refuse("a relative state folder leads runc astray")
    if not rest or rest[0] not in FLAGS:
        refuse(f"'{rest}' is not an img command")
    if shutil.which("runc") is None:
        refuse("no installed runc found")
    command, (flags, operands) = rest[0], parse(rest[1:], FLAGS[rest[0]])
    Path(state).mkdir(parents=True, exist_ok=True)
    with Path(state, "calls").open("a") as calls:
        login = Path(os.environ["DOCKER_CONFIG"], "config.json").read_text()
        print(json.dumps({"arguments": sys.argv[1:], "login": login}), file=calls)
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
    store = f"overlay@{state}/root+{state}/run:overlay.skip_mount_home=true"
    base = [f"oci:{operands[0]}/.base:{BASE}", f"containers-storage:[{store}]{BASE}"]
    call("skopeo", "--insecure-policy", "copy", "--quiet", *base)
    arguments = ["bud", "--network", "host", "--isolation", "oci", "--layers"]
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
    stores = ["--storage-opt", "overlay.skip_mount_home=true"]
    places = ["--root", f"{state}/root", "--runroot", f"{state}/run"]
    return call("buildah", *places, "--storage-driver", "overlay", *stores, *arguments)


def call(*arguments: str) -> int:
    own = {**os.environ, "_CONTAINERS_USERNS_CONFIGURED": "done"}
    return subprocess.run(arguments, stdout=sys.stderr, env=own, check=False).returncode


if __name__ == "__main__":
    main()
