"""`pipeline-router keys`: what it writes, for whom, and what it refuses."""

import json
import os
import stat
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from pipeline_protocol.keys import MemberKeys, in_short, read_member_keys
from pipeline_protocol.requests import Role
from pipeline_router.access.keys_file import read_router_file
from pipeline_router.cli import main
from pipeline_router.keys import RouterKeys


class Command:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "router.keys"

    def run(self, command: str, *arguments: str) -> Result:
        return CliRunner().invoke(
            main, ["keys", command, *arguments], env={"PIPELINE_KEYS": str(self.path)}
        )

    def done(self, command: str, *arguments: str) -> str:
        result = self.run(command, *arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    def known(self) -> RouterKeys:
        return read_router_file(self.path)

    def member(self, name: str, *options: str) -> MemberKeys:
        file = self.folder / f"{name}.keys"
        file.unlink(missing_ok=True)
        self.done("add", name, "--output", str(file), *options)
        return read_member_keys(file.read_bytes(), str(file))


@pytest.fixture
def keys(tmp_path: Path) -> Command:
    command = Command(tmp_path)
    command.done("init")
    return command


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_are_their_owners_alone_whatever_the_mask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys = Command(tmp_path)
        keys.done("init")
        keys.member("alice", "--role", "client")
        keys.done("revoke", "alice")
    finally:
        os.umask(before)
    assert {mode(path) for path in tmp_path.iterdir()} == {0o600}


def test_a_member_has_its_own_secret_and_the_routers_keys_and_the_router_has_neither(
    keys: Command,
) -> None:
    alice = keys.member("alice", "--role", "client")
    assert alice.role is Role.CLIENT
    assert alice.routers == keys.known().routers
    assert len(alice.routers) == 2
    assert alice.secret not in keys.path.read_text()
    assert keys.known().principals()[alice.public].name == "alice"
    bob = keys.member("bob", "--role", "client")
    assert bob.secret != alice.secret


def test_all_that_is_said_of_a_key_is_kept(keys: Command) -> None:
    worker = keys.member(
        "runners",
        *("--role", "worker", "--channel", "test_runners", "--channel", "static_analyzers"),
        *("--identity", "runner-"),
    )
    client = keys.member("web", "--role", "client", "--quota", "20")
    principals = keys.known().principals()
    assert principals[worker.public].channels == {"test_runners", "static_analysers"}
    assert principals[worker.public].identity == "runner-"
    assert principals[client.public].quota == 20


def test_a_secret_is_printed_only_when_that_is_asked_for(
    keys: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(keys.folder)
    said = keys.done("add", "alice", "--role", "client")
    alice = read_member_keys((keys.folder / "alice.keys").read_bytes(), "")
    assert alice.secret not in said
    bob = msgspec.json.decode(keys.done("add", "bob", "--role", "client", "--output", "-"))
    assert not (keys.folder / "bob.keys").exists()
    assert len(bob["secret"]) == 64
    shown = keys.done("list") + keys.done("list", "--json")
    own = [pair.secret for pair in keys.known().router]
    assert not any(secret in shown for secret in (alice.secret, bob["secret"], *own))


def test_keys_are_listed_with_what_has_become_of_them(keys: Command) -> None:
    alice = keys.member("alice", "--role", "client", "--quota", "3")
    keys.done("revoke", "alice")
    anew = keys.member("alice", "--role", "operator")
    text = keys.done("list")
    assert f"alice  client  {in_short(alice.public)}" in text
    assert "quota 3; revoked " in text
    data = json.loads(keys.done("list", "--json"))
    assert data["routers"] == list(keys.known().routers)
    assert [bool(entry.get("revoked")) for entry in data["keys"]] == [True, False]
    assert list(keys.known().principals()) == [anew.public]


def test_the_router_goes_over_to_the_key_that_members_have_as_the_next(keys: Command) -> None:
    alice = keys.member("alice", "--role", "client")
    keys.done("rotate")
    assert keys.known().routers[0] == alice.routers[1]
    assert keys.known().routers[1] not in alice.routers
    file = str(keys.folder / "alice.keys")
    keys.done("refresh", file)
    refreshed = read_member_keys(Path(file).read_bytes(), file)
    assert refreshed.routers == keys.known().routers
    assert refreshed.secret == alice.secret
    assert mode(Path(file)) == 0o600


def test_after_a_theft_no_key_of_the_routers_stays(keys: Command) -> None:
    before = set(keys.known().routers)
    keys.done("rotate", "--all")
    assert len(keys.known().routers) == 2
    assert not before & set(keys.known().routers)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["init"], 1, "is there already: nothing was written"),
        (["add", "alice", "--role", "client"], 1, "there is a key called 'alice'"),
        (["add", "bob", "--role", "root"], 2, "'root' is not one of"),
        (["add", "../bob", "--role", "client"], 2, "an identity"),
        (["add", "bob"], 2, "--role"),
        (["add", "bob", "--role", "worker", "--channel", "test_runner"], 2, "did you mean"),
        (["add", "bob", "--role", "client", "--channel", "builders"], 2, "for the role worker"),
        (["add", "bob", "--role", "worker", "--quota", "3"], 2, "not for workers"),
        (["add", "bob", "--role", "client", "--quota", "0"], 2, "--quota"),
        (["revoke", "bob"], 1, "no key that is good is called 'bob'"),
        (["refresh", "router.keys"], 1, "no file of keys that is of use here"),
        (["refresh", "none.keys"], 1, "No such file"),
    ],
)
def test_what_makes_no_sense_changes_nothing(
    keys: Command, monkeypatch: pytest.MonkeyPatch, command: list[str], code: int, said: str
) -> None:
    monkeypatch.chdir(keys.folder)
    keys.member("alice", "--role", "client")
    before = {path: path.read_bytes() for path in keys.folder.iterdir()}
    result = keys.run(*command)
    assert (result.exit_code, said in result.stderr) == (code, True), result.stderr
    assert {path: path.read_bytes() for path in keys.folder.iterdir()} == before


def test_a_members_file_that_is_there_is_not_lost(keys: Command) -> None:
    (keys.folder / "bob.keys").write_text("somebody else's")
    result = keys.run("add", "bob", "--role", "client", "--output", str(keys.folder / "bob.keys"))
    assert result.exit_code == 1
    assert "is there already" in result.stderr
    assert keys.known().named("bob") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "missing required field"),
        ('{"router": []}', "of length >= 1"),
        ("[", "no file of keys"),
    ],
)
def test_a_file_of_no_use_is_said_to_be_and_kept(keys: Command, text: str, said: str) -> None:
    keys.path.write_text(text)
    result = keys.run("revoke", "alice")
    assert (result.exit_code, said in result.stderr) == (1, True), result.stderr
    assert keys.path.read_text() == text


def test_a_file_behind_a_link_stays_there(keys: Command, tmp_path: Path) -> None:
    (tmp_path / "link.keys").symlink_to(keys.path)
    keys.done("rotate", "--keys", str(tmp_path / "link.keys"))
    assert (tmp_path / "link.keys").is_symlink()
    assert mode(keys.path) == 0o600


def test_two_keys_of_one_name_are_refused(keys: Command) -> None:
    keys.member("alice", "--role", "client")
    data = json.loads(keys.path.read_text())
    data["keys"].append(data["keys"][0] | {"public": "ab" * 32})
    keys.path.write_text(json.dumps(data))
    assert "'alice' is there twice" in keys.run("list").stderr


def test_a_router_is_not_started_with_a_file_that_others_may_read(keys: Command) -> None:
    keys.path.chmod(0o640)
    result = CliRunner().invoke(main, [str(keys.folder / "pipeline.yml"), "--keys", str(keys.path)])
    assert (result.exit_code, "chmod 600" in result.stderr) == (2, True), result.stderr


def test_a_router_is_not_started_with_a_members_file(keys: Command) -> None:
    keys.member("alice", "--role", "client")
    file = str(keys.folder / "alice.keys")
    result = CliRunner().invoke(main, [str(keys.folder / "pipeline.yml"), "--keys", file])
    assert (result.exit_code, "no file of keys" in result.stderr) == (2, True), result.stderr
