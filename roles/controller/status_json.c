/* The status document, in FoundationDB's JSON schema, for what exists here.
 *
 * Roles report numbers by name, and all of them go into the role's object; the few that the document adds up over the cluster are
 * named in the tables below. A process that did not answer is there with what its registration said. */
#include "roles/controller/status.h"
#include "roles/controller/status_qos.h"

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "txn/keys.h"
#include "txn/log_system.h"

/* ---- small helpers ---- */

static void put(json_t *object, const char *key, json_t *value)
{
    (void)json_object_set_new(object, key, value);
}

static void put_int(json_t *object, const char *key, int64_t value)
{
    put(object, key, json_integer(value));
}

static void put_text(json_t *object, const char *key, const char *value)
{
    put(object, key, json_string(value));
}

/* As the shell shows keys. */
static json_t *key_of(struct bytes key)
{
    char printed[512];

    return json_string(bytes_print(key, printed, sizeof(printed)));
}

/* Names may hold any bytes; what is not UTF-8, or holds a zero, which readers of JSON refuse, is shown escaped. */
static json_t *text_of(struct bytes bytes)
{
    json_t *text = NULL;

    if (bytes.len == 0)
        return json_string("");
    if (memchr(bytes.ptr, '\0', bytes.len) == NULL)
        text = json_stringn((const char *)bytes.ptr, bytes.len);
    return text != NULL ? text : key_of(bytes);
}

static json_t *id_of(uint64_t id)
{
    char text[20];

    snprintf(text, sizeof(text), "%016llx", (unsigned long long)id);
    return json_string(text);
}

static json_t *address_of(struct address address)
{
    char text[ADDRESS_TEXT_MAX];

    return json_string(address_print(address, text));
}

static json_t *message_of(const char *name, const char *description)
{
    json_t *message = json_object();

    put_text(message, "name", name);
    put_text(message, "description", description);
    return message;
}

static bool metric_of(const struct role_status *role, const char *name, int64_t *ret_value)
{
    for (uint32_t i = 0; i < role->metrics_count; i++)
        if (bytes_equal(role->metrics[i].name, bytes_of_string(name))) {
            *ret_value = role->metrics[i].value;
            return true;
        }
    return false;
}

/* Over all roles of a kind that answered. */
int64_t status_sum(const struct status_input *input, enum role_kind kind, const char *name)
{
    int64_t sum = 0, value;

    for (uint32_t p = 0; p < input->process_count; p++)
        for (uint32_t r = 0; input->processes[p].reply != NULL && r < input->processes[p].reply->roles_count; r++)
            if (input->processes[p].reply->roles[r].kind == kind &&
                metric_of(&input->processes[p].reply->roles[r], name, &value))
                sum += value;
    return sum;
}

const struct hosted_role *status_hosted(const struct status_input *input, enum role_kind kind, uint64_t id)
{
    for (uint32_t p = 0; p < input->process_count; p++)
        for (uint32_t r = 0; r < input->processes[p].role_count; r++)
            if (input->processes[p].roles[r].kind == kind && input->processes[p].roles[r].id == id &&
                input->processes[p].roles[r].error.len == 0)
                return &input->processes[p].roles[r];
    return NULL;
}

/* ---- processes and machines ---- */

static json_t *role_of(const struct role_status *status)
{
    json_t *role = json_object();
    int64_t version, durable;

    for (uint32_t i = 0; i < status->metrics_count; i++) {
        char name[128];

        snprintf(name, sizeof(name), "%.*s", (int)(status->metrics[i].name.len > 120 ? 120 : status->metrics[i].name.len),
                 (const char *)status->metrics[i].name.ptr);
        put_int(role, name, status->metrics[i].value);
    }
    put_text(role, "role", role_kind_name(status->kind));
    put(role, "id", id_of(status->id));
    if (status->epoch != 0)
        put_int(role, "epoch", (int64_t)status->epoch);
    if (metric_of(status, "version", &version))
        put_int(role, "data_version", version);
    if (metric_of(status, "version", &version) && metric_of(status, "durable_version", &durable)) {
        json_t *lag = json_object();

        put_int(lag, "versions", version - durable);
        put(lag, "seconds", json_real((double)(version - durable) / (double)VERSIONS_PER_SECOND));
        put(role, "durability_lag", lag);
    }
    if (status->has_range) {
        json_t *range = json_object();

        put(range, "begin", key_of(status->range_begin));
        put(range, "end", key_of(status->range_end.len == 0 ? KEY_SYSTEM_END : status->range_end));
        put(role, "key_range", range);
    }
    return role;
}

static json_t *registered_role_of(const struct hosted_role *registered)
{
    json_t *role = json_object();

    put_text(role, "role", role_kind_name(registered->kind));
    put(role, "id", id_of(registered->id));
    if (registered->epoch != 0)
        put_int(role, "epoch", (int64_t)registered->epoch);
    return role;
}

static json_t *roles_of(const struct status_input *input, const struct status_process *process)
{
    json_t *roles = json_array();

    for (uint32_t i = 0; process->reply != NULL && i < process->reply->roles_count; i++) {
        json_t *role = role_of(&process->reply->roles[i]);

        if (process->reply->roles[i].kind == ROLE_STORAGE)
            status_busiest_tags(input, &process->reply->roles[i], role);
        (void)json_array_append_new(roles, role);
    }
    for (uint32_t i = 0; process->reply == NULL && i < process->role_count; i++)
        if (process->roles[i].error.len == 0)
            (void)json_array_append_new(roles, registered_role_of(&process->roles[i]));
    return roles;
}

static json_t *process_messages(const struct status_process *process)
{
    json_t *messages = json_array();
    char text[256];

    if (process->reply == NULL)
        (void)json_array_append_new(messages, message_of("unreachable_process",
                                                         "The process is registered but did not answer in time."));
    for (uint32_t i = 0; i < process->role_count; i++) {
        const struct hosted_role *role = &process->roles[i];

        if (role->error.len == 0)
            continue;
        snprintf(text, sizeof(text), "The %s %016llx ended: %.*s", role_kind_name(role->kind),
                 (unsigned long long)role->id, (int)(role->error.len > 100 ? 100 : role->error.len),
                 (const char *)role->error.ptr);
        (void)json_array_append_new(messages, message_of("role_ended", text));
    }
    return messages;
}

static json_t *locality_of(const struct status_process *process)
{
    json_t *locality = json_object();

    put(locality, "zoneid", text_of(process->zone));
    put(locality, "machineid", text_of(process->machine));
    put(locality, "processid", id_of(process->worker_id));
    if (process->rack.len > 0)
        put(locality, "rack", text_of(process->rack));
    if (process->hall.len > 0)
        put(locality, "data_hall", text_of(process->hall));
    if (process->data_center.len > 0)
        put(locality, "dcid", text_of(process->data_center));
    return locality;
}

static json_t *process_of(const struct status_input *input, const struct status_process *process)
{
    json_t *object = json_object();

    put(object, "address", address_of(process->address));
    put_text(object, "class_type", process_class_name(process->process_class));
    put_text(object, "class_source", process->class_is_set ? "set_class" : "command_line");
    put(object, "command_line", text_of(process->command_line));
    put(object, "version", text_of(process->version_text));
    put(object, "machine_id", text_of(process->machine));
    put(object, "fault_domain", text_of(process->zone));
    put(object, "locality", locality_of(process));
    put_int(object, "pid", (int64_t)process->pid);
    put(object, "excluded", json_boolean(process->excluded));
    put(object, "degraded", json_boolean(process->reply == NULL));
    put(object, "roles", roles_of(input, process));
    put(object, "messages", process_messages(process));
    if (process->reply != NULL) {
        json_t *network = json_object();

        for (uint32_t i = 0; i < process->reply->metrics_count; i++) {
            const struct metric *metric = &process->reply->metrics[i];
            char name[128];

            snprintf(name, sizeof(name), "%.*s", (int)(metric->name.len > 120 ? 120 : metric->name.len),
                     (const char *)metric->name.ptr);
            put_int(network, name, metric->value);
        }
        put(object, "network", network);
    }
    return object;
}

static json_t *processes_of(const struct status_input *input)
{
    json_t *processes = json_object();

    for (uint32_t i = 0; i < input->process_count; i++) {
        char id[20];

        snprintf(id, sizeof(id), "%016llx", (unsigned long long)input->processes[i].worker_id);
        put(processes, id, process_of(input, &input->processes[i]));
    }
    return processes;
}

static json_t *machines_of(const struct status_input *input)
{
    json_t *machines = json_object();

    for (uint32_t i = 0; i < input->process_count; i++) {
        const struct status_process *process = &input->processes[i];
        json_t *name = text_of(process->machine), *machine = json_object_get(machines, json_string_value(name));

        if (machine == NULL) {
            char text[ADDRESS_TEXT_MAX], *colon;

            machine = json_object();
            address_print(process->address, text);
            colon = strrchr(text, ':');
            if (colon != NULL)
                *colon = '\0';
            put_text(machine, "address", text);
            put(machine, "machine_id", json_incref(name));
            put(machine, "excluded", json_true());
            put_int(machine, "contributing_workers", 0);
            put(machines, json_string_value(name), machine);
        }
        if (!process->excluded) /* it is, if all of its processes are */
            put(machine, "excluded", json_false());
        put_int(machine, "contributing_workers", json_integer_value(json_object_get(machine, "contributing_workers")) + 1);
        json_decref(name);
    }
    return machines;
}

/* ---- recovery ---- */

struct stage_words {
    const char *stage, *name, *description;
};

static const struct stage_words *stage_words(const char *stage)
{
    static const struct stage_words words[] = {
        {"LOCK_STATE", "locking_coordinated_state", "Locking the coordinated state for a new epoch."},
        {"STATE_LOCKED", "locking_coordinated_state", "Locking the coordinated state for a new epoch."},
        {"LOCK_LOGS", "locking_old_transaction_servers", "Locking the logs of the last epoch."},
        {"LOAD_METADATA", "reading_transaction_system_state", "Reading the metadata from the logs of the last epoch."},
        {"METADATA_LOADED", "reading_transaction_system_state", "Reading the metadata from the logs of the last epoch."},
        {"RECRUIT", "recruiting_transaction_servers", "Choosing processes for the new epoch."},
        {"RECRUITING", "initializing_transaction_servers", "Starting the roles of the new epoch."},
        {"RECRUITING_PROXIES", "initializing_transaction_servers", "Starting the roles of the new epoch."},
        {"RECOVERY_TXN", "recovery_transaction", "Committing the first transaction of the new epoch."},
        {"TXN_COMMITTED", "recovery_transaction", "Committing the first transaction of the new epoch."},
        {"WRITE_STATE", "writing_coordinated_state", "Writing the coordinated state."},
        {"STATE_WRITTEN", "writing_coordinated_state", "Writing the coordinated state."},
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(words[i].stage, stage) == 0)
            return &words[i];
    return &words[0];
}

static struct stage_words recovery_words(const struct controller *controller)
{
    switch (controller->phase) {
    case CONTROLLER_READING:
        return (struct stage_words){"", "reading_coordinated_state", "Requesting information from the coordinators."};
    case CONTROLLER_NO_DATABASE:
        return (struct stage_words){"", "configuration_never_created",
                                    "There is no database: `configure new` creates one."};
    case CONTROLLER_ADOPTING:
        return (struct stage_words){"", "reading_transaction_system_state",
                                    "A new controller waits for the roles of the living epoch to register."};
    case CONTROLLER_RECOVERING:
        if (controller->recovery != NULL)
            return *stage_words(recovery_stage_name(controller->recovery));
        return (struct stage_words){"", "locking_coordinated_state", "A recovery attempt failed; the next one starts soon."};
    case CONTROLLER_ACCEPTING:
        break;
    }
    if (controller->state.generations_count > 1)
        return (struct stage_words){"", "accepting_commits",
                                    "Commits are accepted; storage servers still drain older generations."};
    return (struct stage_words){"", "fully_recovered", "Recovery complete."};
}

static bool lock_answered(const struct recovery *recovery, uint32_t i)
{
    return recovery->locks[i].ended && recovery->locks[i].error == 0;
}

/* Ids of the logs that a recovery waits for, as one text (waiting_for has their addresses). NULL: it does not wait for logs. */
static json_t *missing_logs(const struct controller *controller)
{
    const struct recovery *recovery = controller->recovery;
    char text[LOGS_MAX * 17 + 1] = "";
    size_t at = 0;

    if (recovery == NULL || recovery->locks == NULL || strcmp(recovery_stage_name(recovery), "LOCK_LOGS") != 0)
        return NULL;
    for (uint32_t i = 0; i < recovery->old->logs_count && at + 18 < sizeof(text); i++)
        if (!lock_answered(recovery, i))
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%016llx", at > 0 ? "," : "",
                                   (unsigned long long)recovery->old->logs[i].endpoint.id);
    return json_string(text);
}

static json_t *recovery_state_of(const struct controller *controller)
{
    struct stage_words words = recovery_words(controller);
    json_t *state = json_object(), *missing = missing_logs(controller);

    put_text(state, "name", words.name);
    put_text(state, "description", words.description);
    put_int(state, "active_generations", controller->state.generations_count);
    put_int(state, "recoveries", (int64_t)controller->recoveries);
    if (controller->recovery_cause != NULL)
        put_text(state, "cause", controller->recovery_cause);
    if (controller->waiting_for[0] != '\0')
        put_text(state, "waiting_for", controller->waiting_for);
    if (missing != NULL)
        put(state, "missing_logs", missing);
    if (controller->phase == CONTROLLER_ACCEPTING)
        put(state, "seconds_since_last_recovered",
            json_real((double)(env_now_us(controller->env) - controller->accepting_since_us) / 1e6));
    return state;
}

/* ---- logs, data ---- */

static json_t *generation_of(const struct status_input *input, const struct generation *generation, bool current)
{
    json_t *object = json_object(), *interfaces = json_array();

    put_int(object, "epoch", (int64_t)generation->epoch);
    put(object, "current", json_boolean(current));
    put_int(object, "begin_version", generation->begin);
    if (generation->end != VERSION_MAX)
        put_int(object, "end_version", generation->end);
    put_int(object, "log_replication_factor", generation->replication);
    put_int(object, "log_fault_tolerance", (int64_t)generation->replication - 1);
    for (uint32_t i = 0; i < generation->logs_count; i++) {
        const struct log_ref *log = &generation->logs[i];
        json_t *interface = json_object();

        put(interface, "id", id_of(log->endpoint.id));
        put(interface, "address", address_of(endpoint_of(&log->endpoint).address));
        put(interface, "healthy", json_boolean(status_hosted(input, ROLE_LOG, log->endpoint.id) != NULL));
        (void)json_array_append_new(interfaces, interface);
    }
    put(object, "log_interfaces", interfaces);
    return object;
}

static json_t *logs_of(const struct status_input *input)
{
    const struct coordinated_state *state = &input->controller->state;
    json_t *logs = json_array();

    for (uint32_t i = state->generations_count; i-- > 0;)
        (void)json_array_append_new(logs, generation_of(input, &state->generations[i], i + 1 == state->generations_count));
    return logs;
}

uint32_t status_missing_servers(const struct status_input *input)
{
    uint32_t missing = 0;

    for (uint32_t i = 0; i < input->controller->server_count; i++)
        missing += status_hosted(input, ROLE_STORAGE, input->controller->servers[i].id) == NULL;
    return missing;
}

/* ---- workload ---- */

struct counter {
    const char *group, *name;
    enum role_kind kind;
    const char *metric;
};

/* Several lines of one name add up. */
static const struct counter counters[] = {
    {"transactions", "started", ROLE_GRV_PROXY, "transactions_started"},
    {"transactions", "committed", ROLE_COMMIT_PROXY, "transactions_committed"},
    {"transactions", "committed", ROLE_COMMIT_PROXY, "commits_committed"},
    {"transactions", "conflicted", ROLE_COMMIT_PROXY, "transactions_conflicted"},
    {"transactions", "conflicted", ROLE_COMMIT_PROXY, "commits_conflicted"},
    {"transactions", "rejected_for_queued_too_long", ROLE_COMMIT_PROXY, "commits_overloaded"},
    {"operations", "writes", ROLE_COMMIT_PROXY, "mutations"},
    {"operations", "reads", ROLE_STORAGE, "finished_queries"},
    {"operations", "location_requests", ROLE_COMMIT_PROXY, "key_location_requests"},
    {"bytes", "written", ROLE_COMMIT_PROXY, "mutation_bytes"},
    {"bytes", "read", ROLE_STORAGE, "bytes_queried"},
    {"keys", "read", ROLE_STORAGE, "keys_queried"},
};

static json_t *child_object(json_t *object, const char *key)
{
    json_t *child = json_object_get(object, key);

    if (child == NULL) {
        child = json_object();
        put(object, key, child);
    }
    return child;
}

enum { COUNTERS = sizeof(counters) / sizeof(counters[0]) };
static_assert((int)COUNTERS <= (int)STATUS_RATES_MAX, "every counter has a rate");

/* Rates are between this status and an earlier one, so that nobody keeps clocks for them. A role that was started anew
 * counts from 0: its rate is then 0, not negative. */
static void move_rates(const struct status_input *input)
{
    struct status_rates *rates = input->rates;
    int64_t past_us = input->now_us - rates->at_us;

    if (rates->at_us != 0 && past_us < RATE_WINDOW_US)
        return;
    for (size_t i = 0; i < COUNTERS; i++) {
        int64_t value = status_sum(input, counters[i].kind, counters[i].metric), more = value - rates->values[i];

        rates->hz[i] = rates->at_us == 0 || more < 0 ? 0 : (double)more * 1e6 / (double)past_us;
        rates->values[i] = value;
    }
    rates->at_us = input->now_us;
}

static json_t *workload_of(const struct status_input *input)
{
    json_t *workload = json_object();

    move_rates(input);
    for (size_t i = 0; i < COUNTERS; i++) {
        json_t *entry = child_object(child_object(workload, counters[i].group), counters[i].name);

        put_int(entry, "counter", json_integer_value(json_object_get(entry, "counter")) +
                                      status_sum(input, counters[i].kind, counters[i].metric));
        put(entry, "hz", json_real(json_number_value(json_object_get(entry, "hz")) + input->rates->hz[i]));
    }
    return workload;
}

/* ---- what an operator has set ---- */

static json_t *excluded_of(const struct controller *controller)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < controller->exclusions.count; i++) {
        const struct exclusion *exclusion = &controller->exclusions.list[i];
        json_t *object = json_object();
        char text[ADDRESS_TEXT_MAX];

        put_text(object, "address", exclusion_print(exclusion->address, text));
        put(object, "failed", json_boolean(exclusion->failed));
        (void)json_array_append_new(list, object);
    }
    return list;
}

static uint32_t roles_of_kind(const struct coordinated_state *state, enum role_kind kind)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < state->roles_count; i++)
        count += state->roles[i].kind == kind;
    return count;
}

/* Which wishes the epoch does not fulfil, and what would. A number that a new database begins with is none. */
static void add_unsatisfied(const struct status_input *input, json_t *messages)
{
    const struct controller *controller = input->controller;
    const struct configuration *c = &controller->configuration;
    const struct generation *newest = controller_newest_generation(&controller->state);
    const struct {
        const char *what, *classes;
        uint32_t usual, wanted, has;
    } wishes[] = {
        {"logs", "log, storage or unset", 3, c->logs, newest == NULL ? c->logs : newest->logs_count},
        {"zones with logs", "log, storage or unset, in other zones", 1, c->replication,
         newest == NULL ? c->replication : newest->replication},
        {"commit proxies", "stateless or unset", 1, c->commit_proxies, roles_of_kind(&controller->state, ROLE_COMMIT_PROXY)},
        {"GRV proxies", "stateless or unset", 1, c->grv_proxies, roles_of_kind(&controller->state, ROLE_GRV_PROXY)},
        {"resolvers", "stateless or unset", 1, c->resolvers, roles_of_kind(&controller->state, ROLE_RESOLVER)},
    };
    char text[256];

    for (size_t i = 0; controller->phase == CONTROLLER_ACCEPTING && i < sizeof(wishes) / sizeof(wishes[0]); i++) {
        if (wishes[i].wanted <= wishes[i].usual || wishes[i].has >= wishes[i].wanted)
            continue;
        snprintf(text, sizeof(text), "The configuration asks for %u %s, but only %u can be had: start more processes of class %s.",
                 wishes[i].wanted, wishes[i].what, wishes[i].has, wishes[i].classes);
        (void)json_array_append_new(messages, message_of("configuration_unsatisfied", text));
    }
}

/* ---- the document ---- */

static json_t *configuration_of(const struct status_input *input)
{
    const struct configuration *c = &input->controller->configuration;
    json_t *configuration = json_object();

    put_int(configuration, "coordinators_count", status_coordinator_count(input));
    put(configuration, "excluded_servers", excluded_of(input->controller));
    if (input->controller->state.written_epoch == 0)
        return configuration;
    put_text(configuration, "redundancy_mode", redundancy_name(c->replication));
    put_text(configuration, "storage_engine", engine_name(c->engine));
    put_int(configuration, "logs", c->logs);
    put_int(configuration, "commit_proxies", c->commit_proxies);
    put_int(configuration, "grv_proxies", c->grv_proxies);
    put_int(configuration, "resolvers", c->resolvers);
    return configuration;
}

/* FoundationDB's names of these messages. They are recruited when commits are accepted: before that nobody misses them. */
static void add_missing_singletons(json_t *messages, const struct controller *controller)
{
    for (int i = 0; i < SINGLETONS; i++) {
        const struct singleton *singleton = &controller->singletons[i];
        bool distributor = singleton->kind == ROLE_DATA_DISTRIBUTOR;

        if (singleton->known.kind != ROLE_NONE || controller->phase != CONTROLLER_ACCEPTING)
            continue;
        (void)json_array_append_new(
            messages, message_of(distributor ? "unreachable_dataDistributor_worker" : "unreachable_ratekeeper_worker",
                                 distributor ? "There is no data distributor: nothing is moved or healed until one is recruited."
                                             : "There is no ratekeeper: GRV proxies go by the last rate until one is recruited."));
    }
}

enum { MISSING_NAMED_MAX = 10 };

/* "2 storage servers of the database are not there: 10.0.0.1:4500, 10.0.0.2:4500." Of many the first are named. */
static const char *say_missing_servers(const struct status_input *input, uint32_t missing, char *text, size_t size)
{
    const struct controller *controller = input->controller;
    uint32_t named = 0;
    size_t at = (size_t)snprintf(text, size, "%u storage server%s of the database %s not there", missing, missing == 1 ? "" : "s",
                                  missing == 1 ? "is" : "are");

    for (uint32_t i = 0; i < controller->server_count && named < MISSING_NAMED_MAX; i++) {
        const struct known_server *server = &controller->servers[i];
        char address[ADDRESS_TEXT_MAX];

        if (server->address.port == 0 || status_hosted(input, ROLE_STORAGE, server->id) != NULL)
            continue;
        at += (size_t)snprintf(text + at, size - at, "%s%s", named++ == 0 ? ": " : ", ", address_print(server->address, address));
    }
    snprintf(text + at, size - at, "%s.", named > 0 && named < missing ? ", .." : "");
    return text;
}

static json_t *messages_of(const struct status_input *input)
{
    json_t *messages = json_array();
    uint32_t silent = 0, missing = status_missing_servers(input);
    char text[600];

    for (uint32_t i = 0; i < input->process_count; i++)
        silent += input->processes[i].reply == NULL;
    if (input->controller->waiting_for[0] != '\0')
        (void)json_array_append_new(messages, message_of("recovery_waiting", input->controller->waiting_for));
    snprintf(text, sizeof(text), "%u registered processes did not answer in time.", silent);
    if (silent > 0)
        (void)json_array_append_new(messages, message_of("unreachable_processes", text));
    if (missing > 0)
        (void)json_array_append_new(messages, message_of("storage_servers_error", say_missing_servers(input, missing, text, sizeof(text))));
    snprintf(text, sizeof(text), "%u of %u coordinators are not there.",
             status_coordinator_count(input) - status_coordinators_here(input), status_coordinator_count(input));
    if (status_coordinators_here(input) < status_coordinator_count(input))
        (void)json_array_append_new(messages, message_of("unreachable_coordinators", text));
    add_missing_singletons(messages, input->controller);
    status_qos_messages(input, messages);
    status_scan_messages(input, messages);
    add_unsatisfied(input, messages);
    return messages;
}

static json_t *lock_state_of(const struct status_input *input)
{
    json_t *lock = json_object();

    put(lock, "locked", json_boolean(status_sum(input, ROLE_SEQUENCER, "locked") != 0));
    return lock;
}

static json_t *cluster_of(const struct status_input *input)
{
    const struct controller *controller = input->controller;
    json_t *cluster = json_object(), *scan;
    char text[40];

    snprintf(text, sizeof(text), "%llx", (unsigned long long)QUOIN_PROTOCOL_VERSION);
    put_text(cluster, "protocol_version", text);
    snprintf(text, sizeof(text), "%016llx%016llx", (unsigned long long)controller->state.cluster_high,
             (unsigned long long)controller->state.cluster_low);
    put_text(cluster, "cluster_id", text);
    put_int(cluster, "generation", (int64_t)controller->state.written_epoch);
    put_int(cluster, "cluster_controller_timestamp", env_wall_us(controller->env) / 1000000);
    put(cluster, "recovery_state", recovery_state_of(controller));
    put(cluster, "database_available", json_boolean(controller->phase == CONTROLLER_ACCEPTING));
    put(cluster, "database_lock_state", lock_state_of(input));
    put(cluster, "configuration", configuration_of(input));
    if (controller->state.written_epoch > 0) {
        put(cluster, "fault_tolerance", status_fault_tolerance(input));
        put(cluster, "data", status_data(input));
        if ((scan = status_scan(input)) != NULL)
            put(cluster, "consistency_scan", scan);
        put(cluster, "full_replication", json_boolean(status_missing_servers(input) == 0));
    }
    put(cluster, "logs", logs_of(input));
    put(cluster, "processes", processes_of(input));
    put(cluster, "machines", machines_of(input));
    put(cluster, "workload", workload_of(input));
    put(cluster, "qos", status_qos(input));
    put(cluster, "messages", messages_of(input));
    put_int(cluster, "degraded_processes", 0);
    put(cluster, "incompatible_connections", json_array());
    return cluster;
}

/* ---- what a client shows without reading the document ---- */

static bool is_of_health(const struct role_status *role, struct bytes name)
{
    static const char *const storage[] = {"durability_lag_versions", "window_bytes", "kvstore_used_bytes", "kvstore_available_bytes", NULL};
    static const char *const logs[] = {"queue_length_bytes", NULL};
    static const char *const keeper[] = {"transactions_per_second_limit", "batch_transactions_per_second_limit", "worst_queue_bytes_storage_server",
                                         "worst_queue_bytes_log_server", "worst_durability_lag_versions", NULL};
    const char *const *names = role->kind == ROLE_STORAGE ? storage : role->kind == ROLE_LOG ? logs : keeper;

    for (; *names != NULL; names++)
        if (bytes_equal(name, bytes_of_string(*names)))
            return true;
    return false;
}

static bool take_health(const struct role_status *role, struct arena *arena, struct role_status *ret)
{
    *ret = (struct role_status){.kind = role->kind, .id = role->id, .epoch = role->epoch};
    ret->metrics = arena_zalloc(arena, (role->metrics_count + 1) * sizeof(*ret->metrics));
    for (uint32_t i = 0; ret->metrics != NULL && i < role->metrics_count; i++) {
        struct metric *metric = &ret->metrics[ret->metrics_count];

        if (!is_of_health(role, role->metrics[i].name))
            continue;
        if (arena_copy(arena, role->metrics[i].name, &metric->name) != 0)
            return false;
        metric->value = role->metrics[i].value;
        ret->metrics_count++;
    }
    return ret->metrics != NULL;
}

void status_health(const struct status_input *input, struct arena *arena, struct get_status_reply *reply)
{
    uint32_t count = 0;

    for (uint32_t p = 0; p < input->process_count; p++)
        count += input->processes[p].reply == NULL ? 0 : input->processes[p].reply->roles_count;
    reply->health = arena_zalloc(arena, (count + 1) * sizeof(*reply->health));
    for (uint32_t p = 0; reply->health != NULL && p < input->process_count; p++)
        for (uint32_t r = 0; input->processes[p].reply != NULL && r < input->processes[p].reply->roles_count; r++) {
            const struct role_status *role = &input->processes[p].reply->roles[r];

            if ((role->kind == ROLE_STORAGE || role->kind == ROLE_LOG || role->kind == ROLE_RATEKEEPER) &&
                take_health(role, arena, &reply->health[reply->health_count]))
                reply->health_count++;
        }
}

struct bytes status_json(const struct status_input *input, struct arena *arena)
{
    json_t *cluster = cluster_of(input);
    size_t len = json_dumpb(cluster, NULL, 0, JSON_COMPACT);
    char *text = len == 0 ? NULL : arena_alloc(arena, len);

    if (text != NULL)
        len = json_dumpb(cluster, text, len, JSON_COMPACT);
    json_decref(cluster);
    return text == NULL ? bytes_none() : bytes_of(text, len);
}
