"""Short-lived AWS credentials for workers, minted by a role: on a thread, never in the loop.

The role is assumed with the host's own credentials. What came is used for half its life, then the
next is asked for; when that fails, it is asked for again and again, and the last good ones are used
until they expire. No secret ever reaches a log: not even the text of an answer that makes no sense.
"""

import logging
import random
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from pipeline_protocol.settings import Credentials
from pipeline_router.config import Config, Sts
from pipeline_router.config_parse import BadConfig
from pipeline_router.events import Minted

if TYPE_CHECKING:
    from mypy_boto3_sts.type_defs import AssumeRoleRequestTypeDef

_log = logging.getLogger("pipeline_router")

_ATTEMPT_S = 10.0
_LEAST_LIFE_S = 60.0
"""Credentials that last shorter are of no use: a job may take longer."""


class BadAnswer(Exception):
    """What STS answered is of no use; the message says why, and nothing of the answer."""


class Renewal(Struct, frozen=True):
    """When the next credentials are to be asked for: times in, times out.

    `due` and `now` are seconds of a monotonic clock, so that a jump of the host's clock moves none.
    """

    due: float
    failures: int = 0

    def minted(self, now: float, life_s: float) -> "Renewal":
        """Ask again at half-life."""
        return Renewal(now + life_s / 2)

    def failed(self, now: float, chance: float) -> "Renewal":
        """Ask again after a while that doubles each time, up to a minute; `chance`: 0 to 1.

        Not all routers of an account ask at the same moment.
        """
        longest = min(60.0, 2.0**self.failures)
        return Renewal(now + longest * (0.5 + chance / 2), min(self.failures + 1, 10))


class _Answer(Struct, frozen=True, rename="pascal"):
    access_key_id: Annotated[str, Meta(min_length=1, max_length=256)]
    secret_access_key: Annotated[str, Meta(min_length=1, max_length=256)]
    session_token: Annotated[str, Meta(min_length=1, max_length=16_384)]
    expiration: datetime


def read_answer(answer: Any, now: float) -> Credentials:
    """Read what STS calls `Credentials`; `now`: seconds since the epoch. Raises BadAnswer."""
    try:
        read = msgspec.convert(answer, _Answer)
    except msgspec.ValidationError as error:
        field = re.search(r"`(?:\$\.)?([A-Z]\w+)`", str(error))
        what = field[1] if field else "all of it"
        raise BadAnswer(f"its answer makes no sense (missing or wrong: {what})") from None
    expiration = read.expiration if read.expiration.tzinfo else read.expiration.replace(tzinfo=UTC)
    if expiration.timestamp() < now + _LEAST_LIFE_S:
        when = expiration.astimezone(UTC).isoformat(timespec="seconds")
        raise BadAnswer(f"its credentials are over at {when}: is this host's clock right?")
    return Credentials(
        read.access_key_id, read.secret_access_key, read.session_token, expiration.timestamp()
    )


def check_credentials(config: Config, *, link_is_private: bool) -> None:
    """Raise BadConfig if credentials could not be minted, or would be sent for others to read."""
    if config.credentials != "sts":
        return
    if not link_is_private:
        raise BadConfig(
            "credentials: sts: credentials are sent over loopback or an encrypted link only; "
            "off loopback without keys each worker host needs its own (credentials: ambient)"
        )
    if find_spec("boto3") is None:
        raise BadConfig("credentials: sts needs boto3: pip install 'pipeline-router[aws]'")


Ask = Callable[[], Any]
"""Asks STS for credentials; whatever it raises is a failure."""


class Minter:
    """Keeps credentials fresh, on a thread of its own, for as long as somebody wants some."""

    def __init__(
        self, post: Callable[[Minted], None], open_sts: Callable[[Sts], Ask] | None = None
    ) -> None:
        """Tell `post` of each new ones; `open_sts` gives what asks, another after a failure."""
        self._post = post
        self._open_sts = open_sts or open_sts_by_host
        self._wanted: Sts | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._role: Sts | None = None
        self._ask: Ask | None = None
        self._renewal = Renewal(0.0)
        self._until = ""

    def want(self, sts: Sts | None) -> None:
        """Mint by this role from now on; None: no more."""
        with self._changed:
            self._wanted = sts
            self._changed.notify()
            if sts is not None and self._thread is None:
                # a daemon: nobody waits for an STS that hangs when the router ends
                self._thread = threading.Thread(target=self._run, name="credentials", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Mint no more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    # --- the thread

    def _run(self) -> None:
        while (sts := self._await_due()) is not None:
            try:
                self._ask = self._ask or self._open_sts(sts)
                minted = read_answer(self._ask(), time.time())
            except Exception as error:
                self._ask = None  # the host's own credentials may be others by then
                self._renewal = self._renewal.failed(time.monotonic(), random.random())  # noqa: S311
                self._warn(sts, error)
            else:
                life_s = min(minted.expires_at - time.time(), sts.duration_s)
                self._renewal = self._renewal.minted(time.monotonic(), life_s)
                self._until = f"{datetime.fromtimestamp(minted.expires_at, UTC):%FT%TZ}"
                _log.info("AWS credentials of %s minted, good until %s", sts.role_arn, self._until)
                with self._changed:
                    if not self._closed:
                        self._post(Minted(sts, minted))

    def _await_due(self) -> Sts | None:
        """Wait until credentials are to be asked for; the role, None at the end."""
        with self._changed:
            while not self._closed:
                if self._wanted != self._role:
                    self._role, self._ask = self._wanted, None
                    self._renewal, self._until = Renewal(0.0), ""
                wait_s = self._renewal.due - time.monotonic()
                if self._role is None:
                    self._changed.wait()
                elif wait_s <= 0:
                    return self._role
                else:
                    self._changed.wait(wait_s)
        return None

    def _warn(self, sts: Sts, error: Exception) -> None:
        _log.warning(
            "no AWS credentials of %s from STS: %s; workers have %s; asking again in %.0f s. May "
            "this host's own credentials sts:AssumeRole it, and can STS be reached?",
            sts.role_arn,
            describe(error),
            f"the last ones until {self._until}" if self._until else "none",
            self._renewal.due - time.monotonic(),
        )


def describe(error: Exception) -> str:
    """Return what went wrong, by nothing that may hold what STS sent."""
    from botocore.exceptions import BotoCoreError, ClientError

    if isinstance(error, BadAnswer | BotoCoreError | ClientError):
        return str(error)
    return f"its answer makes no sense ({type(error).__name__})"


def open_sts_by_host(sts: Sts) -> Ask:
    """Open STS with the host's own credentials, as AWS' own configuration has them."""
    import boto3
    from botocore.config import Config as ClientConfig

    client = boto3.session.Session().client(
        "sts",
        region_name=sts.region or None,
        config=ClientConfig(
            connect_timeout=_ATTEMPT_S / 2,
            read_timeout=_ATTEMPT_S,
            retries={"total_max_attempts": 1},  # when to try again is the renewal's to say
        ),
    )
    role: AssumeRoleRequestTypeDef = {
        "RoleArn": sts.role_arn,
        "RoleSessionName": sts.session_name,
        "DurationSeconds": sts.duration_s,
    }
    if sts.external_id:
        role["ExternalId"] = sts.external_id
    return lambda: client.assume_role(**role).get("Credentials")
