"""Images of stock distributions, with all that `./dev` installs: made once, kept, used again.

FOLDER/NAME-KEY/disk      an ext4 file system, without a partition table
FOLDER/NAME-KEY/kernel    and `initrd`: the distribution's own
FOLDER/NAME-KEY/key       who has it is let in as root
FOLDER/emulator-SUITE/    a root folder with a newer QEMU, where this machine's is too old

The checkout, its environment and the base images are put in on this machine, by chroot: within an
emulated guest that takes 11 minutes. The guest needs no network.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vm.distributions import DISTRIBUTIONS, SYSTEM, packages_of, sources

ROOT = Path(__file__).parents[1]
CHECKOUT = "srv/pipeline"
"""Where the checkout is in a guest, from its root folder."""
DISK_BYTES = 24 << 30  # sparse
USER = "joe"
"""An ordinary user, for what is done without root."""

_MADE_OF = ("uv.lock", "examples/base-images", "vm/image.py")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SETUP = """
set -e
useradd --create-home --shell /bin/bash {user}
mkdir -p /var/lib/systemd/linger && touch /var/lib/systemd/linger/{user}
passwd --delete root >/dev/null
systemctl enable systemd-networkd ssh >/dev/null 2>&1
systemctl disable docker-registry >/dev/null 2>&1 || :
cd /{checkout}
PIPELINE_DEV_FOLDER=/var/lib/pipeline-dev ./dev setup
"""
_NETWORK = """\
[Match]
Name=e*
[Network]
Address=10.0.2.15/24
"""


@dataclass(frozen=True)
class Image:
    """A kept image."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk"

    @property
    def kernel(self) -> Path:
        return self.folder / "kernel"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def key(self) -> Path:
        return self.folder / "key"


def say(text: str) -> None:
    print(f"vm: {text}", flush=True)


def find_image(name: str, folder: Path) -> Image:
    """Give the image of a distribution, made if it is not there.

    The base images are beside the folder; others that it has of the distribution go.
    """
    image = Image(folder / f"{name}-{_key(name)}")
    if not image.folder.is_dir():
        for old in folder.glob(f"{name}-*"):
            shutil.rmtree(old)
        with _aside(image.folder) as aside:
            _make(name, Image(aside), folder.parent / "base-images")
    return image


def find_emulator(suite: str, folder: Path) -> Path:
    """Give a root folder with the QEMU of a suite, made if it is not there."""
    root = folder / f"emulator-{suite}"
    if not root.is_dir():
        say(f"installing QEMU of {suite} aside")
        with _aside(root) as aside:
            _bootstrap(suite, aside, ["qemu-system-x86", "seabios"])
    return root


def _key(name: str) -> str:
    """Name an image by what it is made of."""
    made_of = [(ROOT / file).read_bytes() for file in _MADE_OF]
    made_of += [file.read_bytes() for file in sorted(ROOT.glob("packages/*/pyproject.toml"))]
    made_of.append(repr((name, DISTRIBUTIONS[name], _packages(name))).encode())
    return hashlib.sha256(b"\0".join(made_of)).hexdigest()[:12]


def _packages(name: str) -> list[str]:
    named = packages_of((ROOT / "dev").read_text())
    return sorted({*SYSTEM, *DISTRIBUTIONS[name].packages, *named})


def _make(name: str, image: Image, base_images: Path) -> None:
    suite = DISTRIBUTIONS[name].suite
    root = image.folder / "root"
    say(f"making an image of {name}")
    _bootstrap(suite, root, _packages(name))
    _write_settings(root)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(image.key)], check=True
    )
    authorized = root / "root/.ssh/authorized_keys"
    authorized.parent.mkdir(mode=0o700, exist_ok=True)
    authorized.write_bytes(image.key.with_suffix(".pub").read_bytes())
    say("putting in the checkout, its environment and the base images")
    copy_checkout(root / CHECKOUT)
    kept = root / "var/lib/pipeline-dev"
    kept.mkdir(parents=True)
    shutil.copytree(base_images, kept / "base-images", symlinks=True)
    _chroot(root, _SETUP.format(user=USER, checkout=CHECKOUT))
    for kind, place in (("vmlinuz", image.kernel), ("initrd.img", image.initrd)):
        (found,) = (root / "boot").glob(f"{kind}-*")
        shutil.copyfile(found, place)
    say("writing the disk")
    with image.disk.open("wb") as disk:
        disk.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-d", str(root), str(image.disk)], check=True)
    shutil.rmtree(root)


def copy_checkout(target: Path) -> None:
    """Copy what git knows of the checkout, as it is in the working tree, without its history."""
    target.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(checkout_tar(), stdout=subprocess.PIPE, cwd=ROOT) as tar:
        subprocess.run(["tar", "-x", "-C", str(target)], stdin=tar.stdout, check=True)
    if tar.returncode:
        raise SystemExit("vm: the checkout cannot be copied")


def checkout_tar() -> list[str]:
    """Give the command that prints the checkout as a tar archive; in its folder."""
    files = "git ls-files -z --cached --others --exclude-standard"
    there = 'while IFS= read -r -d "" name; do [ ! -e "$name" ] || printf "%s\\0" "$name"; done'
    return ["bash", "-c", f"{files} | {there} | tar -c --null --files-from=-"]


def _write_settings(root: Path) -> None:
    (root / "etc/hostname").write_text("guest\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost guest\n")
    (root / "etc/fstab").write_text("/dev/vda / ext4 defaults,noatime 0 1\n")
    network = root / "etc/systemd/network/10-only.network"
    network.parent.mkdir(parents=True, exist_ok=True)
    network.write_text(_NETWORK)
    # no clock is kept: package lists are as old as the image
    (root / "etc/apt/apt.conf.d/90vm").write_text('Acquire::Check-Valid-Until "false";\n')


def _bootstrap(suite: str, root: Path, names: list[str]) -> None:
    """Make a root folder of a suite with some packages, from this machine's own mirrors."""
    listed = subprocess.run(
        [
            *("apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)|$(RELEASE)"),
            *("Created-By: Packages", "Component: main"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    # in a mount namespace of its own: what it mounts goes with it, however it ends
    command = ["unshare", "--mount", "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase"]
    command += [f"--include={','.join(names)}", "--aptopt=APT::Install-Recommends false"]
    subprocess.run([*command, suite, str(root), *sources(listed.stdout, suite)], check=True)


def _chroot(root: Path, script: str) -> None:
    """Run a script in a root folder, with this machine's way to the package registries."""
    own = root / str(_CERTIFICATES).strip("/")
    kept = own.read_bytes()
    own.write_bytes(_CERTIFICATES.read_bytes())
    resolv = root / "etc/resolv.conf"
    resolv.unlink(missing_ok=True)
    shutil.copyfile("/etc/resolv.conf", resolv)
    passed_on = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("PIP_", "UV_")) or name.endswith(("_CERT_FILE", "_CA_BUNDLE", "_PROXY"))
    }
    enter = f'mount --rbind /proc "{root}/proc"; mount --rbind /dev "{root}/dev"; exec chroot "$@"'
    try:
        subprocess.run(
            [*("unshare", "--mount", "sh", "-ec", enter, "sh"), str(root), "sh", "-c", script],
            env={"HOME": "/root", "PATH": _PATH, **passed_on},
            check=True,
        )
    finally:
        own.write_bytes(kept)
        resolv.write_text("")


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """Give a folder to make something in, which takes its place when it is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        aside.chmod(0o755)
        yield aside
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
