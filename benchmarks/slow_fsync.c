/*
 * A slower disk: preloaded into a process, it makes each request to force a file to the disk take longer, by as much
 * as SLOW_FSYNC_MICROSECONDS says. The disk's own work is still done, so what was promised durable is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

typedef int (*force_file)(int);

static void wait_as_told(void)
{
    const char *told = getenv("SLOW_FSYNC_MICROSECONDS");
    long left = told == NULL ? 0 : strtol(told, NULL, 10);
    struct timespec rest = {.tv_sec = left / 1000000L, .tv_nsec = left % 1000000L * 1000L};

    prctl(PR_SET_TIMERSLACK, 1UL); /* else the system may add 50 microseconds */
    while (nanosleep(&rest, &rest) == -1 && errno == EINTR)
        ;
}

int fsync(int file)
{
    force_file original = (force_file)dlsym(RTLD_NEXT, "fsync");

    wait_as_told();
    return original(file);
}

int fdatasync(int file)
{
    force_file original = (force_file)dlsym(RTLD_NEXT, "fdatasync");

    wait_as_told();
    return original(file);
}
