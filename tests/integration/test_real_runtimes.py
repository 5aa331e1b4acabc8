"""What runtimes of languages take from their container: the names of hosts.

In the product's own base images, which are Debian with Ruby and with Python.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline_containers.images.image import StoredImage
from pipeline_containers.images.storage import Storage
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.result.report import RunReport
from pipeline_containers.sandbox.sandbox import Sandbox
from pipeline_containers.sandbox.tool_run import ToolRun
from pipeline_containers.sandbox.tools import TOOLS

pytestmark = pytest.mark.e2e

PASS = """printf '{"version": 2, "status": "pass", "tests": []}' > "$3/results.json"\n"""
BASE = "localhost/pipeline-base/{}:bookworm"
INTERPRETERS = {"ruby": "ruby", "python": "python3 -B"}
"""By the base image that has it."""
Run = Callable[[str, str], RunReport]


@pytest.fixture(scope="module")
def run(base_images: Path, module_folder: Path) -> Iterator[Run]:
    """Run a program of a language, in its base image."""
    storage = Storage(base_images, module_folder / "run")
    digests = dict(storage.names())
    with Sandbox(module_folder / "sandbox", slots=1) as sandbox:

        def do(language: str, program: str) -> RunReport:
            wanted = digests[BASE.format(language)]
            (image,) = [image for image, digest in storage.images() if digest == wanted]
            tool = module_folder / "tool"
            script = tool / "opt/test-runner/bin/run.sh"
            script.parent.mkdir(parents=True)
            command = f"{INTERPRETERS[language]} /opt/test-runner/program"
            script.write_text(f"#!/bin/sh\n{command} && {PASS}")
            script.chmod(0o755)
            (tool / "opt/test-runner/program").write_text(program)
            made = StoredImage(f"test:{language}", (tool, *storage.load(image).layers))
            try:
                return sandbox.run(
                    ToolRun(made, TOOLS["test_runner"], "a", lambda _: None, Limits())
                )
            finally:
                sandbox.settle()
                sandbox.forget(made.digest)
                shutil.rmtree(tool)

        yield do


NAMES = {
    "ruby": """
require "socket"
server = TCPServer.new("localhost", 0)
client = TCPSocket.new("localhost", server.addr[1])
server.accept.puts "heard"
puts client.gets
puts Socket.gethostname
puts Addrinfo.getaddrinfo("localhost", nil, nil, :STREAM).map(&:ip_address).sort
puts Addrinfo.getaddrinfo(Socket.gethostname, nil, nil, :STREAM).map(&:ip_address).sort
begin
  TCPSocket.new("example.org", 80)
rescue SocketError
  puts "nobody"
end
""",
    "python": """
import socket
server = socket.create_server(("localhost", 0))
client = socket.create_connection(server.getsockname())
server.accept()[0].sendall(b"heard")
print(client.recv(5).decode())
print(socket.gethostname())
for name in ("localhost", socket.gethostname()):
    for address in sorted({entry[4][0] for entry in socket.getaddrinfo(name, None)}):
        print(address)
try:
    socket.create_connection(("example.org", 80))
except socket.gaierror:
    print("nobody")
""",
}


@pytest.mark.parametrize("language", NAMES)
def test_a_server_listens_at_localhost(run: Run, language: str) -> None:
    report = run(language, NAMES[language])
    assert report.stderr == ""
    assert report.stdout.split() == ["heard", "tool", *["127.0.0.1", "::1"] * 2, "nobody"]
