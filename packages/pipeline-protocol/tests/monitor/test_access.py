"""Where the monitor may listen, and the file of its token."""

from pathlib import Path

import pytest

from pipeline_protocol.monitor.access import (
    BadMonitor,
    ListenAddress,
    listen,
    listen_address,
    read_token,
)


def test_places() -> None:
    assert listen_address("localhost:9101") == ListenAddress("127.0.0.1", 9101)
    assert listen_address("[::1]:0") == ListenAddress("::1", 0)
    assert str(listen_address("[::1]:9101")) == "http://[::1]:9101"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":9101",
        "9101",
        "::1:9101",
        "[127.0.0.1]:1",
        "router:9101",
        "1.2.3.4:",
        "1.1.1.1:65536",
        "1.1.1.1:-1",
        "127.0.0.1:²",
    ],
)
def test_other_places_are_refused(text: str) -> None:
    with pytest.raises(BadMonitor):
        listen_address(text)


def test_off_loopback_strangers_are_kept_out() -> None:
    with pytest.raises(BadMonitor, match="--monitor-token"):
        listen(listen_address("0.0.0.0:0"), "", insecure=False)
    for token, insecure in (("a-token-of-some-length", False), ("", True)):
        listener, setup = listen(listen_address("0.0.0.0:0"), token, insecure=insecure)
        listener.close()
        assert (setup.token, setup.hosts) == (token, ())


def test_loopback_names_its_hosts() -> None:
    listener, setup = listen(listen_address("127.0.0.2:0"), "", insecure=False)
    listener.close()
    assert set(setup.hosts) == {"localhost", "127.0.0.1", "127.0.0.2", "[::1]"}


def test_a_token_is_read(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    file.chmod(0o600)
    assert read_token(file) == "0123456789abcdef"
    file.chmod(0o640)
    with pytest.raises(BadMonitor, match="chmod 600"):
        read_token(file)


@pytest.mark.parametrize(
    "text", ["", "short", "0123456789 abcdef", "0123456789abcdef\nmore", "é" * 20]
)
def test_what_is_no_token_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(BadMonitor, match="one line"):
        read_token(file)
    with pytest.raises(BadMonitor, match="No such file"):
        read_token(tmp_path / "none")
