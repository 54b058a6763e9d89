/* Preloaded into a process: its n-th change of a file under a folder is torn, killed, or fails. See test_torn_writes.py.

   Changes are numbered from 1. What happens to the n-th one:
   TORN: the first page of it is written, or half of less, and the process dies. Other changes than writes do not happen, and it dies.
   BLANK: as TORN, but the rest is there too, as zeros: a power cut leaves that.
   FULL: it fails for want of room, and so does every later write. Removing and renaming go on.
   BROKEN: it fails with EIO, once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TORN = 1, BLANK, FULL, BROKEN };
static char root[4096];
static int nth, mode, count;

void faults_begin(const char *folder, int n, int how) {
    snprintf(root, sizeof root, "%s", folder);
    nth = n, mode = how;
    if (*root) count = 0;
}

int faults_count(void) { return count; }

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Whether the change fails; `begin` does the beginning of it before the process dies. */
static int fails(const char *call, const char *path, int writes, void (*begin)(void *), void *change) {
    if (!*root || strncmp(path, root, strlen(root))) return 0;
    count++;
    if (mode == 0) dprintf(2, "%d %s %s\n", count, call, path + strlen(root));
    int hit = count == nth || (mode == FULL && nth && count > nth);
    if (!hit || (mode == FULL && !writes)) return 0;
    if (mode == TORN || mode == BLANK) {
        if (begin) begin(change);
        die();
    }
    errno = mode == FULL ? ENOSPC : EIO;
    return 1;
}

static const char *path_of(int fd) {
    static __thread char path[4096];
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    return path;
}

struct bytes { int fd; const void *content; size_t size; off_t offset; };

static void begin_write(void *change) {
    struct bytes *it = change;
    ssize_t (*at)(int, const void *, size_t, off_t) = next("pwrite");
    ssize_t (*append)(int, const void *, size_t) = next("write");
    size_t size = it->size > 8192 ? 4096 : it->size / 2;
    char *blank = calloc(1, it->size);
    if (it->offset < 0) append(it->fd, it->content, size); else at(it->fd, it->content, size, it->offset);
    if (mode != BLANK) return;
    if (it->offset < 0) append(it->fd, blank, it->size - size);
    else at(it->fd, blank, it->size - size, it->offset + size);
}

#define POSITIONED(name) ssize_t name(int fd, const void *content, size_t size, off_t offset) { \
    struct bytes change = {fd, content, size, offset}; \
    if (fails(#name, path_of(fd), 1, begin_write, &change)) return -1; \
    return ((ssize_t (*)(int, const void *, size_t, off_t))next(#name))(fd, content, size, offset); }
POSITIONED(pwrite)
POSITIONED(pwrite64)

ssize_t write(int fd, const void *content, size_t size) {
    struct bytes change = {fd, content, size, -1};
    if (fails("write", path_of(fd), 1, begin_write, &change)) return -1;
    return ((ssize_t (*)(int, const void *, size_t))next("write"))(fd, content, size);
}

struct range { int from, to; size_t size; };

static void begin_copy(void *change) {
    struct range *it = change;
    ssize_t (*copy)(int, off_t *, int, off_t *, size_t, unsigned) = next("copy_file_range");
    copy(it->from, NULL, it->to, NULL, it->size > 1 << 20 ? 1 << 19 : it->size / 2, 0);
}

ssize_t copy_file_range(int from, off_t *at, int to, off_t *where, size_t size, unsigned flags) {
    struct range change = {from, to, size};
    if (fails("copy_file_range", path_of(to), 1, begin_copy, &change)) return -1;
    ssize_t (*copy)(int, off_t *, int, off_t *, size_t, unsigned) = next("copy_file_range");
    return copy(from, at, to, where, size, flags);
}

ssize_t sendfile(int to, int from, off_t *at, size_t size) {
    struct range change = {from, to, size};
    if (fails("sendfile", path_of(to), 1, begin_copy, &change)) return -1;
    return ((ssize_t (*)(int, int, off_t *, size_t))next("sendfile"))(to, from, at, size);
}

#define BY_DESCRIPTOR(name) int name(int fd) { \
    if (fails(#name, path_of(fd), 0, NULL, NULL)) return -1; \
    return ((int (*)(int))next(#name))(fd); }
BY_DESCRIPTOR(fsync)
BY_DESCRIPTOR(fdatasync)

int rename(const char *from, const char *to) {
    if (fails("rename", to, 0, NULL, NULL)) return -1;
    return ((int (*)(const char *, const char *))next("rename"))(from, to);
}

int unlink(const char *path) {
    if (fails("unlink", path, 0, NULL, NULL)) return -1;
    return ((int (*)(const char *))next("unlink"))(path);
}
