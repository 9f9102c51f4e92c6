/* Makes file calls fail: in the place of libc's functions, which do what was asked for otherwise.
 *
 * Preloaded into a real program, a plan says which, and may change while it runs:
 *
 *   QUOIN_FILE_FAULTS=/tmp/plan LD_PRELOAD=.../libquoin-faulty-files.so quoind ...
 *
 * The plan is a file of lines; write it beside and rename it over the old one. No file, or an empty one: nothing fails.
 *
 *   CALLS  PART-OF-PATH  WHAT...          # a comment
 *   write  data/4503/log-  ENOSPC  skip=20
 *   sync   *  EIO  count=1
 *   sync,write  data/4506/  slow=300
 *
 * CALLS: open read write sync grow rename remove make (a directory), with commas between. A path of * is every path. WHAT: EIO, ENOSPC, EDQUOT or
 * EROFS (the call fails with it and does nothing), short (half of the bytes are written or read), slow=MS (it takes so much longer), and of
 * the matching calls of each process: skip=N (the first N are left alone), count=N (then N are hit), one-in=N (at random). The first line
 * that hits decides. Each hit is a line of PLAN.hits: pid, call, path, what.
 *
 * Linked into a test, faulty_files.h fails the n-th call.
 *
 * It reaches whatever calls libc by name, so LMDB too. Preloading does not work under a sanitizer, which has its own. */
#undef _FILE_OFFSET_BITS /* else the headers would rename what is defined here under both of its names */
#include "tests/faulty_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum call { CALL_OPEN, CALL_READ, CALL_WRITE, CALL_SYNC, CALL_GROW, CALL_RENAME, CALL_REMOVE, CALL_MAKE, CALLS };
static const char *const call_names[CALLS] = {"open", "read", "write", "sync", "grow", "rename", "remove", "make"};

enum { RULES_MAX = 32, PLAN_BYTES_MAX = 8192, PATH_PART_MAX = 256 };

struct rule {
    unsigned calls; /* bits */
    char path[PATH_PART_MAX];
    int error; /* 0: none */
    bool cut;
    long slow_ms, skip, count, one_in;
    long seen, hit;
};

static struct rule rules[RULES_MAX];
static int rule_count;
static char hits_path[PATH_MAX];
static struct timespec plan_time;
static ino_t plan_inode;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t random_state;

/* Of faulty_files_fail_nth, under the lock. */
static const char *nth_part = "";
static _Atomic uint64_t nth_left; /* read without it, too */
static bool nth_fired;

/* What a call is to do. */
struct verdict {
    int error;
    bool cut;
};

/* ---- the plan ---- */

static const struct {
    const char *name;
    int error;
} errors[] = {{"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EROFS", EROFS}};

static void complain(const char *what)
{
    fprintf(stderr, "faulty-files: the plan has a wrong word: %s\n", what);
    abort(); /* a test that broke nothing would pass */
}

static bool set_number(const char *word, const char *name, long *into)
{
    size_t length = strlen(name);

    if (strncmp(word, name, length) != 0 || word[length] != '=')
        return false;
    *into = strtol(word + length + 1, NULL, 10);
    return true;
}

static void set_what(struct rule *rule, const char *word)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (strcmp(word, errors[i].name) == 0) {
            rule->error = errors[i].error;
            return;
        }
    if (strcmp(word, "short") == 0)
        rule->cut = true;
    else if (!set_number(word, "slow", &rule->slow_ms) && !set_number(word, "skip", &rule->skip) &&
             !set_number(word, "count", &rule->count) && !set_number(word, "one-in", &rule->one_in))
        complain(word);
}

static unsigned parse_calls(char *words)
{
    unsigned calls = 0;
    char *rest = NULL;

    for (char *word = strtok_r(words, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
        int i = 0;

        while (i < CALLS && strcmp(word, call_names[i]) != 0)
            i++;
        if (i == CALLS)
            complain(word);
        calls |= 1u << i;
    }
    return calls;
}

static void parse_line(char *line)
{
    struct rule rule = {.count = LONG_MAX, .one_in = 1};
    char *rest = NULL, *calls, *path, *word;

    line[strcspn(line, "#")] = '\0';
    calls = strtok_r(line, " \t", &rest);
    path = strtok_r(NULL, " \t", &rest);
    if (calls == NULL)
        return;
    if (path == NULL || rule_count == RULES_MAX || strlen(path) >= sizeof(rule.path))
        complain(calls);
    strcpy(rule.path, path);
    while ((word = strtok_r(NULL, " \t", &rest)) != NULL)
        set_what(&rule, word);
    rule.calls = parse_calls(calls);
    rules[rule_count++] = rule;
}

static void read_plan(const char *path)
{
    char text[PLAN_BYTES_MAX + 1], *rest = NULL;
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC), length = 0;

    rule_count = 0;
    if (fd >= 0) {
        length = syscall(SYS_read, fd, text, PLAN_BYTES_MAX);
        syscall(SYS_close, fd);
    }
    text[length > 0 ? length : 0] = '\0';
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
        parse_line(line);
}

/* False: there is none. */
static bool refresh_plan(void)
{
    const char *path = getenv("QUOIN_FILE_FAULTS");
    struct stat status;

    if (path == NULL)
        return false;
    if (stat(path, &status) != 0) {
        rule_count = 0;
        plan_inode = 0;
        return false;
    }
    if (status.st_ino == plan_inode && status.st_mtim.tv_sec == plan_time.tv_sec && status.st_mtim.tv_nsec == plan_time.tv_nsec)
        return rule_count > 0;
    plan_inode = status.st_ino;
    plan_time = status.st_mtim;
    snprintf(hits_path, sizeof(hits_path), "%s.hits", path);
    read_plan(path);
    return rule_count > 0;
}

/* ---- what becomes of a call ---- */

static bool at_random(long one_in)
{
    if (random_state == 0)
        random_state = (uint64_t)getpid() * 0x9e3779b97f4a7c15u + 1;
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return one_in <= 1 || random_state % (uint64_t)one_in == 0;
}

static struct rule *rule_for(enum call call, const char *path)
{
    for (int i = 0; i < rule_count; i++) {
        struct rule *rule = &rules[i];

        if ((rule->calls & 1u << call) == 0 || (strcmp(rule->path, "*") != 0 && strstr(path, rule->path) == NULL))
            continue;
        if (rule->seen++ < rule->skip || rule->hit >= rule->count || !at_random(rule->one_in))
            continue;
        rule->hit++;
        return rule;
    }
    return NULL;
}

static void note_hit(enum call call, const char *path, const struct rule *rule)
{
    char line[PATH_MAX + 128];
    int length = snprintf(line, sizeof(line), "%d %s %s %s%s slow=%ld\n", getpid(), call_names[call], path,
                          rule->error != 0 ? strerrorname_np(rule->error) : "-", rule->cut ? " short" : "", rule->slow_ms);
    long fd = syscall(SYS_openat, AT_FDCWD, hits_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

    if (fd >= 0) {
        syscall(SYS_write, fd, line, (size_t)length);
        syscall(SYS_close, fd);
    }
}

/* Nothing is to fail: said without a lock or a call, as a sanitizer that is just starting needs it. */
static bool idle(void)
{
    return atomic_load(&nth_left) == 0 && getenv("QUOIN_FILE_FAULTS") == NULL;
}

static struct verdict judge(enum call call, const char *path)
{
    struct verdict verdict = {0};
    long slow_ms = 0;
    int saved = errno;

    if (idle())
        return verdict;
    pthread_mutex_lock(&lock);
    if (nth_left > 0 && strstr(path, nth_part) != NULL && --nth_left == 0) {
        nth_fired = true;
        verdict.error = EIO;
    } else if (refresh_plan()) {
        struct rule *rule = rule_for(call, path);

        if (rule != NULL) {
            note_hit(call, path, rule);
            verdict = (struct verdict){rule->error, rule->cut};
            slow_ms = rule->slow_ms;
        }
    }
    pthread_mutex_unlock(&lock);
    if (slow_ms > 0) {
        struct timespec pause = {slow_ms / 1000, slow_ms % 1000 * 1000000};

        while (nanosleep(&pause, &pause) != 0)
            ;
    }
    errno = saved;
    return verdict;
}

static struct verdict judge_fd(enum call call, int fd)
{
    char link[64], path[PATH_MAX];
    ssize_t length;
    int saved = errno;

    if (idle())
        return (struct verdict){0};
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof(path) - 1);
    errno = saved;
    path[length > 0 ? length : 0] = '\0';
    if (path[0] != '/')
        return (struct verdict){0}; /* a socket, a pipe */
    return judge(call, path);
}

void faulty_files_fail_nth(const char *part, uint64_t n)
{
    pthread_mutex_lock(&lock);
    nth_part = part;
    nth_left = n;
    nth_fired = false;
    pthread_mutex_unlock(&lock);
}

bool faulty_files_fired(void)
{
    bool fired;

    pthread_mutex_lock(&lock);
    fired = nth_fired;
    pthread_mutex_unlock(&lock);
    return fired;
}

/* ---- the calls ----
 *
 * They go to the kernel: looking libc's functions up would not work as early as a sanitizer calls these. The 64-bit names are
 * the same functions. */

/* -1 and errno, as the kernel's wrapper does. */
static long fail(int error)
{
    errno = error;
    return -1;
}

#define SYNC(name)                                                                          \
    int name(int fd);                                                                       \
    int name(int fd)                                                                        \
    {                                                                                       \
        struct verdict verdict = judge_fd(CALL_SYNC, fd);                                   \
                                                                                            \
        return (int)(verdict.error != 0 ? fail(verdict.error) : syscall(SYS_##name, fd));   \
    }
SYNC(fsync)
SYNC(fdatasync)

#define MOVE(name, number, call, buffer_type)                                               \
    ssize_t name(int fd, buffer_type buffer, size_t size, off_t at);                        \
    ssize_t name(int fd, buffer_type buffer, size_t size, off_t at)                         \
    {                                                                                       \
        struct verdict verdict = judge_fd(call, fd);                                        \
                                                                                            \
        if (verdict.error != 0)                                                             \
            return fail(verdict.error);                                                     \
        return syscall(number, fd, buffer, verdict.cut && size > 1 ? size / 2 : size, at);  \
    }
MOVE(pwrite, SYS_pwrite64, CALL_WRITE, const void *)
MOVE(pwrite64, SYS_pwrite64, CALL_WRITE, const void *)
MOVE(pread, SYS_pread64, CALL_READ, void *)
MOVE(pread64, SYS_pread64, CALL_READ, void *)

/* Short: the first half of its pieces. */
static int pieces_of(struct verdict verdict, int count)
{
    return verdict.cut && count > 1 ? count / 2 : count;
}

#define MOVE_PIECES(name)                                                                   \
    ssize_t name(int fd, const struct iovec *pieces, int count, off_t at);                  \
    ssize_t name(int fd, const struct iovec *pieces, int count, off_t at)                   \
    {                                                                                       \
        struct verdict verdict = judge_fd(CALL_WRITE, fd);                                  \
                                                                                            \
        if (verdict.error != 0)                                                             \
            return fail(verdict.error);                                                     \
        return syscall(SYS_pwritev, fd, pieces, pieces_of(verdict, count), at, 0);          \
    }
MOVE_PIECES(pwritev)
MOVE_PIECES(pwritev64)

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    struct verdict verdict = judge_fd(CALL_WRITE, fd);

    return verdict.error != 0 ? fail(verdict.error) : syscall(SYS_writev, fd, pieces, pieces_of(verdict, count));
}

#define OPEN(name)                                                                          \
    int name(const char *path, int flags, ...);                                             \
    int name(const char *path, int flags, ...)                                              \
    {                                                                                       \
        struct verdict verdict = judge(CALL_OPEN, path);                                    \
        mode_t mode;                                                                        \
        va_list list;                                                                       \
                                                                                            \
        va_start(list, flags);                                                              \
        mode = va_arg(list, mode_t);                                                        \
        va_end(list);                                                                       \
        if (verdict.error != 0)                                                             \
            return (int)fail(verdict.error);                                                \
        return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);                       \
    }
OPEN(open)
OPEN(open64)

#define TRUNCATE(name)                                                                      \
    int name(int fd, off_t size);                                                           \
    int name(int fd, off_t size)                                                            \
    {                                                                                       \
        struct verdict verdict = judge_fd(CALL_GROW, fd);                                   \
                                                                                            \
        return (int)(verdict.error != 0 ? fail(verdict.error) : syscall(SYS_ftruncate, fd, size)); \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

/* It returns its error, and leaves errno alone. */
static int allocate(int fd, off_t at, off_t size)
{
    struct verdict verdict = judge_fd(CALL_GROW, fd);
    int saved = errno, error = verdict.error;

    if (error == 0 && syscall(SYS_fallocate, fd, 0, at, size) != 0)
        error = errno;
    errno = saved;
    return error;
}

int posix_fallocate(int fd, off_t at, off_t size)
{
    return allocate(fd, at, size);
}

int posix_fallocate64(int fd, off64_t at, off64_t size)
{
    return allocate(fd, at, size);
}

int rename(const char *from, const char *to)
{
    struct verdict verdict = judge(CALL_RENAME, to);

    return (int)(verdict.error != 0 ? fail(verdict.error) : syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}

int unlink(const char *path)
{
    struct verdict verdict = judge(CALL_REMOVE, path);

    return (int)(verdict.error != 0 ? fail(verdict.error) : syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}

int remove(const char *path)
{
    int result = unlink(path);

    return result != 0 && errno == EISDIR ? (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR) : result;
}

int mkdir(const char *path, mode_t mode)
{
    struct verdict verdict = judge(CALL_MAKE, path);

    return (int)(verdict.error != 0 ? fail(verdict.error) : syscall(SYS_mkdirat, AT_FDCWD, path, mode));
}

DIR *opendir(const char *path)
{
    struct verdict verdict = judge(CALL_OPEN, path);
    long fd = verdict.error != 0 ? fail(verdict.error)
                                 : syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);

    return fd < 0 ? NULL : fdopendir((int)fd);
}
