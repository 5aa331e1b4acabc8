"""Which cgroup of version 2 jobs lie below, by how a worker was started."""

import pytest

from pipeline_containers.sandbox.host.placement import CgroupCandidate, Choice, choose

SLICE = CgroupCandidate("/system.slice")
TOP = CgroupCandidate("/", is_host_root=True, has_others=True)
SERVICE = "/system.slice/worker.service"
SCOPE = "/user.slice/user-0.slice/run-u1.scope"
SESSION = "/user.slice/user-0.slice/session-3.scope"


def own(path: str, problem: str = "", **facts: bool) -> CgroupCandidate:
    return CgroupCandidate(path, problem, is_own=True, **facts)


CHOICES = {
    "a delegated service": ([own(SERVICE, is_delegated=True), SLICE, TOP], SERVICE, True),
    "a delegated service with a shell in it": (
        [own(SERVICE, is_delegated=True, has_others=True), SLICE, TOP],
        SERVICE,
        True,
    ),
    "a delegated scope whose processes are in its leaf": (
        [CgroupCandidate(SCOPE, is_own=True, is_delegated=True), SLICE, TOP],
        SCOPE,
        True,
    ),
    "a service that is not delegated": ([own(SERVICE), SLICE, TOP], "/system.slice", False),
    "a login": (
        [own(SESSION, has_others=True), CgroupCandidate("/u.slice"), TOP],
        "/u.slice",
        False,
    ),
    "a container with a cgroup namespace": (
        [own("/", is_delegated=True, has_others=True)],
        "/",
        True,
    ),
    "the host's root, as without systemd": ([own("/", is_host_root=True)], "/", False),
    "a cgroup made by hand": ([own("/mine"), TOP], "/mine", True),
    "the same with others in it": ([own("/mine", has_others=True), TOP], "/", False),
    "a closed one below an open one": (
        [own("/a/b", problem="why"), CgroupCandidate("/a")],
        "/a",
        False,
    ),
    "nothing that is open": (
        [own("/a", problem="why"), CgroupCandidate("/", problem="w")],
        None,
        False,
    ),
}


@pytest.mark.parametrize(("candidates", "path", "clears"), CHOICES.values(), ids=CHOICES)
def test_the_nearest_that_takes_children_with_controllers(
    candidates: list[CgroupCandidate], path: str | None, clears: bool
) -> None:
    choice = choose(candidates)
    assert (choice.path, choice.clears_processes) == (path, clears)
    nearer = [candidate.path for candidate in candidates].index(path) if path else len(candidates)
    assert len(choice.passed) == nearer, "each that is passed by has its reason"


REMEDIES = {
    SERVICE: "add Delegate=yes to the [Service] section of worker.service",
    SCOPE: "add -p Delegate=yes to the `systemd-run --scope` that starts it",
    SESSION: "start it as a service with Delegate=yes",
}


@pytest.mark.parametrize(("path", "remedy"), REMEDIES.items())
def test_what_is_passed_by_says_what_to_change_there(path: str, remedy: str) -> None:
    passed = choose([own(path), TOP]).passed
    assert passed[0].startswith(f"{path} is not delegated: {remedy}")


def test_nothing_to_choose_from() -> None:
    assert choose([]) == Choice(None)
