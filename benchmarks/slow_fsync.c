/*
 * A slower disk: preloaded into a process, it makes each request to force a file to the disk take as long again as
 * SLOW_FSYNC_MICROSECONDS says. The work of the disk itself is still done, so what was promised durable is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

typedef int (*force_file)(int);

static void wait_as_told(void)
{
    const char *told = getenv("SLOW_FSYNC_MICROSECONDS");
    long left = told == NULL ? 0 : strtol(told, NULL, 10);
    struct timespec rest = {.tv_sec = left / 1000000L, .tv_nsec = left % 1000000L * 1000L};

    while (nanosleep(&rest, &rest) == -1 && errno == EINTR)
        ;
}

int fsync(int file)
{
    static force_file original;

    if (original == NULL)
        original = (force_file)dlsym(RTLD_NEXT, "fsync");
    wait_as_told();
    return original(file);
}

int fdatasync(int file)
{
    static force_file original;

    if (original == NULL)
        original = (force_file)dlsym(RTLD_NEXT, "fdatasync");
    wait_as_told();
    return original(file);
}
