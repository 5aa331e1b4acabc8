"""Options, wiring, exit codes."""

import gc
import logging
import resource
import secrets
import signal
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from time import monotonic
from typing import Any

import click
import zmq

from pipeline_protocol.keys import BadKeys
from pipeline_protocol.log_format import LogFormat, LogLevel
from pipeline_protocol.monitor.feed import Feed
from pipeline_router.access.enforcer import KeyEnforcer
from pipeline_router.access.keys_cli import keys as keys_command
from pipeline_router.access.keys_file import check_curve, read_router_file
from pipeline_router.audit_file import AuditFile
from pipeline_router.config_file import ConfigFile, ConfigLocked
from pipeline_router.config_parse import BadConfig, size
from pipeline_router.core import EPOCHS, RouterCore
from pipeline_router.credentials import check_credentials
from pipeline_router.failure import Failure, Unusable
from pipeline_router.keys import RouterKeys
from pipeline_router.log_writer import start_log
from pipeline_router.loop import RouterLoop
from pipeline_router.monitor_options import open_monitor
from pipeline_router.sockets import FrontEnd, WorkerLink

YOUNG_OBJECTS = 50_000
"""How many may be made before the collector looks for cycles among them. Jobs end without it; at
its usual 700 it would look at all that wait, again and again."""

INSECURE = (
    "--insecure: nothing is encrypted, and nobody has to show a key. Whoever reaches %s can run "
    "code on the workers, deploy and unload versions, cancel jobs, drain and restart workers, and "
    "take another connection's routing id, and with it its answers; whoever reaches %s can be "
    "a worker: take others' jobs, read what they send, and answer as it likes"
)
LEAST_MEMORY = 128 << 20
"""Of `--memory-max`: what a router with 1,000 workers takes, and a little."""

_log = logging.getLogger("pipeline_router")


class _Size(click.ParamType[int]):
    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        try:
            most = size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if most < LEAST_MEMORY:
            self.fail(f"a router needs {LEAST_MEMORY >> 20}MiB", param, ctx)
        return most


class _RouterOrKeys(click.Command):
    """The router; or, where the first word is `keys`, what is done about its keys."""

    def main(self, args: Any = None, prog_name: Any = None, *more: Any, **extra: Any) -> Any:
        """Run one of the two."""
        args = list(sys.argv[1:] if args is None else args)
        if args[:1] == ["keys"]:
            return keys_command.main(args[1:], "pipeline-router keys", *more, **extra)
        return super().main(args, prog_name, *more, **extra)


@click.command(cls=_RouterOrKeys, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--seed",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Template to create CONFIG from if it is missing.",
)
@click.option(
    "--force-worker-restart",
    is_flag=True,
    help="Have every worker of an earlier router finish its jobs and bootstrap again.",
)
@click.option(
    "--bind",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="IP address to listen on; anything but loopback needs --keys, or --insecure.",
)
@click.option(
    "--port",
    default=5555,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="For clients, and for a worker's first question; 0: any free one.",
)
@click.option(
    "--link-port",
    default=5556,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="For workers; 0: any free one.",
)
@click.option(
    "--insecure",
    is_flag=True,
    help="Listen off loopback although nothing is encrypted and nobody has to show a key.",
)
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="PIPELINE_KEYS",
    show_envvar=True,
    help="File of keys: all is encrypted, and only who has one of these is let in.",
)
@click.option(
    "--audit",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="PIPELINE_AUDIT",
    show_envvar=True,
    help="File of what was changed, and by whom; CONFIG.audit if it is not said.",
)
@click.option(
    "--memory-max",
    type=_Size(),
    envvar="PIPELINE_MEMORY_MAX",
    metavar="SIZE",
    help="Memory that the router may take, as 512MiB; with more it ends, to be started again.",
)
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
    "--log-format",
    type=click.Choice([how.value for how in LogFormat]),
    default=LogFormat.TEXT.value,
    envvar="PIPELINE_LOG_FORMAT",
    show_envvar=True,
    help="How each line of the log is written.",
)
@click.option(
    "--log-level",
    type=click.Choice([level.value for level in LogLevel]),
    default=LogLevel.INFO.value,
    envvar="PIPELINE_LOG_LEVEL",
    show_envvar=True,
    help="The least that the log has.",
)
@click.version_option(package_name="pipeline-router")
def main(
    config: Path,
    seed: Path | None,
    force_worker_restart: bool,
    bind: str,
    port: int,
    link_port: int,
    insecure: bool,
    keys: Path | None,
    audit: Path | None,
    memory_max: int | None,
    monitor: str | None,
    monitor_token: Path | None,
    log_format: str,
    log_level: str,
) -> None:
    """Run the router on the configuration file CONFIG.

    It takes requests from clients, gives them to workers, and writes the versions that are
    deployed back into CONFIG. SIGTERM and SIGINT end it cleanly: nothing more is taken, what runs
    is finished. SIGHUP has it read CONFIG again. `pipeline-router keys --help` is about keys.

    Exit status: 0 after a clean end, 2 for options or a CONFIG that are of no use, else 1.
    """
    host = _host(bind, is_open=insecure or keys is not None)
    private = keys is not None or ip_address(host).is_loopback
    file = ConfigFile(config, partial(check_credentials, link_is_private=private))
    listener = start_log(LogFormat(log_format), LogLevel(log_level))
    try:
        _run(
            file,
            seed,
            host,
            port,
            link_port,
            force_worker_restart=force_worker_restart,
            memory_max=memory_max,
            keys=keys,
            audit=AuditFile(audit or Path(f"{config}.audit")),
            open_monitor=partial(open_monitor, monitor, monitor_token, insecure=insecure),
        )
    except MemoryError:
        raise Failure("there is no memory left: start it again") from None
    finally:
        listener.stop()
        file.unlock()


def _run(
    file: ConfigFile,
    seed: Path | None,
    host: str,
    port: int,
    link_port: int,
    *,
    force_worker_restart: bool,
    memory_max: int | None,
    keys: Path | None,
    audit: AuditFile,
    open_monitor: Callable[[], Feed | None],
) -> None:
    router_keys = None if keys is None else _read_keys(keys)
    try:
        if seed is None and not file.path.exists():
            raise BadConfig(f"{file.path} does not exist: create it from a template by --seed FILE")
        file.lock()
        if seed is not None and file.seed(seed):
            _log.warning(
                "%s created from %s: a new installation, %s. Workers that served another one keep "
                "their images until a deploy, or `pipeline forget-images`",
                *(file.path, seed, file.installation),
            )
        config, versions = file.read()
    except BadConfig as error:
        raise Unusable(str(error)) from None
    except (ConfigLocked, OSError) as error:
        raise Failure(str(error)) from None
    _raise_descriptors()
    # with keys, a thread for each: a thousand that shake hands at the front hold up no worker
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1 if keys is None else 2)
    front, link = FrontEnd(context), WorkerLink(context)
    enforcer = feed = None
    try:
        if keys is not None and router_keys is not None:
            enforcer = KeyEnforcer(keys, router_keys, context, front, link)
        address, link_address = _bind(front, host, port), _bind(link, host, link_port)
        core = RouterCore(
            config,
            versions,
            epoch=1 + secrets.randbelow(EPOCHS - 1),
            now=monotonic(),
            address=address,
            link_port=int(link_address.rpartition(":")[2]),
            force_worker_restart=force_worker_restart,
            installation=file.installation,
            version=version("pipeline-router"),
            with_keys=keys is not None,
        )
        feed = open_monitor()
        loop = RouterLoop(core, front, link, file, audit, memory_max, enforcer, feed)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.stop())
        signal.signal(signal.SIGHUP, lambda *_: loop.reload())
        _log.info("listening on %s (clients), %s (workers)", address, link_address)
        if router_keys is not None:
            good = len(router_keys.principals())
            _log.info("with keys: this router's is %s; good ones: %d", router_keys.routers[0], good)
        elif not ip_address(host).is_loopback:
            _log.warning(INSECURE, address, link_address)
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS)
        whole = loop.run()
    finally:
        if enforcer is not None:
            enforcer.close()
        front.close()
        link.close()
        context.term()
        if feed is not None:
            feed.close()
    if not whole:
        raise Failure("ended for want of memory: start it again")
    _log.info("stopped")


def _read_keys(path: Path) -> RouterKeys:
    try:
        check_curve()
        return read_router_file(path)
    except BadKeys as error:
        raise Unusable(f"--keys: {error}") from None


def _host(bind: str, *, is_open: bool) -> str:
    try:
        address = ip_address("127.0.0.1" if bind == "localhost" else bind)
    except ValueError:
        raise Unusable(f"--bind: {bind!r} is not an IP address") from None
    if not address.is_loopback and not is_open:
        raise Unusable(
            f"--bind {bind}: anybody who reaches it could run code here: only loopback is served "
            "without --keys (`pipeline-router keys --help`) or --insecure"
        )
    return str(address)


def _bind(socket: FrontEnd | WorkerLink, host: str, port: int) -> str:
    try:
        return socket.bind(host, port)
    except zmq.ZMQError as error:
        raise Failure(f"cannot listen on {host}:{port}: {zmq.strerror(error.errno or 0)}") from None


def _raise_descriptors() -> None:
    """Take all descriptors that may be had: each client and each worker needs one.

    The usual 1024 are there for the sake of programs that use select(2).
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
