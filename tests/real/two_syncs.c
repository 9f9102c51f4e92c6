/* quoin-two-syncs FILE: syncs it on the loop while the syncer's thread syncs it, and prints what both say.
 *
 * For the preloaded tests/faulty_files.c, whose `sync * EIO slow=.. count=1` does what the kernel does: of two fdatasyncs of a
 * descriptor that are under way, one hears of the failure. Both must say io_error. */
#include "net/env_posix.h"
#include "net/error.h"
#include "net/mem.h"

#include <stdio.h>

struct two {
    struct env *env;
    struct env_file *file, *other;
    struct env_sync sync, other_sync;
    struct ready now;
    struct env_timer next_turn;
    int error; /* of the syncer's */
    int left;
};

static void done_one(struct two *two)
{
    if (--two->left == 0)
        env_posix_stop(two->env);
}

static void syncer_done(struct env_sync *sync, int error)
{
    struct two *two = container_of(sync, struct two, sync);

    two->error = error;
    done_one(two);
}

static void other_done(struct env_sync *sync, int error)
{
    (void)error;
    done_one(container_of(sync, struct two, other_sync));
}

static void sync_on_the_loop(struct env_timer *timer)
{
    struct two *two = container_of(timer, struct two, next_turn);
    int error = env_file_sync_now(two->env, two->file);

    printf("loop: %s\n", error_name(error));
    done_one(two);
}

/* Two files are never synced by the loop itself; what was asked for goes to the syncer when the turn ends. */
static void hand_over(struct ready *ready)
{
    struct two *two = container_of(ready, struct two, now);

    env_file_sync(two->env, two->file, &two->sync);
    env_file_sync(two->env, two->other, &two->other_sync);
    two->next_turn.fire = sync_on_the_loop;
    env_timer_start(two->env, &two->next_turn, env_now_us(two->env));
}

int main(int argc, char **argv)
{
    struct env_posix_options options = {0};
    struct two two = {.left = 3, .sync.done = syncer_done, .other_sync.done = other_done, .now.run = hand_over};
    char other[4096];

    if (argc != 2 || snprintf(other, sizeof(other), "%s.other", argv[1]) >= (int)sizeof(other)) {
        fprintf(stderr, "usage: quoin-two-syncs FILE\n");
        return 2;
    }
    mem_set_fatal(true);
    if (env_posix_create(&options, &two.env) != 0 ||
        env_file_open(two.env, argv[1], ENV_OPEN_WRITE | ENV_OPEN_CREATE, &two.file) != 0 ||
        env_file_open(two.env, other, ENV_OPEN_WRITE | ENV_OPEN_CREATE, &two.other) != 0)
        return 1;
    env_file_write(two.env, two.file, 0, BYTES_LITERAL("bytes"));
    env_ready(two.env, &two.now, READY_READ);
    while (two.left > 0)
        env_posix_run(two.env);
    printf("syncer: %s\n", error_name(two.error));
    env_file_close(two.env, two.file);
    env_file_close(two.env, two.other);
    env_posix_destroy(two.env);
    return 0;
}
