"""Monitors that run."""

from collections.abc import Iterator

import pytest
from support.monitors import OwnMonitor, snapshot


@pytest.fixture
def monitor() -> Iterator[OwnMonitor]:
    own = OwnMonitor()
    try:
        own.show(snapshot())
        yield own
    finally:
        own.close()


@pytest.fixture
def guarded() -> Iterator[OwnMonitor]:
    """One with a token."""
    own = OwnMonitor("a-token-of-some-length")
    try:
        own.offer_only(snapshot())
        yield own
    finally:
        own.close()
