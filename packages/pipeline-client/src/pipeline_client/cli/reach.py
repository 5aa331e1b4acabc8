"""Whether a router is there, found out at once."""

import socket

from pipeline_client.errors import error_of
from pipeline_protocol import RouterAddress, status


def reach(address: RouterAddress, seconds: float) -> None:
    """Find out at once, where a ZeroMQ socket would go on trying, that nobody listens."""
    try:
        socket.create_connection((address.host, address.port), seconds).close()
    except (OSError, UnicodeError) as error:  # the latter of a name that can be no host's
        why = f"nothing answers at {address} ({getattr(error, 'strerror', None) or error})"
        start = "`pipeline-router pipeline.yml --seed config/pipeline.yml` starts a router"
        raise error_of(status.CLIENT_TIMED_OUT, f"{why}: {start}") from None
