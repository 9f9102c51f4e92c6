/* What the ratekeeper and the proxies said of themselves, in FoundationDB's words.
 *
 * The reasons' numbers and names are the ratekeeper's (roles/ratekeeper/ratekeeper_rate.h), which roles may not include: they travel as
 * numbers, and their words stand here as well. */
#include "roles/controller/status_qos.h"

#include <stdio.h>

static const struct {
    int64_t id;
    const char *name, *description;
} reasons[] = {
    {0, "workload", "The database is not being saturated by the workload."},
    {1, "storage_server_write_queue_size", "Storage server performance (storage queue)."},
    {3, "storage_server_readable_behind", "Storage server version falling behind."},
    {5, "log_server_write_queue", "Log server performance (log queue)."},
    {6, "storage_server_min_free_space", "Storage server running out of space (approaching the reserve)."},
    {8, "log_server_min_free_space", "Log server running out of space (approaching the reserve)."},
    {10, "storage_server_durability_lag", "Storage server durable version falling behind."},
    {20, "commit_proxy_queue", "Commits wait at a commit proxy."},
};

enum { REASONS = sizeof(reasons) / sizeof(reasons[0]) };

static const struct role_status *first_of(const struct status_input *input, enum role_kind kind)
{
    for (uint32_t p = 0; p < input->process_count; p++)
        for (uint32_t r = 0; input->processes[p].reply != NULL && r < input->processes[p].reply->roles_count; r++)
            if (input->processes[p].reply->roles[r].kind == kind)
                return &input->processes[p].reply->roles[r];
    return NULL;
}

static int64_t number(const struct role_status *role, const char *name)
{
    for (uint32_t i = 0; role != NULL && i < role->metrics_count; i++)
        if (bytes_equal(role->metrics[i].name, bytes_of_string(name)))
            return role->metrics[i].value;
    return 0;
}

static size_t reason_of(int64_t id)
{
    for (size_t i = 0; i < REASONS; i++)
        if (reasons[i].id == id)
            return i;
    return 0;
}

static void put_int(json_t *object, const char *key, int64_t value)
{
    (void)json_object_set_new(object, key, json_integer(value));
}

static json_t *limited_by(int64_t id, int64_t server)
{
    size_t reason = reason_of(id);
    json_t *object = json_object();
    char text[20] = "";

    if (server != 0)
        snprintf(text, sizeof(text), "%016llx", (unsigned long long)server);
    put_int(object, "reason_id", reasons[reason].id);
    (void)json_object_set_new(object, "name", json_string(reasons[reason].name));
    (void)json_object_set_new(object, "description", json_string(reasons[reason].description));
    (void)json_object_set_new(object, "reason_server_id", json_string(text));
    return object;
}

static json_t *lag(int64_t versions)
{
    json_t *object = json_object();

    put_int(object, "versions", versions);
    (void)json_object_set_new(object, "seconds", json_real((double)versions / (double)VERSIONS_PER_SECOND));
    return object;
}

/* GRV proxies that go on without a lease. */
static unsigned lapsed(const struct status_input *input)
{
    unsigned count = 0;

    for (uint32_t p = 0; p < input->process_count; p++)
        for (uint32_t r = 0; input->processes[p].reply != NULL && r < input->processes[p].reply->roles_count; r++)
            count += input->processes[p].reply->roles[r].kind == ROLE_GRV_PROXY &&
                     number(&input->processes[p].reply->roles[r], "rate_lease_lapsed") != 0;
    return count;
}

static json_t *throttled_tags(const struct role_status *keeper)
{
    bool enabled = number(keeper, "throttled_tags_auto_enabled") != 0;
    int64_t all = number(keeper, "throttled_tags_auto"), reads = number(keeper, "throttled_tags_busy_read");
    json_t *tags = json_object(), *automatic = json_object(), *manual = json_object();

    put_int(automatic, "busy_read", reads);
    put_int(automatic, "busy_write", all - reads);
    put_int(automatic, "count", all);
    put_int(automatic, "recommended_only", enabled ? 0 : 1);
    put_int(manual, "count", number(keeper, "throttled_tags_manual"));
    (void)json_object_set_new(tags, "auto", automatic);
    (void)json_object_set_new(tags, "manual", manual);
    return tags;
}

/* ---- tags of storage servers ---- */

/* A tag may be any bytes, JSON's texts may not. */
static json_t *tag_text(struct bytes tag)
{
    char text[4 * TRANSACTION_TAG_BYTES_MAX + 1];
    size_t len = 0;

    for (size_t i = 0; i < tag.len && i < TRANSACTION_TAG_BYTES_MAX; i++) {
        bool plain = tag.ptr[i] >= ' ' && tag.ptr[i] < 0x7f && tag.ptr[i] != '\\';

        len += (size_t)snprintf(text + len, sizeof(text) - len, plain ? "%c" : "\\x%02x", tag.ptr[i]);
    }
    return json_stringn(text, len);
}

static json_t *busiest(struct bytes tag, double part, double cost)
{
    json_t *object = json_object(), *hz = json_object();

    (void)json_object_set_new(object, "tag", tag_text(tag));
    (void)json_object_set_new(object, "fractional_cost", json_real(part));
    (void)json_object_set_new(hz, "hz", json_real(cost));
    (void)json_object_set_new(object, "estimated_cost", hz);
    return object;
}

/* The ratekeeper's "id, cost, thousandths, tag" of that storage server. */
static void add_writer(const struct role_text *text, uint64_t storage_id, json_t *role)
{
    unsigned long long id;
    long long cost;
    char head[64];
    int part, used = 0;
    size_t len = text->text.len < sizeof(head) ? text->text.len : sizeof(head) - 1;

    memcpy(head, text->text.ptr, len);
    head[len] = '\0';
    if (sscanf(head, "%16llx %lld %d%n", &id, &cost, &part, &used) != 3 || id != storage_id || (size_t)used + 1 > text->text.len)
        return;
    (void)json_object_set_new(role, "busiest_write_tag",
                              busiest(bytes_of(text->text.ptr + used + 1, text->text.len - (size_t)used - 1), part / 1000.0, (double)cost));
}

void status_busiest_tags(const struct status_input *input, const struct role_status *storage, json_t *role)
{
    const struct role_status *keeper = first_of(input, ROLE_RATEKEEPER);

    for (uint32_t i = 0; i < storage->texts_count; i++)
        if (bytes_equal(storage->texts[i].name, BYTES_LITERAL("busiest_read_tag")))
            (void)json_object_set_new(role, "busiest_read_tag",
                                      busiest(storage->texts[i].text, (double)number(storage, "busiest_read_tag_part") / 1000,
                                              (double)number(storage, "busiest_read_tag_cost")));
    for (uint32_t i = 0; keeper != NULL && i < keeper->texts_count; i++)
        if (keeper->texts[i].text.len > 0 && bytes_equal(keeper->texts[i].name, BYTES_LITERAL("busiest_write_tag")))
            add_writer(&keeper->texts[i], storage->id, role);
}

json_t *status_qos(const struct status_input *input)
{
    static const char *const copied[] = {"transactions_per_second_limit", "batch_transactions_per_second_limit",
                                         "released_transactions_per_second", "worst_queue_bytes_storage_server",
                                         "worst_queue_bytes_log_server"};
    const struct role_status *keeper = first_of(input, ROLE_RATEKEEPER);
    json_t *qos = json_object();

    (void)json_object_set_new(qos, "rate_leases_lapsed", json_integer(lapsed(input)));
    if (keeper == NULL)
        return qos;
    for (size_t i = 0; i < sizeof(copied) / sizeof(copied[0]); i++)
        put_int(qos, copied[i], number(keeper, copied[i]));
    (void)json_object_set_new(qos, "performance_limited_by",
                              limited_by(number(keeper, "limit_reason"), number(keeper, "limit_server_id")));
    (void)json_object_set_new(qos, "batch_performance_limited_by",
                              limited_by(number(keeper, "batch_limit_reason"), number(keeper, "batch_limit_server_id")));
    (void)json_object_set_new(qos, "worst_data_lag_storage_server", lag(number(keeper, "worst_data_lag_versions")));
    (void)json_object_set_new(qos, "worst_durability_lag_storage_server", lag(number(keeper, "worst_durability_lag_versions")));
    (void)json_object_set_new(qos, "throttled_tags", throttled_tags(keeper));
    (void)json_object_set_new(qos, "sets_held_back", json_boolean(number(keeper, "hold_sets") != 0));
    return qos;
}

static void say(json_t *messages, const char *name, const char *description)
{
    json_t *message = json_object();

    (void)json_object_set_new(message, "name", json_string(name));
    (void)json_object_set_new(message, "description", json_string(description));
    (void)json_array_append_new(messages, message);
}

static char *address_text(const struct role_status *keeper, const char *ip, const char *port, char out[ADDRESS_TEXT_MAX])
{
    return address_print((struct address){(uint32_t)number(keeper, ip), (uint16_t)number(keeper, port)}, out);
}

void status_qos_messages(const struct status_input *input, json_t *messages)
{
    const struct role_status *keeper = first_of(input, ROLE_RATEKEEPER);
    size_t reason = reason_of(number(keeper, "limit_reason"));
    char text[400], address[ADDRESS_TEXT_MAX];

    if (keeper != NULL && number(keeper, "hold_sets") != 0) {
        snprintf(text, sizeof(text),
                 "Transactions that set anything are held back: the disk of %s has %lld MB left. Clears still commit; "
                 "clear data, give it a larger disk, or add processes.",
                 address_text(keeper, "hold_server_ip", "hold_server_port", address),
                 (long long)number(keeper, "hold_free_bytes") / 1000000);
        say(messages, "sets_held_back", text);
    }
    if (keeper != NULL && reasons[reason].id != 0) {
        snprintf(text, sizeof(text), "The rate of new transactions is limited to %lld a second by %s: %s",
                 (long long)number(keeper, "transactions_per_second_limit"),
                 address_text(keeper, "limit_server_ip", "limit_server_port", address), reasons[reason].description);
        say(messages, "performance_limited", text);
    }
    if (lapsed(input) > 0) {
        snprintf(text, sizeof(text), "%u GRV proxies have no rate from a ratekeeper: they keep the last one for a while, then slow down.",
                 lapsed(input));
        say(messages, "rate_lease_lapsed", text);
    }
}
