/* One kind of wait for all: a call of the client, a timer, and a futex that the application's thread sleeps on. */
#include "txn/client/quoin_admin.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "txn/client/quoin_internal.h"

struct admin_wait {
    struct submission submission; /* first */
    struct quoin_database *db;
    void (*start)(struct admin_wait *wait);
    struct client_call *call;
    struct env_timer timer;
    int64_t timeout_us;
    int error;
    _Atomic uint32_t done;
    struct address address;
    uint32_t redundancy, engine;
    union {
        struct client_configure configure;
        struct client_status status;
        struct client_reboot reboot;
        struct client_call ready;
    } u;
};

static void end(struct admin_wait *wait, int error)
{
    env_timer_cancel(network_env(wait->db->network), &wait->timer);
    wait->error = error;
    atomic_store_explicit(&wait->done, 1, memory_order_release);
    syscall(SYS_futex, &wait->done, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void call_done(struct client_call *call)
{
    end(call->ctx, call->error);
}

static void timed_out(struct env_timer *timer)
{
    struct admin_wait *wait = container_of(timer, struct admin_wait, timer);

    client_call_cancel(wait->call);
    end(wait, ERROR_TIMED_OUT);
}

static void run(struct submission *submission)
{
    struct admin_wait *wait = (struct admin_wait *)submission;
    struct env *env = network_env(wait->db->network);

    wait->call->done = call_done;
    wait->call->ctx = wait;
    wait->timer.fire = timed_out;
    env_timer_start(env, &wait->timer, env_now_us(env) + wait->timeout_us);
    wait->start(wait);
}

static int wait_for(struct admin_wait *wait, struct quoin_database *db, struct client_call *call, int64_t timeout_us,
                    void (*start)(struct admin_wait *wait))
{
    if (network_is_this_thread(db->network))
        return ERROR_BLOCKED_FROM_NETWORK_THREAD;
    wait->db = db;
    wait->call = call;
    wait->timeout_us = timeout_us;
    wait->start = start;
    wait->submission.run = run;
    network_submit(db->network, &wait->submission);
    while (atomic_load_explicit(&wait->done, memory_order_acquire) == 0)
        syscall(SYS_futex, &wait->done, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    return wait->error;
}

static void start_configure(struct admin_wait *wait)
{
    client_configure_start(&wait->u.configure, NULL, wait->db->client, wait->redundancy, wait->engine);
}

int quoin_admin_configure(struct quoin_database *db, uint32_t redundancy, uint32_t engine, int64_t timeout_us)
{
    struct admin_wait *wait = mem_zalloc(sizeof(*wait));
    int error;

    if (wait == NULL)
        return ERROR_OUT_OF_MEMORY;
    wait->redundancy = redundancy;
    wait->engine = engine;
    error = wait_for(wait, db, &wait->u.configure.call, timeout_us, start_configure);
    mem_free(wait);
    return error;
}

static void start_status(struct admin_wait *wait)
{
    client_status_start(&wait->u.status, NULL, wait->db->client);
}

int quoin_admin_status(struct quoin_database *db, struct bytes_buffer *json, int64_t timeout_us)
{
    struct admin_wait *wait = mem_zalloc(sizeof(*wait));
    int error;

    if (wait == NULL)
        return ERROR_OUT_OF_MEMORY;
    error = wait_for(wait, db, &wait->u.status.call, timeout_us, start_status);
    if (error == 0) {
        bytes_buffer_done(json);
        *json = wait->u.status.json;
    } else {
        bytes_buffer_done(&wait->u.status.json);
    }
    mem_free(wait);
    return error;
}

static void start_reboot(struct admin_wait *wait)
{
    client_reboot_start(&wait->u.reboot, NULL, wait->db->client, wait->address);
}

int quoin_admin_reboot(struct quoin_database *db, struct address address, int64_t timeout_us)
{
    struct admin_wait *wait = mem_zalloc(sizeof(*wait));
    int error;

    if (wait == NULL)
        return ERROR_OUT_OF_MEMORY;
    wait->address = address;
    error = wait_for(wait, db, &wait->u.reboot.call, timeout_us, start_reboot);
    mem_free(wait);
    return error;
}

static void start_ready(struct admin_wait *wait)
{
    client_wait_ready(&wait->u.ready, NULL, wait->db->client);
}

int quoin_admin_wait_ready(struct quoin_database *db, int64_t timeout_us)
{
    struct admin_wait *wait = mem_zalloc(sizeof(*wait));
    int error;

    if (wait == NULL)
        return ERROR_OUT_OF_MEMORY;
    error = wait_for(wait, db, &wait->u.ready, timeout_us, start_ready);
    mem_free(wait);
    return error;
}

struct coordinators_call {
    struct network_call call; /* first */
    struct quoin_database *db;
    struct client_coordinator *out;
    uint32_t count;
};

static void list_coordinators(struct network_call *call)
{
    struct coordinators_call *self = (struct coordinators_call *)call;

    self->count = client_coordinator_count(self->db->client);
    for (uint32_t i = 0; i < self->count; i++)
        client_coordinator(self->db->client, i, &self->out[i]);
}

uint32_t quoin_admin_coordinators(struct quoin_database *db, struct client_coordinator ret[CLUSTER_FILE_COORDINATORS_MAX])
{
    struct coordinators_call call = {.call.run = list_coordinators, .db = db, .out = ret};

    network_run(db->network, &call.call);
    return call.count;
}
