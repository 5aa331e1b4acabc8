"""The core's rules, one a test: events in, commands out, no clock but the one given."""

import pytest
from msgspec.structs import replace

from pipeline_protocol import link
from pipeline_protocol.address import WorkerAddress
from pipeline_protocol.link import Readiness, RefusalReason, VersionState
from pipeline_protocol.settings import Settings, WantedVersion
from pipeline_worker import commands as do
from pipeline_worker import events
from pipeline_worker.bootstrap import Phase
from pipeline_worker.core import Mode, WorkerCore
from pipeline_worker.versions.retention import KeptImage, Memory

DIGEST = "sha256:" + "1" * 64
OTHER_DIGEST = "sha256:" + "2" * 64
EPOCH = 77

PULLING = link.PreparingPhase.PULLING


class Driver:
    """A core with a clock, and what it said."""

    def __init__(self, mode: Mode = Mode.LISTEN, topics: str = "") -> None:
        address = WorkerAddress.parse(f"tcp://localhost:5555/test_runners{topics}")
        self.core = WorkerCore("worker-1", "instance", address, 2, mode)
        self.now = 100.0
        self.said: list[do.Command] = []

    def feed(self, event: events.Event, after: float = 0.0) -> list[do.Command]:
        self.now += after
        out = self.core.handle(event, self.now)
        self.said += out
        return out

    def hear(self, message: link.ToWorker, body: bytes = b"") -> list[do.Command]:
        return self.feed(events.Received(message, body))

    def tick(self, after: float = 0.0) -> list[do.Command]:
        return self.feed(events.Tick(0.5), after)

    def serve(self, *versions: WantedVersion) -> list[do.Command]:
        self.tick()
        self.feed(events.LinkFound(5556))
        self.hear(link.Welcome(1, EPOCH))
        return self.hear(link.Configure(Settings(versions=versions)))


def sent(out: list[do.Command], kind: type) -> list[link.FromWorker]:
    return [c.message for c in out if isinstance(c, do.Send) and isinstance(c.message, kind)]


def of(out: list[do.Command], kind: type) -> list[do.Command]:
    return [command for command in out if isinstance(command, kind)]


def job(number: int = 1, attempt: int = 1) -> link.Job:
    return link.Job(number, attempt, 10_000, 0, key=b"key")


def test_it_asks_says_hello_and_serves() -> None:
    worker = Driver(topics="?topic=ruby")
    assert worker.tick() == [do.AskRouter()]
    out = worker.feed(events.LinkFound(5556))
    assert out[0] == do.Connect(5556)
    (hello,) = sent(out, link.Hello)
    assert isinstance(hello, link.Hello)
    assert (hello.identity, hello.topics, hello.slots) == ("worker-1", ("ruby",), 2)
    assert (hello.epoch, hello.draining) == (0, False)
    worker.hear(link.Welcome(1, EPOCH))
    assert worker.core.phase is Phase.SERVING


def test_a_warning_of_the_router_is_said() -> None:
    worker = Driver()
    worker.tick()
    out = worker.feed(events.LinkFound(5556, ("topic 'rubby' is not configured",)))
    assert of(out, do.Say) == [do.Say("topic 'rubby' is not configured", warning=True)]


def test_a_router_that_never_answers_ends_it_with_its_address() -> None:
    worker = Driver()
    worker.tick()
    asked = [out for out in (worker.tick(1.0) for _ in range(9)) if out == [do.AskRouter()]]
    assert len(asked) == 9
    (leave,) = worker.tick(2.0)
    assert isinstance(leave, do.Leave)
    assert leave.ending is do.WorkerEnd.UNREACHABLE
    assert "tcp://localhost:5555" in leave.reason


def test_a_router_that_does_not_let_it_in_is_asked_again_and_why_is_said_once() -> None:
    worker = Driver()
    worker.tick()
    shut_out = events.HandshakeFailed(2.0, "the router does not let the key in")
    assert of(worker.feed(shut_out), do.Say) == [
        do.Say("the router does not let the key in; trying again", warning=True)
    ]
    assert not of(worker.tick(1.5), do.AskRouter)
    assert of(worker.tick(0.5), do.AskRouter)
    assert not worker.feed(shut_out)
    (leave,) = worker.tick(12.0)
    assert leave == do.Leave(do.WorkerEnd.UNREACHABLE, "the router does not let the key in")


def test_with_the_next_key_of_the_router_it_asks_at_once_and_goes_on_with_its_jobs() -> None:
    worker = Driver()
    worker.serve()
    worker.hear(job())
    assert worker.feed(events.HandshakeFailed(0.0)) == []
    assert of(worker.tick(0.25), do.AskRouter)
    (hello,) = sent(worker.feed(events.LinkFound(5556)), link.Hello)
    assert isinstance(hello, link.Hello)
    assert [held.job for held in hello.jobs] == [1]


def test_one_that_has_served_waits_until_its_key_is_let_in() -> None:
    worker = Driver()
    worker.serve()
    for _ in range(100):
        assert not of(worker.feed(events.HandshakeFailed(5.0, "not let in")), do.Leave)
        assert not of(worker.tick(5.0), do.Leave)
    assert of(worker.said, do.Say).count(do.Say("not let in; trying again", warning=True)) == 1
    worker.feed(events.LinkFound(5556))
    worker.hear(link.Welcome(1, EPOCH))
    assert of(worker.feed(events.HandshakeFailed(5.0, "not let in")), do.Say), "it is news again"


def test_a_silent_router_is_looked_for_as_long_as_it_takes() -> None:
    worker = Driver()
    worker.serve()
    assert of(worker.tick(5.0), do.AskRouter)
    for _ in range(1000):
        assert not of(worker.tick(1.0), do.Leave)
    (hello,) = sent(worker.feed(events.LinkFound(7000)), link.Hello)
    assert isinstance(hello, link.Hello)
    assert hello.epoch == EPOCH


def test_heartbeats_come_every_second_while_it_serves() -> None:
    worker = Driver()
    worker.serve()
    for _ in range(3):
        worker.hear(link.RouterHeartbeat(EPOCH))
        assert sent(worker.tick(1.0), link.WorkerHeartbeat) == [link.WorkerHeartbeat(0, 0.5)]
        assert not sent(worker.tick(0.25), link.WorkerHeartbeat)


def test_a_result_is_held_until_it_is_acknowledged() -> None:
    worker = Driver()
    worker.serve()
    assert worker.hear(job(), b"request") == [do.StartRun(job(), b"request")]
    out = worker.feed(events.RunEnded(1, 1, 200, b"reply"))
    assert out == [do.Send(link.Result(1, 1, 200), b"reply")]
    again = worker.hear(link.Welcome(2, EPOCH))
    assert do.Send(link.Result(1, 1, 200), b"reply") in again
    worker.hear(link.ResultAck(((1, 1),)))
    assert not sent(worker.hear(link.Welcome(3, EPOCH)), link.Result)


def test_a_result_that_comes_while_the_router_is_away_waits_for_the_next() -> None:
    worker = Driver()
    worker.serve()
    worker.hear(job(), b"request")
    worker.tick(5.0)
    assert worker.feed(events.RunEnded(1, 1, 200, b"reply")) == []
    (hello,) = sent(worker.feed(events.LinkFound(5556)), link.Hello)
    assert isinstance(hello, link.Hello)
    assert hello.jobs == (link.HeldJob(b"key", 1, 1, 5000, done=True),)
    assert sent(worker.hear(link.Welcome(2, EPOCH)), link.Result) == [link.Result(1, 1, 200)]


def test_the_same_job_again_does_not_run_again() -> None:
    worker = Driver()
    worker.serve()
    worker.hear(job(), b"request")
    assert worker.hear(job(), b"request") == []
    worker.feed(events.RunEnded(1, 1, 200, b"reply"))
    assert worker.hear(job(), b"request") == [do.Send(link.Result(1, 1, 200), b"reply")]
    assert of(worker.hear(job(attempt=2), b"request"), do.StartRun)


def test_cancel_reaches_only_what_runs() -> None:
    worker = Driver()
    worker.serve()
    worker.hear(job(), b"request")
    assert worker.hear(link.CancelJob(1, 2)) == []
    assert worker.hear(link.CancelJob(1, 1)) == [do.CancelRun(1, 1)]


def test_an_unknown_session_says_hello_once() -> None:
    worker = Driver()
    worker.serve()
    refused = link.Refused(RefusalReason.UNKNOWN_SESSION, "who?")
    assert sent(worker.hear(refused), link.Hello)
    assert worker.hear(refused) == []


def test_it_says_hello_over_the_link_that_is_back_while_the_front_end_is_asked() -> None:
    """A front end that ten thousand come back to may take long to answer."""
    worker = Driver()
    worker.serve()
    assert of(worker.tick(5.0), do.AskRouter)
    refused = link.Refused(RefusalReason.UNKNOWN_SESSION, "who?")
    assert sent(worker.hear(refused), link.Hello)
    assert worker.feed(events.LinkFound(5556)) == []
    worker.hear(link.Welcome(2, EPOCH + 1))
    assert worker.core.phase is Phase.SERVING


def test_a_router_that_was_there_is_asked_ever_more_rarely() -> None:
    """Each time is a new connection: those before are given up in the midst of their handshakes."""
    worker = Driver()
    worker.serve()
    asked = [n for n in range(5, 41) if of(worker.tick(1.0 if n > 5 else 5.0), do.AskRouter)]
    assert asked == [5, 6, 8, 12, 20, 28, 36]
    worker.feed(events.LinkFound(5556))
    worker.hear(link.Welcome(2, EPOCH + 1))
    assert of(worker.tick(5.0), do.AskRouter)
    assert of(worker.tick(1.0), do.AskRouter)


def test_another_refusal_ends_it_with_the_reason() -> None:
    worker = Driver()
    worker.tick()
    worker.feed(events.LinkFound(5556))
    (leave,) = worker.hear(link.Refused(RefusalReason.PROTOCOL, "this router speaks protocol 2"))
    assert isinstance(leave, do.Leave)
    assert leave.ending is do.WorkerEnd.FAILED
    assert "protocol 2" in leave.reason


def test_the_words_for_another_protocol_name_the_older_side() -> None:
    """An earlier router's own words told whoever read them to update the worker."""
    worker = Driver()
    worker.tick()
    worker.feed(events.LinkFound(5556, protocol=link.PROTOCOL - 1))
    (leave,) = worker.hear(link.Refused(RefusalReason.PROTOCOL, "update it"))
    assert isinstance(leave, do.Leave)
    assert leave.ending is do.WorkerEnd.FAILED
    assert leave.reason.endswith(link.mismatch(link.PROTOCOL - 1, link.PROTOCOL))


def test_the_number_of_a_router_that_came_back_older_is_asked_for_first() -> None:
    worker = Driver()
    worker.serve()
    worker.hear(link.Refused(RefusalReason.UNKNOWN_SESSION, "say hello"))
    refused = link.Refused(RefusalReason.PROTOCOL, "update it")
    assert worker.hear(refused) == [do.AskRouter()]
    worker.feed(events.LinkFound(5556, protocol=link.PROTOCOL - 1))
    (leave,) = worker.hear(refused)
    assert isinstance(leave, do.Leave)
    assert leave.reason.endswith(link.mismatch(link.PROTOCOL - 1, link.PROTOCOL))


def test_what_a_later_router_has_against_it_is_said_once() -> None:
    worker = Driver()
    worker.serve()
    worker.tick(5.0)
    refused = events.BootstrapRefused("the router refuses this worker: no such channel")
    (said,) = worker.feed(refused)
    assert isinstance(said, do.Say)
    assert "no such channel" in said.text
    assert said.warning
    assert worker.feed(refused, after=1.0) == []


def test_a_namesake_may_be_our_own_dead_self_so_it_asks_again_for_a_while() -> None:
    worker = Driver()
    worker.tick()
    worker.feed(events.LinkFound(5556))
    refused = link.Refused(RefusalReason.IDENTITY_ALIVE, "a worker called worker-1 is alive")
    hellos = 0
    for _ in range(2):
        assert not of(worker.hear(refused), do.Leave)
        hellos += len(sent(worker.tick(2.5), link.Hello))
    assert hellos == 2
    (leave,) = worker.hear(refused)
    assert isinstance(leave, do.Leave)
    assert leave.ending is do.WorkerEnd.FAILED
    assert "is alive" in leave.reason


def test_wanted_versions_are_prepared_and_reported() -> None:
    worker = Driver()
    wanted = WantedVersion("ruby", "git-1")
    out = worker.serve(wanted)
    assert of(out, do.Prepare) == [do.Prepare(wanted)]
    assert of(out, do.Keep) == [do.Keep((wanted,))]
    ready = VersionState("ruby", "git-1", Readiness.READY, DIGEST)
    out = worker.feed(events.VersionMoved(ready))
    assert out == [do.Send(link.Versions((ready,))), do.Remember(worker.core.retention.memory)]
    same = worker.hear(link.Configure(Settings(versions=(WantedVersion("ruby", "git-1", DIGEST),))))
    assert not of(same, do.Prepare)
    assert not sent(same, link.Versions)


def test_a_scoped_worker_prepares_only_its_own_tracks() -> None:
    worker = Driver(topics="?topic=ruby")
    ruby, bash = WantedVersion("ruby", "git-1"), WantedVersion("bash", "git-1")
    assert of(worker.serve(ruby, bash), do.Prepare) == [do.Prepare(ruby)]


def test_what_is_not_wanted_any_more_is_forgotten() -> None:
    worker = Driver()
    worker.serve(WantedVersion("ruby", "git-1"))
    out = worker.hear(link.Configure(Settings()))
    assert of(out, do.Keep) == [do.Keep(())]
    (versions,) = sent(out, link.Versions)
    assert versions == link.Versions((VersionState("ruby", "git-1", Readiness.REMOVED),))


def found(worker: Driver, *versions: str) -> None:
    for version in versions:
        ready = VersionState("ruby", version, Readiness.READY, DIGEST)
        worker.feed(events.VersionMoved(ready))


def test_another_installations_word_removes_nothing_until_an_operators_does() -> None:
    worker = Driver()
    wanted = WantedVersion("ruby", "git-1", DIGEST)
    worker.tick()
    worker.feed(events.LinkFound(5556))
    worker.hear(link.Welcome(1, EPOCH, installation="a" * 32))
    worker.hear(link.Configure(Settings(versions=(wanted,))))
    found(worker, "git-1")
    assert of(worker.said, do.Remember)[-1] == do.Remember(worker.core.retention.memory)

    worker.hear(link.Welcome(1, EPOCH + 1, installation="b" * 32))
    out = worker.hear(link.Configure(Settings()))
    assert of(out, do.Keep) == [do.Keep((), (DIGEST,))]
    assert of(out, do.Remember) == [do.Remember(worker.core.retention.memory)]
    (said,) = of(out, do.Say)
    assert isinstance(said, do.Say)
    assert (said.text, said.warning) == (worker.core.retention.words(), True)
    (beat,) = sent(out, link.WorkerHeartbeat)
    assert isinstance(beat, link.WorkerHeartbeat)
    assert beat.keeps == said.text

    again = worker.hear(link.Configure(Settings()))
    assert of(again, do.Keep) == [do.Keep((), (DIGEST,))]
    assert not of(again, do.Say)
    out = worker.hear(link.Forget())
    assert of(out, do.Keep) == [do.Keep(())]
    (beat,) = sent(out, link.WorkerHeartbeat)
    assert isinstance(beat, link.WorkerHeartbeat)
    assert beat.keeps == ""


def test_what_an_earlier_start_kept_is_kept_on() -> None:
    former = Driver()
    former.core.retention.memory = Memory(
        "a" * 32, EPOCH, (), (KeptImage("ruby", "git-1", DIGEST),), "it was so"
    )
    address = WorkerAddress.parse("tcp://localhost:5555/test_runners")
    worker = Driver()
    worker.core = WorkerCore("w", "i", address, 2, memory=former.core.retention.memory)
    worker.tick()
    worker.feed(events.LinkFound(5556))
    worker.hear(link.Welcome(1, EPOCH, installation="a" * 32))
    out = worker.hear(link.Configure(Settings()))
    assert of(out, do.Keep) == [do.Keep((), (DIGEST,))]


def test_a_failed_version_is_tried_again_later_and_stays_failed_meanwhile() -> None:
    worker = Driver()
    wanted = WantedVersion("ruby", "git-1")
    worker.serve(wanted)
    failed = VersionState("ruby", "git-1", Readiness.FAILED, reason="registry down")
    assert sent(worker.feed(events.VersionMoved(failed)), link.Versions)
    worker.hear(link.RouterHeartbeat(EPOCH))
    assert not of(worker.tick(3.0), do.Prepare)
    worker.hear(link.RouterHeartbeat(EPOCH))
    assert of(worker.tick(3.0), do.Prepare) == [do.Prepare(wanted)]
    preparing = VersionState("ruby", "git-1", Readiness.PREPARING, percent=10, phase=PULLING)
    assert worker.feed(events.VersionMoved(preparing)) == []
    (versions,) = sent(worker.tick(0.25), link.Versions)
    assert versions == link.Versions((replace(failed, percent=10, phase=PULLING),))
    ready = VersionState("ruby", "git-1", Readiness.READY, DIGEST)
    assert sent(worker.feed(events.VersionMoved(ready)), link.Versions) == [link.Versions((ready,))]


def test_what_is_wanted_is_begun_before_what_is_not_is_removed() -> None:
    """Else a worker that starts would remove what it is about to need."""
    worker = Driver()
    out = worker.serve(WantedVersion("ruby", "git-1"))
    order = [type(command) for command in out if isinstance(command, do.Prepare | do.Keep)]
    assert order == [do.Prepare, do.Keep]


def test_progress_is_told_with_the_ticks_and_never_goes_back() -> None:
    worker = Driver()
    worker.serve(WantedVersion("ruby", "git-1"), WantedVersion("ruby", "git-2"))

    def move(version: str, percent: int) -> VersionState:
        state = VersionState("ruby", version, Readiness.PREPARING, None, "", percent, PULLING)
        assert worker.feed(events.VersionMoved(state)) == []
        return state

    for percent in range(50):
        first = move("git-1", percent)
    second = move("git-2", 7)
    assert sent(worker.tick(0.25), link.Versions) == [link.Versions((first, second))]
    assert not sent(worker.tick(0.25), link.Versions)
    move("git-1", 20)
    assert sent(worker.tick(0.25), link.Versions) == [link.Versions((first,))]


def test_progress_while_the_router_is_away_is_told_in_the_next_hello() -> None:
    worker = Driver()
    worker.serve(WantedVersion("ruby", "git-1"))
    worker.tick(5.0)
    halfway = VersionState("ruby", "git-1", Readiness.PREPARING, None, "", 60, PULLING)
    worker.feed(events.VersionMoved(halfway))
    assert not sent(worker.tick(0.25), link.Versions)
    (hello,) = sent(worker.feed(events.LinkFound(5556)), link.Hello)
    assert isinstance(hello, link.Hello)
    assert hello.versions == (halfway,)


def test_another_digest_than_the_deployed_one_is_a_failure() -> None:
    worker = Driver()
    worker.serve(WantedVersion("ruby", "git-1", DIGEST))
    moved = VersionState("ruby", "git-1", Readiness.READY, OTHER_DIGEST)
    (versions,) = sent(worker.feed(events.VersionMoved(moved)), link.Versions)
    assert isinstance(versions, link.Versions)
    assert versions.changed[0].state is Readiness.FAILED
    assert DIGEST in versions.changed[0].reason


def test_drain_finishes_what_runs_and_says_goodbye_last() -> None:
    worker = Driver()
    worker.serve()
    worker.hear(job(), b"request")
    assert not of(worker.hear(link.Drain()), do.Leave)
    assert not of(worker.feed(events.RunEnded(1, 1, 200, b"reply")), do.Leave)
    out = worker.hear(link.ResultAck(((1, 1),)))
    assert sent(out, link.Goodbye)
    assert of(out, do.Leave) == [do.Leave(do.WorkerEnd.DONE)]


def test_restart_begins_anew_when_nothing_runs() -> None:
    worker = Driver()
    worker.serve()
    out = worker.hear(link.Restart())
    assert of(out, do.Leave) == [do.Leave(do.WorkerEnd.RESTART)]


def test_a_signal_drains_and_a_second_one_leaves_at_once() -> None:
    worker = Driver()
    worker.serve()
    worker.hear(job(), b"request")
    first = worker.feed(events.StopAsked())
    (beat,) = sent(first, link.WorkerHeartbeat)
    assert isinstance(beat, link.WorkerHeartbeat)
    assert beat.draining
    assert not of(first, do.Leave)
    assert of(worker.feed(events.StopAsked()), do.Leave)


@pytest.mark.parametrize("before", [link.Drain(), link.Restart()])
def test_a_signal_to_one_that_leaves_already_is_the_first(before: link.ToWorker) -> None:
    worker = Driver()
    worker.serve()
    worker.hear(job(), b"request")
    worker.hear(before)
    assert not of(worker.feed(events.StopAsked()), do.Leave), (
        "what runs was promised to be finished"
    )
    assert sent(worker.feed(events.RunEnded(1, 1, 200, b"reply")), link.Result)
    assert of(worker.hear(link.ResultAck(((1, 1),))), do.Leave) == [do.Leave(do.WorkerEnd.DONE)]


def test_a_signal_while_the_router_is_away_ends_an_idle_worker_only() -> None:
    idle, busy = Driver(), Driver()
    for worker in (idle, busy):
        worker.serve()
    busy.hear(job(), b"request")
    for worker in (idle, busy):
        worker.tick(5.0)
        assert worker.core.phase is Phase.ASKING
    assert of(idle.feed(events.StopAsked()), do.Leave)
    assert not of(busy.feed(events.StopAsked()), do.Leave)
    (hello,) = sent(busy.feed(events.LinkFound(5556)), link.Hello)
    assert isinstance(hello, link.Hello)
    assert hello.draining
    busy.hear(link.Welcome(2, EPOCH + 1))
    assert sent(busy.feed(events.RunEnded(1, 1, 200, b"reply")), link.Result)
    assert of(busy.hear(link.ResultAck(((1, 1),))), do.Leave) == [do.Leave(do.WorkerEnd.DONE)]


def test_a_job_that_could_not_be_set_up_has_the_host_proved_once() -> None:
    worker = Driver()
    worker.serve()
    for number in (1, 2):
        worker.hear(job(number), b"request")
        worker.feed(events.RunEnded(number, 1, 512, b"reply"))
    assert of(worker.tick(), do.ProveHealth)
    assert not of(worker.tick(1.0), do.ProveHealth)
    assert worker.feed(events.HealthProved()) == []
    assert not of(worker.tick(5.0), do.ProveHealth)


def test_hostile_jobs_do_not_have_the_host_proved() -> None:
    worker = Driver()
    worker.serve()
    for number, code in enumerate((200, 400, 401, 402, 403, 499, 500, 513, 514)):
        worker.hear(job(number), b"request")
        worker.feed(events.RunEnded(number, 1, code, b"reply"))
        assert not of(worker.tick(1.0), do.ProveHealth)


def out_of_the_pool() -> Driver:
    worker = Driver()
    worker.serve()
    worker.feed(events.HealthDoubted())
    assert of(worker.tick(), do.ProveHealth)
    assert not sent(worker.feed(events.HealthProved("no cgroups")), link.WorkerHeartbeat)
    assert not worker.core.draining
    worker.hear(link.RouterHeartbeat(EPOCH))
    assert of(worker.tick(1.0), do.ProveHealth)
    (beat,) = sent(worker.feed(events.HealthProved("no cgroups")), link.WorkerHeartbeat)
    assert isinstance(beat, link.WorkerHeartbeat)
    assert (beat.draining, "no cgroups" in beat.trouble) == (True, True)
    return worker


def test_a_host_that_fails_twice_takes_itself_out_of_the_pool_and_stays_to_say_why() -> None:
    worker = out_of_the_pool()
    for _ in range(20):
        worker.hear(link.RouterHeartbeat(EPOCH))
        out = worker.tick(1.0)
        assert not of(out, do.Leave)
        (beat,) = sent(out, link.WorkerHeartbeat)
        assert isinstance(beat, link.WorkerHeartbeat)
        assert beat.draining
    worker.tick(5.0)
    (hello,) = sent(worker.feed(events.LinkFound(5556)), link.Hello)
    assert isinstance(hello, link.Hello)
    assert (hello.draining, "no cgroups" in hello.trouble) == (True, True)


def test_a_host_that_is_well_again_begins_anew() -> None:
    worker = out_of_the_pool()
    worker.hear(link.RouterHeartbeat(EPOCH))
    worker.hear(job(), b"request")
    assert of(worker.tick(30.0), do.ProveHealth)
    assert not of(worker.feed(events.HealthProved()), do.Leave)
    worker.feed(events.RunEnded(1, 1, 200, b"reply"))
    assert of(worker.hear(link.ResultAck(((1, 1),))), do.Leave) == [do.Leave(do.WorkerEnd.RESTART)]


def test_an_unacknowledged_result_does_not_keep_it_for_ever() -> None:
    worker = Driver()
    worker.serve()
    worker.hear(job(), b"request")
    worker.feed(events.StopAsked())
    assert not of(worker.feed(events.RunEnded(1, 1, 200, b"reply")), do.Leave)
    assert of(worker.tick(6.0), do.Leave)


def test_configure_prepares_and_leaves_without_taking_jobs() -> None:
    worker = Driver(Mode.CONFIGURE)
    worker.serve(WantedVersion("ruby", "git-1"))
    (hello,) = sent(worker.said, link.Hello)
    assert isinstance(hello, link.Hello)
    assert hello.draining
    ready = VersionState("ruby", "git-1", Readiness.READY, DIGEST)
    (leave,) = of(worker.feed(events.VersionMoved(ready)), do.Leave)
    assert leave == do.Leave(do.WorkerEnd.DONE, "1 of 1 versions ready")


def test_configure_fails_if_a_version_does() -> None:
    worker = Driver(Mode.CONFIGURE)
    worker.serve(WantedVersion("ruby", "git-1"))
    failed = VersionState("ruby", "git-1", Readiness.FAILED, reason="no such tag")
    (leave,) = of(worker.feed(events.VersionMoved(failed)), do.Leave)
    assert isinstance(leave, do.Leave)
    assert leave.ending is do.WorkerEnd.FAILED
    assert "no such tag" in leave.reason


def test_a_dry_run_says_what_it_would_prepare_and_prepares_nothing() -> None:
    worker = Driver(Mode.DRYRUN)
    out = worker.serve(WantedVersion("ruby", "git-1"))
    assert of(out, do.Say) == [do.Say("would prepare: ruby git-1")]
    assert of(out, do.Leave) == [do.Leave(do.WorkerEnd.DONE)]
    assert not of(out, do.Prepare)
