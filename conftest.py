"""Rules for every test of the workspace."""

import os

import pytest
from hypothesis import HealthCheck, settings
from support.pace import paced

# how long an example takes is the machine's affair, not the test's
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give tests more time on a slow machine, and measure how slow it is while nothing runs."""
    if config.option.timeout is None:
        config.option.timeout = paced(float(config.getini("timeout")))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Where CI runs, a skipped end-to-end test is a failure: nothing is left out silently."""
    report = (yield).get_result()
    if report.skipped and os.environ.get("CI") and item.get_closest_marker("e2e"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and CI skips no end-to-end test"
