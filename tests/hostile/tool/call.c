/* call NAME [ARGUMENT...] - makes one system call and says what came of it: an errno's name, or
 * that it "got through". An argument is a number, @N for N bytes of zeros, or else text. With
 * "32" or "x32" in front, NAME is a number, called by the way in of that ABI. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALL(name) { #name, SYS_##name }

static const struct { const char *name; long number; } CALLS[] = {
    CALL(acct), CALL(add_key), CALL(bpf), CALL(capset), CALL(chroot), CALL(clock_settime),
    CALL(clone), CALL(clone3), CALL(delete_module), CALL(fanotify_init), CALL(fanotify_mark), CALL(finit_module),
    CALL(fsconfig), CALL(fsmount), CALL(fsopen), CALL(fspick), CALL(getegid), CALL(geteuid), CALL(getpid), CALL(init_module),
    CALL(io_destroy), CALL(io_setup), CALL(io_submit),
    CALL(io_uring_enter), CALL(io_uring_register), CALL(io_uring_setup), CALL(kcmp),
    CALL(kexec_file_load), CALL(kexec_load), CALL(keyctl), CALL(lookup_dcookie), CALL(memfd_secret),
    CALL(migrate_pages), CALL(mknodat), CALL(mount), CALL(mount_setattr),
    CALL(move_mount), CALL(name_to_handle_at), CALL(open_by_handle_at), CALL(open_tree),
    CALL(perf_event_open), CALL(personality), CALL(pidfd_getfd), CALL(pivot_root), CALL(prctl),
    CALL(prlimit64),     CALL(process_vm_readv), CALL(process_vm_writev), CALL(ptrace), CALL(quotactl), CALL(reboot),
    CALL(request_key), CALL(sched_setscheduler), CALL(setdomainname), CALL(setgid), CALL(setxattr),
    CALL(sethostname), CALL(setns), CALL(setpriority), CALL(setuid), CALL(socket), CALL(swapon),
    CALL(settimeofday), CALL(sync), CALL(syslog), CALL(umount2), CALL(unshare), CALL(userfaultfd), CALL(vhangup),
    CALL(vmsplice),
#ifdef __x86_64__
    CALL(ioperm), CALL(iopl), CALL(modify_ldt),
#endif
};

static long find(const char *name)
{
    for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++)
        if (!strcmp(CALLS[i].name, name))
            return CALLS[i].number;
    fprintf(stderr, "call: %s is not in the table\n", name);
    exit(2);
}

static long argument(const char *text)
{
    char *end;
    if (*text == '@')
        return (long)calloc(1, strtoul(text + 1, NULL, 0));
    long number = strtol(text, &end, 0);
    return *text && !*end ? number : (long)text;
}

static long call_32(long number)
{
#ifdef __x86_64__
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number) : "memory");
    return result;
#else
    (void)number;
    return -ENOSYS;
#endif
}

int main(int argc, char **argv)
{
    long a[6] = {0}, result;

    if (argc < 2)
        return 2;
    if (argc > 2 && !strcmp(argv[1], "32")) {
        result = call_32(argument(argv[2]));
    } else if (argc > 2 && !strcmp(argv[1], "x32")) {
        result = syscall(0x40000000 | argument(argv[2]));
    } else {
        for (int i = 2; i < argc && i < 8; i++)
            a[i - 2] = argument(argv[i]);
        result = syscall(find(argv[1]), a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    if (result == -1)
        printf("%s: %s\n", argv[1], strerrorname_np(errno));
    else
        printf("%s: got through (%ld)\n", argv[1], result);
    return 0;
}
