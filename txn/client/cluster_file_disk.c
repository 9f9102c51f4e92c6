/* The line that counts is replaced, the rest is copied; written beside the file and renamed over it. */
#include "txn/client/cluster_file_disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/error.h"

enum { PATH_BYTES_MAX = 4096 };

static int read_file(const char *path, char *text, size_t size, size_t *ret_len, mode_t *ret_mode)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    size_t len = 0;
    ssize_t got;
    bool failed;

    if (fd < 0)
        return ERROR_FILE_NOT_READABLE;
    while ((got = pread(fd, text + len, size - len, (off_t)len)) > 0)
        len += (size_t)got;
    failed = got < 0 || len == size || fstat(fd, &info) != 0;
    close(fd);
    if (failed)
        return ERROR_FILE_NOT_READABLE;
    *ret_len = len;
    *ret_mode = info.st_mode & 07777;
    return 0;
}

static bool is_same(const struct cluster_file *file, const struct address *coordinators, uint32_t count)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < file->coordinator_count; j++)
            found += address_equal(file->coordinators[j], coordinators[i]);
    return found == count && count == file->coordinator_count;
}

/* Where the addresses of the line stand: from behind its '@' to the blank, '#' or end of the line. */
static void find_addresses(const char *text, size_t len, size_t *ret_begin, size_t *ret_end)
{
    size_t at = 0, end;

    for (;;) { /* the parser has seen a line with an '@' that is no comment */
        const char *newline = memchr(text + at, '\n', len - at), *sign, *comment;

        end = newline == NULL ? len : (size_t)(newline - text);
        sign = memchr(text + at, '@', end - at);
        comment = memchr(text + at, '#', end - at);
        if (sign != NULL && (comment == NULL || sign < comment)) {
            *ret_begin = (size_t)(sign - text) + 1;
            break;
        }
        at = end + 1;
    }
    *ret_end = *ret_begin;
    while (*ret_end < end && strchr(" \t\r#", text[*ret_end]) == NULL)
        ++*ret_end;
}

static bool write_all(int fd, const char *text, size_t len)
{
    ssize_t put;

    for (size_t at = 0; at < len; at += (size_t)put) {
        put = pwrite(fd, text + at, len - at, (off_t)at);
        if (put <= 0)
            return false;
    }
    return true;
}

/* By libc: the file is the application's, anywhere on the machine, and the caller may be a shell without an env. */
static int write_file(const char *path, const char *text, size_t len, mode_t mode)
{
    char beside[PATH_BYTES_MAX + 16];
    int fd;
    bool failed;

    snprintf(beside, sizeof(beside), "%s.XXXXXX", path);
    fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0)
        return ERROR_FILE_NOT_WRITABLE;
    failed = !write_all(fd, text, len) || fchmod(fd, mode) != 0 || fsync(fd) != 0;
    close(fd);
    failed = failed || rename(beside, path) != 0;
    if (failed)
        unlink(beside);
    return failed ? ERROR_FILE_NOT_WRITABLE : 0;
}

int cluster_file_update(const char *path, const struct address *coordinators, uint32_t count)
{
    char text[CLUSTER_FILE_BYTES_MAX + 1], changed[sizeof(text) + CLUSTER_FILE_COORDINATORS_MAX * (ADDRESS_TEXT_MAX + 1)];
    char why[256], address[ADDRESS_TEXT_MAX];
    struct cluster_file file;
    size_t len, begin, end, at;
    mode_t mode;
    int error = strlen(path) > PATH_BYTES_MAX || count == 0 || count > CLUSTER_FILE_COORDINATORS_MAX
                    ? ERROR_FILE_NOT_WRITABLE
                    : read_file(path, text, sizeof(text), &len, &mode);

    if (error != 0)
        return error;
    if (cluster_file_parse(bytes_of(text, len), &file, why, sizeof(why)) != 0)
        return ERROR_CONNECTION_STRING_INVALID;
    if (is_same(&file, coordinators, count))
        return 0;
    find_addresses(text, len, &begin, &end);
    memcpy(changed, text, begin);
    at = begin;
    for (uint32_t i = 0; i < count; i++)
        at += (size_t)snprintf(changed + at, sizeof(changed) - at, "%s%s", i == 0 ? "" : ",", address_print(coordinators[i], address));
    memcpy(changed + at, text + end, len - end);
    return write_file(path, changed, at + len - end, mode);
}
