"""Every limit of a run is in all the tables that have it, under one name and with one default."""

from dataclasses import fields

import msgspec

from pipeline_containers.sandbox.limits import Limits
from pipeline_protocol.settings import LimitSettings
from pipeline_router.config_parse import LimitsText

OF_THE_SANDBOX_ALONE = {"shm_bytes", "open_files"}
"""Limits that the configuration does not name: nothing but a constant sets them."""


def test_the_configuration_names_each_limit() -> None:
    assert LimitsText.__struct_fields__ == LimitSettings.__struct_fields__
    for text, typed in zip(
        msgspec.structs.fields(LimitsText), msgspec.structs.fields(LimitSettings), strict=True
    ):
        assert text.type == typed.type | msgspec.UnsetType, text.name


def test_the_sandbox_holds_each_limit_with_the_same_default() -> None:
    of_sandbox = {field.name: field.default for field in fields(Limits)}
    settings = {field.name: field.default for field in msgspec.structs.fields(LimitSettings)}
    assert of_sandbox.keys() - settings.keys() == OF_THE_SANDBOX_ALONE
    assert settings == {name: of_sandbox[name] for name in settings}
