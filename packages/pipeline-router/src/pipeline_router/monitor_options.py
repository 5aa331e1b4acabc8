"""What the command line says of the monitor becomes a monitor that listens."""

import logging
from pathlib import Path

from pipeline_protocol.monitor.access import BadMonitor, listen, listen_address, read_token
from pipeline_protocol.monitor.feed import Feed
from pipeline_router.failure import Failure, Unusable

_log = logging.getLogger("pipeline_router")


def open_monitor(address: str | None, token: Path | None, *, insecure: bool) -> Feed | None:
    """Listen where `--monitor` says; None: it says nothing. Raises Unusable or Failure."""
    if address is None:
        return None
    try:
        where = listen_address(address)
        listener, setup = listen(
            where, "" if token is None else read_token(token), insecure=insecure
        )
    except BadMonitor as error:
        raise Unusable(f"--monitor: {error}") from None
    except OSError as error:
        raise Failure(f"cannot listen on {address} (monitor): {error.strerror}") from None
    port = listener.getsockname()[1]
    _log.info("listening on http://%s:%d (monitor)", where.shown, port)
    if not (where.is_loopback or token):
        _log.warning(
            "--insecure: whoever reaches http://%s:%d can read who works here, on what, and what "
            "is refused",
            where.shown,
            port,
        )
    return Feed(listener, setup)
