/* bomb KIND [COUNT] - uses up one thing until it is stopped or refused, and keeps what it has.
 * Says how far it came; then waits, but for the kinds that take a COUNT (of MiB, or of folders),
 * which exit with 0. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
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
    {"zombies", zombies},
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
