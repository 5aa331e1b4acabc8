"""Where a tool can write although its root is read-only: its HOME, and its image's VOLUMEs.

Each is a folder of a container's own /tmp file system, bound over the image's; with what the image
has there to be seen, if it has anything. Paths are an image's, and so untrusted: what is bound, and
what is made for it to be bound over, is a folder on a way without links, and never in the way of
what the sandbox mounts.
"""

import posixpath
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline_containers.sandbox.container.environment import value_of
from pipeline_containers.sandbox.container.users import User
from pipeline_containers.sandbox.tools import JOB_FOLDER
from pipeline_containers.system.files import FileRefused, look_at_folder

TMP, SHM = "/tmp", "/dev/shm"  # noqa: S108 -- the container's own
HOME_IN_TMP = f"{TMP}/home"
_OWN = ("/proc", "/sys", "/dev", TMP, JOB_FOLDER)
"""What the sandbox mounts folders over: nothing is bound there, below it, or above it."""
_OWN_FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
"""What it mounts, or may come to mount, files over."""
_WRITABLE = (TMP, SHM, JOB_FOLDER)
"""What everybody can write to in any case."""
_PATH_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class WritablePlace:
    """A folder that is to be writable, with its mode and whether the image has something in it."""

    path: str
    mode: int
    has_content: bool


@dataclass(frozen=True, slots=True)
class VolumePlan:
    """The VOLUMEs of an image that can be had, and why others cannot.

    `missing` are the folders that must be made first, those above others before them.
    """

    places: tuple[WritablePlace, ...] = ()
    missing: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Home:
    """Where HOME is, and what is to be bound there, if anything."""

    path: str
    place: WritablePlace | None = None


def plan_volumes(root: Path, volumes: Iterable[str]) -> VolumePlan:
    """Find out what of an image's VOLUMEs can be bound, by the files in its root folder."""
    places: list[WritablePlace] = []
    missing: list[str] = []
    passed_over = []
    for volume in sorted(set(volumes)):
        path = volume.rstrip("/")
        if problem := _problem(path):
            passed_over.append(f"{volume[:80]!r} {problem}")
            continue
        try:
            made = _missing(root, path)
            status, is_empty = (None, True) if made else look_at_folder(root, path)
        except FileRefused as error:
            passed_over.append(f"{volume[:80]!r}: {error}")
            continue
        missing += [folder for folder in made if folder not in missing]
        mode = 0o755 if status is None else stat.S_IMODE(status.st_mode) | 0o700
        places.append(WritablePlace(path, mode, not is_empty))
    outer = [place for place in places if not any(_is_below(place.path, o.path) for o in places)]
    return VolumePlan(
        tuple(
            WritablePlace(
                place.path,
                place.mode,
                place.has_content or any(_is_below(one, place.path) for one in missing),
            )
            for place in outer
        ),
        tuple(missing),
        tuple(passed_over),
    )


def find_home(
    root: Path,
    env: Sequence[str],
    user: User,
    owner: tuple[int, int],
    places: Sequence[WritablePlace],
    *,
    is_root_writable: bool,
    passes_over_modes: bool,
) -> Home:
    """Choose HOME: what the image names, if its user could write there; else a folder in /tmp.

    `owner` are the user's ids, as the files in the root folder have them.
    """
    named = (value_of(env, "HOME") or user.home).rstrip("/")
    if named in _WRITABLE or any(place.path == named for place in places):
        return Home(named)
    if _problem(named):
        return Home(HOME_IN_TMP)
    try:
        status, is_empty = look_at_folder(root, named)
    except (FileNotFoundError, FileRefused):
        return Home(HOME_IN_TMP)
    mode = stat.S_IMODE(status.st_mode)
    shift = 6 if status.st_uid == owner[0] else 3 if status.st_gid == owner[1] else 0
    if not passes_over_modes and mode >> shift & 3 != 3:
        return Home(HOME_IN_TMP)
    if is_root_writable or any(_is_below(named, place.path) for place in places):
        return Home(named)
    has_content = not is_empty or any(_is_below(place.path, named) for place in places)
    return Home(named, WritablePlace(named, mode, has_content))


def with_home(places: Sequence[WritablePlace], home: Home) -> tuple[WritablePlace, ...]:
    """Return all that is to be bound: what lies in HOME is writable with it."""
    if home.place is None:
        return tuple(places)
    return (home.place, *(place for place in places if not _is_below(place.path, home.path)))


def _problem(path: str) -> str:
    """Say what is wrong with a path, whatever the image has there; nothing if it may be one."""
    if not path:
        return "is the whole root folder"
    if not path.startswith("/") or posixpath.normpath(path) != path or path.startswith("//"):
        return "is no absolute path without '.' and '..'"
    if len(path) > _PATH_CHARACTERS or not path.isprintable():
        return "is no path that can be bound"
    for own in _OWN:
        if path == own or _is_below(path, own) or _is_below(own, path):
            return f"is in the way of {own}"
    for own in _OWN_FILES:
        if path == own or _is_below(path, own):
            return f"is in the way of {own}"
    return ""


def _missing(root: Path, path: str) -> list[str]:
    """List the folders that are to be made for a path, the topmost first.

    Raises `FileRefused` if something else than a folder is on the way.
    """
    made: list[str] = []
    while path != "/":
        try:
            look_at_folder(root, path)
            break
        except FileNotFoundError:
            made.insert(0, path)
        path = posixpath.dirname(path)
    return made


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")
