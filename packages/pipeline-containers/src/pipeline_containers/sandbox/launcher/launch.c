/* Makes one container by a plan, and starts the tool in it when it is told to.
 *
 * What is done, in which order and with which values, is the plan's (plan.py says what each step
 * is for); here is only how. A step that fails ends it all. No memory is allocated.
 *
 *     0 1 2   the tool's streams
 *     3       the plan: words that end with NUL, then the bytes of the filter. At the file's
 *             beginning there is room for a number: the kernel puts the container's process there
 *     4       the report: if a step failed, "STEP SUBJECT ERRNO"
 *     5       a byte comes when the tool is to start; its end means that it never will
 *     6       of one with a terminal: a socket, to which the terminal's other end is sent
 *
 * Two processes: the one that is called, on the host, ends with 0 when the container is made, with
 * 1 when it cannot; the other is the container's first, which then waits, and becomes the tool. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PLAN = 3, REPORT, START, CONSOLE, FIRST_FREE };
#define IS(name) (!strcmp(step, name))
#define IS_NULL(status) (S_ISCHR((status).st_mode) && (status).st_rdev == makedev(1, 3))
#define ROOM(list, used) ((used) < sizeof(list) / sizeof *(list) - 1)

static char plan[1 << 20], *word = plan, *end = plan;
static char *env[8192], *arguments[4096], *programs[256];
static size_t env_count, argument_count, program_count, group_count;
static uint32_t groups[64];
static unsigned long uid, gid, bounding, permitted, effective, inheritable, ambient;
static int root = -1, null_device = -1, sets_groups;
static struct sock_fprog filter;

/* --- words, and what is said when a step fails */

static char *decimal(unsigned long value) {
    static char digits[24], *first;
    first = digits + sizeof digits - 1;
    do *--first = (char)('0' + value % 10); while (value /= 10);
    return first;
}

static void say(int fd, const char *text) { if (write(fd, text, strlen(text)) < 0) _exit(1); }

static _Noreturn void fail(const char *step, const char *subject) {
    unsigned long error = (unsigned long)errno;
    say(REPORT, step), say(REPORT, " "), say(REPORT, subject);
    say(REPORT, " "), say(REPORT, decimal(error)), _exit(1);
}

#define refuse(error, step, subject) (errno = (error), fail(step, subject))
#define die_with_parent(signal) /* nothing half made outlives whoever makes it */ \
    must(prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0), "parent", "death")

static int must(long result, const char *step, const char *subject) {
    return result < 0 ? fail(step, subject), -1 : (int)result;
}

static char *next(void) {
    char *begin = word, *nul = memchr(word, 0, (size_t)(end - word));
    if (!nul) refuse(EINVAL, "plan", "end");
    word = nul + 1;
    return begin;
}

static unsigned long number(void) {
    char *text = next(), *rest;
    errno = 0;
    unsigned long value = strtoul(text, &rest, 0);
    if (errno || rest == text || *rest) refuse(EINVAL, "plan", text);
    return value;
}

/* --- on the host */

static void write_file(const char *path, const char *text) { /* the kernel's: no link to another */
    int fd = must(open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW), "write", path);
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text)) fail("write", path);
}

static void write_map(long pid, const char *file, const char *text) {
    char path[64] = "/proc/";
    write_file(strcat(strcat(strcat(path, decimal((unsigned long)pid)), "/"), file), text);
}

static void take_ids(unsigned long user, unsigned long group) { /* threads there are none */
    if (sets_groups) must(syscall(SYS_setgroups, group_count, groups), "setgroups", "");
    must(syscall(SYS_setresgid, group, group, group), "setresgid", decimal(group));
    must(syscall(SYS_setresuid, user, user, user), "setresuid", decimal(user));
}

/* --- in the container: mounts. No path in the root is followed over a link: an image cannot have
 * anything mounted, made or hidden elsewhere than the plan says. A mount has its attributes before
 * it is attached: there is no moment in which somebody could use it without them. */

static int in_root(const char *path, unsigned flags, unsigned long mode) {
    unsigned rules = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = rules};
    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

static int copy_of(int folder, const char *path, unsigned how, unsigned long attributes) {
    struct mount_attr wanted = {.attr_set = attributes};
    unsigned flags = how | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC, all = AT_EMPTY_PATH | AT_RECURSIVE;
    int copy = must(syscall(SYS_open_tree, folder, path, flags), "copy", path);
    must(syscall(SYS_mount_setattr, copy, "", all, &wanted, sizeof wanted), "attributes", path);
    return copy;
}

/* A new file system. What is read-only is so for itself too, as by mount(2). Of its options, which
 * are the next words, one without a value is a switch. */
static int new_mount(const char *kind, const char *source, unsigned long attributes,
                     unsigned long count) {
    int fs = must(syscall(SYS_fsopen, kind, FSOPEN_CLOEXEC), "fsopen", kind);
    must(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "source", source, 0), "source", source);
    if (attributes & MOUNT_ATTR_RDONLY)
        must(syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "ro", NULL, 0), "option", "ro");
    while (count--) {
        char *key = next(), *value = next();
        unsigned command = *value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
        must(syscall(SYS_fsconfig, fs, command, key, *value ? value : NULL, 0), "option", key);
    }
    must(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "create", kind);
    return must(syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes), "fsmount", kind);
}

static void attach(int mount, int target, const char *path) {
    unsigned by_descriptor = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    must(target, "target", path);
    must(syscall(SYS_move_mount, mount, "", target, "", by_descriptor), "attach", path);
}

static void open_root(const char *path, unsigned long attributes) { /* no mount comes or goes now */
    must(syscall(SYS_mount, NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private", "/");
    root = copy_of(AT_FDCWD, path, AT_RECURSIVE, attributes);
    int target = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    attach(root, target, path);
}

static void pivot(void) { /* the host's files go, and with them every path that leads there */
    must(fchdir(root), "pivot", "root");
    must(syscall(SYS_pivot_root, ".", "."), "pivot", "root");
    must(syscall(SYS_umount2, ".", 2 /* MNT_DETACH */), "pivot", "host");
    must(chdir("/"), "pivot", "/");
}

static void prove(void) { /* that these are what they are called: masks and streams rely on it */
    struct statfs fs;
    struct stat status;
    int proc = must(in_root("/proc", O_PATH | O_DIRECTORY, 0), "prove", "/proc");
    must(fstatfs(proc, &fs) | fstat(proc, &status), "prove", "/proc");
    if (fs.f_type != PROC_SUPER_MAGIC || status.st_ino != 1) refuse(EXDEV, "prove", "/proc");
    null_device = must(in_root("/dev/null", O_PATH, 0), "prove", "/dev/null");
    must(fstat(null_device, &status), "prove", "/dev/null");
    if (!IS_NULL(status)) refuse(ENODEV, "prove", "/dev/null");
}

static void hide(const char *path, int only_writing) { /* what this kernel has not is hidden */
    struct stat status;
    int mount, target = in_root(path, O_PATH, 0);
    if (target < 0 && errno == ENOENT) return;
    must(fstat(must(target, "hide", path), &status), "hide", path);
    if (only_writing) mount = copy_of(target, "", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_RDONLY);
    else if (S_ISDIR(status.st_mode)) mount = new_mount("tmpfs", "tmpfs", MOUNT_ATTR_RDONLY, 0);
    else mount = copy_of(null_device, "", AT_EMPTY_PATH, 0);
    attach(mount, target, path);
}

/* --- in the container: the rest */

static void loopback(void) {
    struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    must(ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCSIFFLAGS, &up), "loopback", "lo");
}

static void terminal(void) { /* the container's own; its other end goes to the host */
    int unlocked = 0, other = in_root("/dev/pts/ptmx", O_RDWR | O_NOCTTY, 0);
    must(ioctl(other, TIOCSPTLCK, &unlocked), "terminal", "/dev/pts/ptmx");
    int own = must(ioctl(other, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC), "terminal", "open");
    int target = in_root("/dev/console", O_CREAT | O_RDONLY, 0666);
    attach(copy_of(own, "", AT_EMPTY_PATH, 0), target, "/dev/console");
    union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr aligned; } control = {{0}};
    struct iovec text = {.iov_base = "/dev/ptmx", .iov_len = 9};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1,
                             .msg_control = &control, .msg_controllen = sizeof control};
    *CMSG_FIRSTHDR(&message) = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof other)};
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &other, sizeof other);
    must(sendmsg(CONSOLE, &message, 0), "terminal", "send");
    for (int fd = 0; fd < 3; fd++) must(dup2(own, fd), "terminal", "streams");
    must(ioctl(0, TIOCSCTTY, 0), "terminal", "session");
}

/* Streams that are a /dev/null become the container's own one; the others are given to who runs the
 * tool, who can then open them by their names in /proc. An owner that cannot be changed stays. */
static void take_streams(void) {
    struct stat status;
    for (int fd = 0; fd < 3; fd++) {
        must(fstat(fd, &status), "streams", decimal((unsigned long)fd));
        if (IS_NULL(status))
            must(dup2(in_root("/dev/null", O_RDWR, 0), fd), "streams", "/dev/null");
        else if (status.st_uid != uid && fchown(fd, (uid_t)uid, (gid_t)-1) < 0 &&
                 errno != EINVAL && errno != EPERM) fail("streams", "owner");
    }
}

static void bound_capabilities(void) { /* while it still may; numbers beyond the last are EINVAL */
    for (unsigned long bit = 0; bit < 64; bit++)
        if (!(bounding >> bit & 1) && prctl(PR_CAPBSET_DROP, bit, 0, 0, 0) < 0 && errno != EINVAL)
            fail("capabilities", "bounding");
    must(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "capabilities", "keep");
}

static void take_capabilities(void) { /* the other four sets, when the ids are the tool's */
    const char *step = "capabilities";
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[] = {
        {(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
        {(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)}};
    must(prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0), step, "keep");
    must(syscall(SYS_capset, &header, sets), step, "set");
    must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), step, "ambient");
    for (unsigned long bit = 0, how = PR_CAP_AMBIENT_RAISE; bit < 64; bit++)
        if (ambient >> bit & 1) must(prctl(PR_CAP_AMBIENT, how, bit, 0, 0), step, "raise");
}

static int enter(const char *folder) { /* a way out of the root has a name without a slash first */
    static char seen[4096];
    if (chdir(folder) < 0) return 0;
    must(syscall(SYS_getcwd, seen, sizeof seen), "cwd", folder);
    if (*seen != '/') refuse(EXDEV, "cwd", folder);
    return 1;
}

static const char *find_program(void) { /* the first of those in the plan that can be executed */
    struct stat status;
    int error = ENOENT;
    for (size_t i = 0; i < program_count; i++) {
        if (stat(programs[i], &status) < 0 || S_ISDIR(status.st_mode)) continue;
        if (status.st_mode & 0111) return programs[i];
        error = EACCES;
    }
    refuse(error, "exec", arguments[0]);
}

static _Noreturn void give_up(const char *what) { /* the report is closed: the tool's stderr */
    const char *why = strerrordesc_np(errno) ?: "unknown";
    char small[] = {(char)(*why | 0x20), 0}; /* its first letter, as runc has it */
    say(2, "exec "), say(2, what), say(2, ": "), say(2, small), say(2, why + 1), say(2, "\n");
    _exit(1);
}

static _Noreturn void become_tool(const char *cwd, mode_t mask, int ready) {
    take_streams();
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs", "");
    int is_there = enter(cwd); /* by the root's rights if they suffice, else by the tool's */
    if (!is_there && errno != EACCES && errno != EPERM) fail("cwd", cwd);
    bound_capabilities();
    take_ids(uid, gid);
    die_with_parent(SIGKILL); /* again: a change of ids clears it */
    if (!is_there && !enter(cwd)) fail("cwd", cwd);
    take_capabilities();
    umask(mask);
    const char *program = find_program();
    die_with_parent(0); /* whole, it waits by itself, with nothing of the host's open */
    if (write(ready, "", 1) != 1) _exit(1);
    syscall(SYS_close_range, PLAN, REPORT, 0), syscall(SYS_close_range, CONSOLE, ~0U, 0);
    char byte;
    if (read(START, &byte, 1) != 1) _exit(1);
    close(START);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0) give_up("filter");
    execve(program, arguments, env);
    give_up(program);
}

static void carry_out(const char *step) {
    if IS("loopback") loopback();
    else if IS("pivot") pivot();
    else if IS("prove") prove();
    else if IS("terminal") terminal();
    else if IS("keyring") { /* of a new session (1); a kernel without keys has none to keep apart */
        if (syscall(SYS_keyctl, 1, NULL) < 0 && errno != ENOSYS) fail(step, "new");
    } else if (IS("env") && ROOM(env, env_count)) env[env_count++] = next();
    else if (IS("arg") && ROOM(arguments, argument_count)) arguments[argument_count++] = next();
    else if (IS("program") && ROOM(programs, program_count)) programs[program_count++] = next();
    else if (IS("group") && ROOM(groups, group_count)) groups[group_count++] = (uint32_t)number();
    else if IS("rlimit") {
        unsigned long kind = number();
        struct rlimit limit = {.rlim_cur = number()};
        limit.rlim_max = number();
        must(syscall(SYS_prlimit64, 0, kind, &limit, NULL), step, decimal(kind));
    }
    else if IS("ids") uid = number(), gid = number();
    else if IS("capabilities") bounding = number(), permitted = number(), effective = number(),
                               inheritable = number(), ambient = number();
    else {
        char *path = next(), *source;
        if IS("hostname") must(sethostname(path, strlen(path)), step, path);
        else if IS("root") open_root(path, number());
        else if IS("mask") hide(path, 0);
        else if IS("readonly") hide(path, 1);
        else if IS("bind") { /* TARGET SOURCE ATTRIBUTES WHOLE */
            source = next();
            unsigned long attributes = number();
            int copy = copy_of(AT_FDCWD, source, number() ? AT_RECURSIVE : 0, attributes);
            attach(copy, in_root(path, O_PATH, 0), path);
        } else if IS("mount") { /* TARGET KIND SOURCE ATTRIBUTES COUNT, as often KEY VALUE */
            char *kind = next();
            source = next();
            unsigned long attributes = number();
            int mount = new_mount(kind, source, attributes, number());
            attach(mount, in_root(path, O_PATH | O_DIRECTORY, 0), path);
        } else if IS("file") /* PATH MODE */
            must(in_root(path, O_CREAT | O_EXCL | O_WRONLY, number()), step, path);
        else if (IS("folder") || IS("link")) { /* PARENT NAME, and MODE or TO */
            int parent = must(in_root(path, O_PATH | O_DIRECTORY, 0), step, path);
            char *name = next();
            if IS("link") must(symlinkat(next(), parent, name), step, name);
            else must(mkdirat(parent, name, (mode_t)number()), step, name);
        } else refuse(EINVAL, "plan", step);
    }
}

static _Noreturn void in_container(int go, int ready) {
    char byte, *step;
    die_with_parent(SIGKILL);
    if (read(go, &byte, 1) != 1) _exit(1); /* until its ids are mapped */
    take_ids(0, 0);
    die_with_parent(SIGKILL); /* again: a change of ids clears it */
    must(setsid(), "setsid", "");
    umask(0);
    const char *cwd = next();
    mode_t mask = (mode_t)number();
    while (strcmp(step = next(), "filter")) carry_out(step);
    unsigned long instructions = number();
    if (!instructions || instructions > BPF_MAXINSNS || !argument_count) refuse(EINVAL, "plan", "");
    if (instructions * sizeof *filter.filter != (size_t)(end - word)) refuse(EINVAL, "plan", step);
    filter.len = (unsigned short)instructions, filter.filter = (struct sock_filter *)(void *)word;
    become_tool(cwd, mask, ready);
}

int main(void) { /* the host's part: what a container inherits of who makes it; its namespaces */
    static const unsigned long none[8]; /* no signal is blocked or ignored, glibc's own neither */
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, none, NULL, sizeof *none);
    for (int one = 1; one <= 64; one++) syscall(SYS_rt_sigaction, one, none, NULL, sizeof *none);
    must(syscall(SYS_close_range, FIRST_FREE, ~0U, 0), "close", "all");
    ssize_t got;
    while ((got = read(PLAN, end, (size_t)(plan + sizeof plan - end))) > 0) end += got;
    must(got, "plan", "read");
    if (end == plan + sizeof plan) refuse(E2BIG, "plan", "size");
    const char *step, *uid_map = "", *gid_map = "";
    while (strcmp(step = next(), "clone")) {
        char *path = next();
        if IS("cgroup") {
            if (mkdir(path, 0755) < 0 && errno != EEXIST) fail(step, path);
        } else if IS("write") write_file(path, next());
        else if IS("groups") sets_groups = *path == '1';
        else if IS("maps") uid_map = path, gid_map = next();
        else if IS("join") { /* a user namespace: the last step, the rights on the host end here */
            int namespace = must(open(path, O_RDONLY | O_CLOEXEC), step, path);
            must(syscall(SYS_setns, namespace, CLONE_NEWUSER), step, path);
        } else refuse(EINVAL, "plan", step);
    }
    int go[2], ready[2];
    must(pipe2(go, O_CLOEXEC), "pipe", "go"), must(pipe2(ready, O_CLOEXEC), "pipe", "ready");
    pid_t *told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED, PLAN, 0);
    if (told == MAP_FAILED) fail("plan", "room");
    struct clone_args how = {.flags = number() | CLONE_PARENT_SETTID, .exit_signal = SIGCHLD,
                             .parent_tid = (uintptr_t)told};
    long child = must(syscall(SYS_clone3, &how, sizeof how), "clone", "namespaces");
    if (!child) close(go[1]), close(ready[0]), in_container(go[0], ready[1]);
    close(ready[1]);
    if (*uid_map) write_map(child, "uid_map", uid_map), write_map(child, "gid_map", gid_map);
    char byte;
    if (write(go[1], "", 1) == 1 && read(ready[0], &byte, 1) == 1) _exit(0);
    waitpid((pid_t)child, NULL, 0);
    _exit(1);
}
