"""The configuration file: seeded, locked, read again when it changes, saved whole or not at all.

People write the part above the marker line, the router the part below it, and only that.
"""

import fcntl
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import yaml

from pipeline_router.config import Config, Versions
from pipeline_router.config_parse import BadConfig, Entries, Entry, read_config, read_state
from pipeline_router.config_yaml import BadYaml, load
from pipeline_router.unwritable import Unwritable

MARKER = "# --- below this line the router writes; edit it only while no router runs ---"
MAX_FILE_BYTES = 16 << 20


class ConfigLocked(Exception):
    """Another router has the file; the message says which."""


class ConfigFile:
    """One configuration file, and the lock that keeps other routers out.

    Not thread-safe: after the start only one helper thread uses it.
    """

    def __init__(self, path: Path, check: Callable[[Config], None] = lambda _: None) -> None:
        """`check` raises BadConfig about what this router, or its host, cannot do."""
        self.path = path
        self._check = check
        self._real = Path(os.path.realpath(path))
        self._lock: int | None = None
        self._text = ""
        """As it was last read or written."""
        self._entries: Entries = {}
        self.installation = ""
        """Whose versions these are, since the file was read: an id that the file keeps."""

    # --- beginning and end

    def lock(self) -> None:
        """Keep every other router out; raises ConfigLocked if one is in, Unwritable if none can be.

        The lock file is never unlinked: who had it open would hold a lock that nobody sees.
        """
        path = Path(f"{self._real}.lock")
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Unwritable(path, error) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(lock, 20, 0).decode(errors="replace").strip()
            os.close(lock)
            raise ConfigLocked(
                f"{self.path} is in use by another router (process {owner or 'unknown'})"
            ) from None
        self._lock = lock
        with suppress(OSError):  # on a full disk the lock holds, though it does not say whose it is
            os.truncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)

    def unlock(self) -> None:
        """Let another router in."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def seed(self, seed: Path) -> bool:
        """Create the file from a template if it is missing: a new installation, whatever it says.

        Raises BadConfig if the template is bad.
        """
        if self._real.exists():
            return False
        text = _read(seed)
        _, _, entries = self._parse(text, seed)
        self.installation = _new_installation()
        self._write(text, entries)
        return True

    # --- reading

    def read(self) -> tuple[Config, Versions]:
        """Read the file, and write an installation's id into one that has none.

        Raises BadConfig with one line if the file is of no use, OSError if it cannot be written.
        """
        text = _read(self._real, self.path)
        config, self.installation, entries = self._parse(text)
        self._text, self._entries = text, entries
        if not self.installation:
            self.installation = _new_installation()
            self._write(text, entries)
        return config, {
            channel: {
                track: {version: entry.digest for version, entry in versions.items()}
                for track, versions in tracks.items()
            }
            for channel, tracks in entries.items()
        }

    def reread(self) -> Config:
        """Read what people wrote again; what the router wrote stays as it knows it."""
        text = _read(self._real, self.path)
        config, _, _ = self._parse(text)
        self._text = text
        return config

    def _parse(self, text: str, shown: Path | None = None) -> tuple[Config, str, Entries]:
        config, installation, entries = _parse(text, shown or self.path, self._real.parent)
        try:
            self._check(config)
        except BadConfig as error:
            raise BadConfig(f"{shown or self.path}: {error}") from None
        return config, installation, entries

    # --- saving

    def save(self, versions: Versions) -> Config | None:
        """Write the wanted versions; return the configuration if people had changed it meanwhile.

        Raises BadConfig or Unwritable: nothing was written then.
        """
        # the very text that is kept is the one that is looked at: somebody may be writing now
        text = _read(self._real, self.path)
        changed = self._parse(text)[0] if text != self._text else None
        self._write(text, self._dated(versions))
        return changed

    def _write(self, text: str, entries: Entries) -> None:
        """Write the router's part anew, below what people wrote in `text`."""
        above, _, _ = _split(text)
        if above and not above.endswith("\n"):
            above += "\n"
        text = f"{above}{MARKER}\n{_written(self.installation, entries)}"
        self._replace(text)
        self._entries, self._text = entries, text

    def _dated(self, versions: Versions) -> Entries:
        today = datetime.now(UTC).isoformat(timespec="seconds")
        dated: Entries = {}
        for channel, tracks in versions.items():
            for track, digests in tracks.items():
                known = self._entries.get(channel, {}).get(track, {})
                dated.setdefault(channel, {})[track] = {
                    version: Entry(digest, known.get(version, Entry(deployed_at=today)).deployed_at)
                    for version, digest in digests.items()
                }
        return dated

    def _replace(self, text: str) -> None:
        """Write the file anew; raises Unwritable, and leaves the old one then."""
        try:
            self._write_and_rename(text)
        except OSError as error:
            raise Unwritable(self._real, error) from None

    def _write_and_rename(self, text: str) -> None:
        """Write aside, sync, rename, sync the folder: a crash leaves the old or the new."""
        aside = self._real.with_name(f".{self._real.name}.new")
        mode = self._real.stat().st_mode & 0o777 if self._real.exists() else 0o644
        try:
            with aside.open("w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), mode)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self._real)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        folder = os.open(self._real.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read(path: Path, shown: Path | None = None) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadConfig(f"{shown or path}: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise BadConfig(f"{shown or path}: larger than {MAX_FILE_BYTES >> 20} MiB")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadConfig(f"{shown or path}: not UTF-8: {error.reason}") from None


def _split(text: str) -> tuple[str, str, int]:
    """Return what stands above the marker and below it, and how many lines the first has."""
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if line.strip() == MARKER:
            return "".join(lines[:number]), "".join(lines[number + 1 :]), number + 1
    return text, "", 0


def _new_installation() -> str:
    return secrets.token_hex(16)


def _parse(text: str, path: Path, folder: Path) -> tuple[Config, str, Entries]:
    above, below, lines = _split(text)
    try:
        data = load(above)
        if isinstance(data, dict) and "versions" in data:
            raise BadConfig(f"versions: belongs below the line `{MARKER}`")
        config = read_config(data)
        installation, entries = read_state(load("\n" * lines + below))
    except (BadConfig, BadYaml) as error:
        raise BadConfig(f"{path}: {error}") from None
    registry = config.registry
    if registry.kind == "folder":
        # relative to the file, not to wherever a worker was started
        location = str(folder / Path(registry.location).expanduser())
        registry = msgspec.structs.replace(registry, location=os.path.normpath(location))
    return msgspec.structs.replace(config, registry=registry), installation, entries


def _written(installation: str, entries: Entries) -> str:
    data = {
        channel: {
            track: {version: msgspec.to_builtins(entry) for version, entry in versions.items()}
            for track, versions in tracks.items()
        }
        for channel, tracks in entries.items()
    }
    state = {"installation": installation, "versions": data}
    return yaml.safe_dump(state, sort_keys=False, width=1000)
