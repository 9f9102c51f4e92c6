/* What a log tells the ratekeeper: what waits for its disk, and how much of that is left. */
#include "net/buggify.h"
#include "roles/log/log_internal.h"

void log_look_at_space(struct log_server *log)
{
    int64_t now_us = env_now_us(log->env);
    struct env_space space;
    bool full;

    if (log->space_checked_us != 0 && now_us - log->space_checked_us < LOG_SPACE_CHECK_US)
        return;
    log->space_checked_us = now_us;
    if (env_dir_space(log->env, log->context.data_directory, &space) != 0)
        return;
    full = space.free_bytes < (uint64_t)log->env->knobs.log_disk_reserve_bytes ||
           BUGGIFY(log->env, "the disk of a log looks full for a while");
    if (full != log->disk_full)
        TRACE(log->env, SEVERITY_WARN_ALWAYS, full ? "LogDiskReserveReached" : "LogDiskReserveFree", {"Id", trace_id(log->id)},
              {"FreeBytes", trace_int((int64_t)space.free_bytes)});
    log->disk_full = full;
    log->free_bytes = space.free_bytes;
    log->total_bytes = space.total_bytes;
}

/* One that is locked holds what storage servers still drain; nothing that starts adds to it. */
static struct message *make_report(void *ctx, bool *ret_busy)
{
    struct log_server *log = ctx;
    struct message *message;
    struct log_load *load;

    if (log->locked || log->ended)
        return NULL;
    log_look_at_space(log);
    load = MESSAGE_NEW(log_load, &message);
    load->id = log->id;
    load->version = log->received.now;
    load->queue_bytes = (int64_t)log->push_op_bytes;
    load->queue_max = LOG_QUEUE_BYTES;
    load->input_bytes = (int64_t)log->push_bytes;
    load->free_bytes = (int64_t)log->free_bytes;
    load->total_bytes = (int64_t)log->total_bytes;
    load->reserve_bytes = log->env->knobs.log_disk_reserve_bytes;
    *ret_busy = log->push_bytes != log->reported_bytes || log->push_op_bytes > 0;
    log->reported_bytes = log->push_bytes;
    return message;
}

void log_load_start(struct log_server *log)
{
    log->reporter = (struct rate_reporter){.rpc = log->rpc, .make = make_report, .ctx = log};
    rate_reporter_start(&log->reporter, &log->ops);
}

void log_server_described(struct log_server *log, const struct description *description)
{
    rate_reporter_described(&log->reporter, description);
}
