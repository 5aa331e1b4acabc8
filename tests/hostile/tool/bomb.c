/* bomb KIND [COUNT] - uses up one thing until it is stopped or refused, and keeps what it has.
 * Says how far it came; then waits, but for the kinds that take a COUNT (of MiB, or of folders),
 * which exit with 0. */
#define _GNU_SOURCE
#include <errno.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static size_t amount; /* or folders */

static void stay(const char *what, long count)
{
    printf("%ld %s, then %s\n", count, what, strerrorname_np(errno));
    fflush(stdout);
    for (;;)
        pause();
}

static void touch(char *memory)
{
    if (memory == MAP_FAILED)
        exit(3);
    for (size_t i = 0; i < amount << 20; i += 4096)
        memory[i] = 1;
}

static char *map(int flags, int file)
{
    return mmap(NULL, amount << 20, PROT_READ | PROT_WRITE, flags, file, 0);
}

static void forks(void)
{
    for (;;)
        fork(); /* so does every child */
}

static void children(void)
{
    long count = 0;
    pid_t pid;
    while ((pid = fork()) > 0)
        count++;
    if (pid == 0)
        for (;;)
            pause();
    stay("children", count);
}

static void *idle(void *nothing)
{
    for (;;)
        pause();
    return nothing;
}

static void threads(void)
{
    long count = 0;
    pthread_t thread;
    while ((errno = pthread_create(&thread, NULL, idle, NULL)) == 0)
        count++;
    stay("threads", count);
}

static void zombies(void)
{
    long count = 0;
    pid_t pid;
    while ((pid = fork()) > 0)
        count++;
    if (pid == 0)
        _exit(0);
    stay("zombies", count);
}

static void fill(int file)
{
    static char block[65536];
    fcntl(file, F_SETFL, O_NONBLOCK);
    while (write(file, block, sizeof block) > 0)
        ;
}

static void pipes(void)
{
    long count = 0;
    int ends[2];
    for (; pipe(ends) == 0; count++) {
        fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
        fill(ends[1]);
    }
    stay("pipes", count);
}

static void sockets(void)
{
    long count = 0;
    int ends[2];
    for (; socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0; count++)
        fill(ends[1]);
    stay("socket pairs", count);
}

/* What a socket has in its buffers, in bytes. */
static long held(int file)
{
    unsigned int info[SK_MEMINFO_VARS];
    socklen_t size = sizeof info;
    if (getsockopt(file, SOL_SOCKET, SO_MEMINFO, info, &size))
        return 0;
    return (long)info[SK_MEMINFO_RMEM_ALLOC] + info[SK_MEMINFO_WMEM_QUEUED];
}

static void told(const char *what, int *files, long count)
{
    long total = 0;
    for (long i = 0; i < count; i++)
        total += held(files[i]);
    printf("%ld MiB in %ld %s, then %s\n", total >> 20, count, what, strerrorname_np(errno));
}

static int files[65536];

/* Connections of one's own, full in both directions. */
static void tcp(void)
{
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof place;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    long count = 0;
    if (bind(listener, (void *)&place, size) || listen(listener, 128) ||
        getsockname(listener, (void *)&place, &size))
        exit(3);
    while (count < (long)amount) {
        int near = socket(AF_INET, SOCK_STREAM, 0), far;
        if (near < 0 || connect(near, (void *)&place, size) ||
            (far = accept(listener, NULL, NULL)) < 0)
            break;
        fill(near);
        fill(far);
        files[count++] = near;
        files[count++] = far;
    }
    told("ends of connections", files, count);
}

/* Sockets with datagrams that nobody reads. */
static void udp(void)
{
    static char block[60000];
    long count = 0;
    int most = 1 << 30, sender = socket(AF_INET, SOCK_DGRAM, 0);
    while (count < (long)amount) {
        struct sockaddr_in place = {.sin_family = AF_INET};
        socklen_t size = sizeof place;
        int file = socket(AF_INET, SOCK_DGRAM, 0);
        place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        setsockopt(file, SOL_SOCKET, SO_RCVBUF, &most, sizeof most);
        if (file < 0 || bind(file, (void *)&place, size) ||
            getsockname(file, (void *)&place, &size))
            break;
        for (int i = 0; i < 10; i++)
            sendto(sender, block, sizeof block, MSG_DONTWAIT, (void *)&place, size);
        files[count++] = file;
    }
    told("sockets", files, count);
}

/* The same between netlink sockets, which need nobody's leave. */
static void netlink(void)
{
    static char block[60000];
    long count = 0;
    int most = 1 << 30, sender = socket(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK);
    while (count < (long)amount) {
        struct sockaddr_nl place = {.nl_family = AF_NETLINK};
        socklen_t size = sizeof place;
        int file = socket(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK);
        setsockopt(file, SOL_SOCKET, SO_RCVBUF, &most, sizeof most);
        if (file < 0 || bind(file, (void *)&place, size) ||
            getsockname(file, (void *)&place, &size))
            break;
        for (int i = 0; i < 10; i++)
            if (sendto(sender, block, sizeof block, MSG_DONTWAIT, (void *)&place, size) < 0)
                break;
        files[count++] = file;
    }
    told("sockets", files, count);
}

static void timers(void)
{
    struct sigevent none = {.sigev_notify = SIGEV_NONE};
    long count = 0;
    timer_t timer;
    while (count < 1000000 && timer_create(CLOCK_MONOTONIC, &none, &timer) == 0)
        count++;
    printf("%ld timers, then %s\n", count, strerrorname_np(errno));
}

static void signals(void)
{
    sigset_t all;
    long count = 0;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    while (count < 1000000 && sigqueue(getpid(), SIGRTMIN, (union sigval){0}) == 0)
        count++;
    printf("%ld queued signals, then %s\n", count, strerrorname_np(errno));
}

static void queues(void)
{
    char name[32];
    long count = 0;
    struct mq_attr large = {.mq_maxmsg = 10, .mq_msgsize = 8192};
    do
        sprintf(name, "/queue-%ld", count);
    while (count < 100000 && mq_open(name, O_CREAT | O_RDWR, 0600, &large) >= 0 && ++count);
    printf("%ld message queues, then %s\n", count, strerrorname_np(errno));
}

static void terminals(void)
{
    long count = 0;
    while (count < 100000 && open("/dev/ptmx", O_RDWR | O_NOCTTY) >= 0)
        count++;
    printf("%ld terminals, then %s\n", count, strerrorname_np(errno));
}

static long lock_records(int file, long first, long most)
{
    long count = 0;
    for (; count < most; count++) {
        struct flock one = {.l_type = F_WRLCK, .l_start = 2 * (first + count), .l_len = 1};
        if (fcntl(file, F_SETLK, &one))
            break;
    }
    return count;
}

/* In many files: the kernel looks through all of a file's for each. */
static void records(void)
{
    char name[32];
    long count = 0;
    for (int i = 0; count < (long)amount; i++) {
        sprintf(name, "/tmp/locked-%d-%d", getpid() % 100, i % 200);
        count += lock_records(open(name, O_CREAT | O_RDWR, 0600), 100 * (i / 200), 100);
    }
}

/* Of a child that shares this process' open files, and is gone. */
static void orphans(void)
{
    long count = 0, child;
    int file = open("locked", O_CREAT | O_RDWR, 0600);
    while (count < 1000 && (child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0)) >= 0) {
        if (child == 0)
            _exit(lock_records(file, 0, 100) == 0);
        count++;
    }
    printf("%ld orphans, then %s\n", count, strerrorname_np(errno));
}

static void deaf(void)
{
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_IGN);
    for (;;)
        ;
}

static void touched(void) { touch(map(MAP_PRIVATE | MAP_ANONYMOUS, -1)); }

static void shared(void) { touch(map(MAP_SHARED | MAP_ANONYMOUS, -1)); }

static void memfd(void)
{
    int file = memfd_create("bomb", 0);
    touch(ftruncate(file, amount << 20) ? MAP_FAILED : map(MAP_SHARED, file));
}

static void segment(void)
{
    int id = shmget(IPC_PRIVATE, amount << 20, IPC_CREAT | 0600);
    touch(shmat(id, NULL, 0));
}

static void tree(void)
{
    char name[251] = "";
    size_t depth = 0;
    memset(name, 'd', sizeof name - 1);
    while (depth < amount && mkdir(name, 0700) == 0 && chdir(name) == 0)
        depth++;
    printf("%zu folders deep\n", depth);
}

static const struct { const char *name; void (*go)(void); } KINDS[] = {
    {"children", children}, {"deaf", deaf},       {"forks", forks},     {"memfd", memfd},
    {"pipes", pipes},       {"segment", segment}, {"shared", shared},   {"sockets", sockets},
    {"threads", threads},   {"touched", touched}, {"tree", tree},
    {"zombies", zombies},   {"tcp", tcp},         {"udp", udp},         {"netlink", netlink},
    {"timers", timers},     {"signals", signals}, {"queues", queues},   {"terminals", terminals},
    {"records", records},   {"orphans", orphans},
};

int main(int argc, char **argv)
{
    amount = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    for (size_t i = 0; argc > 1 && i < sizeof KINDS / sizeof *KINDS; i++)
        if (!strcmp(KINDS[i].name, argv[1])) {
            KINDS[i].go();
            printf("%zu of them\n", amount);
            return 0;
        }
    return 2;
}
