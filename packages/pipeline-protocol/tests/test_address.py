import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_protocol import BadAddress, RouterAddress, WorkerAddress
from pipeline_protocol.channels import CHANNELS

SLUGS = st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,63}\Z")
HOSTS = st.one_of(
    st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z0-9]{1,10}){0,3}\Z"),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)
ROUTERS = st.builds(RouterAddress, HOSTS, st.integers(1, 65535))


@st.composite
def worker_addresses(draw: st.DrawFn) -> WorkerAddress:
    channel = draw(st.sampled_from(sorted(CHANNELS)))
    topics = draw(st.lists(SLUGS, max_size=5, unique=True)) if channel != "builders" else []
    return WorkerAddress(draw(ROUTERS), channel, tuple(topics))


@given(ROUTERS)
def test_router_address_round_trip(address: RouterAddress) -> None:
    assert RouterAddress.parse(str(address)) == address


@given(worker_addresses())
def test_worker_address_round_trip(address: WorkerAddress) -> None:
    assert WorkerAddress.parse(str(address)) == address


@given(st.one_of(st.text(), st.text().map(lambda text: "tcp://" + text)))
def test_any_text_is_an_address_or_a_bad_one(text: str) -> None:
    for kind in (RouterAddress, WorkerAddress):
        try:
            address = kind.parse(text)
        except BadAddress:
            continue
        assert kind.parse(str(address)) == address


def test_what_the_brief_writes() -> None:
    address = WorkerAddress.parse("tcp://localhost:5555/test_runners?topic=ruby")
    assert address == WorkerAddress(RouterAddress("localhost", 5555), "test_runners", ("ruby",))


def test_a_channel_by_its_alias() -> None:
    address = WorkerAddress.parse("tcp://h:1/static_analyzers?topic=ruby")
    assert str(address) == "tcp://h:1/static_analysers?topic=ruby"


def test_topics_keep_their_order_and_come_once() -> None:
    address = WorkerAddress.parse("tcp://h:1/recommenders?topic=b&topic=a&topic=b")
    assert address.topics == ("b", "a")
    assert str(address) == "tcp://h:1/recommenders?topic=b&topic=a"


def test_end_point_of_another_port_of_the_host() -> None:
    assert RouterAddress.parse("tcp://[::1]:5555/").endpoint(5556) == "tcp://[::1]:5556"
    assert RouterAddress.parse("tcp://[fe80::1%eth0]:1").host == "fe80::1%eth0"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:5555",
        "http://localhost:5555",
        "ipc:///tmp/router",
        "tcp://localhost",
        "tcp://:5555",
        "tcp://*:5555",
        "tcp://localhost:0",
        "tcp://localhost:65536",
        "tcp://localhost:port",
        "tcp://user@localhost:5555",
        "tcp://:secret@localhost:5555",
        "tcp://local host:5555",
        "tcp://local\nhost:5555",
        " tcp://localhost:5555",
        "tcp://localhost:5555\n",
        "tcp://host\x00:5555",
        "tcp://h;tcp://g:5555",
        "tcp://[::1:5555",
        "tcp://[g]:5555",
    ],
)
def test_no_address_for_anyone(text: str) -> None:
    with pytest.raises(BadAddress, match="write it like tcp://localhost:5555"):
        RouterAddress.parse(text)
    with pytest.raises(BadAddress):
        WorkerAddress.parse(text)


@pytest.mark.parametrize("rest", ["/test_runners", "?topic=ruby", "/#top"])
def test_router_address_ends_after_its_port(rest: str) -> None:
    with pytest.raises(BadAddress, match="ends after its port"):
        RouterAddress.parse("tcp://localhost:5555" + rest)


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        ("", "names no channel"),
        ("/", "names no channel"),
        ("/test_runner", "did you mean 'test_runners'"),
        ("/test_runners/", "did you mean 'test_runners'"),
        ("/builders?topic=ruby", "topic= is not for them"),
        ("/test_runners?topik=ruby", "unknown option 'topik'"),
        ("/test_runners?topic", "topic"),
        ("/test_runners?topic=", "is not a track"),
        ("/test_runners?topic=Ruby", "is not a track"),
        ("/test_runners?topic=ruby%0a", "is not a track"),
        ("/test_runners?topic=" + "r" * 65, "is not a track"),
        ("/test_runners?topic=ruby#x", "'#'"),
        ("/test_runners?" + "&".join(f"topic=t{n}" for n in range(101)), "fields"),
    ],
)
def test_no_address_for_a_worker(rest: str, why: str) -> None:
    with pytest.raises(BadAddress, match=why):
        WorkerAddress.parse("tcp://localhost:5555" + rest)
