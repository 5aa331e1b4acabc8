"""An image's layers become one root folder: an overlay, made of a mount of each layer.

It is read-only, unless there is a place for what is written over it: a folder of a container's own
file system, with the folders `CHANGES` and `WORK` in it. What is written is copied there, and
belongs to the ids of who wrote it; nothing ever reaches a layer.

Layers are shared by all runs and all versions. Their files need owners that the container has:

- `LayerIds.MAPPED`: each layer is mounted with its ids mapped into the containers' range; nothing
  is copied, no owner changed. The overlay itself cannot be mapped. Needs Linux 5.19 (an overlay
  of mapped mounts) and a file system that can (ext4, xfs, btrfs; tmpfs since 6.3).
- `LayerIds.OWNED`: the layers' files are given to the containers' ids on disk, once.

Since Linux 6.15 an overlay is made of layers that are attached nowhere. Older kernels want them
attached somewhere, and named in one option of mount(2), whose text is one page (`lowerdir+` is
there since 6.5). So a thread goes into a mount namespace of its own, in which a tmpfs holds a place
with a short name for each layer; the finished overlay leaves it as a detached mount. Nothing of
this is seen by other processes, or stays when one dies in the middle.
"""

import contextlib
import enum
import errno
import os
import stat
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline_containers.errors import SandboxError
from pipeline_containers.sandbox.host.ids import IdMap, owns_host
from pipeline_containers.system import syscalls
from pipeline_containers.system.mountinfo import unmount

CHANGES, WORK = "changes", "work"
"""What an overlay needs in a folder that takes what is written over it: the second is its own."""

_WRITABLE = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
_READ_ONLY = _WRITABLE | syscalls.MOUNT_ATTR_RDONLY
_FLAGS = syscalls.MS_NOSUID | syscalls.MS_NODEV


class LayerIds(enum.Enum):
    """How the files of layers come to belong to a container's ids."""

    MAPPED = "mapped mounts"
    OWNED = "owned by the containers' ids on disk"


def mount_root(
    layers: Sequence[Path],
    target: Path,
    user_namespace: int | None,
    source: str = "overlay",
    changes: Path | None = None,
) -> None:
    """Mount layers, the top one first, as one folder at `target`; read-only without `changes`.

    There must be two at least, or one with `changes`, the folder that takes what is written. With a
    user namespace, the layers' ids are mapped through it; without one they stay as they are.
    `source` is what the host lists the mount by. Raises `SandboxError` if it cannot be.
    """
    attributes = _READ_ONLY if changes is None else _WRITABLE
    with contextlib.ExitStack() as opened:

        def attach(folder: Path, attributes: int, namespace: int | None) -> int:
            try:
                mount = syscalls.open_tree(str(folder))
                opened.callback(os.close, mount)
                syscalls.mount_setattr(mount, attributes, namespace)
            except OSError as error:
                raise SandboxError(_explain(error, folder, namespace)) from error
            return mount

        mounts = [attach(layer, _READ_ONLY, user_namespace) for layer in layers]
        upper = None if changes is None else attach(changes, _WRITABLE, None)
        try:
            try:
                overlay = _make_of_detached(mounts, upper, source)
            except OSError:  # this kernel cannot, or the layers cannot: then what follows says why
                # a thread of its own: the mount namespace and the current folder are its alone
                with ThreadPoolExecutor(max_workers=1) as thread:
                    made = thread.submit(_make_overlay, mounts, upper, target.parent, source)
                    overlay = made.result()
                opened.callback(os.close, overlay)
                syscalls.mount_setattr(overlay, attributes)
            else:
                opened.callback(os.close, overlay)
            syscalls.move_mount(overlay, str(target))
        except OSError as error:
            raise SandboxError(f"the image's layers cannot be mounted: {error}") from error


def make_changes(folder: Path, uid: int, gid: int, mode: int = 0o755) -> None:
    """Make the folders of a place that takes what is written over others.

    What is mounted of it, and of them, belongs to these ids of the host, with this mode.
    """
    for name, own_mode in ((CHANGES, mode), (WORK, 0o700)):
        (folder / name).mkdir()
        (folder / name).chmod(own_mode)
    os.chown(folder / CHANGES, uid, gid)


def _make_of_detached(layers: Sequence[int], upper: int | None, source: str) -> int:
    """Make the overlay of layers that are attached nowhere; a detached mount of it."""
    options: list[tuple[str, str | int | None]] = [("source", source)]
    options += [("lowerdir+", layer) for layer in layers]
    if upper is None:
        return syscalls.new_mount("overlay", [*options, *_options()], _READ_ONLY)
    with contextlib.ExitStack() as opened:
        for option, name in (("upperdir", CHANGES), ("workdir", WORK)):
            place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=upper)
            opened.callback(os.close, place)
            options.append((option, place))
        return syscalls.new_mount("overlay", [*options, *_options(), _ALONE], _WRITABLE)


_ALONE = ("index", "off")
"""What is written over one container's layers is no other's: nothing is looked up by inodes."""


def _options() -> list[tuple[str, str | None]]:
    """Refuse what a layer could lead to folders elsewhere by."""
    options: list[tuple[str, str | None]] = [("redirect_dir", "nofollow"), ("metacopy", "off")]
    if not owns_host(Path("/proc/self/uid_map").read_text()):  # it may set no other attributes
        options.append(("userxattr", None))
    return options


def _make_overlay(layers: Sequence[int], upper: int | None, folder: Path, source: str) -> int:
    """Make the overlay in a new mount namespace of the calling thread; a detached mount of it."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE, "")
    syscalls.mount(
        "layers", str(folder), "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=0700"
    )
    os.chdir(folder)  # names that are short: 500 layers fit into a page
    names = [str(number) for number in range(len(layers))]
    for name, layer in zip(names, layers, strict=True):
        os.mkdir(name)
        syscalls.move_mount(layer, name)
    os.mkdir("root")
    options = [("lowerdir", ":".join(names)), *_options()]
    flags = _FLAGS
    if upper is None:
        flags |= syscalls.MS_RDONLY
    else:
        os.mkdir("upper")
        syscalls.move_mount(upper, "upper")
        options += [("upperdir", f"upper/{CHANGES}"), ("workdir", f"upper/{WORK}"), _ALONE]
    text = ",".join(key if value is None else f"{key}={value}" for key, value in options)
    syscalls.mount(source, "root", "overlay", flags, text)
    return syscalls.open_tree("root")


def find_layer_ids(folder: Path, ids: IdMap, user_namespace: int | None) -> tuple[LayerIds, str]:
    """Find out by trying, in a folder, how layers there can be used; and why no better way.

    Without a user namespace to map through they can only be owned.
    """
    if user_namespace is None:
        return LayerIds.OWNED, "no ids can be mapped in a user's namespace"
    with tempfile.TemporaryDirectory(prefix="try.", dir=folder) as name:
        place = Path(name)
        layers = [place / "a", place / "b"]
        for layer in layers:
            layer.mkdir()
        (target := place / "root").mkdir()
        try:
            mount_root(layers, target, user_namespace)
        except SandboxError as error:
            return LayerIds.OWNED, str(error)
        try:
            if target.stat().st_uid == ids.root:
                return LayerIds.MAPPED, ""
            return LayerIds.OWNED, "an overlay of mapped mounts shows their ids unmapped"
        finally:
            unmount(target)


def can_stack(folder: Path) -> bool:
    """Find out by trying whether what is written over a root made in a folder can go elsewhere.

    The kernel makes overlays of overlays, but not of those.
    """
    with tempfile.TemporaryDirectory(prefix="try.", dir=folder) as name:
        above, below, root, changes, target = (
            Path(name, part) for part in ("above", "below", "root", "changes", "target")
        )
        for made in (above, below, root, changes, target):
            made.mkdir()
        try:
            syscalls.mount("try", str(changes), "tmpfs", _FLAGS, "size=64k,nr_inodes=16,mode=0700")
            make_changes(changes, 0, 0)
            mount_root((above, below), root, None)
            mount_root((root,), target, None, changes=changes)
        except SandboxError:
            return False
        finally:
            for place in (target, root, changes):
                if place.is_mount():
                    unmount(place)
        return True


def give_layer(layer: Path, ids: IdMap) -> None:
    """Give the files of an unpacked layer to the ids that a container's are outside of it.

    The folder itself is last: one that has its owner is done. Ids that containers do not have
    here stay.
    """
    if layer.stat().st_uid != ids.root:
        _change_owners(layer, ids.given)


def take_layer_back(layer: Path, ids: IdMap) -> None:
    """Undo `give_layer`, whether that was done or interrupted."""
    _change_owners(layer, ids.taken)


def _change_owners(layer: Path, translate: Callable[[int], int]) -> None:
    for parent, folders, files in os.walk(layer, topdown=False):
        for name in (*folders, *files):
            _change_owner(os.path.join(parent, name), translate)
    _change_owner(str(layer), translate)


def _change_owner(path: str, translate: Callable[[int], int]) -> None:
    status = os.lstat(path)
    owner, group = translate(status.st_uid), translate(status.st_gid)
    if (owner, group) != (status.st_uid, status.st_gid):
        os.chown(path, owner, group, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
            os.chmod(path, stat.S_IMODE(status.st_mode))  # which a new owner takes away


def _explain(error: OSError, layer: Path, user_namespace: int | None) -> str:
    if error.errno == errno.EPERM:
        return f"{layer} cannot be mounted: {error.strerror}; the sandbox needs root"
    if user_namespace is None or error.errno == errno.ENOENT:
        return f"{layer} cannot be mounted: {error.strerror}"
    return (
        f"{layer} cannot be mounted with mapped ids: {error.strerror}; "
        "keep the folder on a file system that can (ext4, xfs, btrfs)"
    )
