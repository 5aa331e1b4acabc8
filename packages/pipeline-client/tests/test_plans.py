"""What is asked, how often, and when it is over: plans carried out with time as a number."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline_client import Retries, errors
from pipeline_client._plans import jobs, operations
from pipeline_client._plans.call import GRACE_S, Call
from pipeline_client._plans.options import ClientOptions
from pipeline_client._plans.steps import BlockingCall, CallPlan, Exchange, Pause
from pipeline_protocol import RouterAddress, codec, replies, requests, responses, status
from pipeline_protocol.responses import Deployment, DeployState, VersionDeployment, WorkerVersion

NOW = 1000.0
NAMES = ("ruby", "two-fer", "v1")
PLACE = ("ruby", "test_runners")
PONG = codec.answer(responses.Pong("0.1.0", 1.0))


class World:
    """Answers in turn, the last one for ever; time goes by in pauses, and as answers take it."""

    def __init__(self, *answers: bytes, takes_s: float = 0.0, chance: float = 1.0) -> None:
        self.now = NOW
        self.exchanges: list[Exchange] = []
        self.pauses: list[float] = []
        self._answers = list(answers)
        self._takes_s = takes_s
        self._chance = chance

    def carry_out(
        self,
        plan: CallPlan[Any],
        retries: Retries | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        steps = plan.steps(
            ClientOptions(
                router=RouterAddress("localhost", 5555),
                timeout_s=timeout_s,
                retries=retries,
                clock=lambda: self.now,
                chance=lambda: self._chance,
            )
        )
        outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value
            outcome = self._take(step)

    def _take(self, step: Exchange | Pause | BlockingCall) -> Any:
        if isinstance(step, Pause):
            self.pauses.append(step.seconds)
            self.now += step.seconds
            return None
        self.now += self._takes_s
        if isinstance(step, BlockingCall):
            return step.do()
        self.exchanges.append(step)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def requests(self) -> list[Any]:
        return [codec.decode_request(exchange.body) for exchange in self.exchanges]


def refusal(code: int, retry_after_s: float = 0.0) -> bytes:
    return codec.refusal(code, "do this next", replies.Context(retry_after_s=retry_after_s))


def a_run(**options: Any) -> Call[Any]:
    return jobs.test_solution(*NAMES, files={"a.rb": ""}, **options)


# --- time


@pytest.mark.parametrize(
    ("call", "of_client", "expected_s"),
    [
        (operations.ping(), None, 10),
        (operations.deployment_check(*PLACE), None, 10),
        (jobs.list_available_containers(*PLACE), None, 60),
        (jobs.build_container(*PLACE, "master"), None, 1800),
        (jobs.build_container(*PLACE, "master"), 30, 30),
        (jobs.build_container(*PLACE, "master", timeout_s=7), 30, 7),
        (operations.restart_workers(), 3, 3),
    ],
)
def test_whose_time_out_holds(call: Call[Any], of_client: float | None, expected_s: float) -> None:
    world = World(refusal(status.INTERNAL_ERROR))
    with pytest.raises(errors.PlatformError):
        world.carry_out(call, timeout_s=of_client)
    (exchange,) = world.exchanges
    assert exchange.deadline == NOW + expected_s + GRACE_S
    (request,) = world.requests()
    if isinstance(request, requests.WorkerServed):
        assert request.timeout_s == expected_s


@pytest.mark.parametrize("timeout_s", [0, -1, 1e9, float("inf"), float("nan")])
def test_time_outs_that_would_never_end_or_never_begin(timeout_s: float) -> None:
    with pytest.raises(errors.RequestError, match="`timeout_s` must be"):
        World(PONG).carry_out(operations.ping(timeout_s=timeout_s))


def test_too_late_names_the_router_and_what_is_to_be_done() -> None:
    world = World(codec.answer(responses.Told(())))
    world.carry_out(operations.restart_workers())
    assert "tcp://localhost:5555 within 10 s" in world.exchanges[0].too_late
    assert "look at `workers` before you repeat" in world.exchanges[0].too_late


# --- trying again


LATER = (
    *(status.QUOTA_USED, status.NO_WORKER, status.NOT_READY),
    *(status.SETUP_FAILED, status.DEADLINE_PASSED),
)


@pytest.mark.parametrize("code", LATER)
def test_what_may_succeed_later_is_tried_again(code: int) -> None:
    world = World(refusal(code), refusal(code), codec.answer({"status": "pass"}))
    answer = world.carry_out(a_run(), Retries(attempts=3, base_s=0.5))
    assert answer.response == {"status": "pass"}
    assert world.pauses == [0.5, 1.0]


@pytest.mark.parametrize("code", sorted(status.STATUSES.keys() - {200, 101, 102, 510, *LATER}))
def test_nothing_else_is_tried_again(code: int) -> None:
    world = World(refusal(code))
    with pytest.raises(errors.PipelineError) as caught:
        world.carry_out(a_run(), Retries())
    assert caught.value.code == code
    assert len(world.exchanges) == 1


def test_failed_worker_is_tried_again_once() -> None:
    world = World(refusal(status.WORKER_FAILED))
    with pytest.raises(errors.PlatformError):
        world.carry_out(a_run(), Retries(attempts=10))
    assert len(world.exchanges) == 2


def test_number_of_attempts_is_kept() -> None:
    world = World(refusal(status.NO_WORKER))
    with pytest.raises(errors.PlatformError):
        world.carry_out(a_run(), Retries(attempts=5))
    assert len(world.exchanges) == 5


def test_without_retries_nothing_is_tried_again() -> None:
    world = World(refusal(status.NO_WORKER))
    with pytest.raises(errors.PlatformError):
        world.carry_out(a_run(), None)
    assert len(world.exchanges) == 1


def test_pauses_double_up_to_the_most_and_are_random() -> None:
    world = World(refusal(status.NO_WORKER), chance=0.5)
    with pytest.raises(errors.PlatformError):
        world.carry_out(a_run(), Retries(attempts=6, base_s=1, most_s=4))
    assert world.pauses == [0.5, 1, 2, 2, 2]


def test_router_says_how_long_at_least() -> None:
    world = World(refusal(status.NO_WORKER, retry_after_s=7), PONG, chance=0.25)
    world.carry_out(operations.ping(timeout_s=60), Retries(base_s=1))
    assert world.pauses == [7.25]


def test_one_deadline_for_all_tries() -> None:
    world = World(refusal(status.NO_WORKER), codec.answer({}), takes_s=2)
    world.carry_out(a_run(timeout_s=30), Retries(base_s=1))
    first, second = world.requests()
    assert (first.timeout_s, second.timeout_s) == (30, 27)
    assert first.id == second.id
    assert {exchange.deadline for exchange in world.exchanges} == {NOW + 30 + GRACE_S}


def test_pause_that_would_take_the_rest_of_the_time_is_not_made() -> None:
    world = World(refusal(status.NO_WORKER, retry_after_s=9), takes_s=2)
    with pytest.raises(errors.PlatformError, match="503"):
        world.carry_out(a_run(timeout_s=10), Retries())
    assert world.pauses == []


def test_what_would_harm_twice_is_not_tried_again() -> None:
    world = World(b"")
    with pytest.raises(errors.MissingReply):
        world.carry_out(operations.drain_worker("worker-1"), Retries())
    assert len(world.exchanges) == 1
    assert not world.exchanges[0].resendable


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"base_s": -1}, {"base_s": 2, "most_s": 1}])
def test_retries_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needed: attempts"):
        Retries(**wrong)


# --- folders


def test_folder_is_read_and_sent_along(tmp_path: Path) -> None:
    (tmp_path / "a.rb").write_text("puts 1")
    world = World(codec.answer({}), takes_s=1)
    world.carry_out(jobs.test_solution(*NAMES, folder=tmp_path, timeout_s=30))
    (request,) = world.requests()
    assert request.files == {"a.rb": "puts 1"}
    assert request.s3_uri is msgspec.UNSET
    assert request.timeout_s == 29


def test_what_is_left_out_of_a_folder_is_told_once(tmp_path: Path) -> None:
    for name in ("a.rb", "a.rb~"):
        (tmp_path / name).write_text("puts 1")
    told: list[tuple[str, ...]] = []
    plan = jobs.test_solution(*NAMES, folder=tmp_path, on_left_out=told.append)
    world = World(codec.refusal(status.NO_WORKER, "all are busy"), codec.answer({}))
    world.carry_out(plan, Retries())
    assert len(world.exchanges) == 2
    assert told == [("a.rb~",)]


def test_nothing_is_told_of_a_folder_that_is_sent_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.rb").write_text("puts 1")
    told: list[tuple[str, ...]] = []
    plan = jobs.test_solution(*NAMES, folder=tmp_path, on_left_out=told.append)
    World(codec.answer({})).carry_out(plan)
    assert told == []


def test_folder_that_takes_all_of_the_time(tmp_path: Path) -> None:
    (tmp_path / "a.rb").write_text("puts 1")
    world = World(codec.answer({}), takes_s=31)
    with pytest.raises(errors.ClientTimedOut):
        world.carry_out(jobs.test_solution(*NAMES, folder=tmp_path, timeout_s=30))
    assert world.exchanges == []


# --- deploys


WANTED = codec.answer(responses.WantedVersions("test_runners", "ruby", ("v1",), 2))


def deployed(state: DeployState, *workers: WorkerVersion, version: str = "v1") -> bytes:
    versions = (VersionDeployment(version, state, None, workers),)
    return codec.answer(Deployment("test_runners", "ruby", state, versions))


READY = WorkerVersion("worker-1", "ready")
PREPARING = WorkerVersion("worker-2", "preparing", 40)
FAILED = WorkerVersion("worker-2", "failed", reason="disk full")


def a_deploy(**options: Any) -> CallPlan[Deployment]:
    return operations.deploy_container_version(*PLACE, "v1", **options)


def test_deploy_tells_how_far_it_is() -> None:
    world = World(WANTED, deployed(DeployState.PARTLY, READY, PREPARING))
    assert world.carry_out(a_deploy()).state is DeployState.PARTLY
    assert world.pauses == []


def test_deploy_is_waited_for_and_its_changes_are_told() -> None:
    told: list[Any] = []
    partly = deployed(DeployState.PARTLY, READY, PREPARING)
    world = World(WANTED, partly, partly, deployed(DeployState.DEPLOYED, READY), takes_s=0.1)
    done = world.carry_out(a_deploy(wait=True, on_progress=told.append))
    assert [deployment.state for deployment in told] == [DeployState.PARTLY, DeployState.DEPLOYED]
    assert done == told[-1]


def test_deploy_without_workers_fails_at_once() -> None:
    world = World(WANTED, deployed(DeployState.NO_WORKERS))
    with pytest.raises(errors.PlatformError, match="pipeline-worker listen") as caught:
        world.carry_out(a_deploy(wait=True))
    assert caught.value.code == status.NO_WORKER
    assert world.pauses == []


def test_workers_of_a_deploy_may_go_and_come_back() -> None:
    world = World(
        WANTED,
        deployed(DeployState.PREPARING, PREPARING),
        deployed(DeployState.NO_WORKERS),
        deployed(DeployState.DEPLOYED, READY),
    )
    assert world.carry_out(a_deploy(wait=True)).state is DeployState.DEPLOYED


def test_deploy_that_failed_everywhere_names_each_reason() -> None:
    world = World(WANTED, deployed(DeployState.FAILED, FAILED))
    with pytest.raises(errors.PlatformError, match=r"worker-2 failed \(disk full\)") as caught:
        world.carry_out(a_deploy(wait=True))
    assert caught.value.code == status.NOT_READY


def test_deploy_that_failed_on_some_and_is_ready_on_the_rest_is_over() -> None:
    world = World(
        WANTED,
        deployed(DeployState.PARTLY, READY, FAILED, PREPARING),
        deployed(DeployState.PARTLY, READY, FAILED, READY),
    )
    why = r"failed on some workers .* worker-1 ready; worker-2 failed \(disk full\)"
    with pytest.raises(errors.PlatformError, match=why) as caught:
        world.carry_out(a_deploy(wait=True))
    assert caught.value.code == status.NOT_READY
    assert len(world.pauses) == 1


def test_deploy_that_is_not_over_in_time_names_who_is_late() -> None:
    world = World(WANTED, deployed(DeployState.PARTLY, READY, PREPARING))
    with pytest.raises(errors.ClientTimedOut, match="worker-1 ready; worker-2 preparing"):
        world.carry_out(a_deploy(wait=True, timeout_s=3))
    assert world.now == NOW + 3
    assert all(exchange.deadline <= NOW + 3 + GRACE_S for exchange in world.exchanges)


def test_deploy_of_a_version_that_is_unloaded_meanwhile() -> None:
    world = World(WANTED, deployed(DeployState.DEPLOYED, READY, version="v2"))
    with pytest.raises(errors.RequestError, match="was unloaded"):
        world.carry_out(a_deploy(wait=True))


def test_bad_version_is_refused_before_anything_is_sent() -> None:
    world = World(WANTED)
    with pytest.raises(errors.RequestError, match="a version"):
        world.carry_out(operations.deploy_container_version(*PLACE, "$(id)"))
    with pytest.raises(errors.RequestError, match="no versions"):
        world.carry_out(operations.deploy_container_version("ruby", "builders", "v1"))
    assert world.exchanges == []
