"""A commit's submodules: which there are, and where each may be fetched from. Pure but for paths.

What `.gitmodules` says is a stranger's. Of it only paths and addresses are read; whatever else git
would do by it (`update`, `branch`, names that become paths) is not done.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from pipeline_containers.building.source.reference import check_url
from pipeline_containers.errors import SourceError, SourceRefused

FILE = ".gitmodules"


@dataclass(frozen=True, slots=True)
class Submodule:
    """A folder of a commit whose files are another repository's."""

    path: str
    sha: str
    url: str
    """As `.gitmodules` has it; empty: nowhere."""


def find_submodules(
    links: Mapping[str, str], settings: Iterable[tuple[str, str]]
) -> list[Submodule]:
    """Put a commit's links to other commits, path to SHA, beside what `.gitmodules` says of them.

    `settings` are git's keys and values, ``submodule.NAME.url`` and so on.
    """
    paths: dict[str, str] = {}
    urls: dict[str, str] = {}
    for key, value in settings:
        section, _, variable = key.rpartition(".")
        if not section.startswith("submodule."):
            continue
        if variable == "path":
            paths[section] = value
        elif variable == "url":
            urls[section] = value
    url_of = {path: urls.get(section, "") for section, path in paths.items()}
    return [Submodule(path, sha, url_of.get(path, "")) for path, sha in links.items()]


def resolve_url(parent: str, said: str) -> str:
    """Return the address that a submodule of a repository at `parent` has.

    One that begins with ``./`` or ``../`` is relative to the parent's, as git takes it.

    Raises `SourceRefused` if it is none, or leads out of the parent's host.
    """
    if not said.startswith(("./", "../")):
        return _checked(said)
    root, separator, path = parent.rstrip("/").partition("://")
    host, _, folders = path.partition("/")
    parts = [part for part in folders.split("/") if part]
    while said.startswith(("./", "../")):
        step, _, said = said.partition("/")
        if step == "..":
            if not parts:
                raise SourceRefused("its address leads out of the repository's host")
            parts.pop()
    return _checked(f"{root}{separator}{'/'.join([host, *parts, said])}")


def check_reach(url: str, root: str) -> None:
    """Refuse a submodule's address that a stranger could reach a host's own things by.

    `root` is the address of the repository that is built, which the operator chose. A folder of the
    host has to lie beside that one, and ssh, which has the keys of an account, goes to its host
    alone. Raises `SourceRefused`.
    """
    there, here = urlsplit(url), urlsplit(root)
    if there.scheme == "file":
        beside = Path(unquote(here.path)).parent.resolve()
        path = PurePosixPath(unquote(there.path))
        if here.scheme != "file" or ".." in path.parts or "\0" in str(path):
            raise SourceRefused("its address is a folder of the host")
        if beside not in Path(path).resolve().parents:
            raise SourceRefused("its address is a folder of the host, not beside the repository")
    if there.scheme == "ssh" and not is_same_host(url, root):
        raise SourceRefused("its address is another host's, by ssh: only https reaches one")


def is_same_host(url: str, root: str) -> bool:
    """Return whether two addresses are the same host's, reached in the same way."""
    there, here = urlsplit(url), urlsplit(root)
    return (there.scheme, there.netloc) == (here.scheme, here.netloc)


def _checked(url: str) -> str:
    try:
        return check_url(url)
    except SourceError as error:
        raise SourceRefused(str(error)) from None
