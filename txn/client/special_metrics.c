/* The special keys metrics/: how large each shard is, and how the servers bear the load.
 *
 *   metrics/data_distribution_stats/<begin>   {"shard_bytes":N}, by the storage servers' samples
 *   metrics/health/aggregate, log/<id>, storage/<id>   what the ratekeeper and the servers said when the status was made
 *
 * The words of the JSON are FoundationDB's; cpu_usage and limiting_* are not there, for nobody says them. */
#include <inttypes.h>
#include <stdio.h>

#include "txn/client/client_internal.h"
#include "txn/client/special_keys.h"

enum { JSON_MAX = 512 };

int special_collect_shard_stats(struct special_read *read, const struct special_part *part)
{
    char json[JSON_MAX];
    int error = 0;

    for (uint32_t i = 0; i < read->shards.count && error == 0; i++) {
        snprintf(json, sizeof(json), "{\"shard_bytes\":%" PRId64 "}", read->shards.sizes[i]);
        error = special_add(read, part->span.begin, read->shards.items[i], bytes_of_string(json));
    }
    return error;
}

/* ---- health ---- */

static int64_t number(const struct role_status *role, const char *name)
{
    for (uint32_t i = 0; i < role->metrics_count; i++)
        if (bytes_equal(role->metrics[i].name, bytes_of_string(name)))
            return role->metrics[i].value;
    return 0;
}

static int add_storage(struct special_read *read, const struct special_part *part, const struct role_status *role)
{
    int64_t used = number(role, "kvstore_used_bytes"), total = used + number(role, "kvstore_available_bytes");
    char json[JSON_MAX], rest[40];

    snprintf(rest, sizeof(rest), "storage/%016" PRIx64, role->id);
    snprintf(json, sizeof(json), "{\"disk_usage\":%.3f,\"storage_durability_lag\":%" PRId64 ",\"storage_queue\":%" PRId64 "}",
             total <= 0 ? 0.0 : 100.0 * (double)used / (double)total, number(role, "durability_lag_versions"), number(role, "window_bytes"));
    return special_add_text(read, part->span.begin, rest, json);
}

static int add_log(struct special_read *read, const struct special_part *part, const struct role_status *role)
{
    char json[JSON_MAX], rest[40];

    snprintf(rest, sizeof(rest), "log/%016" PRIx64, role->id);
    snprintf(json, sizeof(json), "{\"log_queue\":%" PRId64 "}", number(role, "queue_length_bytes"));
    return special_add_text(read, part->span.begin, rest, json);
}

/* Without a limit the ratekeeper says -1; here it is a number that nobody reaches. */
static int64_t rate(const struct role_status *keeper, const char *name)
{
    int64_t limit = number(keeper, name);

    return limit < 0 ? INT64_C(1000000000000) : limit;
}

static int add_aggregate(struct special_read *read, const struct special_part *part, const struct role_status *keeper)
{
    int64_t limit = rate(keeper, "transactions_per_second_limit"), batch = rate(keeper, "batch_transactions_per_second_limit");
    int64_t queue = number(keeper, "worst_queue_bytes_storage_server"), lag = number(keeper, "worst_durability_lag_versions");
    char json[JSON_MAX];

    snprintf(json, sizeof(json),
             "{\"batch_limited\":%s,\"tps_limit\":%" PRId64 ",\"worst_log_queue\":%" PRId64 ",\"worst_storage_durability_lag\":%" PRId64
             ",\"worst_storage_queue\":%" PRId64 "}",
             batch < limit ? "true" : "false", limit, number(keeper, "worst_queue_bytes_log_server"), lag, queue);
    return special_add_text(read, part->span.begin, "aggregate", json);
}

int special_collect_health(struct special_read *read, const struct special_part *part)
{
    bool came = !read->status.call.under_way && read->status.call.error == 0;
    const struct get_status_reply *reply = came && read->status.reply != NULL ? MESSAGE_BODY(get_status_reply, read->status.reply) : NULL;
    int error = 0;

    for (uint32_t i = 0; reply != NULL && i < reply->health_count && error == 0; i++) {
        const struct role_status *role = &reply->health[i];

        if (role->kind == ROLE_STORAGE)
            error = add_storage(read, part, role);
        else if (role->kind == ROLE_LOG)
            error = add_log(read, part, role);
        else if (role->kind == ROLE_RATEKEEPER)
            error = add_aggregate(read, part, role);
    }
    return error;
}
