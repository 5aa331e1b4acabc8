/* reach WAY PLACE [PORT] - tries to get at a socket and says what came of it.
 *   tcp ADDRESS PORT, udp ADDRESS PORT   connect, and send a word
 *   abstract NAME, path PATH             connect to a Unix socket
 *   offer NAME                           listen on an abstract Unix socket, for ever
 *   leave PATH                           leave a Unix socket behind */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int say(const char *way, int result)
{
    printf("%s: %s\n", way, result < 0 ? strerrorname_np(errno) : "got through");
    fflush(stdout);
    return 0;
}

static int inet(const char *way, int type, const char *address, const char *port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    int file = socket(AF_INET, type, 0);
    inet_pton(AF_INET, address, &to.sin_addr);
    if (connect(file, (struct sockaddr *)&to, sizeof to) < 0)
        return say(way, -1);
    return say(way, send(file, "hello", 5, MSG_NOSIGNAL));
}

static socklen_t name(struct sockaddr_un *to, const char *text, int is_abstract)
{
    memset(to, 0, sizeof *to);
    to->sun_family = AF_UNIX;
    strncpy(to->sun_path + is_abstract, text, sizeof to->sun_path - 2);
    return offsetof(struct sockaddr_un, sun_path) + is_abstract + strlen(text);
}

int main(int argc, char **argv)
{
    struct sockaddr_un to;
    if (argc < 3)
        return 2;
    const char *way = argv[1], *place = argv[2];

    if (argc > 3 && !strcmp(way, "tcp"))
        return inet(way, SOCK_STREAM, place, argv[3]);
    if (argc > 3 && !strcmp(way, "udp"))
        return inet(way, SOCK_DGRAM, place, argv[3]);
    int is_abstract = strcmp(way, "path") && strcmp(way, "leave");
    socklen_t size = name(&to, place, is_abstract);
    int file = socket(AF_UNIX, SOCK_STREAM, 0);
    if (!strcmp(way, "abstract") || !strcmp(way, "path"))
        return say(way, connect(file, (struct sockaddr *)&to, size));
    if (bind(file, (struct sockaddr *)&to, size) < 0 || listen(file, 1) < 0)
        return say(way, -1);
    if (!strcmp(way, "offer"))
        for (;;)
            pause();
    return 0;
}
