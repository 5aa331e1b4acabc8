"""`pipeline-worker`: options, wiring, exit statuses."""

import logging
import os
import secrets
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec

from pipeline_containers.building.builder import BuildOptions
from pipeline_containers.cli.doctor import doctor
from pipeline_containers.cli.options import BUILDER, on_builds, on_host
from pipeline_containers.doctor import examine, explain
from pipeline_containers.errors import ContainersError
from pipeline_containers.sandbox.host.options import HostOptions
from pipeline_containers.sandbox.host.rootless import enter
from pipeline_protocol.address import BadAddress, WorkerAddress
from pipeline_protocol.channels import CHANNELS
from pipeline_protocol.keys import BadKeys
from pipeline_protocol.log_format import LogFormat, LogLevel, log_formatter, note_request
from pipeline_protocol.names import Identity, described
from pipeline_protocol.text import clean
from pipeline_worker.bootstrap import Timeouts
from pipeline_worker.commands import Leave, WorkerEnd
from pipeline_worker.core import Mode, WorkerCore
from pipeline_worker.counters import WorkerCounters
from pipeline_worker.events import StopAsked
from pipeline_worker.flavours import Means, open_flavour
from pipeline_worker.host.workfolder import FolderInUse, WorkFolder
from pipeline_worker.keys_file import read_keys
from pipeline_worker.loop import WorkerLoop
from pipeline_worker.monitoring import BadMonitor, Monitoring, open_feed
from pipeline_worker.run_counters import RunCounters
from pipeline_worker.sockets import RouterSockets

_FOLDER = click.Path(file_okay=False, path_type=Path)
_EXISTING = click.Path(exists=True, file_okay=False, path_type=Path)


ASK_AGAIN_WITH_KEYS_S = 5.0
"""A handshake that is broken off is one that the router has to begin anew."""


class _IdentityType(click.ParamType[str]):
    name = "identity"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        try:
            return msgspec.convert(value, Identity)
        except msgspec.ValidationError as error:
            self.fail(described(str(error)), param, ctx)


class _AddressType(click.ParamType[WorkerAddress]):
    name = "address"

    def convert(self, value: Any, param: Any, ctx: Any) -> WorkerAddress:
        try:
            return WorkerAddress.parse(str(value))
        except BadAddress as error:
            self.fail(str(error), param, ctx)


def _common(command: Any) -> Any:
    for decorate in (
        on_builds,
        BUILDER,
        on_host,
        click.option(
            "--keys",
            type=click.Path(path_type=Path, dir_okay=False),
            envvar="PIPELINE_KEYS",
            show_envvar=True,
            help="The file that this worker was given, for a router with keys.",
        ),
        click.option(
            "--wait",
            type=click.FloatRange(min=0.1),
            default=10.0,
            show_default=True,
            help="Seconds for the router's first answer; later on, a worker waits for ever.",
        ),
        click.option(
            "--base-images",
            type=_EXISTING,
            help="For builders: an image store to take base images from, without a registry.",
        ),
        click.option(
            "--git-credentials",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            envvar="PIPELINE_GIT_CREDENTIALS",
            help="For builders: a file of https://NAME:TOKEN@HOST lines, for private repositories.",
        ),
        click.option(
            "--log-format",
            type=click.Choice([how.value for how in LogFormat]),
            default=LogFormat.TEXT.value,
            envvar="PIPELINE_LOG_FORMAT",
            show_envvar=True,
            help="How each line of the log is written.",
        ),
        click.option(
            "--log-level",
            type=click.Choice([level.value for level in LogLevel]),
            default=LogLevel.INFO.value,
            envvar="PIPELINE_LOG_LEVEL",
            show_envvar=True,
            help="The least that the log has.",
        ),
        click.argument("work_folder", type=_FOLDER),
        click.argument("address", type=_AddressType()),
        click.argument("identity", type=_IdentityType()),
    ):
        command = decorate(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pipeline-worker")
def main() -> None:
    """Work for a pipeline router.

    ADDRESS is the router's, with the channel to serve and perhaps the tracks to keep to:
    'tcp://localhost:5555/test_runners?topic=ruby'. WORK_FOLDER is this worker's alone.

    Exit status: 0 done, 1 failed, 2 usage, 3 the router does not answer, or lets this key not in.
    """


@main.command()
@_common
@click.option(
    "--slots",
    type=click.IntRange(1, 4096),
    default=os.cpu_count() or 1,
    show_default="the number of cores",
    help="How many jobs to do at a time.",
)
@click.option(
    "--file-inputs", type=_EXISTING, help="Read file:// inputs, but only beneath this folder."
)
@click.option(
    "--warm",
    type=click.IntRange(0),
    show_default="as many as slots",
    help="How many containers to make ahead of their jobs.",
)
@click.option("--dryrun", is_flag=True, help="Say what would be prepared, and exit.")
@click.option(
    "--monitor",
    envvar="PIPELINE_MONITOR",
    show_envvar=True,
    metavar="HOST:PORT",
    help="Where to serve /metrics, /healthz, /readyz and /status.json over HTTP; anything but "
    "loopback needs --monitor-token, or --insecure.",
)
@click.option(
    "--monitor-token",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="PIPELINE_MONITOR_TOKEN",
    show_envvar=True,
    help="File with a token: who asks the monitor has to show it (Authorization: Bearer).",
)
@click.option(
    "--insecure",
    is_flag=True,
    help="Let the monitor be asked off loopback by whoever reaches it.",
)
def listen(
    identity: str,
    address: WorkerAddress,
    work_folder: Path,
    base_images: Path | None,
    git_credentials: Path | None,
    keys: Path | None,
    log_format: str,
    log_level: str,
    wait: float,
    host: HostOptions,
    builder: str,
    options: BuildOptions,
    slots: int,
    file_inputs: Path | None,
    warm: int | None,
    dryrun: bool,
    monitor: str | None,
    monitor_token: Path | None,
    insecure: bool,
) -> NoReturn:
    """Prepare the wanted versions, then do jobs until told to stop.

    SIGTERM or Ctrl-C: finish what runs, then leave; twice: leave at once.
    """
    mode = Mode.DRYRUN if dryrun else Mode.LISTEN
    # as typed, not resolved: requests name files by that path
    inputs = None if file_inputs is None else Path(os.path.abspath(file_inputs))
    start = Start(
        identity,
        address,
        slots,
        mode,
        wait,
        Means(host, inputs, base_images, git_credentials, builder, options, warm),
        keys,
        monitor,
        monitor_token,
        insecure,
        (LogFormat(log_format), LogLevel(log_level)),
    )
    _work(start, work_folder)


@main.command()
@_common
def configure(
    identity: str,
    address: WorkerAddress,
    work_folder: Path,
    base_images: Path | None,
    git_credentials: Path | None,
    keys: Path | None,
    log_format: str,
    log_level: str,
    wait: float,
    host: HostOptions,
    builder: str,
    options: BuildOptions,
) -> NoReturn:
    """Prepare the wanted versions, and exit."""
    means = Means(host, None, base_images, git_credentials, builder, options)
    log = (LogFormat(log_format), LogLevel(log_level))
    _work(Start(identity, address, 1, Mode.CONFIGURE, wait, means, keys, log=log), work_folder)


main.add_command(doctor)


class Start(msgspec.Struct, frozen=True):
    """What the command line asked for."""

    identity: str
    address: WorkerAddress
    slots: int
    mode: Mode
    wait_s: float
    means: Means
    keys: Path | None = None
    monitor: str | None = None
    monitor_token: Path | None = None
    insecure: bool = False
    log: tuple[LogFormat, LogLevel] = (LogFormat.TEXT, LogLevel.INFO)
    """How it is written, and the least that is."""


class Shown(msgspec.Struct):
    """What a process has to show of itself, through all its sessions."""

    counters: WorkerCounters = msgspec.field(default_factory=WorkerCounters)
    runs: RunCounters = msgspec.field(default_factory=RunCounters)
    monitoring: Monitoring | None = None


def _quit(why: str) -> NoReturn:
    """End with exit status 1; a stranger's words in the reason do nothing to the terminal."""
    sys.exit(f"pipeline-worker: {clean(why)}")


def _start_log(how: LogFormat, level: LogLevel, identity: str) -> None:
    """Write the log to standard error; of libraries' debugging, which may tell secrets, nothing."""
    writer = logging.StreamHandler(sys.stderr)
    writer.setFormatter(log_formatter(how, identity))
    writer.addFilter(note_request)
    logging.basicConfig(level=max(level.number, logging.INFO), handlers=[writer])
    for name in ("pipeline_worker", "pipeline_containers", "pipeline_protocol"):
        logging.getLogger(name).setLevel(level.number)


def _work(start: Start, path: Path) -> NoReturn:
    _start_log(*start.log, start.identity)
    try:
        if start.keys is not None:
            read_keys(start.keys)  # before anything else: a host can take long to be looked at
    except BadKeys as error:
        raise click.UsageError(f"--keys: {error}") from None
    try:
        enter()
    except ContainersError as error:
        _quit(str(error))
    try:
        folder = WorkFolder(path, start.identity)
        tempfile.tempdir = str(folder.scratch())  # in /tmp, a killed worker's logins would stay
        shown = Shown()
        if start.monitor is not None:
            feed = open_feed(start.monitor, start.monitor_token, insecure=start.insecure)
            shown.monitoring = Monitoring(feed, shown.runs, folder.path)
        try:
            left = _session(start, folder, shown)
            while left.ending is WorkerEnd.RESTART:
                logging.info("bootstrapping again")
                left = _session(start, folder, shown)
        finally:
            if shown.monitoring is not None:
                shown.monitoring.close()
    except BadMonitor as error:
        raise click.UsageError(f"--monitor: {error}") from None
    except FolderInUse as error:
        _quit(str(error))
    except ContainersError as error:
        _quit(explained(error, start, path))
    except OSError as error:
        _quit(f"{error.filename or path}: {error.strerror or error}")
    if left.reason:
        level = logging.INFO if left.ending is WorkerEnd.DONE else logging.ERROR
        logging.log(level, "%s", left.reason)
    sys.exit(left.ending.value)


def explained(error: ContainersError, start: Start, path: Path) -> str:
    """Return all that this host lacks, where that is why the worker does not start."""
    is_builder = CHANNELS[start.address.channel].tool_kind is None
    try:
        (path / "tmp").chmod(0o711)  # containers of the self-test get through
        means = start.means
        needs = list(examine(path / "tmp", means.host, builds=is_builder, builder=means.builder))
    except (ContainersError, OSError):
        return str(error)
    return explain(needs, str(error))


def _timeouts(start: Start) -> Timeouts:
    """Return how long to wait: with keys longer, for a router to which all come back at once."""
    if start.keys is None:
        return Timeouts(first_answer_s=start.wait_s)
    return Timeouts(first_answer_s=start.wait_s, ask_again_s=ASK_AGAIN_WITH_KEYS_S)


def _session(start: Start, folder: WorkFolder, shown: Shown) -> Leave:
    """Bootstrap, and serve until the end or a restart."""
    address = start.address
    channel = address.channel
    with open_flavour(
        channel, start.identity, start.slots, folder, start.means, shown.runs
    ) as flavour:
        core = WorkerCore(
            start.identity,
            secrets.token_hex(8),
            address,
            start.slots,
            start.mode,
            _timeouts(start),
            flavour.host,
            flavour.memory,
            shown.counters,
        )
        sockets = RouterSockets(address, partial(read_keys, start.keys) if start.keys else None)
        loop = WorkerLoop(
            core,
            sockets,
            flavour.jobs,
            flavour.version_manager,
            flavour.health_checker,
            shown.monitoring,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.post(StopAsked()))
        logging.info("looking for the router at %s", address.router)
        return loop.run()
