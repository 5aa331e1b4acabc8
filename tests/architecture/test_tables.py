"""Tables of one package that name rows of another's: each row is there."""

from typing import get_args

import msgspec

from pipeline_containers.building.fixtures import SLUG
from pipeline_containers.registries.kinds import KINDS
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_protocol.channels import CHANNELS
from pipeline_protocol.names import ExerciseSlug
from pipeline_protocol.settings import RegistrySettings


def test_each_kind_of_registry_that_can_be_configured_can_be_opened() -> None:
    (kind,) = (field for field in msgspec.structs.fields(RegistrySettings) if field.name == "kind")
    assert set(get_args(kind.type)) == set(KINDS)


def test_a_fixture_may_have_the_slugs_that_a_job_may_have() -> None:
    assert rf"\A{SLUG}\Z" == get_args(ExerciseSlug)[1].pattern


def test_each_channel_that_runs_tools_has_a_kind_of_tool() -> None:
    assert {row.tool_kind for row in CHANNELS.values() if row.tool_kind} == set(TOOLS)
