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
