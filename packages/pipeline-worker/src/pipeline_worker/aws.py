"""Which AWS credentials a worker goes by: those that the router minted, or its host's own."""

import time
from datetime import UTC, datetime

from pipeline_containers.registries.registry import AwsCredentials
from pipeline_protocol.settings import NOT_YET_MINTED, Credentials


def aws_credentials(credentials: Credentials | None) -> AwsCredentials | None:
    """Return the minted credentials as AWS' interfaces take them; None: the host's own count."""
    if credentials is None:
        return None
    return AwsCredentials(
        credentials.access_key_id, credentials.secret_access_key, credentials.session_token
    )


def expired(credentials: Credentials | None, now: float | None = None) -> str | None:
    """Return what is to be done about minted credentials that are of no use; None: nothing.

    `now`: seconds since the epoch; the present moment where it is left out.
    """
    if credentials is None or (time.time() if now is None else now) < credentials.expires_at:
        return None
    if credentials == NOT_YET_MINTED:
        return "the router has got no AWS credentials from STS yet: see the router's log"
    when = datetime.fromtimestamp(credentials.expires_at, UTC).isoformat(timespec="seconds")
    return f"the AWS credentials from the router expired at {when}: see the router's log"
