"""The configuration file: what it means, what is refused, how it is saved."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pipeline_protocol.settings import GIB, MIB, LimitSettings, SourceSettings
from pipeline_router.config import Config, Sts, Versions
from pipeline_router.config_file import MARKER, ConfigFile, ConfigLocked
from pipeline_router.config_parse import BadConfig, size

SEED = Path(__file__).parents[3] / "config" / "pipeline.yml"
V1 = "git-" + "1" * 40
DIGEST = "sha256:" + "a" * 64

Write = Callable[[str], ConfigFile]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a configuration, and return its file."""

    def written(text: str) -> ConfigFile:
        path = tmp_path / "pipeline.yml"
        path.write_text(text)
        return ConfigFile(path)

    return written


def test_the_seed_says_nothing_but_the_defaults(tmp_path: Path) -> None:
    file = ConfigFile(tmp_path / "pipeline.yml")
    assert file.seed(SEED)
    config, versions = file.read()
    assert versions == {}
    assert config.registry.location == str(tmp_path / "registry")
    assert msgspec.structs.replace(config, registry=Config().registry) == Config()


def test_submodules_and_large_files_are_fetched_where_the_file_says_so(write: Write) -> None:
    assert Config().sources == SourceSettings(submodules=False, lfs=False)
    config, _ = write("sources: {submodules: true, lfs: true}\n").read()
    assert config.sources == SourceSettings(submodules=True, lfs=True)
    assert config.settings("builders", frozenset(), ()).sources == config.sources


def test_an_empty_file_means_the_defaults(write: Write) -> None:
    config, _ = write("").read()
    assert config.channels == Config().channels


def test_a_seed_leaves_an_existing_file_alone(write: Write) -> None:
    file = write("router: {queue: 7}\n")
    assert not file.seed(SEED)
    assert file.path.read_text() == "router: {queue: 7}\n"


def test_a_bad_seed_leaves_nothing_behind(tmp_path: Path) -> None:
    seed = tmp_path / "seed.yml"
    seed.write_text("rooter: {}\n")
    file = ConfigFile(tmp_path / "pipeline.yml")
    with pytest.raises(BadConfig, match="rooter: unknown key"):
        file.seed(seed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed.yml"]


def test_builders_are_told_what_the_tools_that_they_try_are_held_to(write: Write) -> None:
    config, _ = write(
        """
channels:
  test_runners:
    validation: warn
    limits: {wall_s: 10}
    tracks:
      ruby: {limits: {wall_s: 30}, validation: off}
      racket: {limits: {wall_s: 40}}
"""
    ).read()
    told = config.settings("builders", frozenset(), ()).channels
    assert set(told) == {"test_runners", "static_analysers", "recommenders", "representers"}
    runners = told["test_runners"]
    assert (runners.of("bash").validation, runners.of("bash").limits.wall_s) == ("warn", 10)
    assert (runners.of("ruby").validation, runners.of("ruby").limits.wall_s) == ("off", 30)
    assert (runners.of("racket").validation, runners.of("racket").limits.wall_s) == ("warn", 40)
    assert told["representers"].of("ruby").validation == "require"
    assert config.settings("test_runners", frozenset(), ()).channels == {}
    described = config.describe({})["channels"]
    assert described["test_runners"]["validation"] == "warn"
    assert described["test_runners"]["tracks"]["ruby"]["validation"] == "off"
    assert "validation" not in described["builders"], "they run no tool"


def test_a_channel_may_be_configured_by_its_alias(write: Write) -> None:
    config, entries = write(
        f"""
channels:
  static_analyzers: {{tool: "{{track}}-analyser", limits: {{wall_s: 7}}}}
{MARKER}
versions:
  static_analyzers: {{ruby: {{v1: {{}}}}}}
"""
    ).read()
    assert config.channels["static_analysers"].tool == "{track}-analyser"
    assert config.channels["static_analysers"].defaults.limits.wall_s == 7
    assert "static_analyzers" not in config.channels
    assert list(entries["static_analysers"]["ruby"]) == ["v1"]


def test_what_is_loosened_is_off_unless_it_is_said_of_all_a_channel_or_a_track(
    write: Write,
) -> None:
    config, _ = write("""
limits: {ptrace: true}
channels:
  test_runners:
    limits: {writable_root: 256MiB}
    tracks:
      c: {limits: {root_capabilities: true}}
      ruby: {limits: {ptrace: false, writable_root: 0}}
""").read()

    def loosened(channel: str, track: str) -> tuple[int, bool, bool]:
        own = config.channels[channel]
        limits = own.tracks.get(track, own.defaults).limits
        return limits.writable_root_bytes, limits.ptrace, limits.root_capabilities

    assert loosened("representers", "c") == (0, True, False)
    assert loosened("test_runners", "go") == (256 * MIB, True, False)
    assert loosened("test_runners", "c") == (256 * MIB, True, True)
    assert loosened("test_runners", "ruby") == (0, False, False)
    untold, _ = write("").read()
    assert untold.channels["test_runners"].defaults.limits == LimitSettings()


def test_limits_are_overlaid_and_ceilings_never_lie_below(write: Write) -> None:
    config, _ = write("""
limits: {wall_s: 10, memory: 2GiB}
channels:
  test_runners:
    limits: {pids: 64}
    ceilings: {wall_s: 15}
    tracks:
      ruby: {limits: {wall_s: 30, memory: 512MiB}, ceilings: {wall_s: 20}}
""").read()
    channel = config.channels["test_runners"]
    assert (channel.defaults.limits.wall_s, channel.defaults.limits.memory_bytes) == (10, 2 * GIB)
    assert channel.defaults.limits.pids == 64
    assert channel.defaults.ceilings.wall_s == 15
    ruby = channel.tracks["ruby"]
    assert (ruby.limits.wall_s, ruby.limits.pids) == (30, 64)
    assert ruby.limits.memory_bytes == 512 * MIB
    assert ruby.ceilings.wall_s == 30
    assert config.channels["representers"].defaults.limits.wall_s == 10
    assert config.channels["builders"].defaults.limits.wall_s == 1800


def test_a_track_may_have_a_lower_ceiling_than_its_channel(write: Write) -> None:
    config, _ = write("""
channels:
  test_runners:
    limits: {wall_s: 20}
    ceilings: {wall_s: 60}
    tracks:
      ruby: {limits: {wall_s: 6}, ceilings: {wall_s: 10}}
""").read()
    ruby = config.channels["test_runners"].tracks["ruby"]
    assert ruby.ceilings.wall_s == 10
    assert config.channels["test_runners"].defaults.ceilings.wall_s == 60


def test_a_recommender_may_run_the_analyzer(write: Write) -> None:
    config, _ = write('channels: {recommenders: {tool: "{track}-analyzer"}}').read()
    assert config.channels["recommenders"].tool == "{track}-analyzer"
    assert config.settings("builders", frozenset(), ()).tools["recommenders"] == "{track}-analyzer"


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("64MiB", 64 << 20), ("500kB", 500_000), (1234, 1234), ("1.5GiB", 3 << 29), ("7 B", 7)],
)
def test_sizes(text: object, size_bytes: int) -> None:
    assert size(text) == size_bytes


def test_credentials_are_minted_by_the_role_that_is_named(write: Write) -> None:
    role = "arn:aws:iam::123456789012:role/path/pipeline-worker"
    config, _ = write(f"credentials: sts\nsts: {{role_arn: '{role}', duration_s: 900}}").read()
    assert config.roles == {Sts(role_arn=role, duration_s=900)}
    config, _ = write(f"sts: {{role_arn: '{role}'}}").read()
    assert not config.roles


def test_what_this_router_cannot_do_is_refused_whenever_the_file_is_read(tmp_path: Path) -> None:
    def check(config: Config) -> None:
        if config.router.queue == 13:
            raise BadConfig("router.queue: not here")

    path, seed = tmp_path / "pipeline.yml", tmp_path / "seed.yml"
    seed.write_text("router: {queue: 13}")
    file = ConfigFile(path, check)
    with pytest.raises(BadConfig, match=r"seed\.yml: router\.queue: not here"):
        file.seed(seed)
    path.write_text("router: {queue: 7}")
    file.read()
    path.write_text("router: {queue: 13}")
    for read in (file.read, file.reread, lambda: file.save({})):
        with pytest.raises(BadConfig, match=r"pipeline\.yml: router\.queue: not here"):
            read()
    assert path.read_text() == "router: {queue: 13}"


BAD = {
    "limits: {writable_root: -1}": "limits.writable_root: -1 is not a size like 64MiB or 500kB",
    "limits: {ptrace: 1}": "limits.ptrace: Expected `bool`, got `int`",
    "rooter: {}": "rooter: unknown key (did you mean 'router'?)",
    "router: {queu: 3}": "router.queu: unknown key (did you mean 'queue'?)",
    "router: {queue: many}": "router.queue: Expected `int`, got `str`",
    "router: {queue: -1}": "router.queue: Expected `int` >= 0",
    "router: {queue: true}": "router.queue: Expected `int`, got `bool`",
    "router: {queue_bytes: 64Mb}": "router.queue_bytes: '64Mb' is not a size like 64MiB or 500kB",
    "router: {queue_bytes: 0}": "router.queue_bytes: Expected `int` >= 1",
    "router: {liveness_s: 0.1}": "router.liveness_s: Expected `float` >= 1.5",
    "router: [1]": "router: a mapping is expected, not [1]",
    "- a": "the file: a mapping is expected, not ['a']",
    "registry: {kind: tape}": "registry.kind: Invalid enum value 'tape'",
    "registry: {location: ''}": "registry.location: a folder, or host[/prefix], is needed",
    "registry: {image: '{track}'}": (
        "registry.image: '{track}' may hold only {tool} between braces"
    ),
    "sources: {submodules: 1}": "sources.submodules: Expected `bool`, got `int`",
    "sources: {lfs: yes please}": "sources.lfs: Expected `bool`, got `str`",
    "sources: {lsf: true}": "sources.lsf: unknown key (did you mean 'lfs'?)",
    "sources: {url: 'x/{tool'}": "sources.url: expected '}' before end of string",
    "sources: {url: '{tool!r}'}": "sources.url: '{tool!r}' may hold only {tool} between braces",
    "inputs: {s3_prefixes: ['s3://b/p']}": (
        "inputs.s3_prefixes[0]: 's3://b/p' is not s3://BUCKET/PREFIX/ with a '/' at its end"
    ),
    "credentials: sts": "sts.role_arn: credentials: sts needs the role to mint credentials by",
    "credentials: mine": "credentials: 'mine' is neither ambient nor sts",
    "sts: {duration_s: 60}": "sts.duration_s: Expected `int` >= 900",
    "channels: {test_runners: {validation: maybe}}": (
        "channels.test_runners.validation: Invalid enum value 'maybe'"
    ),
    "channels: {test_runners: {tracks: {ruby: {validation: true}}}}": (
        "channels.test_runners.tracks.ruby.validation: Expected `str`, got `bool`"
    ),
    "channels: {builders: {validation: warn}}": (
        "channels.builders.validation: builders run no tool"
    ),
    "channels: {test_runners: {ceilings: {memory: 1GiB}}}": (
        "channels.test_runners.ceilings.memory: unknown key"
    ),
    "sts: {secret_access_key: x}": "sts.secret_access_key: unknown key",
    "limits: {memory: lots}": "limits.memory: 'lots' is not a size like 64MiB or 500kB",
    "limits: {wall_s: 0}": "limits.wall_s: Expected `float` > 0.0",
    "channels: {test_runner: {}}": (
        "channels.test_runner: unknown channel 'test_runner' (did you mean 'test_runners'?); "
        "channels are test_runners, static_analysers, recommenders, representers, builders"
    ),
    "channels: {static_analysers: {}, static_analyzers: {}}": (
        "channels.static_analyzers: static_analysers are there already, by another name"
    ),
    "channels: {builders: {tool: x}}": "channels.builders.tool: builders run no tool",
    "channels: {builders: {tracks: {ruby: {}}}}": (
        "channels.builders.tracks.ruby: builders serve all tracks"
    ),
    "channels: {test_runners: {tracks: {Ruby!: {}}}}": (
        "channels.test_runners.tracks.Ruby!: Expected a slug "
        "(1 to 64 small letters, digits and '-')"
    ),
    "channels: {test_runners: {tracks: {ruby: {limits: {wal_s: 3}}}}}": (
        "channels.test_runners.tracks.ruby.limits.wal_s: unknown key (did you mean 'wall_s'?)"
    ),
    "versions: {}": f"versions: belongs below the line `{MARKER}`",
    "a: &x 1\nb: *x": "line 1: anchors and aliases are not allowed here",
    "router: {}\nrouter: {}": "line 2: 'router' is there twice",
    "[" * 100: "line 1: nested too deeply",
    "a: b: c": "line 1: not YAML: mapping values are not allowed in this context",
    "!!python/object/apply:os.system [ls]": (
        "line 1: not YAML: could not determine a constructor for the tag "
        "'tag:yaml.org,2002:python/object/apply:os.system'"
    ),
    f"{MARKER}\nrouter: {{}}": "router: belongs above the line below which the router writes",
    f"{MARKER}\nversions: {{builders: {{}}}}": (
        "versions.builders: channel 'builders' has no versions: its workers run no tool"
    ),
    f"{MARKER}\nversions: {{static_analysers: {{}}, static_analyzers: {{}}}}": (
        "versions.static_analyzers: static_analysers are there already, by another name"
    ),
    f"{MARKER}\nversions: {{test_runners: {{ruby: {{1.5: {{}}}}}}}}": (
        "versions.test_runners.ruby.1.5: Expected `str`, got `float` (put it in quotes)"
    ),
    f"{MARKER}\nversions: {{test_runners: {{ruby: {{v: {{digest: x}}}}}}}}": (
        "versions.test_runners.ruby.v.digest: Expected a digest (sha256: and 64 hex digits)"
    ),
}


@pytest.mark.parametrize(("text", "error"), BAD.items(), ids=range(len(BAD)))
def test_what_is_wrong_is_one_line_with_the_keys_path(write: Write, text: str, error: str) -> None:
    file = write(text)
    with pytest.raises(BadConfig) as caught:
        file.read()
    assert str(caught.value) == f"{file.path}: {error}"


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.yml"
    path.write_bytes(b"router: \xff")
    with pytest.raises(BadConfig, match="not UTF-8"):
        ConfigFile(path).read()


# --- whose state it is


def installation(path: Path) -> str:
    file = ConfigFile(path)
    file.read()
    return file.installation


def test_a_seeded_file_is_a_new_installation_whatever_the_seed_says(tmp_path: Path) -> None:
    seed = tmp_path / "seed.yml"
    seed.write_text(f"{MARKER}\ninstallation: {'5e' * 16}\nversions: {{}}\n")
    made = set()
    for name in ("one.yml", "other.yml"):
        file = ConfigFile(tmp_path / name)
        file.seed(seed)
        made.add(file.installation)
        assert installation(file.path) == file.installation
    assert len({*made, "5e" * 16}) == 3


def test_it_stays_the_same_through_reads_and_saves(write: Write) -> None:
    file = write("router: {queue: 7}\n")
    file.read()
    first = file.installation
    assert len(first) == 32
    file.save(VERSIONS)
    file.reread()
    assert file.read()[1] == VERSIONS
    assert (file.installation, installation(file.path)) == (first, first)


def test_a_file_from_before_there_were_installations_gets_one_and_keeps_its_versions(
    write: Write,
) -> None:
    file = write(f"{ABOVE}{MARKER}\nversions: {{test_runners: {{ruby: {{{V1}: {{}}}}}}}}\n")
    assert file.read()[1] == {"test_runners": {"ruby": {V1: None}}}
    assert file.path.read_text().startswith(f"{ABOVE}{MARKER}\ninstallation: ")
    assert ConfigFile(file.path).read()[1] == {"test_runners": {"ruby": {V1: None}}}


@pytest.mark.parametrize("said", ["x", "'" + "0A" * 16 + "'", "7"])
def test_an_installation_that_is_none_is_refused(write: Write, said: str) -> None:
    file = write(f"{MARKER}\ninstallation: {said}\n")
    with pytest.raises(BadConfig, match="installation: "):
        file.read()


# --- saving

ABOVE = "# mine\nrouter: {queue: 7}   # seven, because\n\n"
VERSIONS: Versions = {"test_runners": {"ruby": {V1: DIGEST, "no": None}}}


def test_a_save_keeps_everything_above_the_marker_to_the_byte(write: Write) -> None:
    file = write(f"{ABOVE}{MARKER}\nversions: {{}}\n")
    file.read()
    assert file.save(VERSIONS) is None
    state = f"installation: {file.installation}\nversions:\n"
    assert file.path.read_text().startswith(f"{ABOVE}{MARKER}\n{state}")
    config, versions = file.read()
    assert config.router.queue == 7
    assert versions == VERSIONS


def test_a_file_without_a_marker_gets_one(write: Write) -> None:
    file = write("router: {queue: 7}")
    file.read()
    file.save(VERSIONS)
    assert file.path.read_text().startswith(f"router: {{queue: 7}}\n{MARKER}\n")


def test_when_a_version_was_deployed_is_kept(write: Write) -> None:
    when = "2020-01-01T00:00:00+00:00"
    entry = f"{{deployed_at: '{when}'}}"
    file = write(f"{MARKER}\nversions: {{test_runners: {{ruby: {{{V1}: {entry}}}}}}}\n")
    file.read()
    file.save(VERSIONS)
    assert file.path.read_text().count(when) == 1
    assert file.path.read_text().count("deployed_at: ") == 2


def test_a_file_changed_by_hand_is_read_again_before_a_save(write: Write) -> None:
    file = write("router: {queue: 7}\n")
    file.read()
    file.path.write_text("router: {queue: 8}  # changed\n")
    changed = file.save(VERSIONS)
    assert changed is not None
    assert changed.router.queue == 8
    assert "# changed" in file.path.read_text()
    assert file.save(VERSIONS) is None


def test_a_change_that_no_time_stamp_shows_is_seen_too(write: Write) -> None:
    file = write("router: {queue: 7}\n")
    file.read()
    before = file.path.stat()
    file.path.write_text("router: {queue: 8}\n")
    os.utime(file.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    changed = file.save({})
    assert changed is not None
    assert changed.router.queue == 8


def test_a_file_spoilt_by_hand_is_not_written(write: Write) -> None:
    file = write("router: {queue: 7}\n")
    file.read()
    file.path.write_text("rooter: {}\n")
    with pytest.raises(BadConfig, match="rooter"):
        file.save(VERSIONS)
    assert file.path.read_text() == "rooter: {}\n"


def test_a_save_that_fails_leaves_the_old_file(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    file = write("router: {queue: 7}\n")
    file.read()
    before = file.path.read_text()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        file.save(VERSIONS)
    assert file.path.read_text() == before
    assert [path.name for path in file.path.parent.iterdir()] == ["pipeline.yml"]


def test_a_link_is_saved_through_and_locked_by_what_it_points_to(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yml", tmp_path / "link.yml"
    real.write_text("")
    link.symlink_to(real)
    file = ConfigFile(link)
    file.read()
    file.save(VERSIONS)
    assert link.is_symlink()
    assert V1 in real.read_text()
    file.lock()
    with pytest.raises(ConfigLocked, match=f"process {os.getpid()}"):
        ConfigFile(real).lock()
    file.unlock()
    again = ConfigFile(real)
    again.lock()
    again.unlock()
