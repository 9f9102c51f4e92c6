/* Files and directories, done at once in the page cache; syncs are in env_posix_jobs.c.
 *
 * After a failed write the file counts as failed: a sync of it can't succeed any more, whatever the kernel would say (it
 * forgets a failed write-back once it has reported it). */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "net/env_posix_impl.h"
#include "net/error.h"
#include "net/mem.h"
#include "net/trace.h"

enum { ZERO_BYTES = 64 * 1024, ZERO_PIECES = 16 };

static int trace_failure(struct env_posix *posix, const char *call, const char *path, int error)
{
    if (error == ENOSPC || error == EDQUOT)
        TRACE(&posix->env, SEVERITY_WARN_ALWAYS, "DiskFull", {"Call", trace_str(call)}, {"Path", trace_str(path)});
    else
        TRACE(&posix->env, SEVERITY_WARN_ALWAYS, "FileFailed", {"Call", trace_str(call)}, {"Path", trace_str(path)},
              {"Errno", trace_int(error)});
    return ERROR_IO_ERROR;
}

/* What opening, renaming, removing and listing may meet without anything being broken. */
static int path_error(struct env_posix *posix, const char *call, const char *path, bool writes)
{
    int error = errno;

    switch (error) {
    case ENOENT:
        return ERROR_FILE_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
    case EISDIR:
    case ENOTDIR:
    case EEXIST:
    case ENOTEMPTY:
        return writes ? ERROR_FILE_NOT_WRITABLE : ERROR_FILE_NOT_READABLE;
    default:
        return trace_failure(posix, call, path, error);
    }
}

/* ---- open and close ---- */

static int open_flags(unsigned flags)
{
    int result = O_CLOEXEC;

    if ((flags & ENV_OPEN_WRITE) != 0)
        result |= (flags & ENV_OPEN_READ) != 0 ? O_RDWR : O_WRONLY;
    if ((flags & ENV_OPEN_CREATE) != 0)
        result |= O_CREAT;
    if ((flags & ENV_OPEN_EXCLUSIVE) != 0)
        result |= O_CREAT | O_EXCL;
    return result;
}

int posix_file_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file)
{
    struct env_posix *posix = env_posix_of(env);
    size_t path_size = strlen(path) + 1;
    int fd = open(path, open_flags(flags), 0644);
    struct env_file *file;

    if (fd < 0)
        return path_error(posix, "open", path, (flags & ENV_OPEN_WRITE) != 0);
    file = mem_zalloc(sizeof(*file) + path_size);
    if (file == NULL) {
        close(fd);
        return ERROR_OUT_OF_MEMORY;
    }
    file->posix = posix;
    file->fd = fd;
    pthread_mutex_init(&file->flushing, NULL);
    file->fresh_tail = &file->fresh;
    file->queued_tail = &file->queued;
    memcpy(file->path, path, path_size);
    *ret_file = file;
    return 0;
}

void posix_file_free(struct env_file *file)
{
    assert(file->syncs_out == 0 && file->fresh == NULL && file->queued == NULL);
    close(file->fd);
    pthread_mutex_destroy(&file->flushing);
    mem_free(file);
}

void posix_file_close(struct env_file *file)
{
    assert(!file->closing);
    if (file->syncs_out > 0)
        file->closing = true;
    else
        posix_file_free(file);
}

/* ---- bytes ---- */

int posix_file_read(struct env_file *file, uint64_t offset, void *into, size_t len, size_t *ret_read)
{
    size_t done = 0;

    while (done < len) {
        ssize_t got = pread(file->fd, (uint8_t *)into + done, len - done, (off_t)(offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return trace_failure(file->posix, "pread", file->path, errno);
        if (got == 0)
            break;
        done += (size_t)got;
    }
    *ret_read = done;
    return 0;
}

int posix_file_write(struct env_file *file, uint64_t offset, struct bytes data)
{
    size_t done = 0;

    while (done < data.len) {
        ssize_t put = pwrite(file->fd, data.ptr + done, data.len - done, (off_t)(offset + done));

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            atomic_store(&file->failed, true);
            return trace_failure(file->posix, "pwrite", file->path, put == 0 ? ENOSPC : errno);
        }
        done += (size_t)put;
    }
    return 0;
}

int posix_file_size(struct env_file *file, uint64_t *ret_size)
{
    struct stat status;

    if (fstat(file->fd, &status) != 0)
        return trace_failure(file->posix, "fstat", file->path, errno);
    *ret_size = (uint64_t)status.st_size;
    return 0;
}

int posix_file_truncate(struct env_file *file, uint64_t size)
{
    int result;

    do
        result = ftruncate(file->fd, (off_t)size);
    while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : trace_failure(file->posix, "ftruncate", file->path, errno);
}

/* Allocating alone leaves unwritten extents, whose first overwrite has metadata to sync: so zeros are really written. */
static int write_zeros(struct env_file *file, const uint8_t *zeros, uint64_t offset, uint64_t len)
{
    struct iovec pieces[ZERO_PIECES];

    while (len > 0) {
        uint64_t left = len;
        int count = 0;
        ssize_t put;

        for (; count < ZERO_PIECES && left > 0; count++) {
            size_t piece = left < ZERO_BYTES ? (size_t)left : ZERO_BYTES;

            pieces[count] = (struct iovec){.iov_base = (void *)(uintptr_t)zeros, .iov_len = piece};
            left -= piece;
        }
        put = pwritev(file->fd, pieces, count, (off_t)offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put == 0 ? ENOSPC : errno;
        offset += (uint64_t)put;
        len -= (uint64_t)put;
    }
    return 0;
}

int posix_file_zero_fill(struct env_file *file, uint64_t offset, uint64_t len)
{
    uint8_t *zeros;
    int error;

    if (len == 0)
        return 0;
    do
        error = posix_fallocate(file->fd, (off_t)offset, (off_t)len);
    while (error == EINTR);
    if (error != 0)
        return trace_failure(file->posix, "fallocate", file->path, error);
    zeros = mem_zalloc(ZERO_BYTES);
    if (zeros == NULL)
        return ERROR_OUT_OF_MEMORY;
    error = write_zeros(file, zeros, offset, len);
    mem_free(zeros);
    return error == 0 ? 0 : trace_failure(file->posix, "pwritev", file->path, error);
}

/* One at a time for a file: the kernel tells a failed write-back of a descriptor to one caller and then forgets it, so the
 * loop's and the syncer's, both under way, could end with an error and a success, though both lost the same bytes. */
int posix_file_flush(struct env_file *file)
{
    int error = 0;

    pthread_mutex_lock(&file->flushing);
    if (!atomic_load(&file->failed) && fdatasync(file->fd) != 0) {
        error = errno;
        atomic_store(&file->failed, true);
    }
    pthread_mutex_unlock(&file->flushing);
    return error;
}

int posix_file_sync_now(struct env_file *file)
{
    int error = posix_file_flush(file);

    if (error != 0)
        trace_failure(file->posix, "fdatasync", file->path, error);
    return atomic_load(&file->failed) ? ERROR_IO_ERROR : 0;
}

int posix_file_drop_cache(struct env_file *file)
{
    int error = posix_file_sync_now(file); /* dirty pages would stay */

    if (error != 0)
        return error;
    error = posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);
    return error == 0 ? 0 : trace_failure(file->posix, "fadvise", file->path, error);
}

/* ---- names ---- */

int posix_rename(struct env *env, const char *from, const char *to)
{
    return rename(from, to) == 0 ? 0 : path_error(env_posix_of(env), "rename", from, true);
}

int posix_remove(struct env *env, const char *path)
{
    return remove(path) == 0 ? 0 : path_error(env_posix_of(env), "remove", path, true);
}

int posix_dir_make(struct env *env, const char *path)
{
    struct stat status;

    if (mkdir(path, 0755) == 0)
        return 0;
    if (errno == EEXIST && stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return 0;
    return path_error(env_posix_of(env), "mkdir", path, true);
}

int posix_dir_sync(struct env *env, const char *path)
{
    struct env_posix *posix = env_posix_of(env);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = 0;

    if (fd < 0)
        return path_error(posix, "open", path, false);
    if (fsync(fd) != 0)
        error = trace_failure(posix, "fsync", path, errno);
    close(fd);
    return error;
}

/* All names first, each with its zero byte: `each` may create and remove files. */
static int read_names(struct env_posix *posix, DIR *dir, const char *path, struct bytes_buffer *names)
{
    for (;;) {
        struct dirent *entry;
        int error;

        errno = 0;
        entry = readdir(dir);
        if (entry == NULL)
            return errno == 0 ? 0 : trace_failure(posix, "readdir", path, errno);
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        error = bytes_buffer_append(names, bytes_of(entry->d_name, strlen(entry->d_name) + 1));
        if (error != 0)
            return error;
    }
}

int posix_dir_list(struct env *env, const char *path, void (*each)(void *ctx, const char *name), void *ctx)
{
    struct env_posix *posix = env_posix_of(env);
    struct bytes_buffer names = {0};
    DIR *dir = opendir(path);
    int error;

    if (dir == NULL)
        return path_error(posix, "opendir", path, false);
    error = read_names(posix, dir, path, &names);
    closedir(dir);
    for (size_t at = 0; error == 0 && at < names.len; at += strlen((char *)names.ptr + at) + 1)
        each(ctx, (char *)names.ptr + at);
    bytes_buffer_done(&names);
    return error;
}

int posix_dir_space(struct env *env, const char *path, struct env_space *ret_space)
{
    struct statvfs status;

    if (statvfs(path, &status) != 0)
        return path_error(env_posix_of(env), "statvfs", path, false);
    ret_space->free_bytes = (uint64_t)status.f_bavail * status.f_frsize;
    ret_space->total_bytes = (uint64_t)status.f_blocks * status.f_frsize;
    return 0;
}

int posix_real_path(struct env *env, const char *path, char *out, size_t out_size)
{
    size_t size = strlen(path) + 1;

    (void)env;
    if (size > out_size)
        return ERROR_IO_ERROR;
    memcpy(out, path, size);
    return 0;
}
