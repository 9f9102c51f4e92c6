/* The life of an embedded cluster.
 *
 * One rpc serves the worker's roles and all clients, under an address that nobody can dial. The worker may end itself, as
 * a server process does when its disk fails; here is the supervisor that starts it again, after a pause that doubles. The rpc stays, so
 * clients only see calls that failed. Closing destroys the worker in one step, which is what kill -9 leaves behind but for the
 * jobs under way: the directory stays locked until they are back. */
#include "roles/embedded/embedded.h"

#include <stdio.h>
#include <unistd.h>

#include "net/env_posix.h"
#include "net/mem.h"
#include "roles/embedded/scratch.h"
#include "roles/worker/worker.h"
#include "txn/client/client_admin.h"

enum {
    RESTART_DELAY_US_MIN = 50000,
    RESTART_DELAY_US_MAX = 5000000,
    SEGMENT_BYTES = 1 << 20, /* smaller than a server's: two of them are filled before the first commit */
    LOG_MEMORY_BYTES = 32 << 20,
    STORAGE_MEMORY_BYTES = 64 << 20,
};

/* Nobody dials it, but coordinators and roles are known by an address. It is in the files, so it must not change. */
static const struct address home = {0x7f000001, 1};

struct embedded {
    struct list link; /* in the env's list of open ones */
    struct client_hosts *hosts; /* borrowed, as env */
    struct env *env;
    uint32_t refs;
    bool closing;
    char *name;      /* of a shared memory cluster; owned, may be NULL */
    char *directory; /* absolute; owned */
    bool scratch;    /* goes with the last close */
    int lock_fd;
    struct rpc *rpc;
    struct worker *worker; /* NULL between its end and its restart */
    struct ready end;      /* the worker has asked for its end */
    struct ready quiet;    /* its jobs are back: it starts again, or is gone */
    struct env_timer timer;
    int64_t delay_us, started_us;
    struct client *creator; /* makes the database; NULL when that is done */
    struct client_configure configure;
};

/* ---- the worker and its supervisor ---- */

static void on_exit_wanted(void *ctx, int status, const char *why)
{
    struct embedded *embedded = ctx;

    (void)status;
    (void)why; /* the worker has traced it */
    env_turn_end(embedded->env, &embedded->end);
}

static int start_worker(struct embedded *embedded, char *ret_why, size_t why_size)
{
    struct worker_options options = {
        .data_directory = embedded->directory,
        .rpc = embedded->rpc,
        .public_address = home,
        .process_class = CLASS_UNSET,
        .coordinators = &home,
        .coordinator_count = 1,
        .command_line = BYTES_LITERAL("embedded"),
        .pid = (uint64_t)getpid(),
        .exit = on_exit_wanted,
        .exit_ctx = embedded,
    };

    embedded->started_us = env_now_us(embedded->env);
    return worker_create(embedded->env, &options, &embedded->worker, ret_why, why_size);
}

static void start_later(struct embedded *embedded)
{
    int64_t now_us = env_now_us(embedded->env);

    if (now_us - embedded->started_us > RESTART_DELAY_US_MAX)
        embedded->delay_us = RESTART_DELAY_US_MIN;
    env_timer_start(embedded->env, &embedded->timer, now_us + embedded->delay_us);
    if (embedded->delay_us < RESTART_DELAY_US_MAX)
        embedded->delay_us *= 2;
}

static void end_worker(struct ready *ready)
{
    struct embedded *embedded = container_of(ready, struct embedded, end);

    worker_destroy(embedded->worker);
    embedded->worker = NULL;
    start_later(embedded);
}

/* Also on a restart: the files of the worker before it close when its jobs are back. */
static void restart(struct embedded *embedded)
{
    char why[256];

    if (!env_posix_is_quiet(embedded->env))
        env_posix_when_quiet(embedded->env, &embedded->quiet);
    else if (start_worker(embedded, why, sizeof(why)) != 0)
        start_later(embedded);
}

static void restart_timer(struct env_timer *timer)
{
    restart(container_of(timer, struct embedded, timer));
}

/* ---- the database ---- */

static void creator_done(struct embedded *embedded)
{
    if (embedded->creator == NULL)
        return;
    client_call_cancel(&embedded->configure.call);
    client_destroy(embedded->creator);
    embedded->creator = NULL;
}

static void configured(struct client_call *call)
{
    creator_done(call->ctx);
}

/* Ends at once with an error when there is a database already, which is as good. */
static int create_database(struct embedded *embedded)
{
    struct client_options options = embedded_client_options(embedded);
    int error = client_create(embedded->env, &options, &embedded->creator);

    if (error != 0)
        return error;
    embedded->configure.call.done = configured;
    embedded->configure.call.ctx = embedded;
    client_configure_start(&embedded->configure, NULL, embedded->creator, 1, ENGINE_LMDB);
    return 0;
}

/* ---- life ---- */

/* What a server grants itself is too much for a guest, and it waits for others. */
static void lower_knobs(struct knobs *knobs)
{
    knobs->log_segment_bytes = SEGMENT_BYTES;
    knobs->log_memory_bytes_max = LOG_MEMORY_BYTES;
    knobs->storage_memory_bytes_max = STORAGE_MEMORY_BYTES;
    knobs->controller_recruit_wait_us = 0; /* nobody else will register */
}

static void free_embedded(struct embedded *embedded)
{
    struct client_hosts *hosts = embedded->hosts;

    if (embedded->lock_fd >= 0)
        close(embedded->lock_fd);
    if (embedded->scratch)
        scratch_remove(embedded->directory);
    list_remove(&embedded->link);
    mem_free(embedded->directory);
    mem_free(embedded->name);
    mem_free(embedded);
    if (hosts->gone != NULL)
        hosts->gone(hosts);
}

static void close_when_quiet(struct embedded *embedded)
{
    if (env_posix_is_quiet(embedded->env))
        free_embedded(embedded);
    else
        env_posix_when_quiet(embedded->env, &embedded->quiet);
}

static void on_quiet(struct ready *ready)
{
    struct embedded *embedded = container_of(ready, struct embedded, quiet);

    if (embedded->closing)
        close_when_quiet(embedded);
    else
        restart(embedded);
}

static void stop(struct embedded *embedded)
{
    embedded->closing = true;
    creator_done(embedded);
    env_ready_cancel(&embedded->end);
    env_ready_cancel(&embedded->quiet);
    env_timer_cancel(embedded->env, &embedded->timer);
    worker_destroy(embedded->worker);
    embedded->worker = NULL;
    rpc_destroy(embedded->rpc);
    embedded->rpc = NULL;
    close_when_quiet(embedded);
}

void embedded_close(struct embedded *embedded)
{
    if (embedded != NULL && --embedded->refs == 0)
        stop(embedded);
}

bool embedded_any_closing(const struct client_hosts *hosts)
{
    list_each(link, after, &hosts->open)
        if (list_entry(link, struct embedded, link)->closing)
            return true;
    return false;
}

struct client_options embedded_client_options(const struct embedded *embedded)
{
    return (struct client_options){.coordinators = &home, .coordinator_count = 1, .rpc = embedded->rpc};
}

static int start(struct embedded *embedded, char *ret_why, size_t why_size)
{
    struct rpc_options options = {.public_address = home, .types = message_types, .type_count = MESSAGE_ID_END};
    int error = rpc_create(embedded->env, &options, &embedded->rpc);

    if (error == 0)
        error = start_worker(embedded, ret_why, why_size);
    if (error == 0)
        error = create_database(embedded);
    return error;
}

static int make(struct env *env, struct client_hosts *hosts, struct embedded **ret_embedded)
{
    struct embedded *embedded = mem_zalloc(sizeof(*embedded));

    if (embedded == NULL)
        return ERROR_OUT_OF_MEMORY;
    embedded->env = env;
    embedded->lock_fd = -1;
    embedded->delay_us = RESTART_DELAY_US_MIN;
    embedded->end.run = end_worker;
    embedded->timer.fire = restart_timer;
    embedded->quiet.run = on_quiet;
    embedded->hosts = hosts;
    list_push_back(&hosts->open, &embedded->link);
    *ret_embedded = embedded;
    return 0;
}

/* The open one of that directory, or of that name of a shared memory cluster; NULL: none. */
static struct embedded *find(const struct client_hosts *hosts, const char *directory, const char *name)
{
    list_each(link, after, &hosts->open) {
        struct embedded *embedded = list_entry(link, struct embedded, link);
        const char *its = directory != NULL ? embedded->directory : embedded->name;

        if (its != NULL && strcmp(its, directory != NULL ? directory : name) == 0)
            return embedded;
    }
    return NULL;
}

static int share(struct embedded *embedded, struct embedded **ret_embedded, char *ret_why, size_t why_size)
{
    if (embedded->closing) {
        snprintf(ret_why, why_size, "%s is being closed", embedded->directory);
        return ERROR_SHUTDOWN_IN_PROGRESS;
    }
    embedded->refs++;
    *ret_embedded = embedded;
    return 0;
}

/* Takes over `directory` and `name`. */
static int open_new(struct env *env, struct client_hosts *hosts, char *directory, char *name, bool is_scratch, struct embedded **ret_embedded,
                    char *ret_why, size_t why_size)
{
    struct embedded *embedded;
    int error = make(env, hosts, &embedded);

    if (error != 0) {
        mem_free(directory);
        mem_free(name);
        return error;
    }
    embedded->directory = directory;
    embedded->name = name;
    embedded->scratch = is_scratch;
    error = directory_lock(directory, &embedded->lock_fd, ret_why, why_size);
    if (error != 0) {
        free_embedded(embedded);
        return error;
    }
    mem_set_fatal(true);
    lower_knobs(&env->knobs);
    embedded->refs = 1;
    error = start(embedded, ret_why, why_size);
    if (error != 0)
        embedded_close(embedded);
    else
        *ret_embedded = embedded;
    return error;
}

static int open_directory(struct env *env, struct client_hosts *hosts, const char *path, struct embedded **ret_embedded, char *ret_why,
                          size_t why_size)
{
    struct embedded *found;
    char *directory;
    int error = directory_make(path, &directory, ret_why, why_size);

    if (error != 0)
        return error;
    found = find(hosts, directory, NULL);
    if (found == NULL)
        return open_new(env, hosts, directory, NULL, false, ret_embedded, ret_why, why_size);
    mem_free(directory);
    return share(found, ret_embedded, ret_why, why_size);
}

static int open_memory(struct env *env, struct client_hosts *hosts, const char *name, struct embedded **ret_embedded, char *ret_why,
                       size_t why_size)
{
    struct embedded *found = name[0] == '\0' ? NULL : find(hosts, NULL, name);
    size_t size = strlen(name) + 1;
    char *directory, *copy = NULL;
    int error;

    if (found != NULL)
        return share(found, ret_embedded, ret_why, why_size);
    error = scratch_make(&directory, ret_why, why_size);
    if (error != 0)
        return error;
    if (size > 1) {
        copy = mem_alloc(size);
        if (copy == NULL) {
            mem_free(directory);
            return ERROR_OUT_OF_MEMORY;
        }
        memcpy(copy, name, size);
    }
    return open_new(env, hosts, directory, copy, true, ret_embedded, ret_why, why_size);
}

int embedded_open(struct env *env, struct client_hosts *hosts, const char *name, struct embedded **ret_embedded, char *ret_why, size_t why_size)
{
    bool in_memory = strncmp(name, CLIENT_HOSTED_MEMORY, strlen(CLIENT_HOSTED_MEMORY)) == 0;
    const char *rest = strchr(name, ':') + 1;
    int error;

    ret_why[0] = '\0';
    if (!in_memory && rest[0] == '\0') {
        snprintf(ret_why, why_size, "\"%s\" names no directory; the form is embedded:DIR", name);
        return ERROR_CONNECTION_STRING_INVALID;
    }
    error = in_memory ? open_memory(env, hosts, rest, ret_embedded, ret_why, why_size)
                      : open_directory(env, hosts, rest, ret_embedded, ret_why, why_size);
    if (error != 0 && ret_why[0] == '\0')
        snprintf(ret_why, why_size, "%s: %s", name, error_text(error));
    return error;
}
