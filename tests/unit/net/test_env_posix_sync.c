/* Where syncs are done: by the loop itself while the disk is quick, elsewhere while it is slow. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "net/mem.h"
#include "tests/unit/net/posix_fixture.h"

int fdatasync(int fd);

static _Atomic int slow_us;
static pthread_t synced_by;

/* In libc's place: a disk as quick or slow as the test wants. */
int fdatasync(int fd)
{
    (void)fd;
    if (atomic_load(&slow_us) > 0)
        usleep((unsigned)atomic_load(&slow_us));
    synced_by = pthread_self();
    return 0;
}

static struct env_file *open_file(struct fixture *fixture)
{
    struct env_file *file;
    char path[100];

    snprintf(path, sizeof(path), "%s/file", fixture->dir);
    cr_assert_eq(env_file_open(fixture->env, path, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file), 0);
    cr_assert_eq(env_file_write(fixture->env, file, 0, BYTES_LITERAL("x")), 0);
    return file;
}

struct syncing {
    struct env *env;
    struct env_sync sync;
    struct env_timer timer;
};

static void synced(struct env_sync *sync, int error)
{
    cr_assert_eq(error, 0);
    env_posix_stop(container_of(sync, struct syncing, sync)->env);
}

static void begin(struct env_timer *timer)
{
    struct syncing *syncing = container_of(timer, struct syncing, timer);

    env_file_sync(syncing->env, syncing->sync.file, &syncing->sync);
}

/* After so long; whether the loop did it. */
static bool loop_syncs(struct fixture *fixture, struct env_file *file, int64_t delay_us)
{
    struct syncing syncing = {.env = fixture->env, .sync = {.done = synced, .file = file}, .timer.fire = begin};

    env_timer_start(fixture->env, &syncing.timer, env_now_us(fixture->env) + delay_us);
    env_posix_run(fixture->env);
    return pthread_equal(synced_by, pthread_self());
}

Test(env_posix_sync, the_loop_does_not_wait_for_a_disk_that_is_slow)
{
    struct fixture fixture;
    struct env_file *file;

    fixture_init(&fixture, NULL);
    file = open_file(&fixture);
    cr_assert(loop_syncs(&fixture, file, 0), "nothing else is to do");
    atomic_store(&slow_us, 30000);
    loop_syncs(&fixture, file, 0);
    cr_assert_not(loop_syncs(&fixture, file, 0), "it has just been slow");
    cr_assert_not(loop_syncs(&fixture, file, 800000), "it still is");
    atomic_store(&slow_us, 0);
    cr_assert_not(loop_syncs(&fixture, file, 800000), "told by the other thread's");
    cr_assert(loop_syncs(&fixture, file, 1000000), "it is quick again");
    env_file_close(fixture.env, file);
    fixture_done(&fixture);
}

struct chain {
    struct env_sync sync;
    struct env *env;
    struct env_file *file;
    int left;
};

static void chain_next(struct env_sync *sync, int error)
{
    struct chain *chain = container_of(sync, struct chain, sync);

    cr_assert_eq(error, 0);
    if (--chain->left == 0) {
        env_posix_stop(chain->env);
        return;
    }
    cr_assert_eq(env_file_write(chain->env, chain->file, 0, BYTES_LITERAL("more")), 0);
    env_file_sync(chain->env, chain->file, sync);
}

Test(env_posix_sync, a_lonely_sync_after_the_other_needs_no_thread)
{
    struct fixture fixture;
    struct chain chain = {.sync.done = chain_next, .left = 20};
    struct stat before, after;

    fixture_init(&fixture, NULL);
    cr_assert_eq(stat("/proc/self/task", &before), 0);
    chain.env = fixture.env;
    chain.file = open_file(&fixture);
    env_file_sync(fixture.env, chain.file, &chain.sync);
    env_posix_run(fixture.env);
    cr_assert_eq(stat("/proc/self/task", &after), 0);
    cr_assert_eq(before.st_nlink, after.st_nlink, "each thread is a directory there");
    env_file_close(fixture.env, chain.file);
    fixture_done(&fixture);
}
