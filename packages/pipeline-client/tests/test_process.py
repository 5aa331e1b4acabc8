"""What a whole process shows: Ctrl-C, fork, the end without `close`, the time to import."""

import signal
import subprocess
import sys
import threading

import pytest

from pipeline_client.testing import FakeRouter

FORKS = """
import os, sys
from pipeline_client import PipelineClient

with PipelineClient(sys.argv[1]) as client:
    client.ping()
    child = os.fork()
    if child == 0:
        with client:
            client.ping()
        sys.exit(7)
    client.ping()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    client.ping()
print("done")
"""

FORKS_WHILE_A_THREAD_CALLS = """
import os, sys, threading
from pipeline_client import CallerError, PipelineClient

def wait():
    try:
        client.test_solution("bash", "leap", "v1", files={"a": ""}, timeout_s=600)
    except CallerError:
        pass

with PipelineClient(sys.argv[1]) as client:
    client.ping()
    thread = threading.Thread(target=wait)
    thread.start()
    children = []
    for _ in range(5):
        child = os.fork()
        if child == 0:
            client.ping()
            client.close()
            os._exit(7)
        children.append(child)
    for child in children:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
thread.join()
print("done")
"""

LEAVES_OPEN = """
import sys
from pipeline_client import PipelineClient, PipelineError

client = PipelineClient(sys.argv[1])
client.ping()
try:
    client.test_solution("bash", "leap", "v1", files={"a": ""}, timeout_s=0.1)
except PipelineError as error:
    print(error.code)
print("done")
"""

WAITS = """
import signal, sys
from pipeline_client import PipelineClient

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's parent ignores it

with PipelineClient(sys.argv[1]) as client:
    try:
        client.test_solution("bash", "leap", "v1", files={"a": ""}, timeout_s=600)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        client.ping()
        raise
"""


def ping_only(request: bytes) -> list[bytes]:
    pong = b'{"status":{"code":200,"message":"OK"},"response":{"version":"0","uptime_s":0}}'
    return [pong] if b"ping" in request else []


@pytest.mark.parametrize("program", [FORKS, FORKS_WHILE_A_THREAD_CALLS, LEAVES_OPEN])
def test_ends_by_itself(program: str) -> None:
    with FakeRouter(ping_only) as router:
        done = subprocess.run(
            [sys.executable, "-c", program, router.address],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("done\n")


def test_interrupt_ends_the_wait_and_not_the_client() -> None:
    waits = threading.Event()

    def answering(request: bytes) -> list[bytes]:
        waits.set()
        return ping_only(request)

    with (
        FakeRouter(answering) as router,
        subprocess.Popen(
            [sys.executable, "-c", WAITS, router.address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            assert waits.wait(60)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert out == "interrupted\n"
    assert err.endswith("KeyboardInterrupt\n")
    assert process.returncode == -signal.SIGINT


def test_import_is_light() -> None:
    """100 ms are promised, of an idle machine; modules are what can be counted anywhere."""
    program = "import sys, pipeline_client; print(*sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    loaded = {name.partition(".")[0] for name in out.split()}
    assert not loaded & {"asyncio", "yaml", "boto3", "click", "rich", "zmq.asyncio"}
    assert "pipeline_client.testing" not in out.split()
