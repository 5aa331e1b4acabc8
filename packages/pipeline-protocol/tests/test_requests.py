import json
import re
from contextlib import suppress
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_protocol import BadRequest, requests, status
from pipeline_protocol.channels import ACTION_OF_ALIAS, CHANNEL_OF_ALIAS
from pipeline_protocol.codec import decode_request, encode_json
from pipeline_protocol.names import MAX_SEEN, ExerciseSlug, FileName, Slug, Version

SOLUTION = {
    "action": "test_solution",
    "id": "run-1",
    "track_slug": "ruby",
    "exercise_slug": "two-fer",
    "container_version": "git-0123",
    "s3_uri": "s3://submissions/run-1/",
}
BUILD = {
    "action": "build_container",
    "track_slug": "ruby",
    "channel": "test_runners",
    "git_reference": "master",
}


def refusal(data: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        decode_request(data)
    assert len(str(caught.value)) <= 500
    return caught.value


def refusal_of(message: dict[str, Any], **changes: Any) -> BadRequest:
    """Of a good message with fields changed, or left out where the change is None."""
    changed = {key: value for key, value in {**message, **changes}.items() if value is not None}
    return refusal(json.dumps(changed).encode())


# --- what is no request at all


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"),
        (b"ping", "not JSON"),
        (b'{"action":"ping"', "not JSON"),
        (b'{"action":"ping"} {}', "not JSON"),
        (b'{"action":"ping","x":NaN}', "not JSON"),
        (b'{"action":"ping","x":-Infinity}', "not JSON"),
        (b'\xef\xbb\xbf{"action":"ping"}', "not JSON"),
        (b'{"action":"ping","x":"\\ud800"}', "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"action":"ping","x":"\xff"}', "not UTF-8"),
        (b'{"action":"ping","\xc3(":1}', "not UTF-8"),
        (b"null", "Expected `object`"),
        (b'"ping"', "Expected `object`"),
        (b"[]", "Expected `object`"),
        (b'["ping"]', "Expected `object`"),
        (b"[" * 500_000, "Expected `object`"),
        (b'{"action":"ping","x":' + b"[" * 500_000, "nested too deeply"),
        (b'{"action":"ping","x":' + b'{"x":' * 200_000, "nested too deeply"),
        (b"{}", "missing required field `action`"),
        (b'{"action":null}', "$.action"),
        (b'{"action":["ping"]}', "$.action"),
        (b'{"action":' + b"[" * 500_000, "nested too deeply"),
    ],
)
def test_not_a_request(data: bytes, why: str) -> None:
    error = refusal(data)
    assert error.code == status.MALFORMED
    assert why in str(error)


@given(st.binary())
def test_any_bytes_are_a_request_or_a_bad_one(data: bytes) -> None:
    with suppress(BadRequest):
        decode_request(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
FIELDS = sorted(
    {field for struct in requests.ACTIONS.values() for field in struct.__struct_fields__}
)


@given(st.sampled_from(sorted(requests.ACTIONS)), st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_fields_make_a_request_or_a_bad_one(action: str, fields: dict[str, Any]) -> None:
    data = json.dumps({**fields, "action": action}).encode()
    with suppress(BadRequest):
        request = decode_request(data)
        assert decode_request(encode_json(request)) == request


# --- unknown actions and channels


def test_unknown_action_names_the_nearest() -> None:
    error = refusal(b'{"action":"tst_solution"}')
    assert error.code == status.UNKNOWN_ACTION
    assert str(error) == "unknown action 'tst_solution' (did you mean 'test_solution'?)"


def test_unknown_action_with_none_near() -> None:
    error = refusal(b'{"action":"make_coffee!"}')
    assert (error.code, str(error)) == (status.UNKNOWN_ACTION, "unknown action 'make_coffee!'")


def test_unknown_action_is_not_echoed_at_length() -> None:
    error = refusal(b'{"action":"' + b"z" * 1_000_000 + b'"}')
    assert error.code == status.UNKNOWN_ACTION


@pytest.mark.parametrize("action", ["build_container", "deployment_check"])
def test_unknown_channel_names_the_nearest(action: str) -> None:
    error = refusal_of(BUILD, action=action, channel="test_runer")
    assert error.code == status.MALFORMED
    assert "unknown channel 'test_runer' (did you mean 'test_runners'?)" in str(error)


def test_builders_have_no_versions() -> None:
    assert "run no tool" in str(refusal_of(BUILD, channel="builders"))


def test_builders_have_no_topics() -> None:
    hello = {"action": "configure_worker", "channel": "builders", "topics": ["ruby"]}
    error = refusal_of(hello)
    assert error.code == status.MALFORMED
    assert "`topics`" in str(error)
    assert decode_request(json.dumps({**hello, "topics": []}).encode())


def test_configure_worker_of_an_unknown_channel() -> None:
    assert "did you mean 'builders'" in str(
        refusal_of({"action": "configure_worker", "channel": "builder"})
    )


# --- aliases


@pytest.mark.parametrize("alias", sorted(ACTION_OF_ALIAS))
@pytest.mark.parametrize("fields", [{}, {"timeout_s": 5, "priority": "background"}])
def test_an_action_by_its_alias_is_the_action(alias: str, fields: dict[str, Any]) -> None:
    own, by_alias = (
        decode_request(json.dumps({**SOLUTION, **fields, "action": action}).encode())
        for action in (ACTION_OF_ALIAS[alias], alias)
    )
    assert type(by_alias) is type(own)
    assert by_alias == own
    assert encode_json(by_alias) == encode_json(own)


@pytest.mark.parametrize("alias", sorted(ACTION_OF_ALIAS))
@pytest.mark.parametrize(
    ("field", "value"), [("id", None), ("track_slug", "Ruby"), ("exercise_slug", "a/b")]
)
def test_what_is_wrong_beside_an_alias_is_named(alias: str, field: str, value: Any) -> None:
    error = refusal_of({**SOLUTION, "action": alias}, **{field: value})
    assert error.code == status.MALFORMED
    assert f"`{field}`" in str(error) or f"`$.{field}`" in str(error)


@pytest.mark.parametrize("alias", sorted(CHANNEL_OF_ALIAS))
@pytest.mark.parametrize(
    "action", sorted(a for a, s in requests.ACTIONS.items() if "channel" in s.__struct_fields__)
)
def test_a_channel_by_its_alias_is_the_channel(action: str, alias: str) -> None:
    message = {**EVERY_FIELD, "action": action, "channel": alias}
    request: Any = decode_request(json.dumps(message).encode())
    assert request.channel == CHANNEL_OF_ALIAS[alias]


def test_what_is_cancelled_may_be_named_by_its_alias() -> None:
    cancel = decode_request(b'{"action":"cancel","id":"1","of_action":"represent"}')
    assert cancel == requests.Cancel(id="1", of_action="represent_solution")


# --- fields


EVERY_FIELD = {
    **SOLUTION,
    **BUILD,
    "identity": "worker-1",
    "version": "v1",
    "new_version": "v1",
    "versions": ["v1"],
}


@pytest.mark.parametrize("action", sorted(requests.ACTIONS))
def test_missing_field_is_named(action: str) -> None:
    message = {**EVERY_FIELD, "action": action}
    decode_request(json.dumps(message).encode())
    for field in msgspec.structs.fields(requests.ACTIONS[action]):
        if field.required:
            error = refusal_of(message, **{field.encode_name: None})
            assert error.code == status.MALFORMED
            assert f"missing required field `{field.encode_name}`" in str(error)


BAD_SLUGS = ["", "ruby\n", "-ruby", ".ruby", "r" * 129, "..", "../x", "a/b", "a b", "é", "a\x00"]
BAD_TRACKS = [*BAD_SLUGS, "Ruby", "r" * 65, "c_sharp", "c.sharp"]
"""No image and no repository has a name as each of these."""
WORDS = {
    "track_slug": "Expected a slug (1 to 64 small letters, digits and '-')",
    "exercise_slug": "Expected an exercise's slug (1 to 128 letters, digits, '_', '.' and '-')",
}


@pytest.mark.parametrize(
    ("field", "slug"),
    [
        *(("track_slug", slug) for slug in BAD_TRACKS),
        *(("exercise_slug", slug) for slug in BAD_SLUGS),
    ],
)
def test_bad_slug(field: str, slug: str) -> None:
    error = refusal_of(SOLUTION, **{field: slug})
    assert error.code == status.MALFORMED
    assert f"{WORDS[field]} - at `$.{field}`" in str(error)


@pytest.mark.parametrize(
    "slug", ["two-fer", "two_fer", "two.fer", "_two-fer", "2-fer", "Two-Fer", "a..b", "x" * 128]
)
def test_slugs_that_exercises_and_fixtures_have(slug: str) -> None:
    request = decode_request(json.dumps({**SOLUTION, "exercise_slug": slug}).encode())
    assert isinstance(request, requests.TestSolution)
    assert request.exercise_slug == slug


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("track_slug", 1),
        ("container_version", "-v1"),
        ("container_version", "v1\n"),
        ("container_version", "v/1"),
        ("container_version", "v" * 129),
        ("id", ""),
        ("id", "two words"),
        ("id", "i" * 129),
        ("id", "run\n"),
        ("id", 7),
        ("s3_uri", "s3://submissions"),
        ("s3_uri", "https://submissions/run-1/"),
        ("s3_uri", "file://host/folder/"),
        ("s3_uri", "s3://submissions/\n"),
        ("s3_uri", "s3://submissions/" + "x" * 1025),
        ("execution_timeout", 0),
        ("execution_timeout", -1),
        ("execution_timeout", 86_401),
        ("execution_timeout", "5"),
        ("timeout_s", False),
        ("progress", "yes"),
        ("priority", "urgent"),
        ("priority", "x" * 100_000),
    ],
)
def test_bad_field_is_named(field: str, value: Any) -> None:
    error = refusal_of(SOLUTION, **{field: value})
    assert error.code == status.MALFORMED
    assert f"`$.{field}`" in str(error)


NAMES = {
    "track_slug": (Slug, requests._tracks),
    "exercise_slug": (ExerciseSlug, requests._exercises),
    "container_version": (Version, requests._versions),
}
NEARLY = st.text(st.sampled_from("aA0-_./\n"), max_size=4)


@given(st.sampled_from(sorted(NAMES)), NEARLY)
def test_a_name_is_taken_by_its_pattern_the_first_time_and_again(field: str, name: str) -> None:
    message = json.dumps({**SOLUTION, field: name}).encode()
    good = re.search(get_args(NAMES[field][0])[1].pattern, name) is not None
    for _ in range(2):
        if good:
            assert getattr(decode_request(message), field) == name
        else:
            assert f"`$.{field}`" in str(refusal(message))
    assert (name in NAMES[field][1]) == good


@given(NEARLY.map(lambda name: f"{name}x"))
def test_a_file_name_is_taken_by_its_pattern_the_first_time_and_again(name: str) -> None:
    message = {**SOLUTION, "files": {name: "", "a": ""}}
    del message["s3_uri"]
    good = re.search(get_args(FileName)[1].pattern, name) is not None
    for _ in range(2):
        if good:
            decode_request(json.dumps(message).encode())
        else:
            assert "`key` in `$.files`" in str(refusal(json.dumps(message).encode()))


def test_names_that_were_seen_fill_no_memory() -> None:
    for number in range(3 * MAX_SEEN):
        made_up = {**SOLUTION, "exercise_slug": f"x{number}", "container_version": f"v{number}"}
        decode_request(json.dumps(made_up).encode())
        assert len(requests._exercises) <= MAX_SEEN
        assert len(requests._versions) <= MAX_SEEN


@pytest.mark.parametrize(
    "reference",
    [
        *("", "-x", "--upload-pack=x", "$(id)", "a b", "a\n", "@{1}", "x" * 256, ".a", "/a", "a~1"),
        *("a^", "a:b", "a?", "a*", "a[", "a\\b", "a`b", "a;b", "a\x7f", "a\x9b", "a\u202e"),
        *("a\u200b", "a\u2028", "a\u00a0", "a\ufeff", "a\ue000"),
    ],
)
def test_bad_git_reference(reference: str) -> None:
    assert "Expected a git reference" in str(refusal_of(BUILD, git_reference=reference))


@pytest.mark.parametrize(
    "reference", ["@", "HEAD", "#x", "_x", "größe", "日本/語", "🚀", "A" * 40, "a@b", "x" * 255]
)
def test_good_git_reference(reference: str) -> None:
    request = decode_request(json.dumps({**BUILD, "git_reference": reference}).encode())
    assert isinstance(request, requests.BuildContainer)
    assert request.git_reference == reference


def test_bad_identity() -> None:
    assert "Expected an identity" in str(refusal_of({"action": "drain_worker", "identity": "a/b"}))


def test_too_many_versions() -> None:
    update = {**BUILD, "action": "update_container_versions", "versions": ["v1"] * 101}
    assert "`$.versions`" in str(refusal_of(update))


# --- inputs


def test_neither_input_nor_two() -> None:
    needed = "exactly one of `s3_uri` and `files` is needed"
    assert needed in str(refusal_of(SOLUTION, s3_uri=None))
    assert needed in str(refusal_of(SOLUTION, files={"a.rb": ""}))


GOOD_NAMES = ["a", "a.rb", "lib/a.rb", ".hidden", "...", "..a", "a..", "a b", "é", "x" * 255]
BAD_NAMES = [
    "",
    ".",
    "..",
    "/etc/passwd",
    "../a",
    "a/..",
    "a/../../b",
    "./a",
    "a/./b",
    "a//b",
    "a/",
    "a\n",
    "a\x00b",
    "\x7f",
    "x" * 256,
]


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_good_file_name(name: str) -> None:
    message = {**SOLUTION, "files": {name: "text"}}
    del message["s3_uri"]
    request = decode_request(json.dumps(message).encode())
    assert isinstance(request, requests.TestSolution)
    assert request.files == {name: "text"}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_file_name(name: str) -> None:
    error = refusal_of(SOLUTION, s3_uri=None, files={"good": "", name: "text"})
    assert error.code == status.MALFORMED
    assert "Expected a file's name (relative, without '..') - at `key` in `$.files`" in str(error)


@pytest.mark.parametrize("files", [{}, [], {"a": 1}, {f"{n}": "" for n in range(1001)}])
def test_bad_files(files: Any) -> None:
    assert "`$.files" in str(refusal_of(SOLUTION, s3_uri=None, files=files))


CONTENTS: list[Any] = [
    {"base64": "QUI"},
    {"base64": "QU I="},
    {"base64": "QUI=\n"},
    {"base64": "_-8="},
    {"base64": "=QUJ"},
    {"base64": 3},
    {"base64": None},
    {"text": "a"},
    {},
    ["QUI="],
    3,
    None,
]


@pytest.mark.parametrize("content", CONTENTS)
def test_a_file_that_is_neither_text_nor_base64_is_named(content: Any) -> None:
    files = {"good": "", "fine.png": {"base64": "QUI="}, "bad.png": content, "": "later"}
    error = refusal_of(SOLUTION, s3_uri=None, files=files)
    assert error.code == status.MALFORMED
    assert str(error).startswith("file 'bad.png': ")
    assert "`$.files[...]" in str(error)


def test_base64_that_is_none_is_refused_in_words() -> None:
    error = refusal_of(SOLUTION, s3_uri=None, files={"a.png": {"base64": "%"}})
    assert "Invalid base64 encoded string" in str(error)


@given(st.dictionaries(st.sampled_from("abc"), st.text() | st.binary(), min_size=1))
def test_files_are_text_or_bytes(files: dict[str, str | bytes]) -> None:
    sent = {
        name: requests.BinaryFile(it) if isinstance(it, bytes) else it for name, it in files.items()
    }
    fields: dict[str, Any] = {**SOLUTION, "s3_uri": msgspec.UNSET, "files": sent}
    del fields["action"]
    request = requests.TestSolution(**fields)
    assert decode_request(encode_json(request)) == request


# --- what is let through


def test_unknown_fields_are_ignored() -> None:
    assert decode_request(b'{"action":"ping","later":[{"x":1.5}]}') == requests.Ping()


def test_only_operators_change_things() -> None:
    roles = {action: struct.role for action, struct in requests.ACTIONS.items()}
    client = {action for action, role in roles.items() if role is requests.Role.CLIENT}
    assert client == {
        "test_solution",
        "analyse_solution",
        "recommend_solution",
        "represent_solution",
        "deployment_check",
        "ping",
        "cancel",
    }
    assert {action for action, role in roles.items() if role is requests.Role.WORKER} == {
        "configure_worker"
    }
