"""Any registry that speaks the distribution protocol, read and written by skopeo.

Tags can be changed in most of them. Here they are given once all the same: a tag that is there is
never pushed over, unless two builders push in the same moment, and then the second look finds out.
"""

import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline_containers.errors import RegistryError
from pipeline_containers.images import skopeo
from pipeline_containers.images.image import is_digest, is_repository, is_tag
from pipeline_containers.images.index import manifest_for_host
from pipeline_containers.images.manifest import digest_of
from pipeline_containers.images.skopeo import LOOK_S, CopyWatcher, reason
from pipeline_containers.images.skopeo_errors import is_passing, remedy
from pipeline_containers.registries.login import HostLogin, Login
from pipeline_containers.system.command import CancelFlag, Completed, OnLine
from pipeline_containers.system.json_text import load_json

_LOCATION = re.compile(r"(?:http://)?([A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?)((?:/[^/]+)*)/?")
_ABSENT = re.compile(
    r"manifest unknown|name unknown|repository name not known|"
    r"reading manifest .* status ?code: 404|"
    r"tags list: invalid status code from registry 404",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"unauthorized|authentication required|authorization token has expired|no basic auth|"
    r"status code:? 40[13]|invalid status code from registry 40[13]|denied:",
    re.IGNORECASE,
)


class DockerRegistry:
    """A registry at `host[:port][/prefix]`; behind TLS, unless `http://` is written before it."""

    def __init__(self, location: str, login: Login | None = None) -> None:
        match = _LOCATION.fullmatch(location)
        if match is None or (match[2] and not is_repository(match[2][1:])):
            raise RegistryError(f"{location!r} is not a registry: give host[:port][/prefix]")
        self.place = match[1] + match[2]
        self._tls = not location.startswith("http://")
        self._login = login or HostLogin()

    def exists(self, repository: str, tag: str) -> bool:
        """Return whether an image with this tag is there."""
        return self.digest(repository, tag) is not None

    def digest(self, repository: str, reference: str) -> str | None:
        """Return the digest of the image that a tag, or a digest, stands for; None: not there."""
        content = self.manifest(repository, reference)
        return None if content is None else digest_of(content)

    def manifest(
        self,
        repository: str,
        reference: str,
        *,
        timeout_s: float = LOOK_S,
        cancelled: CancelFlag | None = None,
    ) -> bytes | None:
        """Read the manifest of the image that a tag, or a digest, stands for; None: not there."""

        def read(under: str) -> bytes | None:
            name = self._name(repository, under)
            printed = self._read(
                repository,
                lambda options, left_s: skopeo.read_manifest(name, options, left_s, cancelled),
                timeout_s,
            )
            return None if printed is None else printed.encode()

        return manifest_for_host(reference, read)

    def tags(self, repository: str) -> list[str]:
        """List the tags, of all pages, sorted; of a repository that is not there, none."""
        name = self._name(repository)
        printed = self._read(repository, lambda options, _: skopeo.list_tags(name, options))
        try:
            return [] if printed is None else sorted(skopeo.parse_tags(printed))
        except ValueError as error:
            raise RegistryError(f"{self.place}/{repository} lists no tags: {error}") from error

    def push(
        self,
        source: str,
        repository: str,
        tag: str,
        *,
        timeout_s: float = 900,
        on_line: OnLine | None = None,
        cancelled: CancelFlag | None = None,
    ) -> str:
        """Copy an image here, unless its tag is there already, with the same content."""
        if not is_tag(tag):
            raise RegistryError(f"{tag!r} is not a tag")
        name = self._name(repository, tag)
        there = self.digest(repository, tag)
        if there is not None:
            return self._same(source, repository, tag, there)
        with tempfile.TemporaryDirectory(prefix="pipeline-push-") as aside:
            file = Path(aside, "digest")
            done = self._logged_in(
                "dest",
                lambda options, left_s: skopeo.copy_image(
                    source,
                    name,
                    [*options, "--digestfile", str(file)],
                    timeout_s=left_s,
                    on_line=on_line,
                    cancelled=cancelled,
                ),
                timeout_s,
            )
            pushed = file.read_text().strip() if done.ok else ""
        there = self.digest(repository, tag) if done.stop is None else None
        if not done.ok:
            if there is not None:  # tags are immutable there, and somebody was faster
                return self._same(source, repository, tag, there)
            raise RegistryError(f"pushing {repository}:{tag} failed: {reason(done)}")
        if there != pushed:
            raise RegistryError(
                f"{repository}:{tag} was pushed as {pushed}, but is there as {there}"
            )
        return pushed

    def pull(
        self,
        repository: str,
        digest: str,
        destination: str,
        *,
        timeout_s: float,
        watch: CopyWatcher,
    ) -> Completed:
        """Copy an image of this digest to a place in skopeo's notation; how the copying ended."""
        return self._logged_in(
            "src",
            lambda options, left_s: skopeo.watch_copy(
                self._name(repository, digest),
                destination,
                ["--preserve-digests", *options],
                timeout_s=left_s,
                watch=watch,
            ),
            timeout_s,
        )

    def authfile(self, folder: Path) -> Path | None:
        """Return the file that other programs log in here by."""
        return self._login.authfile(folder)

    def _name(self, repository: str, reference: str = "") -> str:
        """Name an image of it, or a repository, the way skopeo takes it."""
        if not is_repository(repository):
            raise RegistryError(f"{repository!r} is not the name of a repository")
        if reference and not (is_digest(reference) or is_tag(reference)):
            raise RegistryError(f"{reference!r} is neither a tag nor a digest")
        sign = "@" if is_digest(reference) else ":"
        return f"docker://{self.place}/{repository}" + (sign + reference if reference else "")

    def _read(
        self,
        repository: str,
        look: Callable[[Sequence[str], float], Completed],
        timeout_s: float = LOOK_S,
    ) -> str | None:
        """Take what a look at the registry prints; None: there is no such thing."""
        done = self._logged_in("", look, timeout_s)
        if done.ok:
            return done.stdout
        if done.stop is None and _ABSENT.search(done.tail):
            return None
        told = f"{self.place}/{repository} cannot be read: {reason(done)}{remedy(done)}"
        raise RegistryError(told, passing=is_passing(done))

    def _logged_in(
        self, side: str, call: Callable[[Sequence[str], float], Completed], timeout_s: float
    ) -> Completed:
        """Call skopeo with the way in; when that is refused, once more with a new one."""
        prefix = f"--{side}-" if side else "--"
        deadline = time.monotonic() + timeout_s
        tls = [] if self._tls else [f"{prefix}tls-verify=false"]

        def attempt() -> Completed:
            with tempfile.TemporaryDirectory(prefix="pipeline-login-") as folder:
                file = self._login.authfile(Path(folder))
                login = [f"{prefix}no-creds"] if file is None else [f"{prefix}authfile", str(file)]
                return call([*login, *tls], deadline - time.monotonic())

        done = attempt()
        refused = not done.ok and done.stop is None and _REFUSED.search(done.tail)
        if refused and self._login.renew():
            return attempt()
        return done

    def _same(self, source: str, repository: str, tag: str, there: str) -> str:
        """Accept what is there under a tag if it is what would have been pushed."""
        here = skopeo.read_config(source)
        name = self._name(repository, there)
        held = self._read(repository, lambda options, _: skopeo.read_config(name, options))
        if here.ok and held is not None and content(here.stdout) == content(held):
            return there
        raise RegistryError(f"{repository}:{tag} is there already, as {there}")


def content(config: str) -> object:
    """Take from an image's configuration what makes it that image: its layers, how it is run.

    Not when and by which program it was built, and not how its manifest is written.
    """
    try:
        document = load_json(config)
        run, root = document.get("config") or {}, document["rootfs"]
        asked = {key: run.get(key) for key in ("Env", "User", "WorkingDir", "Entrypoint", "Cmd")}
        return root["diff_ids"], document.get("architecture"), asked
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RegistryError(f"that is no image's configuration: {error}") from error
