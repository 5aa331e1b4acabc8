"""What s3:// inputs mean: which are allowed, and what becomes of keys that can be any text."""

import pytest

from pipeline_worker.inputs.quota import MAX_DEPTH, UnusableInput
from pipeline_worker.inputs.s3_uri import Listed, Place, find_place, plan_files

ALLOWED = ("s3://solutions/live/", "s3://other/")
PLACE = Place("solutions", "live/1/")


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("s3://solutions/live/1/", Place("solutions", "live/1/")),
        ("s3://solutions/live/1", Place("solutions", "live/1/")),
        ("s3://solutions/live/", Place("solutions", "live/")),
        ("s3://solutions/live", Place("solutions", "live/")),
        ("s3://other/", Place("other", "")),
        ("s3://other/any/thing/", Place("other", "any/thing/")),
        ("s3://solutions/live/a%2e%2e%2fb/", Place("solutions", "live/a%2e%2e%2fb/")),
        ("s3://solutions/live/a?b#c/", Place("solutions", "live/a?b#c/")),
        ("s3://solutions/live/é .txt/", Place("solutions", "live/é .txt/")),
    ],
)
def test_what_lies_beneath_an_allowed_prefix_is_read_to_the_letter(uri: str, place: Place) -> None:
    assert find_place(uri, ALLOWED) == place


@pytest.mark.parametrize(
    "uri",
    [
        "s3://solutions/live-secret/1/",
        "s3://solutions/liv",
        "s3://solutions/",
        "s3://solutions-of-others/live/1/",
        "s3://solutions/LIVE/1/",
        "s3://others/live/1/",
    ],
)
def test_what_does_not_is_refused_with_what_is_allowed(uri: str) -> None:
    with pytest.raises(UnusableInput, match=r"no allowed prefix \(s3://solutions/live/, s3://oth"):
        find_place(uri, ALLOWED)


@pytest.mark.parametrize(
    "path", ["..", "../live", "1/../../secret", ".", "1//2", "/1", "1\\..\\2", "\x00", "1\n"]
)
def test_no_prefix_climbs(path: str) -> None:
    with pytest.raises(UnusableInput):
        find_place(f"s3://solutions/live/{path}/", ALLOWED)


def test_without_a_prefix_nothing_is_allowed() -> None:
    with pytest.raises(UnusableInput, match=r"\(there is none\)"):
        find_place("s3://solutions/live/1/", ())


def test_a_prefix_longer_than_any_key_is_refused() -> None:
    with pytest.raises(UnusableInput, match="no key in S3"):
        find_place(f"s3://other/{'é/' * 400}", ALLOWED)


def plan(*keys: str, size: int = 1) -> list[str]:
    listing = [Listed(f"live/1/{key}", size, "") for key in keys]
    return [file.path for file in plan_files(PLACE, listing)]


def test_keys_become_files_with_their_folders() -> None:
    odd = ["a.rb", "lib/b.rb", "-rf", "...", "a b", "$(x)", "~", "é/💣", "%2e%2e", "..a/b.."]
    assert plan(*odd) == odd


HOSTILE = {
    "..": "empty, '.' or '..'",
    "../x": "empty, '.' or '..'",
    "a/../../x": "empty, '.' or '..'",
    "/etc/passwd": "empty, '.' or '..'",
    "a//b": "empty, '.' or '..'",
    "./a": "empty, '.' or '..'",
    "a/.": "empty, '.' or '..'",
    "a\nb": "a control character",
    "a\x00b": "a control character",
    "a\x7f": "a control character",
    "a\\b": "a backslash",
    "..\\x": "a backslash",
    "a\ufffd": "no text",
    "half a pair \udcff": "no text",
    "x" * 256: "over 255 bytes",
    "é" * 128: "over 255 bytes",
    "d/" * (MAX_DEPTH + 1) + "x": "nested more than",
    "folder/": "a folder by its name",
    "": "a folder by its name",
}


@pytest.mark.parametrize(("key", "why"), HOSTILE.items(), ids=range(len(HOSTILE)))
def test_a_key_that_can_be_no_file_refuses_the_whole_input(key: str, why: str) -> None:
    with pytest.raises(UnusableInput) as caught:
        plan("honest", key)
    assert why in str(caught.value)
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("keys", [("a", "a/b"), ("a/b/c", "a/b"), ("a/b", "a"), ("x", "x")])
def test_no_file_stands_in_anothers_way(keys: tuple[str, ...]) -> None:
    with pytest.raises(UnusableInput, match=r"both a file and a folder|twice"):
        plan(*keys)


def test_folders_that_consoles_make_are_no_files() -> None:
    listing = [
        Listed("live/1/", 0, ""),
        Listed("live/1/lib/", 0, ""),
        Listed("live/1/lib/a", 0, ""),
    ]
    assert [file.path for file in plan_files(PLACE, listing)] == ["lib/a"]


def test_an_answer_to_another_question_is_not_taken() -> None:
    with pytest.raises(UnusableInput, match="was not asked for"):
        plan_files(PLACE, [Listed("live/2/a", 1, "")])


@pytest.mark.parametrize("listing", [[], [Listed("live/1/", 0, "")]])
def test_a_place_where_nothing_is_is_named(listing: list[Listed]) -> None:
    with pytest.raises(UnusableInput, match="nothing is at s3://solutions/live/1/"):
        plan_files(PLACE, listing)
