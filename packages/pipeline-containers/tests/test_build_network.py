"""What a build reaches: a host, what is near it, and the internet, in namespaces of their own.

Each place has a server that counts who came. What a build may not reach counts nobody, whether it
is the builder itself that asks (`FROM`, `ADD`) or a command of the Dockerfile.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.pace import paced

from pipeline_containers.building.cell import egress

HOST, INTERNET = "198.51.100.1", "198.51.100.2"
"""Addresses for documentation; the first is the host's own."""
METADATA, NEIGHBOUR = "169.254.169.254", "10.9.9.9"
PORT = 8080

SERVER = """\
import pathlib, socket, sys, threading
place, name = pathlib.Path(sys.argv[1]), sys.argv[2]
def serve(listener):
    while True:
        link, _ = listener.accept()
        with place.open("a") as seen:
            seen.write("x")
        asked = link.recv(65536)
        if b"/elsewhere" in asked:
            link.sendall(b"HTTP/1.0 302 Found\\r\\nContent-Length: 0\\r\\n")
            link.sendall(f"Location: http://169.254.169.254:{sys.argv[4]}/\\r\\n\\r\\n".encode())
        else:
            link.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 8\\r\\n\\r\\nreached\\n")
        link.close()
for address in sys.argv[3].split(","):
    listener = socket.create_server((address, int(sys.argv[4])))
    threading.Thread(target=serve, args=(listener,)).start()
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind((sys.argv[3].split(",")[0], 53))
place.with_suffix(".ready").touch()
while True:  # answers for every name with an address
    asked, who = names.recvfrom(512)
    end = asked.index(b"\\0", 12) + 5
    address = "169.254.169.254" if b"near" in asked else "198.51.100.2"
    kind = asked[end - 4:end - 2]
    answer = b"\\xc0\\x0c\\0\\x01\\0\\x01\\0\\0\\0\\x01\\0\\x04" + socket.inet_aton(address)
    count, answer = (b"\\0\\x01", answer) if kind == b"\\0\\x01" else (b"\\0\\0", b"")
    reply = asked[:2] + b"\\x81\\x80\\0\\x01" + count + b"\\0\\0\\0\\0" + asked[12:end] + answer
    names.sendto(reply, who)
"""
BASE = "FROM localhost/pipeline-base/busybox:1\n"
REST = """\
RUN mkdir -p /opt/test-runner/bin && printf '#!/bin/sh\\necho {} >"$3/results.json"' >/opt/r && \
    mv /opt/r /opt/test-runner/bin/run.sh && chmod +x /opt/test-runner/bin/run.sh
"""


class Place:
    """Where servers are, and how often each was come to."""

    def __init__(self, folder: Path, host: str, internet: str) -> None:
        self._folder = folder
        self._host = host
        self.internet = internet

    def visits(self, name: str) -> int:
        seen = self._folder / name
        return len(seen.read_text()) if seen.exists() else 0

    def build(self, repository: Path, work: Path, base_images: Path, *options: str) -> str:
        """Build on the host by the command line; all that it says."""
        program = "import pipeline_containers.cli.root as cli; cli.main()"
        resolver = self._folder / "resolv.conf"
        resolver.write_text(f"nameserver {INTERNET}\n")
        with_resolver = 'mount --bind "$0" "$(realpath /etc/resolv.conf)" && exec "$@"'
        done = subprocess.run(
            [
                *("nsenter", f"--net=/run/netns/{self._host}", "unshare", "--mount", "--"),
                *("sh", "-c", with_resolver, str(resolver), sys.executable, "-c", program),
                *("build", f"file://{repository}", "main", "--work", str(work)),
                *("--base-images", str(base_images), *options),
            ],
            capture_output=True,
            text=True,
            timeout=paced(120),
        )
        return f"{done.stderr}\n{done.stdout}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A host, with a server on each of its addresses, and the internet, with a private corner."""
    folder = tmp_path_factory.mktemp("network")
    host, internet = f"build-{os.getpid()}-host", f"build-{os.getpid()}-net"
    with ExitStack() as opened:
        for name in (host, internet):
            _ip("netns", "add", name)
            opened.callback(subprocess.run, ["ip", "netns", "delete", name], check=False)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip(
            "-n",
            host,
            "link",
            "add",
            "out",
            "type",
            "veth",
            "peer",
            "name",
            "in",
            "netns",
            internet,
        )
        for name, device, address in ((host, "out", HOST), (internet, "in", INTERNET)):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", device)
            _ip("-n", name, "link", "set", device, "up")
        _ip("-n", host, "address", "add", f"{METADATA}/32", "dev", "lo")
        _ip("-n", internet, "address", "add", f"{NEIGHBOUR}/32", "dev", "lo")
        _ip("-n", host, "route", "add", "default", "via", INTERNET)
        for namespace, name, addresses in (
            (host, "host", f"127.0.0.1,{HOST}"),
            (host, "metadata", METADATA),
            (internet, "internet", INTERNET),
            (internet, "neighbour", NEIGHBOUR),
        ):
            opened.enter_context(_served(folder, namespace, name, addresses))
        yield Place(folder, host, internet)


@contextmanager
def _served(folder: Path, namespace: str, name: str, addresses: str) -> Iterator[None]:
    entered = ["nsenter", f"--net=/run/netns/{namespace}", "--", sys.executable, "-c", SERVER]
    process = subprocess.Popen([*entered, str(folder / name), name, addresses, str(PORT)])
    try:
        until = time.monotonic() + paced(10)
        while not (folder / f"{name}.ready").exists():
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.01)
        yield
    finally:
        process.kill()
        process.wait()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@pytest.fixture
def build(
    place: Place, commit: Callable[..., str], repository: Path, work: Path, base_images: Path
) -> Callable[..., str]:
    def do(dockerfile: str, *options: str) -> str:
        commit({"Dockerfile": f"{BASE}{dockerfile}"})
        return place.build(repository, work, base_images, *options)

    return do


NEAR = {
    "127.0.0.1": "host",
    "198.18.0.2": "host",
    "10.0.2.2": "host",
    "0.0.0.0": "host",
    HOST: "host",
    METADATA: "metadata",
    "0xa9fea9fe": "metadata",  # a name to some, who ask for it
    "[::ffff:169.254.169.254]": "metadata",
    NEIGHBOUR: "neighbour",
}
"""What a build may not reach, and whose address it is."""


@pytest.mark.e2e
@pytest.mark.parametrize("network", ["egress", "none"])
def test_no_command_reaches_what_is_near(
    build: Callable[..., str], place: Place, network: str
) -> None:
    before = {server: place.visits(server) for server in NEAR.values()}
    fetches = [f"wget -q -T 5 -O - http://{it}:{PORT}/ || echo not there" for it in NEAR]
    said = build(f"RUN {'; '.join(fetches)}\n{REST}", "--network", network)
    assert said.splitlines().count("not there") == len(NEAR), said
    assert {server: place.visits(server) for server in NEAR.values()} == before


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("step", "address"),
    [
        *(("ADD http://ADDRESS/x /x", address) for address in ("127.0.0.1", METADATA, HOST)),
        ("COPY --from=ADDRESS/x / /x", "127.0.0.1"),
        ("FROM ADDRESS/x", "127.0.0.1"),
        ("FROM ADDRESS/x", METADATA),
        ("FROM ADDRESS/x", HOST),
    ],
)
def test_the_builder_itself_does_not_reach_what_is_near(
    build: Callable[..., str], place: Place, step: str, address: str
) -> None:
    before = place.visits(NEAR[address])
    build(step.replace("ADDRESS", f"{address}:{PORT}") + "\n")
    assert place.visits(NEAR[address]) == before


@pytest.mark.e2e
def test_without_a_network_the_builder_has_none_either(
    build: Callable[..., str], place: Place
) -> None:
    before = place.visits("internet")
    said = build(f"ADD http://{INTERNET}:{PORT}/x /x\n", "--network", "none")
    assert "build exited with status" in said
    assert place.visits("internet") == before


@pytest.mark.e2e
def test_the_internet_is_reached_by_name(build: Callable[..., str], place: Place) -> None:
    before = place.visits("internet")
    said = build(
        f"ADD http://far.test:{PORT}/x /x\nRUN cat /x; wget -q -O - http://far.test:{PORT}/\n{REST}"
    )
    assert said.count("reached\n") == 2, said
    assert place.visits("internet") > before
    assert "\nvalid " in said


@pytest.mark.e2e
def test_no_name_and_no_redirection_leads_near(build: Callable[..., str], place: Place) -> None:
    before = place.visits("metadata")
    for url in (f"http://near.test:{PORT}/", f"http://far.test:{PORT}/elsewhere"):
        assert "\nvalid " not in build(f"ADD {url} /x\n{REST}")
        fetch = f"wget -q -T 5 -O - {url} || echo not there"
        assert "not there\n" in build(f"RUN {fetch}\n{REST}")
    assert place.visits("metadata") == before


@pytest.mark.e2e
def test_what_an_operator_allows_is_reached(build: Callable[..., str], place: Place) -> None:
    said = build(f"ADD http://{NEIGHBOUR}:{PORT}/x /x\n{REST}", "--allow-network", "10.9.0.0/16")
    assert "\nvalid " in said
    assert place.visits("neighbour")


@pytest.mark.e2e
def test_a_build_has_no_right_over_its_network(build: Callable[..., str]) -> None:
    """Not to give itself an address, nor to speak past the rules."""
    tries = "ip address add 169.254.1.1/16 dev out; ip link set out down; ping -c 1 -W 1 10.9.9.9"
    said = build(f"RUN {tries}; ip route; true\n{REST}")
    assert said.count("Operation not permitted") + said.count("permission denied") >= 2, said
    assert "default via" in said


def test_the_rules_as_a_text() -> None:
    rules = egress.rules(("127.0.0.1/32", "203.0.113.7/32"), ("10.1.0.0/16",))
    lines = [line.strip() for line in rules.splitlines()]
    allowed = lines.index("ip daddr { 10.1.0.0/16 } accept")
    (refused,) = [number for number, line in enumerate(lines) if "203.0.113.7/32" in line]
    assert allowed < refused, "the first that fits holds"
    assert lines[refused].endswith("reject with icmpx type admin-prohibited")
    assert "127.0.0.1/32" not in rules, "an overlap would be refused by nft"
    assert any("nfproto ipv6 reject" in line for line in lines)


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "::1", "10.0.0.0/33", "a", "10.0.0.0/8 }"])
def test_a_network_is_checked_before_it_is_a_rule(text: str) -> None:
    with pytest.raises(ValueError, match="no IPv4 address or range"):
        egress.parse_network(text)
