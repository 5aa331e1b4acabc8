"""Programs that want to be more than they are."""

from hostile.case import Case, refused

NEW_USER, NEW_NS, NEW_CGROUP, NEW_NET = 0x10000000, 0x20000, 0x2000000, 0x40000000
SIGCHLD = 17


OF_EVERY_FILE = """\
cd /sys/fs/cgroup
for f in $(find . -type f); do
  (echo 1 > $f) 2>/dev/null && echo got through, writing: $f
  (exec 3<>$f) 2>/dev/null && echo got through, opening: $f
  (chmod 666 $f) 2>/dev/null && echo got through, changing: $f
  (touch $f) 2>/dev/null && echo got through, touching: $f
done
for d in $(find . -type d); do
  (mkdir $d/below) 2>/dev/null && echo got through, below $d
  (: > $d/file) 2>/dev/null && echo got through, in $d
done"""
"""Tries all that could change a file of the cgroup, or set a trigger by it."""


def denied(name: str, *attempts: str, by: str) -> Case:
    """Make a case of shell commands, none of which may succeed, for the reason given."""
    lines = [f"({attempt}) && echo got through" for attempt in attempts]
    return Case(name, "\n".join([*lines, "pass tried"]), says=(by, "^tried$"))


CASES = (
    Case(
        "a system call that is no crime",
        "call getpid; pass",
        says=("getpid: got",),
        hides=("EPERM",),
    ),
    refused(
        "the mount family",
        {
            "mount none /tmp tmpfs 0 0": "EPERM",
            "umount2 /mnt/exercism-iteration 2": "EPERM",
            "fsopen tmpfs 0": "EPERM",
            "fspick -100 / 0": "EPERM",
            "fsmount 3 0 0": "EPERM",
            "open_tree -100 / 1": "EPERM",
            "move_mount -100 / -100 /tmp 0": "EPERM",
            "mount_setattr -100 / 0 @32 32": "EPERM",
            "pivot_root / /tmp": "EPERM",
            "chroot /tmp": "EPERM",
        },
    ),
    refused(
        "namespaces",
        {
            f"unshare {NEW_USER}": "EPERM",
            f"unshare {NEW_NS}": "EPERM",
            f"unshare {NEW_CGROUP}": "EPERM",
            f"clone {NEW_USER | SIGCHLD} 0 0 0 0": "ENOSYS",
            f"clone {NEW_NET | SIGCHLD} 0 0 0 0": "ENOSYS",
            "clone3 @88 88": "ENOSYS",
            "setns 0 0": "EPERM",
            "sethostname mine 4": "EPERM",
            "setdomainname mine 4": "EPERM",
        },
    ),
    refused(
        "other processes",
        {
            "ptrace 16 1 0 0": "EPERM",
            "process_vm_readv 1 0 0 0 0 0": "EPERM",
            "process_vm_writev 1 0 0 0 0 0": "EPERM",
            "pidfd_getfd 0 0 0": "EPERM",
            "kcmp 1 1 0 0 0": "EPERM",
            "setpriority 0 0 -20": "EACCES",
            "sched_setscheduler 0 1 @4": "EINVAL",
        },
    ),
    refused(
        "keyrings",
        {
            "keyctl 0 -3 0": "EPERM",
            "add_key user name secret 6 -3": "EPERM",
            "request_key user name 0 0": "EPERM",
        },
    ),
    refused(
        "what exploits begin with",
        {
            "io_uring_setup 1 @120": "EPERM",
            "io_uring_enter 0 0 0 0 0 0": "EPERM",
            "io_uring_register 0 0 0 0": "EPERM",
            "bpf 0 @128 128": "EPERM",
            "perf_event_open @128 0 -1 -1 0": "EPERM",
            "userfaultfd 0": "EPERM",
            "fanotify_init 0 0": "EPERM",
            "open_by_handle_at -100 @16 0": "EPERM",
        },
    ),
    refused(
        "the kernel itself",
        {
            "init_module @16 16 none": "EPERM",
            "finit_module 0 none 0": "EPERM",
            "delete_module ext4 0": "EPERM",
            "kexec_load 0 0 0 0": "EPERM",
            "reboot 0xfee1dead 672274793 0x1234567": "EPERM",
            "swapon /tmp 0": "EPERM",
            "syslog 3 @16 16": "EPERM",
            "acct /tmp/acct": "EPERM",
            "quotactl 0 0 0 0": "EPERM",
            "clock_settime 0 @16": "E(PERM|NOSYS)",
            "iopl 3": "E(PERM|NOSYS)",
            "ioperm 0 1 1": "E(PERM|NOSYS)",
            "vhangup": "EPERM",
        },
    ),
    refused(
        "relics that no tool calls",
        {
            "modify_ldt 0 @16 16": "EPERM",
            "modify_ldt 0x11 @16 16": "EPERM",
            "name_to_handle_at -100 / @64 @8 0": "EPERM",
            "fanotify_mark 0 1 8 -100 /": "EPERM",
            "lookup_dcookie 0 @16 16": "E(PERM|NOSYS)",
            "personality 0x0040000": "ENOSYS",
            "vmsplice 1 0 0 0": "EPERM",
            "migrate_pages 0 1 @8 @8": "EPERM",
        },
    ),
    refused(
        "what reaches beyond a job",
        {
            "io_setup 65536 @8": "EPERM",
            "io_submit 0 0 0": "EPERM",
            "io_destroy 0": "EPERM",
            "memfd_secret 0": "EPERM",
            "sync": "EPERM",
            "settimeofday @16 0": "E(PERM|NOSYS)",
            "kexec_file_load 0 0 0 none 0": "EPERM",
        },
    ),
    Case(
        "a limit of core dumps that has the host's crash handler called",
        f"""
        call prlimit64 $$ 4 @16 0
        call prlimit64 $$ {4 + (1 << 32)} @16 0
        ulimit -c 0
        grep '^Max core' /proc/$$/limits
        sh -c 'kill -SEGV $$'
        pass
        """,
        says=(r"^prlimit64: got through \(0\)$", r"^Max core file size +1 +1 "),
        hides=("core dumped",),
    ),
    refused(
        "identities that nobody has",
        {"setuid 65536": "EINVAL", "setgid 1879048192": "EINVAL", "setuid 1000": "EPERM"},
    ),
    refused(
        "sockets of other families",
        {
            "socket 17 3 0": "ENOSYS",
            "socket 38 5 0": "ENOSYS",
            "socket 40 1 0": "ENOSYS",
            "socket 2 3 1": "EPERM",
            "socket 10 3 58": "EPERM",
            "socket 16 3 9": "ENOSYS",
        },
    ),
    Case("system calls of 32 bits", "call 32 20; pass", says=("Bad system call",)),
    Case("system calls of x32", "call x32 39; pass", says=("Bad system call",)),
    denied("mount", "mount -t tmpfs x /tmp", "mount -o remount,rw /", by="permission denied"),
    denied(
        "what is masked, uncovered",
        "umount /sys/fs/cgroup",
        "umount -l /proc/acpi",
        "mount -t proc x /tmp",
        "mount -t cgroup x /tmp",
        by="Operation not permitted",
    ),
    denied(
        "device nodes",
        "mknod disk b 254 0",
        "mknod /tmp/memory c 1 1",
        "mknod /dev/memory c 1 1",
        by="Operation not permitted",
    ),
    denied(
        "devices of the host",
        "head -c 1 /dev/mem | grep -q .",
        "head -c 1 /dev/kmsg | grep -q .",
        "ls /dev/vda /dev/sda /dev/kvm /dev/fuse /dev/net/tun",
        by="No such file",
    ),
    denied(
        "the kernel's switches",
        "echo 1 > /proc/sys/kernel/panic",
        "echo '|/tmp/x' > /proc/sys/kernel/core_pattern",
        "echo /tmp/x > /proc/sys/kernel/modprobe",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        # where the kernel has it, /dev/null lies over it, and takes whatever is written
        "echo b > /proc/sysrq-trigger && [ ! -c /proc/sysrq-trigger ]",
        by="Read-only file system",
    ),
    denied(
        "the kernel's memory",
        "head -c 1 /proc/kcore | grep -q .",
        "grep -qE '^0*[1-9a-f][0-9a-f]+ ' /proc/kallsyms",
        "head -c 1 /proc/keys | grep -q .",
        "head -c 1 /proc/timer_list | grep -q .",
        "dmesg",
        by="tried",
    ),
    denied(
        "names of hosts",
        "echo 127.0.0.1 example.org >> /etc/hosts",
        "echo mine > /etc/hostname",
        "rm /etc/resolv.conf",
        "mv /etc /tmp",
        "grep -vE '^(127.0.0.1|::1)\t(localhost|tool)' /etc/hosts",
        "grep nameserver /etc/resolv.conf",
        by="Read-only file system",
    ),
    denied(
        "/sys",
        "echo 1 > /sys/kernel/uevent_helper",
        "echo mem > /sys/power/state",
        "touch /sys/x",
        by="Read-only file system",
    ),
    denied(
        "cgroups",
        "ls -d /sys/fs/cgroup/*systemd* /sys/fs/cgroup/freezer /sys/fs/cgroup/devices",
        "ls /sys/fs/cgroup/*/release_agent",
        "find /sys/fs/cgroup | grep -E 'pipeline|job-'",
        "cut -d' ' -f4,5,9- /proc/self/mountinfo | grep cgroup | grep -E 'pipeline|job-'",
        "find /sys/fs/cgroup -mindepth 2 -type d | grep .",
        "mkdir /sys/fs/cgroup/mine",
        "echo 1 > /sys/fs/cgroup/release_agent",
        "mkdir /tmp/c && mount -t cgroup -o memory x /tmp/c",
        "grep -v ':/$' /proc/self/cgroup",
        by="Read-only file system",
    ),
    Case(
        "its own cgroup, written",
        f"{OF_EVERY_FILE}; pass $(find /sys/fs/cgroup -type f | wc -l)",
        says=(r"^\d{2,}$",),
    ),
    Case(
        "its own cgroup, written by an ordinary user",
        f"{OF_EVERY_FILE}; pass tried",
        says=("^tried$",),
        track="unprivileged",
    ),
    denied(
        "its own cgroup, left or ended",
        *(
            f"cd /sys/fs/cgroup && for d in . */; do (cd $d; {attempt}) 2>&1 && break; done"
            for attempt in (
                "echo 0 > cgroup.procs",
                "echo 1 > tasks",
                "echo 1 > cgroup.kill",
                "echo 1 > notify_on_release",
                "echo 0 > memory.force_empty",
                "echo 1G > memory.reclaim",
                "echo -1 > memory.limit_in_bytes",
                "echo max > pids.max",
                "echo FROZEN > freezer.state",
                "echo '5 6' > cgroup.event_control",
                "echo 'some 150000 1000000' > memory.pressure",
                "mkdir below",
                "rmdir .",
                "mv . ../renamed",
                "ln -s / link",
            )
        ),
        by="Read-only file system",
    ),
    denied(
        "the last to be killed",
        "echo -1000 > /proc/self/oom_score_adj",
        "echo -1 > /proc/self/oom_score_adj",
        by="Permission denied",
    ),
    denied(
        "limits raised",
        "ulimit -n 1000000",
        "ulimit -l unlimited",
        by="(?i)error setting limit|operation not permitted",
    ),
    denied(
        "owners changed",
        "chown 1:1 program",
        "chown 1000 /tmp",
        "chgrp 5 program",
        "chown 70000 program",
        by="Operation not permitted|Invalid argument",
    ),
    denied("a chroot", "chroot /tmp /bin/true", "chroot / true", by="Operation not permitted"),
    denied("an identity of one's choice", "su appuser -c true", "su root -c id", by="su: "),
    Case(
        "a set-user-ID program",
        "ls -l /call-as-root; /call-as-root geteuid; /call-as-root getegid; cat /secret; pass",
        says=("-rwsr-sr-x", r"geteuid.*\(1000\)", r"getegid.*\(1000\)", "Permission denied"),
        hides=(r"\(0\)",),
        track="unprivileged",
    ),
    Case(
        "what it is",
        "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; pass",
        says=(
            *[rf"Cap{kind}:\t0{{16}}\n" for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")],
            "NoNewPrivs:\t1\n",
            "Seccomp:\t2\n",
        ),
    ),
    Case(
        "its own program, on the host",
        "for p in 1 self; do ls -l /proc/$p/exe; echo x >> /proc/$p/exe && echo got through; done\n"
        "pass tried",
        says=("/bin/busybox", "tried"),
    ),
)
