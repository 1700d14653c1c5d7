/* SPDX-License-Identifier: Apache-2.0 */

/* Files of one directory by POSIX calls, all relative to its descriptor. */

#include "net/disk_posix.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"
#include "dlht/err.h"

enum {
    BLANK_BYTES = 256 << 10,     /* zeros written ahead at once */
    BLANK_SMALL_BYTES = 64 << 10 /* only before writes that are smaller */
};

struct open_file {
    int fd; /* -1: free */
    char name[DISK_NAME_MAX];
    uint64_t reserved; /* bytes that were allocated here; 0: none */
    uint64_t written;  /* behind them nothing was written since */
};

struct disk_posix {
    int dir;
    int lock;
    struct open_file *files; /* by handle */
    size_t count;
    char why[DISK_POSIX_WHY_MAX];
};

static const char lock_name[] = "lock";

/* The code for errno as it is now. */
static int code_of(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return DLHT_EFULL;
    case ENOENT:
        return DLHT_ENOTFOUND;
    case ENOMEM:
        return DLHT_ENOMEM;
    default:
        return DLHT_EIO;
    }
}

static void say(char why[DISK_POSIX_WHY_MAX], const char *what,
                const char *name, int error)
{
    char text[128];
    /* GNU's strerror_r: the returned pointer may be a constant. */
    snprintf(why, DISK_POSIX_WHY_MAX, "%s %s: %s", what, name,
             strerror_r(error, text, sizeof text));
}

static int fail(struct disk_posix *d, const char *what, const char *name,
                int error)
{
    say(d->why, what, name, error);
    return code_of(error);
}

static struct open_file *file_of(struct disk_posix *d, int handle)
{
    assert(handle >= 0 && (size_t)handle < d->count);
    assert(d->files[handle].fd >= 0);
    return &d->files[handle];
}

static int free_slot(struct disk_posix *d, size_t *slot)
{
    for (*slot = 0; *slot < d->count; ++*slot)
        if (d->files[*slot].fd < 0)
            return DLHT_OK;
    struct open_file *larger =
        mem_resize(d->files, d->count + 1, sizeof *larger);
    if (!larger)
        return DLHT_ENOMEM;
    d->files = larger;
    d->files[d->count++].fd = -1;
    return DLHT_OK;
}

static int posix_open(void *self, const char *name, bool create, int *handle)
{
    struct disk_posix *d = self;
    assert(strlen(name) < DISK_NAME_MAX && !strchr(name, '/'));
    size_t slot;
    int rc = free_slot(d, &slot);
    if (rc != DLHT_OK)
        return rc;
    int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW;
    if (create)
        flags |= O_CREAT | O_TRUNC;
    int fd = openat(d->dir, name, flags, 0600);
    if (fd < 0)
        return fail(d, "open", name, errno);
    d->files[slot].fd = fd;
    d->files[slot].reserved = 0;
    d->files[slot].written = 0;
    strcpy(d->files[slot].name, name);
    *handle = (int)slot;
    return DLHT_OK;
}

static int posix_close(void *self, int handle)
{
    struct disk_posix *d = self;
    struct open_file *f = file_of(d, handle);
    int rc = close(f->fd) == 0 ? DLHT_OK : fail(d, "close", f->name, errno);
    f->fd = -1;
    return rc;
}

static int posix_size(void *self, int handle, uint64_t *bytes)
{
    struct disk_posix *d = self;
    struct open_file *f = file_of(d, handle);
    struct stat st;
    if (fstat(f->fd, &st) != 0)
        return fail(d, "fstat", f->name, errno);
    *bytes = (uint64_t)st.st_size;
    return DLHT_OK;
}

static int posix_allocate(void *self, int handle, uint64_t bytes)
{
    struct disk_posix *d = self;
    struct open_file *f = file_of(d, handle);
    /* Where the file system cannot reserve, the C library writes instead. */
    int error = 0;
    if (bytes) {
        do
            error = posix_fallocate(f->fd, 0, (off_t)bytes);
        while (error == EINTR);
    }
    if (error)
        return fail(d, "fallocate", f->name, error);
    if (ftruncate(f->fd, (off_t)bytes) != 0)
        return fail(d, "ftruncate", f->name, errno);
    f->reserved = bytes;
    f->written = 0;
    return DLHT_OK;
}

static int posix_room(void *self, uint64_t *bytes)
{
    struct disk_posix *d = self;
    struct statvfs st;
    if (fstatvfs(d->dir, &st) != 0)
        return fail(d, "fstatvfs", ".", errno);
    uint64_t blocks = (uint64_t)st.f_bavail, size = (uint64_t)st.f_frsize;
    *bytes = size && blocks > UINT64_MAX / size ? UINT64_MAX : blocks * size;
    return DLHT_OK;
}

static int posix_read(void *self, int handle, uint64_t offset, void *data,
                      size_t len)
{
    struct disk_posix *d = self;
    struct open_file *f = file_of(d, handle);
    uint8_t *at = data;
    while (len) {
        ssize_t n = pread(f->fd, at, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            int rc = fail(d, "read", f->name, n < 0 ? errno : EIO);
            return rc == DLHT_ENOMEM ? rc : DLHT_EIO;
        }
        at += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return DLHT_OK;
}

/* The first write to a block that is only reserved changes what the file system
 * keeps of the file, and the sync after it has to write that, too. So small
 * writes that follow each other find zeros there that an earlier sync brought
 * to the disk; large ones are not written twice. It is no failure if this does
 * not succeed: the file reads as before. */
static void blank_ahead(struct open_file *f, uint64_t offset, size_t len)
{
    static const uint8_t zeros[BLANK_BYTES];
    uint64_t end = offset + len;
    if (end <= f->written)
        return;
    f->written = end;
    if (len >= BLANK_SMALL_BYTES || end >= f->reserved)
        return;
    uint64_t ahead = f->reserved - end;
    if (ahead > sizeof zeros)
        ahead = sizeof zeros;
    ssize_t n = pwrite(f->fd, zeros, (size_t)ahead, (off_t)end);
    if (n > 0)
        f->written += (uint64_t)n;
    else
        f->reserved = 0;
}

static int posix_write(void *self, int handle, uint64_t offset,
                       const void *data, size_t len)
{
    struct disk_posix *d = self;
    struct open_file *f = file_of(d, handle);
    const uint8_t *at = data;
    blank_ahead(f, offset, len);
    while (len) {
        ssize_t n = pwrite(f->fd, at, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail(d, "write", f->name, n < 0 ? errno : EIO);
        at += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return DLHT_OK;
}

static int posix_sync(void *self, int handle)
{
    struct disk_posix *d = self;
    struct open_file *f = file_of(d, handle);
    /* Not even after EINTR tried again: what the first try wrote is not
     * known, and the second may report success without writing. */
    if (fdatasync(f->fd) != 0)
        return fail(d, "fdatasync", f->name, errno);
    return DLHT_OK;
}

static int posix_rename(void *self, const char *from, const char *to)
{
    struct disk_posix *d = self;
    assert(strlen(to) < DISK_NAME_MAX && !strchr(to, '/'));
    if (renameat(d->dir, from, d->dir, to) != 0)
        return fail(d, "rename", from, errno);
    return DLHT_OK;
}

static int posix_remove(void *self, const char *name)
{
    struct disk_posix *d = self;
    assert(!strchr(name, '/'));
    if (unlinkat(d->dir, name, 0) != 0)
        return fail(d, "unlink", name, errno);
    return DLHT_OK;
}

static int posix_list(void *self, disk_list_fn fn, void *context)
{
    struct disk_posix *d = self;
    int fd = openat(d->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(d, "open", ".", errno);
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int rc = fail(d, "opendir", ".", errno);
        close(fd);
        return rc;
    }
    const struct dirent *entry;
    errno = 0;
    while ((entry = readdir(dir))) {
        const char *name = entry->d_name;
        bool ours = name[0] != '.' && strcmp(name, lock_name) != 0;
        if (ours && strlen(name) < DISK_NAME_MAX)
            fn(context, name);
        errno = 0;
    }
    int rc = errno ? fail(d, "readdir", ".", errno) : DLHT_OK;
    closedir(dir);
    return rc;
}

static int posix_sync_names(void *self)
{
    struct disk_posix *d = self;
    if (fsync(d->dir) != 0)
        return fail(d, "fsync", "the directory", errno);
    return DLHT_OK;
}

static const struct disk_calls calls = {
    .open = posix_open,
    .close = posix_close,
    .size = posix_size,
    .allocate = posix_allocate,
    .room = posix_room,
    .read = posix_read,
    .write = posix_write,
    .sync = posix_sync,
    .rename = posix_rename,
    .remove = posix_remove,
    .list = posix_list,
    .sync_names = posix_sync_names,
};

/* A directory just made is durable once its parent is synced. */
static int sync_parent(int dir)
{
    int parent = openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0)
        return -1;
    int rc = fsync(parent);
    int error = errno;
    close(parent);
    errno = error;
    return rc;
}

/* flock, not fcntl: fcntl's lock goes when any descriptor of the file is
 * closed, and does not hold against a second opening in this process. */
static int take_lock(struct disk_posix *d, const char *directory,
                     char why[DISK_POSIX_WHY_MAX])
{
    d->lock = openat(d->dir, lock_name,
                     O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->lock < 0) {
        int error = errno;
        say(why, "open the lock file of", directory, error);
        return code_of(error);
    }
    if (flock(d->lock, LOCK_EX | LOCK_NB) == 0)
        return DLHT_OK;
    int error = errno;
    if (error == EWOULDBLOCK) {
        snprintf(why, DISK_POSIX_WHY_MAX,
                 "lock %s: another process has it open", directory);
        return DLHT_EBUSY;
    }
    say(why, "lock", directory, error);
    return code_of(error);
}

static int open_directory(struct disk_posix *d, const char *directory,
                          char why[DISK_POSIX_WHY_MAX])
{
    bool made = mkdir(directory, 0700) == 0;
    if (!made && errno != EEXIST) {
        int error = errno;
        say(why, "make", directory, error);
        return code_of(error);
    }
    d->dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->dir < 0 || (made && sync_parent(d->dir) != 0)) {
        int error = errno;
        say(why, "open", directory, error);
        return code_of(error);
    }
    return take_lock(d, directory, why);
}

int disk_posix_open(const char *directory, struct disk_posix **out,
                    char why[DISK_POSIX_WHY_MAX])
{
    *out = NULL;
    why[0] = '\0';
    struct disk_posix *d = mem_zero(1, sizeof *d);
    if (!d) {
        say(why, "open", directory, ENOMEM);
        return DLHT_ENOMEM;
    }
    d->dir = d->lock = -1;
    int rc = open_directory(d, directory, why);
    if (rc != DLHT_OK) {
        disk_posix_close(d);
        return rc;
    }
    *out = d;
    return DLHT_OK;
}

int disk_posix_share(const struct disk_posix *disk, struct disk_posix **out)
{
    *out = NULL;
    struct disk_posix *d = mem_zero(1, sizeof *d);
    if (!d)
        return DLHT_ENOMEM;
    d->lock = -1;
    /* Not a duplicate: what could not be written back is told once to each
     * opening, and who syncs for the journal must hear it. */
    d->dir = openat(disk->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->dir < 0) {
        free(d);
        return DLHT_EIO;
    }
    *out = d;
    return DLHT_OK;
}

void disk_posix_close(struct disk_posix *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->count; i++)
        if (d->files[i].fd >= 0)
            close(d->files[i].fd);
    free(d->files);
    if (d->lock >= 0)
        close(d->lock);
    if (d->dir >= 0)
        close(d->dir);
    free(d);
}

struct disk disk_posix_disk(struct disk_posix *d)
{
    return (struct disk){ .calls = &calls, .self = d };
}

const char *disk_posix_why(const struct disk_posix *d)
{
    return d->why;
}
