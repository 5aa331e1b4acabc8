"""Amazon's registry: what it is asked, by botocore's Stubber; no network takes part."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from botocore.stub import Stubber

from pipeline_containers.errors import RegistryError
from pipeline_containers.registries.ecr import EcrRegistry, open_client
from pipeline_containers.registries.kinds import open_registry
from pipeline_containers.registries.registry import AwsCredentials

DIGEST = f"sha256:{'0' * 64}"
HOST = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
CREDENTIALS = AwsCredentials("key-id", "secret-key", "session-token")


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> tuple[EcrRegistry, Stubber]:
    client = boto3.client(
        "ecr", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    stubber = Stubber(client)
    stubber.activate()
    return EcrRegistry(client, clock=lambda: NOW.timestamp()), stubber


NOW = datetime(2030, 1, 1, tzinfo=UTC)
Amazon = tuple[EcrRegistry, Stubber]


def token(text: str, expires_at: datetime) -> dict[str, object]:
    basic = base64.b64encode(f"AWS:{text}".encode()).decode()
    return {
        "authorizationData": [
            {
                "authorizationToken": basic,
                "expiresAt": expires_at,
                "proxyEndpoint": f"https://{HOST}",
            }
        ]
    }


def test_listings_are_read_to_the_last_page(amazon: Amazon) -> None:
    registry, stubber = amazon
    asked = {"repositoryName": "tool", "filter": {"tagStatus": "TAGGED"}}
    pages = [["v3", "v1"], ["v1"], ["v2"]]
    for number, tags in enumerate(pages):
        images = [{"imageDigest": DIGEST, "imageTag": tag} for tag in tags]
        answer: dict[str, object] = {"imageIds": images}
        if number < len(pages) - 1:
            answer["nextToken"] = str(number)
        wanted = asked | ({"nextToken": str(number - 1)} if number else {})
        stubber.add_response("list_images", answer, wanted)
    assert registry.tags("tool") == ["v1", "v2", "v3"]
    stubber.assert_no_pending_responses()


def test_an_image_is_asked_for_by_name_wherever_a_listing_would_have_it(amazon: Amazon) -> None:
    registry, stubber = amazon
    found = {"imageDetails": [{"imageDigest": DIGEST}]}
    by_tag = {"repositoryName": "tool", "imageIds": [{"imageTag": "v1"}]}
    stubber.add_response("describe_images", found, by_tag)
    assert registry.digest("tool", "v1") == DIGEST
    by_digest = {"repositoryName": "tool", "imageIds": [{"imageDigest": DIGEST}]}
    stubber.add_response("describe_images", found, by_digest)
    assert registry.digest("tool", DIGEST) == DIGEST
    for code in ("ImageNotFoundException", "RepositoryNotFoundException"):
        stubber.add_client_error("describe_images", code)
        assert not registry.exists("tool", "v1")
    stubber.add_client_error("list_images", "RepositoryNotFoundException")
    assert registry.tags("tool") == []


def test_refusals_are_ours(amazon: Amazon) -> None:
    registry, stubber = amazon
    stubber.add_client_error("describe_images", "AccessDeniedException", "not for you")
    with pytest.raises(RegistryError, match=r"AWS refuses: .*not for you"):
        registry.digest("tool", "v1")
    stubber.add_client_error("describe_repositories", "RepositoryNotFoundException")
    stubber.add_client_error("create_repository", "LimitExceededException", "too many")
    with pytest.raises(RegistryError, match=r"AWS refuses: .*too many"):
        registry.push("oci:/nowhere", "tool", "v1")
    with pytest.raises(RegistryError, match="not the name"):
        registry.digest("../x", "v1")
    with pytest.raises(RegistryError, match="neither a tag nor a digest"):
        registry.digest("tool", "a b")


def test_a_token_is_kept_until_shortly_before_it_expires(amazon: Amazon, tmp_path: Path) -> None:
    registry, stubber = amazon
    stubber.add_response("get_authorization_token", token("soon", NOW + timedelta(minutes=5)))
    stubber.add_response("get_authorization_token", token("late", NOW + timedelta(hours=12)))

    def login() -> str:
        file = registry.authfile(tmp_path)
        assert file is not None
        assert file.stat().st_mode & 0o777 == 0o600
        return file.read_text()

    assert base64.b64encode(b"AWS:soon").decode() in login()
    late = base64.b64encode(b"AWS:late").decode()
    assert late in login()
    assert late in login()
    assert HOST in login()
    stubber.assert_no_pending_responses()


def test_what_the_router_minted_is_used_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    client = open_client(CREDENTIALS)
    assert client.meta.region_name == "eu-west-1"
    assert "secret-key" not in repr(CREDENTIALS)
    assert "session-token" not in repr(CREDENTIALS)
    assert isinstance(open_registry("ecr", "", CREDENTIALS), EcrRegistry)


def test_a_host_without_a_region_is_told_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(RegistryError, match="AWS cannot be asked: You must specify a region"):
        open_registry("ecr", "")
