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

FORKS_IN_THE_MIDDLE_OF_CALLS = """
import os, sys, threading
from pipeline_client import PipelineClient

def ask():
    for _ in range(200):
        client.ping()

client = PipelineClient(sys.argv[1])
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads:
    thread.start()
children = []
for _ in range(10):
    child = os.fork()
    if child == 0:
        client.ping()
        os._exit(7)
    children.append(child)
for child in children:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
for thread in threads:
    thread.join()
client.ping()
print("done")
"""

FORKS_AFTER_CLOSE = """
import os, sys
from pipeline_client import CallerError, PipelineClient

client = PipelineClient(sys.argv[1])
client.ping()
client.close()
if os.fork() == 0:
    try:
        client.ping()
    except CallerError as error:
        print("done", flush=True)
    os._exit(0)
os.wait()
"""

FORKS_UNDER_ASYNCIO = """
import asyncio, os, sys
from pipeline_client import AsyncPipelineClient

async def main():
    await client.ping()
    child = os.fork()
    if child == 0:
        os._exit(in_child())
    await client.ping()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    await client.ping()
    await client.close()

def in_child():
    asyncio._set_running_loop(None)
    asyncio.run(client.ping())
    return 7

client = AsyncPipelineClient(sys.argv[1])
asyncio.run(main())
print("done")
"""

ENDS_WHILE_DAEMONS_WAIT = """
import sys, threading
from pipeline_client import PipelineClient

def wait():
    client.test_solution("bash", "leap", "v1", files={"a": ""}, timeout_s=600)

threading.excepthook = lambda _: None  # they may hear that the client was closed
client = PipelineClient(sys.argv[1])
client.ping()
for _ in range(20):
    threading.Thread(target=wait, daemon=True).start()
client.ping()
print("done")
"""

ASKS_AT_EXIT = """
import atexit, sys
from pipeline_client import PipelineClient

def last():
    client.ping()
    print("done", flush=True)

client = PipelineClient(sys.argv[1])
client.ping()
atexit.register(last)
"""

DROPS_CLIENTS = """
import gc, sys, threading
from pipeline_client import PipelineClient

for _ in range(50):
    PipelineClient(sys.argv[1]).ping()
gc.collect()
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join(30)
        assert not thread.is_alive()
print("done")
"""

ASYNC_LEFT_OPEN = """
import asyncio, sys
from pipeline_client import AsyncPipelineClient

async def main():
    await client.ping()
    tasks.append(asyncio.create_task(client.test_solution("bash", "leap", "v1", files={"a": ""})))
    await client.ping()

tasks = []
client = AsyncPipelineClient(sys.argv[1])
asyncio.run(main())
assert tasks[0].cancelled()
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


PROGRAMS = {
    "forks": FORKS,
    "forks while a thread calls": FORKS_WHILE_A_THREAD_CALLS,
    "forks in the middle of calls": FORKS_IN_THE_MIDDLE_OF_CALLS,
    "forks after close": FORKS_AFTER_CLOSE,
    "forks under asyncio": FORKS_UNDER_ASYNCIO,
    "ends while daemons wait": ENDS_WHILE_DAEMONS_WAIT,
    "asks at exit": ASKS_AT_EXIT,
    "drops clients": DROPS_CLIENTS,
    "leaves it open": LEAVES_OPEN,
    "leaves it open under asyncio": ASYNC_LEFT_OPEN,
}


QUIETLY = ("-W", "ignore:This process:DeprecationWarning")
"""Python 3.12 and later warn of every fork beside a thread."""


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_ends_by_itself(program: str) -> None:
    with FakeRouter(ping_only) as router:
        done = subprocess.run(
            [sys.executable, *QUIETLY, "-c", program, router.address],
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


HEAVY = {
    *("asyncio", "boto3", "click", "concurrent", "logging", "multiprocessing", "rich", "ssl"),
    *("subprocess", "yaml", "zmq"),
    *("difflib", "json", "pathlib", "pickle", "queue", "random", "selectors", "socket", "tempfile"),
    *("pipeline_client._plans.folders", "pipeline_client._plans.uploads"),
    *("pipeline_client._transport", "pipeline_client.aio", "pipeline_client.testing"),
}
"""What an import can do without; those who use it load it."""


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a statement loads, and those that they are in."""
    program = f"import sys; {statement}; print(*sys.modules)"
    out = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    ).stdout
    return set(out.split())


def test_import_is_light() -> None:
    """100 ms are promised, of an idle machine; modules are what can be counted anywhere."""
    client = "from pipeline_client import PipelineClient, PipelineError, Retries"
    msgspecs_own = loaded_by("import msgspec")  # and those of the environment's own start
    assert (loaded_by(client) - msgspecs_own) & HEAVY == set()


def test_a_client_loads_all_that_its_calls_take() -> None:
    """So that a fork in the middle of calls does not meet half an import."""
    client = "from pipeline_client import PipelineClient; c = PipelineClient('tcp://127.0.0.1:1')"
    asked = f"{client}; c._own_transport()"
    assert {name for name in loaded_by(asked) - loaded_by(client) if "." in name} == set()


def test_import_takes_little_more_than_what_it_cannot_do_without() -> None:
    """The least CPU time of several of each, in turn; boto3 alone would be five times as much."""
    program = "import time; t = time.process_time(); import {}; print(time.process_time() - t)"
    least = {"msgspec": float("inf"), "pipeline_client": float("inf")}
    for _ in range(7):
        for modules, before in least.items():
            took = subprocess.run(
                [sys.executable, "-c", program.format(modules)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            least[modules] = min(before, float(took))
    assert least["pipeline_client"] < 3.5 * least["msgspec"]
