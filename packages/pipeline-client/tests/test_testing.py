"""The router for other services' tests, seen as those see it."""

import re
from pathlib import Path

import pytest

from pipeline_client import LimitError, PipelineClient, PlatformError, RequestError
from pipeline_client.testing import FakeRouter
from pipeline_protocol import replies, requests, responses

README = Path(__file__).parents[1] / "README.md"
NAMES = ("ruby", "two-fer", "v1")
FILES = {"two_fer.rb": ""}


def test_returning() -> None:
    context = replies.Context(worker="worker-1")
    analysis = responses.Analysis({"comments": []})
    router = FakeRouter().returning("analyse_solution", analysis, context=context)
    with router, PipelineClient(router.address) as client:
        answer = client.analyse_solution(*NAMES, files=FILES)
    assert (answer.response, answer.context) == (analysis, context)
    (request,) = router.requests
    assert isinstance(request, requests.AnalyseSolution)
    assert (request.track_slug, request.files) == ("ruby", FILES)


def test_failing_and_then_returning() -> None:
    router = FakeRouter()
    router.failing("test_solution", 503, "all are busy", retry_after_s=0.01)
    router.returning("test_solution", {"status": "pass"})
    with router, PipelineClient(router.address) as client:
        assert client.test_solution(*NAMES, files=FILES).response == {"status": "pass"}
        assert client.test_solution(*NAMES, files=FILES).response == {"status": "pass"}
    assert len(router.requests) == 3


def test_failing_for_good() -> None:
    router = FakeRouter().failing("test_solution", 401, "it ran for 20 s")
    with (
        router,
        PipelineClient(router.address) as client,
        pytest.raises(LimitError, match="it ran for 20 s"),
    ):
        client.test_solution(*NAMES, files=FILES)


def test_actions_have_their_own_answers() -> None:
    router = FakeRouter().returning("test_solution", {"status": "pass"})
    router.returning("current_config", {"revision": 1})
    with router, PipelineClient(router.address, retries=None) as client:
        assert client.current_config() == {"revision": 1}
        assert client.ping().uptime_s
        with pytest.raises(PlatformError, match="503"):
            client.represent_solution(*NAMES, files=FILES)


def test_delay_holds_up_nobody_else() -> None:
    router = FakeRouter().returning("test_solution", {}, delay_s=60).returning("test_solution", {})
    with router, PipelineClient(router.address, timeout_s=30) as client:
        with pytest.raises(Exception, match="101"):
            client.test_solution(*NAMES, files=FILES, timeout_s=0.1)
        client.test_solution(*NAMES, files=FILES)


def test_ignoring_lets_the_time_run_out() -> None:
    router = FakeRouter().ignoring("ping")
    with router, PipelineClient(router.address) as client, pytest.raises(Exception, match="101"):
        client.ping(timeout_s=0.1)


def test_lines_are_for_who_wants_them() -> None:
    router = FakeRouter().returning("test_solution", {}, lines=["one", "two"])
    lines: list[str] = []
    with router, PipelineClient(router.address) as client:
        client.test_solution(*NAMES, files=FILES)
        client.test_solution(*NAMES, files=FILES, on_line=lines.append)
    assert lines == ["one", "two"]


def test_action_that_there_is_not() -> None:
    with FakeRouter() as router, pytest.raises(ValueError, match="did you mean 'test_solution'"):
        router.returning("test_solutions", {})


def test_what_is_no_request_is_refused_and_kept() -> None:
    with FakeRouter() as router, PipelineClient(router.address) as client:
        with pytest.raises(RequestError):
            client.test_solution("Ruby", *NAMES[1:], files=FILES)
        assert router.heard == []


def examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.parametrize("program", examples(), ids=range(len(examples())))
def test_examples_of_the_readme_run(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    router = FakeRouter()
    version = responses.VersionDeployment("v1", responses.DeployState.DEPLOYED, None, ())
    state = responses.Deployment("test_runners", "ruby", responses.DeployState.DEPLOYED, (version,))
    router.returning("deployment_check", state).returning("test_solution", {"status": "pass"})
    with router:
        exec(program.replace("tcp://localhost:5555", router.address), {"__name__": "readme"})
