/* as ID PROGRAM [ARGUMENT...] - becomes another user and group, then the program. */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    unsigned id = strtoul(argv[1], NULL, 10);
    if (setgroups(0, NULL) || setresgid(id, id, id) || setresuid(id, id, id))
        printf("as: %s\n", strerrorname_np(errno));
    else
        execvp(argv[2], argv + 2);
    return 1;
}
