"""What a worker keeps although it is not wanted: a table of what routers say, then Hypothesis."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipeline_protocol.settings import WantedVersion
from pipeline_worker.versions.memory_file import MemoryFile
from pipeline_worker.versions.retention import KeptImage, Memory, Retention

A, B = "a" * 32, "b" * 32
FOUR = ("ruby-1", "ruby-2", "bash-1", "elm-1")


def digest(name: str) -> str:
    return f"sha256:{sum(name.encode()):064x}"


def wanted(*names: str) -> list[WantedVersion]:
    return [WantedVersion(*name.split("-")) for name in names]


def serve(retention: Retention, installation: str, epoch: int, *names: str) -> None:
    """Be told by a router what it wants, and find all of it."""
    retention.welcome(installation, epoch)
    want(retention, *names)


def want(retention: Retention, *names: str) -> None:
    retention.want(wanted(*names))
    for name in names:
        track, version = name.split("-")
        retention.found(track, version, digest(name))


def kept(retention: Retention) -> set[str]:
    assert set(retention.digests()) == {one.digest for one in retention.memory.kept}
    return {f"{one.track}-{one.version}" for one in retention.memory.kept}


@pytest.fixture
def retention() -> Retention:
    """A worker that has served installation A, which wants four versions."""
    made = Retention(Memory())
    serve(made, A, 1, *FOUR)
    assert not made.words()
    return made


@pytest.mark.parametrize(
    ("installation", "epoch", "names", "stays"),
    [
        # the same start of the router: an operator's unload, of whatever there is
        (A, 1, (), ()),
        (A, 1, ("elm-1",), ()),
        # started again: as many versions, a few less, or others
        (A, 2, FOUR, ()),
        (A, 2, ("ruby-1", "bash-1"), ()),
        (A, 2, ("ruby-3", "bash-2", "elm-2"), ()),
        # nothing, or much less: an empty or an old file
        (A, 2, (), FOUR),
        (A, 2, ("elm-1",), ("ruby-1", "ruby-2", "bash-1")),
        (A, 2, ("elm-2",), FOUR),
        # another installation
        (B, 2, (), FOUR),
        (B, 2, ("ruby-3",), FOUR),
        (B, 2, (*FOUR, "elm-2"), ()),
        (B, 1, ("elm-1",), ("ruby-1", "ruby-2", "bash-1")),
        ("", 2, (), FOUR),
    ],
)
def test_what_stays(
    retention: Retention,
    installation: str,
    epoch: int,
    names: tuple[str, ...],
    stays: tuple[str, ...],
) -> None:
    serve(retention, installation, epoch, *names)
    assert kept(retention) == set(stays)
    assert bool(retention.words()) is bool(stays)


def test_a_new_worker_takes_the_first_routers_word() -> None:
    retention = Retention(Memory())
    serve(retention, A, 1)
    assert retention.memory == Memory(A, 1)


def test_the_words_name_both_installations_and_both_ways_out(retention: Retention) -> None:
    serve(retention, B, 2)
    for part in ("keeps 4 images", A, B, "deploy", "`pipeline forget-images`"):
        assert part in retention.words()
    other = Retention(Memory(A, 1, (KeptImage("ruby", "1", digest("ruby-1")),)))
    serve(other, A, 2)
    assert "keeps 1 image that is not wanted: 1 versions were wanted, and 0 are" in other.words()


def test_a_deploy_lets_the_other_images_of_its_track_go(retention: Retention) -> None:
    serve(retention, B, 2)
    want(retention, "ruby-2")
    assert kept(retention) == {"bash-1", "elm-1"}
    want(retention, "ruby-2", "bash-2")
    assert kept(retention) == {"elm-1"}
    want(retention, "ruby-2", "bash-2", "elm-1")
    assert not retention.words()


def test_the_same_words_again_are_no_deploy(retention: Retention) -> None:
    """A router says all of it again when credentials are renewed, and after a lost connection."""
    serve(retention, B, 2, "ruby-3")
    for _ in range(3):
        want(retention, "ruby-3")
        serve(retention, B, 2, "ruby-3")
    assert kept(retention) == set(FOUR)


def test_neither_is_the_next_start_of_either_side(retention: Retention) -> None:
    serve(retention, B, 2, "ruby-3")
    for epoch in (3, 4):
        again = Retention(msgspec.json.decode(msgspec.json.encode(retention.memory), type=Memory))
        for one in (retention, again):
            serve(one, B, epoch, "ruby-3")
            assert kept(one) == set(FOUR)


def test_an_operator_has_all_of_it_forgotten(retention: Retention) -> None:
    serve(retention, B, 2, "ruby-1")
    assert retention.forget() == 3
    assert (retention.digests(), retention.words()) == ((), "")
    assert [one.version for one in retention.memory.wanted] == ["1"], "what is wanted stays"
    serve(retention, B, 3, "ruby-1")
    assert not retention.words()


def test_back_at_its_own_router_all_is_wanted_and_the_others_images_wait(
    retention: Retention,
) -> None:
    serve(retention, B, 2, "ruby-3")
    serve(retention, A, 3, *FOUR)
    assert kept(retention) == {"ruby-3"}


def test_a_name_that_another_registry_has_for_another_image_keeps_both(
    retention: Retention,
) -> None:
    retention.welcome(B, 2)
    retention.want(wanted(*FOUR))
    assert kept(retention) == set(FOUR), "until it is known what the names stand for here"
    retention.found("elm", "1", digest("other"))
    retention.found("bash", "1", digest("bash-1"))
    assert kept(retention) == {"ruby-1", "ruby-2", "elm-1"}


def test_what_was_never_ready_is_nothing_to_keep() -> None:
    retention = Retention(Memory())
    retention.welcome(A, 1)
    retention.want(wanted("ruby-1"))
    serve(retention, B, 2)
    assert not retention.words()


# --- beside the store


def test_it_is_remembered_by_the_next_start(tmp_path: Any, retention: Retention) -> None:
    serve(retention, B, 2, "ruby-1")
    file = MemoryFile(tmp_path / "served.json")
    assert file.read() == Memory()
    file.write(Memory(A, 1))
    file.write(retention.memory)
    file.close(10)
    assert [path.name for path in tmp_path.iterdir()] == ["served.json"]
    assert MemoryFile(tmp_path / "served.json").read() == retention.memory


@pytest.mark.parametrize("content", [b"", b"[]", b'{"installation": "../x"}', b"\xff"])
def test_a_file_that_is_of_no_use_is_begun_anew_and_said(
    tmp_path: Any, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "served.json").write_bytes(content)
    assert MemoryFile(tmp_path / "served.json").read() == Memory()
    assert "served.json is of no use" in caplog.text


# --- whatever happens in whatever order

TRACKS = ("ruby", "bash")
VERSIONS = ("1", "2", "3")


class RetentionMachine(RuleBasedStateMachine):
    """A worker and two routers; the model is which images are here, and who said they may go."""

    def __init__(self) -> None:
        super().__init__()
        self.retention = Retention(Memory())
        self.state: dict[str, set[tuple[str, str]]] = {A: set(), B: set()}
        self.at = A
        self.epoch = 1
        self.here: set[str] = set()
        self.may_go: set[str] = set()
        """Whose removal somebody asked for, or a router that is believed."""
        self.connect()

    def connect(self) -> None:
        self.retention.welcome(self.at, self.epoch)
        self.told()

    def told(self) -> None:
        names = [f"{track}-{version}" for track, version in sorted(self.state[self.at])]
        want(self.retention, *names)
        stays = {digest(name) for name in names} | set(self.retention.digests())
        gone = self.here - stays
        assert gone <= self.may_go, "removed at nobody's word"
        self.here = (self.here - gone) | {digest(name) for name in names}
        self.may_go = set()

    def of_track(self, track: str) -> set[str]:
        return {digest(f"{track}-{version}") for version in VERSIONS}

    @rule(track=st.sampled_from(TRACKS), version=st.sampled_from(VERSIONS), deploys=st.booleans())
    def change(self, track: str, version: str, deploys: bool) -> None:
        """An operator deploys or unloads, while the worker is there."""
        if deploys:
            self.state[self.at].add((track, version))
        else:
            self.state[self.at].discard((track, version))
        self.may_go = self.of_track(track)
        self.told()

    @rule()
    def restart_router(self) -> None:
        self.epoch += 1
        self.connect()

    @rule()
    def restart_worker(self) -> None:
        self.retention = Retention(self.retention.memory)
        self.connect()

    @rule()
    def lose_state(self) -> None:
        """The file is empty: the same installation wants nothing any more."""
        self.state[self.at] = set()
        self.epoch += 1
        self.connect()

    @rule()
    def go_elsewhere(self) -> None:
        self.at = B if self.at == A else A
        self.epoch += 1
        self.connect()

    @precondition(lambda self: self.retention.digests())
    @rule()
    def forget(self) -> None:
        self.retention.forget()
        self.may_go = set(self.here)
        self.told()
        assert not self.retention.words()

    @invariant()
    def what_is_kept_is_here_and_told(self) -> None:
        assert set(self.retention.digests()) <= self.here
        assert bool(self.retention.digests()) is bool(self.retention.words())


def test_no_image_goes_at_nobodys_word() -> None:
    run_state_machine_as_test(
        RetentionMachine,
        settings=settings(
            max_examples=300,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
