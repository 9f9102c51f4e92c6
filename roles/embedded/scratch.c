#include "roles/embedded/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "net/error.h"
#include "net/mem.h"

#define SCRATCH_PREFIX "quoin-memory-"

/* A directory that was made and is not locked yet is left alone for so long. */
enum { SCRATCH_YOUNG_S = 60 };

static int __attribute__((format(printf, 3, 4))) refuse(char *ret_why, size_t why_size, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    vsnprintf(ret_why, why_size, format, list);
    va_end(list);
    return ERROR_IO_ERROR;
}

static int copy_path(const char *path, char **ret_copy)
{
    size_t size = strlen(path) + 1;

    *ret_copy = mem_alloc(size);
    if (*ret_copy == NULL)
        return ERROR_OUT_OF_MEMORY;
    memcpy(*ret_copy, path, size);
    return 0;
}

/* Each part of `path` in turn; `path` is cut while it goes on. */
static int make_parts(char *path)
{
    for (char *at = path + 1;; at++) {
        char kept = *at;

        if (kept != '/' && kept != '\0')
            continue;
        *at = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return -1;
        if (kept == '\0')
            return 0;
        *at = kept;
    }
}

int directory_make(const char *path, char **ret_directory, char *ret_why, size_t why_size)
{
    char part[PATH_MAX], absolute[PATH_MAX];

    if (strlen(path) >= sizeof(part))
        return refuse(ret_why, why_size, "the directory's name is longer than %d bytes", PATH_MAX - 1);
    memcpy(part, path, strlen(path) + 1);
    if (make_parts(part) != 0 || realpath(path, absolute) == NULL)
        return refuse(ret_why, why_size, "directory %s can't be made: %s", path, strerror(errno));
    return copy_path(absolute, ret_directory);
}

int directory_lock(const char *directory, int *ret_fd, char *ret_why, size_t why_size)
{
    char path[PATH_MAX], pid[32] = "?";
    ssize_t length;
    int fd;

    if (snprintf(path, sizeof(path), "%s/lock", directory) >= (int)sizeof(path))
        return refuse(ret_why, why_size, "%s: the path is too long", directory);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return refuse(ret_why, why_size, "%s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        length = pread(fd, pid, sizeof(pid) - 1, 0);
        if (length >= 0)
            pid[strcspn(pid, "\n")] = '\0';
        close(fd);
        refuse(ret_why, why_size, "directory %s is in use by process %s; end that one, or give this one another directory", directory, pid);
        return ERROR_LOCK_FILE_FAILURE;
    }
    if (ftruncate(fd, 0) != 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0) {
        refuse(ret_why, why_size, "%s can't be written: %s", path, strerror(errno));
        close(fd);
        return ERROR_IO_ERROR;
    }
    *ret_fd = fd;
    return 0;
}

/* ---- scratch directories ---- */

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    (void)remove(path);
    return 0;
}

void scratch_remove(const char *directory)
{
    (void)nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Its process is gone if nobody holds the lock. The calls and the clock are the machine's own: what other processes have left in /tmp
 * is looked for before there is an env, and by no simulated program. */
static bool is_left_over(const char *directory)
{
    char path[PATH_MAX];
    struct stat info;
    bool free_to_take;
    int fd;

    if (snprintf(path, sizeof(path), "%s/lock", directory) >= (int)sizeof(path) || lstat(directory, &info) != 0 ||
        !S_ISDIR(info.st_mode) || info.st_uid != getuid() || time(NULL) - info.st_mtime < SCRATCH_YOUNG_S)
        return false;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT;
    free_to_take = flock(fd, LOCK_EX | LOCK_NB) == 0;
    close(fd);
    return free_to_take;
}

static void remove_left_overs(const char *parent)
{
    DIR *directory = opendir(parent);
    struct dirent *entry;
    char path[PATH_MAX];

    if (directory == NULL)
        return;
    while ((entry = readdir(directory)) != NULL)
        if (strncmp(entry->d_name, SCRATCH_PREFIX, strlen(SCRATCH_PREFIX)) == 0 &&
            snprintf(path, sizeof(path), "%s/%s", parent, entry->d_name) < (int)sizeof(path) && is_left_over(path))
            scratch_remove(path);
    closedir(directory);
}

int scratch_make(char **ret_directory, char *ret_why, size_t why_size)
{
    const char *temporary = getenv("TMPDIR");
    const char *const parents[] = {"/dev/shm", temporary != NULL && temporary[0] == '/' ? temporary : "/tmp", "/tmp"};
    char path[PATH_MAX];

    for (size_t i = 0; i < sizeof(parents) / sizeof(parents[0]); i++) {
        if (snprintf(path, sizeof(path), "%s/" SCRATCH_PREFIX "XXXXXX", parents[i]) >= (int)sizeof(path))
            continue;
        remove_left_overs(parents[i]);
        if (mkdtemp(path) != NULL)
            return copy_path(path, ret_directory);
    }
    return refuse(ret_why, why_size, "no scratch directory can be made in /dev/shm or /tmp: %s", strerror(errno));
}
