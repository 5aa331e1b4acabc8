/* count KIND [LEAST] - takes as many of one thing as it can, and says how many it has got: or, with
 * a second number, that it has so many at least. With "hold" in front of all, it keeps them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

#define MANY 1000000

static long instances(void)
{
    long count = 0;
    while (count < MANY && inotify_init1(0) >= 0)
        count++;
    return count;
}

/* Pipes of the usual size: a user who has too many gets smaller ones. */
static long pipes(void)
{
    long count = 0;
    int ends[2];
    while (count < MANY && pipe(ends) == 0 && fcntl(ends[1], F_GETPIPE_SZ) >= 65536)
        count++;
    return count;
}

/* Descriptors that were sent and not received. */
static long flying(void)
{
    enum { A_TIME = 250 };
    union {
        char bytes[CMSG_SPACE(A_TIME * sizeof(int))];
        struct cmsghdr head;
    } control;
    long count = 0;
    int ends[2], file = open("/dev/null", O_RDONLY);
    while (count < MANY && socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0) {
        char byte = 0;
        struct iovec part = {&byte, 1};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = control.bytes,
                                 .msg_controllen = sizeof control.bytes};
        control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(A_TIME * sizeof(int)),
                                        .cmsg_level = SOL_SOCKET,
                                        .cmsg_type = SCM_RIGHTS};
        for (int i = 0; i < A_TIME; i++)
            ((int *)CMSG_DATA(&control.head))[i] = file;
        while (sendmsg(ends[0], &message, MSG_DONTWAIT) == 1)
            count += A_TIME;
        if (errno != EAGAIN) /* the socket is not full, but the user's account */
            break;
    }
    return count;
}

static const struct { const char *name; long (*go)(void); } KINDS[] = {
    {"instances", instances}, {"pipes", pipes}, {"flying", flying},
};

int main(int argc, char **argv)
{
    int hold = argc > 1 && !strcmp(argv[1], "hold");
    argv += hold, argc -= hold;
    for (size_t i = 0; argc > 1 && i < sizeof KINDS / sizeof *KINDS; i++)
        if (!strcmp(KINDS[i].name, argv[1])) {
            long count = KINDS[i].go();
            int error = errno;
            long least = argc > 2 ? strtol(argv[2], NULL, 10) : count + 1;
            if (count >= least)
                printf("enough %s\n", argv[1]);
            else
                printf("%ld %s, then %s\n", count, argv[1], strerrorname_np(error));
            fflush(stdout);
            while (hold)
                pause();
            return 0;
        }
    return 2;
}
