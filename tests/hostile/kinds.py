"""A worker of every kind of tool but the test runner, each with a tool that executes what comes."""

from collections.abc import Mapping
from functools import partial
from itertools import count
from typing import Any

from hostile.image import TOOL
from hostile.lab import VERSION
from hostile.traces import Traces, at_rest, find_traces, settle
from support.bare import say
from support.images import Image, Layer
from support.processes import Machine, Process

from pipeline_containers.sandbox.tools import TOOLS, ToolKind
from pipeline_protocol.channels import CHANNELS, Channel

SEED = """\
registry: {kind: folder, location: ./registry}
"""
KINDS: dict[str, tuple[Channel, ToolKind]] = {
    channel.tool_kind: (channel, TOOLS[channel.tool_kind])
    for channel in CHANNELS.values()
    if channel.tool_kind is not None and channel.tool_kind != "test_runner"
}
"""By the kind's name: whom its jobs go to, and what is expected of them."""

VALID: Mapping[str, str] = {
    "analysis.json": '{"summary": "fine", "comments": []}',
    "tags.json": '{"tags": ["x:y"]}',
    "recommendations.json": "[1, 2]",
    "representation.txt": "x = 1\n",
    "mapping.json": '{"x": "name"}',
    "representation.json": '{"version": 1}',
}
HONEST = 'cp "$2"valid/* "$3"\n'


class Kinds:
    """The machine that they are on; jobs go through them one by one."""

    def __init__(self, own: Machine, image: Image) -> None:
        self._own = own
        self._numbers = count(1)
        self._workers: dict[str, Process] = {}
        self._before: dict[str, Traces] = {}
        seed = own.folder / "seed.yml"
        seed.write_text(SEED)
        own.router(seed)
        for name, (channel, kind) in KINDS.items():
            layer = Layer().file(f"{kind.folder[1:]}/bin/run.sh", (TOOL / "run.sh").read_bytes())
            tool = str(channel.tool).replace("{track}", "hostile")
            image.on_top(layer).publish(own.folder / "registry", tool, VERSION)
            self._workers[name] = own.worker(name, channel.name, "--slots", "1", "--warm", "0")
            wanted = {"action": "deploy_container_version", "new_version": VERSION}
            reply = self._say({**wanted, "track_slug": "hostile", "channel": channel.name})
            assert reply["status"]["code"] == 200, reply
            self.honest(name)
        for name in KINDS:
            self._before[name] = at_rest(partial(self._traces, name))

    def ask(self, kind: str, program: str) -> dict[str, Any]:
        """Have a program run as a tool of a kind, beside files that would be its valid result."""
        channel = KINDS[kind][0]
        files = {f"valid/{output.file}": VALID[output.file] for output in KINDS[kind][1].outputs}
        return self._say(
            {
                "action": next(iter(channel.actions)),
                "id": f"job-{next(self._numbers)}",
                "track_slug": "hostile",
                "exercise_slug": "two-fer",
                "container_version": VERSION,
                "files": {**files, "program": program},
            }
        )

    def honest(self, kind: str) -> dict[str, Any]:
        """Run a tool that does as it should; the response made of its files."""
        reply = self.ask(kind, HONEST)
        assert reply["status"]["code"] == 200, reply
        assert isinstance(reply["response"], dict)
        return reply["response"]

    def leaves_nothing(self, kind: str) -> bool:
        """Wait until the kind's worker has on the host what it had at first."""
        return settle(partial(self._traces, kind), self._before[kind]) == self._before[kind]

    def _traces(self, kind: str) -> Traces:
        return find_traces(self._own.folder / kind, self._workers[kind].pid)

    def _say(self, message: Mapping[str, Any]) -> dict[str, Any]:
        return say(self._own.address, message, 60)
