"""The documented list of toolchains is that of those which are tried, with what each needs."""

from support.markdown import Document, codes
from support.tracks import ROOT
from toolchains.table import ALL, CASES, LAYERS, TOOLCHAINS, Toolchain

from pipeline_containers.sandbox.limits import Limits

DOCUMENT = Document(ROOT / "docs" / "tools.md")
ROWS = {
    name: cells
    for name, *cells in DOCUMENT.table("toolchain", "packages", "needs", "in the Dockerfile")
}


def alike(name: str) -> list[Toolchain]:
    """Return a toolchain and the cases that are tried in its image."""
    return [ALL[name], *(case for case in CASES.values() if case.like == name)]


def test_each_toolchain_is_there_in_the_tables_order() -> None:
    assert list(ROWS) == [*TOOLCHAINS, *(name for name, case in CASES.items() if case.packages)]
    assert len(TOOLCHAINS) >= 30


def test_each_is_there_with_its_packages() -> None:
    for name, (packages, *_) in ROWS.items():
        own, lower = ALL[name].packages, LAYERS[ALL[name].over].packages
        if own:
            assert codes(packages) == own.split(), name
        else:
            assert codes(packages), name
            assert set(codes(packages)) <= set(lower.split()), name


def test_each_is_there_with_what_it_needs_and_what_its_image_sets() -> None:
    for name, (_, needs, dockerfile) in ROWS.items():
        limits = {
            f"{limit}: {str(value).lower() if isinstance(value, bool) else value}"
            for toolchain in alike(name)
            for limit, value in toolchain.limits.items()
        }
        env = {
            f"{key}={value}"
            for toolchain in alike(name)
            if not toolchain.limits
            for key, value in toolchain.env.items()
        }
        assert (set(codes(needs)), set(codes(dockerfile))) == (limits, env), name


def test_a_plain_exercise_needs_no_more_than_the_defaults() -> None:
    for name, toolchain in TOOLCHAINS.items():
        assert toolchain.limits_of_job() == Limits(), name


def test_what_is_needed_is_what_a_configuration_says() -> None:
    for case in CASES.values():
        for limit in case.limits:
            assert case.limits_of_job() != case.limits_of_job(limit)


def test_what_is_wrong_is_wrong_in_one_place() -> None:
    for name, toolchain in TOOLCHAINS.items():
        assert sum(text.count("400") for text in toolchain.files.values()) == 1, name
