/* The "data" part of a status: is all of it there, how often, and what is on its way.
 *
 * The data distributor knows; what it knows comes as numbers of its role. While there is none (or it has not looked yet), the storage
 * servers that are not there are all that can be counted. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "roles/controller/status.h"

struct state {
    const char *name;
    bool healthy;
    char description[256];
    int64_t replicas;
};

static void put(json_t *object, const char *key, json_t *value)
{
    (void)json_object_set_new(object, key, value);
}

static void put_int(json_t *object, const char *key, int64_t value)
{
    put(object, key, json_integer(value));
}

static int64_t told(const struct status_input *input, const char *name)
{
    return status_sum(input, ROLE_DATA_DISTRIBUTOR, name);
}

bool status_distributor_knows(const struct status_input *input)
{
    return told(input, "enabled") > 0 && told(input, "initialized") > 0;
}

int64_t status_replicas_min(const struct status_input *input)
{
    int64_t replication = input->controller->configuration.replication, missing = status_missing_servers(input);
    int64_t counted = missing >= replication ? 0 : replication - missing;

    return status_distributor_knows(input) ? told(input, "min_replicas_remaining") : counted;
}

/* The configuration's, not the distributor's: it looks again a moment after a change, and until then would call healthy what has just begun to lack copies. */
static int64_t replicas_wanted(const struct status_input *input)
{
    return input->controller->configuration.replication;
}

/* What keeps the copies from being made, if something does. */
static void add_reason(const struct status_input *input, struct state *state)
{
    size_t used = strlen(state->description);
    int64_t zones = told(input, "storage_zones"), wanted = replicas_wanted(input);

    if (told(input, "switched_off") > 0)
        snprintf(state->description + used, sizeof(state->description) - used, " Nothing is moved: data distribution is off (datadistribution on).");
    else if (told(input, "shards_stuck") > 0 && zones < wanted)
        snprintf(state->description + used, sizeof(state->description) - used,
                 " %" PRId64 " shards wait for another zone: storage servers that may hold data are in %" PRId64 " zones, and %" PRId64
                 " are needed.",
                 told(input, "shards_stuck"), zones, wanted);
    else if (told(input, "shards_stuck") > 0)
        snprintf(state->description + used, sizeof(state->description) - used,
                 " %" PRId64 " shards have no place to go to: servers are full, or do not answer.", told(input, "shards_stuck"));
}

static void judge_by_distributor(const struct status_input *input, struct state *state)
{
    int64_t wanted = replicas_wanted(input);

    if (told(input, "shards_missing") > 0) {
        state->name = "missing_data";
        snprintf(state->description, sizeof(state->description),
                 "No replicas remain of some data: %" PRId64 " shards. Start the storage servers that had it again, if their disks are whole.",
                 told(input, "shards_missing"));
    } else if (state->replicas < wanted) {
        state->name = "healing";
        if (state->replicas == 0)
            snprintf(state->description, sizeof(state->description), "No replica of some data answers.");
        else
            snprintf(state->description, sizeof(state->description), "Only %" PRId64 " of %" PRId64 " replicas remain of some data.",
                     state->replicas, wanted);
    } else if (told(input, "shards_waiting") > 0) {
        state->healthy = true;
        state->name = "healthy_removing_server";
    } else {
        state->healthy = true;
        state->name = told(input, "resizes_in_flight") > 0 ? "healthy_repartitioning"
                      : told(input, "moves_in_flight") > 0 ? "healthy_rebalancing"
                                                           : "healthy";
    }
    add_reason(input, state);
}

static void judge_by_count(const struct status_input *input, struct state *state)
{
    state->healthy = status_missing_servers(input) == 0;
    state->name = state->healthy ? "healthy" : "healing";
    if (!state->healthy)
        snprintf(state->description, sizeof(state->description), "Some storage servers are not there.");
}

static json_t *state_of(const struct state *state)
{
    json_t *object = json_object();

    put(object, "healthy", json_boolean(state->healthy));
    put(object, "name", json_string(state->name));
    put(object, "description", json_string(state->description));
    put_int(object, "min_replicas_remaining", state->replicas);
    return object;
}

static json_t *team_trackers_of(const struct status_input *input, const struct state *state)
{
    json_t *trackers = json_array(), *tracker = json_object();

    put(tracker, "primary", json_true());
    put_int(tracker, "in_flight_bytes", told(input, "in_flight_bytes"));
    put_int(tracker, "unhealthy_servers", status_missing_servers(input));
    put(tracker, "state", state_of(state));
    (void)json_array_append_new(trackers, tracker);
    return trackers;
}

json_t *status_data(const struct status_input *input)
{
    uint32_t replication = input->controller->configuration.replication;
    int64_t stored = status_sum(input, ROLE_STORAGE, "stored_bytes");
    struct state state = {.replicas = status_replicas_min(input)};
    bool knows = status_distributor_knows(input);
    json_t *data = json_object(), *moving = json_object();

    if (knows)
        judge_by_distributor(input, &state);
    else
        judge_by_count(input, &state);
    put(data, "state", state_of(&state));
    put(data, "team_trackers", team_trackers_of(input, &state));
    put_int(data, "total_kv_size_bytes", replication == 0 ? stored : stored / replication);
    put_int(data, "total_disk_used_bytes",
            status_sum(input, ROLE_STORAGE, "kvstore_used_bytes") + status_sum(input, ROLE_LOG, "queue_disk_used_bytes"));
    put_int(data, "partitions_count", knows ? told(input, "partitions_count") : status_sum(input, ROLE_COMMIT_PROXY, "shards"));
    put_int(data, "average_partition_size_bytes",
            knows && told(input, "partitions_count") > 0 ? told(input, "total_kv_size_bytes") / told(input, "partitions_count") : 0);
    put_int(moving, "in_flight_bytes", told(input, "in_flight_bytes"));
    put_int(moving, "in_queue_bytes", told(input, "in_queue_bytes"));
    put_int(moving, "total_written_bytes", told(input, "total_written_bytes"));
    put(data, "moving_data", moving);
    return data;
}
