"""What is answered to whom, and when a process counts as silent."""

import os

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.monitors import snapshot

from pipeline_protocol.monitor.site import FRESH_S, HttpResponse, Site
from pipeline_protocol.monitor.snapshot import Setup, Snapshot

TOKEN = "a-token-of-some-length"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def site(shown: Snapshot | None = None, setup: Setup | None = None) -> tuple[Site, Clock]:
    clock = Clock()
    own = Site(setup or Setup(0), os.getpid(), clock)
    if shown is not None:
        own.take(shown)
    return own, clock


def ask(own: Site, path: str, *headers: str, method: str = "GET", host: str = "x") -> HttpResponse:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]
    return own.answer("\r\n".join(lines).encode())[0]


def whole(answer: HttpResponse) -> bytes:
    return answer.begin + bytes(answer.body)


def test_health_is_that_snapshots_come() -> None:
    own, clock = site()
    assert ask(own, "/healthz").code == 503
    own.take(snapshot())
    clock.now += FRESH_S
    assert ask(own, "/healthz").code == 200
    clock.now += 0.1
    assert [ask(own, path).code for path in ("/healthz", "/readyz", "/metrics")] == [503] * 3
    assert ask(own, "/status.json").code == 200


def test_readiness_says_why_not() -> None:
    own, _ = site(snapshot(0))
    assert ask(own, "/readyz").body == b"ready\n"
    own.take(snapshot(0, "it has just started", "nothing is saved"))
    answer = ask(own, "/readyz")
    assert (answer.code, answer.body) == (503, b"it has just started; nothing is saved\n")
    assert ask(own, "/healthz").code == 200


def test_metrics_are_those_of_the_latest_snapshot() -> None:
    own, _ = site(snapshot(3))
    assert whole(ask(own, "/metrics")).decode().count('jobs_total{channel="tests"} 3.0') == 1
    own.take(snapshot(4))
    text = whole(ask(own, "/metrics")).decode()
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert [sample.value for sample in found["jobs"].samples] == [4.0]
    assert [(s.labels.get("le"), s.value) for s in found["run_seconds"].samples][:3] == [
        ("0.1", 2.0),
        ("1.0", 3.0),
        ("+Inf", 4.0),
    ]
    assert (
        found["process_resident_memory"]
        if "process_resident_memory" in found
        else found["process_resident_memory_bytes"]
    )


def test_status_says_how_old_it_is() -> None:
    own, clock = site(snapshot(5))
    clock.now += 2
    assert whole(ask(own, "/status.json")).startswith(b'{"age_s":2.000,"jobs":5,')


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_nothing_can_be_changed(method: str) -> None:
    own, _ = site(snapshot())
    answer = ask(own, "/metrics", method=method)
    assert answer.code == 405
    assert b"Allow: GET, HEAD\r\n" in answer.head()


def test_other_hosts_are_refused_where_hosts_are_named() -> None:
    """A page whose name leads to this machine sends its own name."""
    own, _ = site(snapshot(), Setup(0, "", ("localhost", "127.0.0.1")))
    assert ask(own, "/metrics", host="localhost:9101").code == 200
    for path in ("/metrics", "/status.json", "/healthz", "/nothing"):
        assert ask(own, path, host="evil.example").code == 403


def test_without_the_token_only_a_word_is_said() -> None:
    own, _ = site(snapshot(0, "the configuration /etc/x is not saved"), Setup(0, TOKEN))
    assert ask(own, "/readyz").body == b"not ready\n"
    assert ask(own, "/healthz").code == 200
    for path in ("/metrics", "/status.json", "/nothing"):
        answer = ask(own, path)
        assert answer.code == 401
        assert b"WWW-Authenticate: Bearer\r\n" in answer.head()
        assert ask(own, path, "Authorization: Bearer wrong").code == 401
        assert ask(own, path, f"Authorization: Basic {TOKEN}").code == 401
    right = f"Authorization: bearer {TOKEN}"
    assert ask(own, "/metrics", right).code == 200
    assert b"/etc/x" in whole(ask(own, "/readyz", right))


def test_nothing_that_is_shown_runs_in_a_browser() -> None:
    own, _ = site(snapshot())
    for path in ("/metrics", "/status.json", "/nothing<script>"):
        answer = ask(own, path)
        assert b"<script" not in whole(answer)
        assert b"X-Content-Type-Options: nosniff\r\n" in answer.head()
        assert b"default-src 'none'" in answer.head()
