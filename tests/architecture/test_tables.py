"""Tables of one package that name rows of another's: each row is there."""

from typing import get_args

import msgspec

from pipeline_containers.registries.kinds import KINDS
from pipeline_containers.sandbox.tools import TOOLS
from pipeline_protocol.channels import CHANNELS
from pipeline_protocol.settings import RegistrySettings


def test_each_kind_of_registry_that_can_be_configured_can_be_opened() -> None:
    (kind,) = (field for field in msgspec.structs.fields(RegistrySettings) if field.name == "kind")
    assert set(get_args(kind.type)) == set(KINDS)


def test_each_channel_that_runs_tools_has_a_kind_of_tool() -> None:
    assert {row.tool_kind for row in CHANNELS.values() if row.tool_kind} == set(TOOLS)
