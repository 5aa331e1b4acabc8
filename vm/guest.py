"""A running virtual machine: booted in QEMU, reached by ssh on loopback, gone with its owner."""

import contextlib
import shutil
import socket
import subprocess
import time
from pathlib import Path

from vm.distributions import DISTRIBUTIONS, EMULATOR_SUITE, parse_version
from vm.image import CHECKOUT, ROOT, Image, checkout_tar, find_emulator, say

PROCESSORS = 2
MEMORY_MIB = 5120
_BOOT_S = 900.0  # emulated, on two busy cores; it takes 60 to 120
_KVM_S = 10.0
"""By then a guest's kernel has printed something under KVM; there are KVMs that start none."""
_APPEND = "root=/dev/vda rw console=ttyS0 mitigations=off panic=-1 audit=0"
_SSH_FAILED = 255
"""ssh's own exit status; what runs in a guest has others."""
_STOPPED_S = 10.0


class BootFailed(Exception):
    """The guest is not there; the message says how far it came."""


class Guest:
    """A booted image; what is written to its disk is forgotten."""

    def __init__(self, name: str, image: Image, folder: Path, *, keep: bool = False) -> None:
        """Boot it; kept, it goes on when this process ends."""
        self.name = name
        self._image = image
        self._keep = keep
        self.serial = folder / f"{name}.serial"
        self.port = _free_port()
        self._qemu = _find_qemu(name, folder)
        self._process = self._boot()
        self.pid = self._process.pid

    def _boot(self) -> subprocess.Popen[bytes]:
        """Start it, by KVM if that starts a kernel, else emulated; wait until it lets one in."""
        if Path("/dev/kvm").exists():
            process = self._start("kvm", "host")
            if self._has_printed(process, "Linux version", _KVM_S):
                say("booting by KVM")
                self._await_ssh(process)
                return process
            _stop(process)
            say("this machine's KVM starts no guest: emulating, 10 to 20 times slower")
        process = self._start("tcg,thread=multi,tb-size=1024", "Nehalem")
        self._await_ssh(process)
        return process

    def _start(self, accelerator: str, processor: str) -> subprocess.Popen[bytes]:
        self.serial.unlink(missing_ok=True)
        forward = f"hostfwd=tcp:127.0.0.1:{self.port}-:22"
        command = [
            *self._qemu,
            *("-accel", accelerator, "-cpu", processor, "-smp", str(PROCESSORS)),
            *("-m", str(MEMORY_MIB), "-display", "none", "-monitor", "none", "-no-reboot"),
            *("-serial", f"file:{self.serial}"),
            *("-drive", f"file={self._image.disk},if=virtio,format=raw,cache=unsafe,snapshot=on"),
            *("-netdev", f"user,id=n,restrict=on,{forward}"),
            *("-device", "virtio-net-pci,netdev=n,romfile=", "-device", "virtio-rng-pci"),
            *("-kernel", str(self._image.kernel), "-initrd", str(self._image.initrd)),
            *("-append", _APPEND),
        ]
        bound = [] if self._keep else ["setpriv", "--pdeathsig", "KILL", "--"]
        with self.serial.with_suffix(".qemu").open("wb") as log:
            return subprocess.Popen(
                [*bound, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=self._keep,
            )

    def _has_printed(self, process: subprocess.Popen[bytes], text: str, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until and process.poll() is None:
            if text in _text(self.serial):
                return True
            time.sleep(0.1)
        return False

    def _await_ssh(self, process: subprocess.Popen[bytes]) -> None:
        began = time.monotonic()
        while self.call("true", quiet=True) != 0:
            ended = process.poll() is not None
            if ended or time.monotonic() - began > _BOOT_S:
                _stop(process)
                last = _text(self.serial)[-2000:] or _text(self.serial.with_suffix(".qemu"))
                how = "QEMU ended" if ended else "nobody let us in"
                raise BootFailed(f"{self.name} did not boot: {how}; it printed last:\n{last}")
            time.sleep(1)
        say(f"{self.name} has booted in {time.monotonic() - began:.0f} s")

    def command(self, script: str, *, terminal: bool = False) -> list[str]:
        """Give the ssh command that runs a script in the guest."""
        return ssh_command(self._image, self.port, script, terminal=terminal)

    def call(self, script: str, *, quiet: bool = False, terminal: bool = False) -> int:
        """Run a script as root in the guest; its exit status."""
        output = subprocess.DEVNULL if quiet else None
        stdin = None if terminal else subprocess.DEVNULL
        command = self.command(script, terminal=terminal)
        done = subprocess.run(command, stdin=stdin, stdout=output, stderr=output, check=False)
        if done.returncode == _SSH_FAILED and not quiet:
            say(f"the connection to {self.name} is lost: the end of its console may say why")
        return done.returncode

    def log(self, script: str, log: Path) -> int:
        """Run a script as `call` does, with what it prints in a file."""
        with log.open("wb") as output:
            return subprocess.run(
                self.command(script),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            ).returncode

    def stop(self) -> None:
        """End it."""
        _stop(self._process)


def put_checkout(image: Image, port: int) -> None:
    """Put the checkout into a guest as it is now, in the place of the one that is there."""
    keep = "find . -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +"
    build = "packages/pipeline-containers/build-launcher"  # the one thing in it that is compiled
    script = f"cd /{CHECKOUT} && {keep} && tar -x && {build}"
    with subprocess.Popen(checkout_tar(), stdout=subprocess.PIPE, cwd=ROOT) as tar:
        subprocess.run(ssh_command(image, port, script), stdin=tar.stdout, check=True)


def ssh_command(image: Image, port: int, script: str, *, terminal: bool = False) -> list[str]:
    """Give the command that runs a script as root in a guest that listens on a port."""
    return [
        *("ssh", "-q", "-i", str(image.key), "-p", str(port)),
        *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
        *("-o", "BatchMode=yes", "-o", "ConnectTimeout=20"),
        # an emulated guest may say nothing for minutes when its host is busy
        *("-o", "ServerAliveInterval=30", "-o", "ServerAliveCountMax=20"),
        *(["-t"] if terminal else []),
        *("root@127.0.0.1", script),
    ]


def _find_qemu(name: str, folder: Path) -> list[str]:
    """Give the command of a QEMU that is new enough for a distribution's kernel."""
    wanted = DISTRIBUTIONS[name].emulator
    own = shutil.which("qemu-system-x86_64")
    if own is not None:
        version = subprocess.run([own, "--version"], capture_output=True, text=True, check=True)
        if parse_version(version.stdout) >= wanted:
            return [own]
    root = find_emulator(EMULATOR_SUITE, folder)
    enter = (
        f'mkdir -p "{root}{folder}" && mount --rbind "{folder}" "{root}{folder}" && '
        f'mount --rbind /dev "{root}/dev" && exec chroot "{root}" qemu-system-x86_64 "$@"'
    )
    return ["unshare", "--mount", "sh", "-ec", enter, "qemu"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOPPED_S)
        return
    process.kill()
    process.wait()


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except FileNotFoundError:
        return ""
