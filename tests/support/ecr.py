"""Amazon's registry, as far as it can be had without Amazon.

moto answers ECR's and STS' interface; a real registry answers under ECR's host name, with moto's
token for a login; and each push that the registry tells of is copied into moto. The product talks
to both as it would to Amazon: by the endpoint in its environment, by the name in /etc/hosts, and by
the authorities that the host trusts, all of them in a mount namespace of its own.
"""

import base64
import json
import os
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import boto3

from support.moto import moto
from support.pace import paced
from support.registry import RegistryServer, registry_server

ACCOUNT = "123456789012"
REGION = "us-east-1"
HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
PASSWORD = f"{ACCOUNT}-auth-token"  # moto's, always the same
AWS_NAMES = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "AWS_DEFAULT_REGION": REGION,
}


class Ecr:
    """A running imitation."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self.registry: RegistryServer | None = None
        self.client = boto3.client(
            "ecr",
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        self.failures: list[str] = []

    def command(self) -> tuple[str, ...]:
        """Say what to put before a command that is to see Amazon's registry here."""
        assert self.registry is not None
        hosts = self.folder / "hosts"
        address = self.registry.address.partition(":")[0]
        hosts.write_text(Path("/etc/hosts").read_text() + f"\n{address} {HOST}\n")
        script = (
            'mount --bind "$1" /etc/hosts && mount --bind "$2" '
            '/etc/ssl/certs/ca-certificates.crt && shift 2 && exec "$@"'
        )
        names = AWS_NAMES | {"AWS_ENDPOINT_URL": self.endpoint}
        return (
            *("/usr/bin/env", *(f"{name}={value}" for name, value in names.items())),
            *("unshare", "--mount", "--", "sh", "-c", script, "sh"),
            *(str(hosts), str(self.registry.authority.bundle())),
        )

    def tags(self, repository: str) -> list[str]:
        """List what has been copied into moto so far."""
        images = self.client.list_images(repositoryName=repository)["imageIds"]
        return sorted(image["imageTag"] for image in images if "imageTag" in image)

    def digest(self, repository: str, tag: str) -> str | None:
        """Say what a tag stands for in moto."""
        found = self.client.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
        return found["imageDetails"][0].get("imageDigest")

    def await_tag(self, repository: str, tag: str, seconds: float = 10.0) -> None:
        """Wait until the news of a push has come through."""
        until = time.monotonic() + paced(seconds)
        while tag not in self.tags(repository):
            assert time.monotonic() < until, f"{tag} never came; {self.failures}"
            time.sleep(0.02)

    def take(self, event: dict[str, Any]) -> None:
        """Copy a pushed tag into moto."""
        target = event.get("target", {})
        if event.get("action") != "push" or not target.get("tag"):
            return
        assert self.registry is not None
        address = self.registry.address
        login = base64.b64encode(f"AWS:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"https://{address}/v2/{target['repository']}/manifests/{target['digest']}",
            headers={"Authorization": f"Basic {login}", "Accept": target["mediaType"]},
        )
        context = ssl.create_default_context(cafile=str(self.registry.authority.file))
        context.check_hostname = False  # the name is not this process'
        with urllib.request.urlopen(request, context=context) as answer:
            manifest = answer.read().decode()
        self.client.put_image(
            repositoryName=target["repository"],
            imageManifest=manifest,
            imageManifestMediaType=target["mediaType"],
            imageTag=target["tag"],
            imageDigest=target["digest"],
        )


@contextmanager
def ecr(folder: Path) -> Iterator[Ecr]:
    """Give Amazon's registry for as long as the block lasts."""
    with moto(folder) as endpoint, _listener() as (url, inbox):
        own = Ecr(folder, endpoint)
        # An address of this process' own on the loopback: the port is the one of https.
        number = os.getpid()
        address = f"127.{77 + (number >> 16) % 100}.{(number >> 8) % 256}.{number % 254 + 1}:443"
        with registry_server(folder, {"AWS": PASSWORD}, HOST, address, url) as registry:
            own.registry = registry
            inbox.append(own)
            yield own
            assert own.failures == []
        own.client.close()


@contextmanager
def _listener() -> Iterator[tuple[str, list[Ecr]]]:
    """Listen for what a registry tells, on behalf of whoever is in the inbox."""
    inbox: list[Ecr] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            for event in json.loads(content)["events"]:
                for own in inbox:
                    try:
                        own.take(event)
                    except Exception as error:  # told where the test sees it
                        own.failures.append(repr(error))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", inbox
        finally:
            server.shutdown()
            thread.join()
