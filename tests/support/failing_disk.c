/* Makes folders behave like a full or a read-only disk: for LD_PRELOAD, on Linux.

   FULL_FOLDER: writing a file in it fails with ENOSPC after its first 1000 bytes.
   READ_ONLY_FOLDER: creating, linking or removing in it fails with EROFS. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define ROOM 1000

static int is_below(const char *path, const char *variable)
{
    const char *folder = getenv(variable);
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

ssize_t write(int fd, const void *data, size_t count)
{
    static ssize_t (*next)(int, const void *, size_t);
    char link[64], path[PATH_MAX];
    ssize_t length;

    if (!next)
        next = dlsym(RTLD_NEXT, "write");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        if (is_below(path, "FULL_FOLDER")) {
            off_t at = lseek(fd, 0, SEEK_CUR);
            if (at >= ROOM) {
                errno = ENOSPC;
                return -1;
            }
            if (at + (off_t)count > ROOM)
                count = ROOM - at;
        }
    }
    return next(fd, data, count);
}

static int refused(const char *path, int flags)
{
    if ((flags & O_CREAT) && is_below(path, "READ_ONLY_FOLDER")) {
        errno = EROFS;
        return 1;
    }
    return 0;
}

int open64(const char *path, int flags, ...)
{
    static int (*next)(const char *, int, ...);
    va_list rest;
    mode_t mode;

    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
    if (!next)
        next = dlsym(RTLD_NEXT, "open64");
    return refused(path, flags) ? -1 : next(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    static int (*next)(const char *, int, ...);
    va_list rest;
    mode_t mode;

    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
    if (!next)
        next = dlsym(RTLD_NEXT, "open");
    return refused(path, flags) ? -1 : next(path, flags, mode);
}
