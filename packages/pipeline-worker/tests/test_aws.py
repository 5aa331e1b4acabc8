"""Minted credentials: handed on whole, told when they are out of date, shown to nobody."""

import pytest

from pipeline_containers.errors import RegistryError
from pipeline_protocol.link import Configure
from pipeline_protocol.settings import NOT_YET_MINTED, Credentials, RegistrySettings, Settings
from pipeline_worker.aws import aws_credentials, expired
from pipeline_worker.commands import Adopt
from pipeline_worker.versions.registry import OpenRegistry

MINTED = Credentials("ASIAKEY", "hush-secret", "hush-token", expires_at=1_000.0)


def test_minted_credentials_are_handed_on_whole() -> None:
    aws = aws_credentials(MINTED)
    assert aws is not None
    found = (aws.access_key_id, aws.secret_access_key, aws.session_token)
    assert found == ("ASIAKEY", "hush-secret", "hush-token")


def test_without_minted_ones_the_hosts_own_count() -> None:
    assert aws_credentials(None) is None
    assert expired(None, now=1e12) is None


@pytest.mark.parametrize(("now", "is_over"), [(999.9, False), (1_000.0, True), (2_000.0, True)])
def test_credentials_are_good_until_they_expire(now: float, is_over: bool) -> None:
    assert (expired(MINTED, now) is not None) == is_over


def test_expired_credentials_say_when_and_where_to_look() -> None:
    said = expired(MINTED, now=2_000.0)
    assert said is not None
    assert "expired at 1970-01-01T00:16:40+00:00" in said
    assert "router's log" in said


def test_credentials_that_the_router_could_not_mint_so_far_say_so() -> None:
    said = expired(NOT_YET_MINTED)
    assert said is not None
    assert "STS" in said
    assert "router's log" in said


def test_no_repr_shows_a_secret() -> None:
    shown = [MINTED, Configure(Settings(), MINTED), Adopt(Settings(), MINTED)]
    for text in [*map(repr, shown), str(aws_credentials(MINTED))]:
        assert "hush" not in text
        assert "ASIAKEY" in text


@pytest.mark.parametrize("credentials", [NOT_YET_MINTED, MINTED])
def test_only_amazons_registry_needs_them(credentials: Credentials) -> None:
    registry = OpenRegistry()
    registry.adopt(Settings(), credentials)
    assert registry.get().place
    registry.adopt(Settings(registry=RegistrySettings(kind="ecr")), credentials)
    with pytest.raises(RegistryError, match="see the router's log"):
        registry.get()
