/* neighbour WAY PLACE... - notices, or is in the way of, whoever has the same files.
 *   watch         says what inotify and dnotify see of the places in two seconds, and whether they
 *                 see what itself does there
 *   hold KIND     locks the places, and keeps them locked: "flock", "record", "file" (a record by
 *                 an open file and not by a process) or "lease"
 *   try KIND      says which of them somebody else has locked */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#define MANY 64
static int watched[MANY];
static volatile sig_atomic_t notes;

static void note(int number)
{
    (void)number;
    notes++;
}

/* Say what there is to be read; how many events. */
static int report(int file, char **places, int count, const char *whose)
{
    char buffer[65536];
    int told = 0;
    ssize_t size;
    while ((size = read(file, buffer, sizeof buffer)) > 0)
        for (char *at = buffer; at < buffer + size;) {
            struct inotify_event *event = (void *)at;
            for (int i = 0; i < count; i++)
                if (watched[i] == event->wd && told++ < 20)
                    printf("%s: %s %s\n", whose, places[i], event->len ? event->name : "");
            at += sizeof *event + event->len;
        }
    return told;
}

static void watch(char **places, int count)
{
    int file = inotify_init1(IN_NONBLOCK);
    struct timespec left = {.tv_sec = 2};
    char byte;

    signal(SIGIO, note);
    for (int i = 0; i < count; i++) {
        watched[i] = inotify_add_watch(file, places[i], IN_ALL_EVENTS);
        if (watched[i] < 0)
            printf("%s cannot be watched: %s\n", places[i], strerrorname_np(errno));
        int folder = open(places[i], O_RDONLY | O_DIRECTORY);
        if (folder >= 0)
            fcntl(folder, F_NOTIFY, DN_ACCESS | DN_MODIFY | DN_CREATE | DN_MULTISHOT);
    }
    report(file, places, count, "own");
    notes = 0;
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
    report(file, places, count, "got through");
    if (notes)
        printf("got through: %d notes of folders\n", (int)notes);
    for (int i = 0; i < count; i++) {
        int own = open(places[i], O_RDONLY | O_NONBLOCK);
        ssize_t got = read(own, &byte, 1);
        (void)got; /* a folder has none */
    }
    printf("%s\n", report(file, places, count, "own") ? "it can watch" : "it sees nothing at all");
}

static int lock(const char *kind, int file)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET}, seen = whole;
    if (!strcmp(kind, "flock"))
        return flock(file, LOCK_EX | LOCK_NB);
    if (!strcmp(kind, "lease"))
        return fcntl(file, F_SETLEASE, F_WRLCK);
    if (!strcmp(kind, "file"))
        return whole.l_type = F_RDLCK, fcntl(file, F_OFD_SETLK, &whole);
    if (fcntl(file, F_GETLK, &seen))
        return -1;
    errno = EAGAIN;
    whole.l_type = F_RDLCK; /* what it may have of a file that it can only read */
    return seen.l_type == F_UNLCK ? fcntl(file, F_SETLK, &whole) : -1;
}

static void take(const char *kind, char **places, int count)
{
    int taken = 0;
    for (int i = 0; i < count; i++) {
        int file = open(places[i], O_RDONLY | O_NONBLOCK); /* which a lease would have wait */
        if (file >= 0 && !lock(kind, file))
            taken++;
        else if (errno == EAGAIN)
            printf("got through: somebody has a %s on %s\n", kind, places[i]);
        else
            printf("no %s on %s: %s\n", kind, places[i], strerrorname_np(errno));
    }
    printf("%d of %d taken\n", taken, count);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc > 2 && argc < MANY && !strcmp(argv[1], "watch")) {
        watch(argv + 2, argc - 2);
        return 0;
    }
    if (argc < 4)
        return 2;
    take(argv[2], argv + 3, argc - 3);
    while (!strcmp(argv[1], "hold"))
        pause();
    return 0;
}
