/* The status for people, in fdbcli's layout: from the document alone, taking nothing for granted that it may lack. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "tools/cli_shell.h"

/* ---- looking into a document ---- */

/* By a path of keys, ended by NULL; NULL if something on the way is missing. */
static __attribute__((sentinel)) json_t *find(const json_t *object, ...)
{
    json_t *found = (json_t *)object;
    const char *key;
    va_list keys;

    va_start(keys, object);
    while (found != NULL && (key = va_arg(keys, const char *)) != NULL)
        found = json_object_get(found, key);
    va_end(keys);
    return found;
}

static const char *text_or(const json_t *value, const char *otherwise)
{
    return json_is_string(value) ? json_string_value(value) : otherwise;
}

bool cli_status_is_available(const json_t *document)
{
    return json_is_true(find(document, "client", "database_status", "available", NULL));
}

static void line(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void line(const char *name, const char *format, ...)
{
    va_list args;

    printf("  %-22s - ", name);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

static void line_bytes(const char *name, const json_t *value, const char *after)
{
    double bytes = (double)json_integer_value(value);

    if (!json_is_integer(value))
        line(name, "unknown");
    else if (bytes >= 1e9)
        line(name, "%.1f GB%s", bytes / 1e9, after);
    else
        line(name, "%.0f MB%s", bytes / 1e6, after);
}

/* ---- coordinators and messages ---- */

void cli_print_unreachable(const json_t *document, FILE *out)
{
    json_t *list = find(document, "client", "coordinators", "coordinators", NULL), *coordinator;
    size_t index;

    json_array_foreach(list, index, coordinator)
    {
        if (!json_is_true(json_object_get(coordinator, "reachable")))
            fprintf(out, "  %s  (unreachable: %s)\n", text_or(json_object_get(coordinator, "address"), "?"),
                    text_or(json_object_get(coordinator, "error"), "no answer"));
    }
}

static size_t count_unreachable(const json_t *document)
{
    json_t *list = find(document, "client", "coordinators", "coordinators", NULL), *coordinator;
    size_t index, count = 0;

    json_array_foreach(list, index, coordinator)
        count += !json_is_true(json_object_get(coordinator, "reachable"));
    return count;
}

static void print_coordinators(const json_t *document)
{
    size_t unreachable = count_unreachable(document);

    if (unreachable == 0)
        return;
    if (json_is_true(find(document, "client", "coordinators", "quorum_reachable", NULL)))
        printf("\nCould not communicate with all of the coordinators; %zu did not answer:\n", unreachable);
    else
        printf("\nCould not communicate with a quorum of coordinators; %zu did not answer:\n", unreachable);
    cli_print_unreachable(document, stdout);
}

static void print_messages(const json_t *messages)
{
    json_t *message;
    size_t index;

    json_array_foreach((json_t *)messages, index, message)
    {
        const char *name = text_or(json_object_get(message, "name"), "");

        if (strcmp(name, "quorum_not_reachable") != 0 && strcmp(name, "recovery_waiting") != 0) /* have been shown */
            printf("\n%s\n", text_or(json_object_get(message, "description"), name));
    }
}

/* ---- recovery ---- */

/* The ids are "a,b,c"; where each is stands with its generation. */
static void print_missing_logs(const json_t *cluster, const char *ids)
{
    json_t *generation, *interface;
    size_t g, i;

    json_array_foreach(json_object_get(cluster, "logs"), g, generation)
        json_array_foreach(json_object_get(generation, "log_interfaces"), i, interface)
        {
            const char *id = json_string_value(json_object_get(interface, "id"));

            if (id != NULL && id[0] != '\0' && strstr(ids, id) != NULL)
                printf("    log %s at %s, of epoch %" JSON_INTEGER_FORMAT "\n", id,
                       text_or(json_object_get(interface, "address"), "?"), json_integer_value(json_object_get(generation, "epoch")));
        }
}

static void print_recovery(const json_t *document)
{
    const json_t *cluster = json_object_get(document, "cluster"), *state = json_object_get(cluster, "recovery_state");
    const char *missing = json_string_value(json_object_get(state, "missing_logs"));
    const char *name = text_or(json_object_get(state, "name"), "unknown");

    if (state == NULL || cli_status_is_available(document))
        return;
    if (strcmp(name, "configuration_never_created") == 0) {
        printf("\nThe database has not been created yet; run: configure new <single|double|triple> <lmdb|memory>\n");
        return;
    }
    printf("\nRecovery:\n");
    line("State", "%s", name);
    line("Stage", "%s", text_or(json_object_get(state, "description"), ""));
    if (json_is_string(json_object_get(state, "cause")))
        line("Cause", "%s", json_string_value(json_object_get(state, "cause")));
    if (json_is_string(json_object_get(state, "waiting_for")))
        line("Waiting", "%s", json_string_value(json_object_get(state, "waiting_for")));
    if (missing == NULL || missing[0] == '\0')
        return;
    line("Missing logs", "the wait ends when enough of these answer; start their processes, with their data directories:");
    print_missing_logs(cluster, missing);
}

/* ---- sections ---- */

/* A number that a new database begins with goes without saying, as in fdbcli. */
static void line_desired(const char *name, const json_t *configuration, const char *key, json_int_t usual)
{
    json_t *value = json_object_get(configuration, key);

    if (json_is_integer(value) && json_integer_value(value) != usual)
        line(name, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
}

static void print_configuration(const json_t *document)
{
    const json_t *configuration = find(document, "cluster", "configuration", NULL);
    size_t coordinators = json_array_size(find(document, "client", "coordinators", "coordinators", NULL));

    printf("\nConfiguration:\n");
    line("Redundancy mode", "%s", text_or(json_object_get(configuration, "redundancy_mode"), "unknown"));
    line("Storage engine", "%s", text_or(json_object_get(configuration, "storage_engine"), "unknown"));
    line("Coordinators", "%zu", coordinators);
    if (json_array_size(json_object_get(configuration, "excluded_servers")) > 0)
        line("Exclusions", "%zu (type `exclude' for details)", json_array_size(json_object_get(configuration, "excluded_servers")));
    line_desired("Desired Commit Proxies", configuration, "commit_proxies", 1);
    line_desired("Desired GRV Proxies", configuration, "grv_proxies", 1);
    line_desired("Desired Resolvers", configuration, "resolvers", 1);
    line_desired("Desired Logs", configuration, "logs", 3);
}

static size_t count_zones(const json_t *processes)
{
    json_t *zones = json_object(), *process;
    const char *id;
    size_t count;

    json_object_foreach((json_t *)processes, id, process)
        (void)json_object_set_new(zones, text_or(json_object_get(process, "fault_domain"), ""), json_true());
    count = json_object_size(zones);
    json_decref(zones);
    return count;
}

static void print_fault_tolerance(const json_t *cluster)
{
    json_t *tolerance = json_object_get(cluster, "fault_tolerance");
    int64_t data = json_integer_value(json_object_get(tolerance, "max_zone_failures_without_losing_data"));
    int64_t availability = json_integer_value(json_object_get(tolerance, "max_zone_failures_without_losing_availability"));

    if (tolerance == NULL)
        line("Fault Tolerance", "unknown");
    else if (data == availability)
        line("Fault Tolerance", "%" PRId64 " zones", data);
    else
        line("Fault Tolerance", "%" PRId64 " zones (%" PRId64 " without data loss)", availability, data);
}

static void print_server_time(const json_t *cluster)
{
    json_t *timestamp = json_object_get(cluster, "cluster_controller_timestamp");
    time_t seconds = (time_t)json_integer_value(timestamp);
    struct tm parts;
    char text[40];

    if (json_is_integer(timestamp) && localtime_r(&seconds, &parts) != NULL &&
        strftime(text, sizeof(text), "%m/%d/%y %H:%M:%S", &parts) > 0)
        line("Server time", "%s", text);
}

static void print_cluster(const json_t *cluster)
{
    json_t *processes = json_object_get(cluster, "processes");

    printf("\nCluster:\n");
    line("Quoin processes", "%zu", json_object_size(processes));
    line("Zones", "%zu", count_zones(processes));
    line("Machines", "%zu", json_object_size(json_object_get(cluster, "machines")));
    print_fault_tolerance(cluster);
    print_server_time(cluster);
}

static void print_data(const json_t *cluster)
{
    json_t *data = json_object_get(cluster, "data"), *state = json_object_get(data, "state");
    json_t *moving = json_object_get(data, "moving_data");

    printf("\nData:\n");
    if (data == NULL) {
        line("Replication health", "unknown");
        return;
    }
    if (json_is_true(json_object_get(state, "healthy")))
        line("Replication health", "Healthy%s%s", *text_or(json_object_get(state, "description"), "") == '\0' ? "" : ":",
             text_or(json_object_get(state, "description"), ""));
    else
        line("Replication health", "UNHEALTHY: %s", text_or(json_object_get(state, "description"), "unknown"));
    line("Moving data", "%.3f GB", (double)(json_integer_value(json_object_get(moving, "in_flight_bytes")) +
                                            json_integer_value(json_object_get(moving, "in_queue_bytes"))) / 1e9);
    if (json_object_get(data, "partitions_count") != NULL)
        line("Shards", "%" PRId64, (int64_t)json_integer_value(json_object_get(data, "partitions_count")));
    line_bytes("Sum of key-value sizes", json_object_get(data, "total_kv_size_bytes"), "");
    line_bytes("Disk space used", json_object_get(data, "total_disk_used_bytes"), "");
}

/* The least of a number over all roles of a kind; NULL if none has it. */
static const json_t *least_of(const json_t *cluster, const char *kind, const char *metric)
{
    const json_t *least = NULL, *value;
    json_t *process, *role;
    const char *id;
    size_t index;

    json_object_foreach(json_object_get(cluster, "processes"), id, process)
        json_array_foreach(json_object_get(process, "roles"), index, role)
        {
            value = json_object_get(role, metric);
            if (strcmp(text_or(json_object_get(role, "role"), ""), kind) == 0 && json_is_integer(value) &&
                (least == NULL || json_integer_value(value) < json_integer_value(least)))
                least = value;
        }
    return least;
}

static void print_space(const json_t *cluster)
{
    printf("\nOperating space:\n");
    line_bytes("Storage server", least_of(cluster, "storage", "kvstore_available_bytes"), " free on most full server");
    line_bytes("Log server", least_of(cluster, "log", "queue_disk_available_bytes"), " free on most full server");
}

static void line_rate(const char *name, const json_t *cluster, const json_t *later, double interval_s, const char *group,
                      const char *counter)
{
    json_t *first = find(cluster, "workload", group, counter, "counter", NULL);
    json_t *second = find(later, "workload", group, counter, "counter", NULL);
    json_int_t difference = json_integer_value(second) - json_integer_value(first);

    if (!json_is_integer(first))
        line(name, "unknown");
    else if (!json_is_integer(second) || interval_s <= 0 || difference < 0) /* a role was replaced between the two */
        line(name, "unknown (%" JSON_INTEGER_FORMAT " since the roles began)", json_integer_value(first));
    else
        line(name, "%.0f Hz", (double)difference / interval_s);
}

static void print_workload(const json_t *cluster, const json_t *later, double interval_s)
{
    printf("\nWorkload:\n");
    line_rate("Read rate", cluster, later, interval_s, "operations", "reads");
    line_rate("Write rate", cluster, later, interval_s, "operations", "writes");
    line_rate("Transactions started", cluster, later, interval_s, "transactions", "started");
    line_rate("Transactions committed", cluster, later, interval_s, "transactions", "committed");
    line_rate("Conflict rate", cluster, later, interval_s, "transactions", "conflicted");
}

/* ---- details ---- */

static void print_process(const json_t *process)
{
    json_t *role, *message;
    size_t index;

    printf("  %-22s %-12s zone %s  pid %" JSON_INTEGER_FORMAT " ", text_or(json_object_get(process, "address"), "?"),
           text_or(json_object_get(process, "class_type"), "?"), text_or(json_object_get(process, "fault_domain"), "?"),
           json_integer_value(json_object_get(process, "pid")));
    if (json_is_true(json_object_get(process, "excluded")))
        printf(" (excluded)");
    json_array_foreach(json_object_get(process, "roles"), index, role)
        printf(" %s", text_or(json_object_get(role, "role"), "?"));
    json_array_foreach(json_object_get(process, "messages"), index, message)
        printf("  (%s)", text_or(json_object_get(message, "description"), ""));
    putchar('\n');
}

/* What each resolver holds: said once ranges can move, that is where there are several. */
static void print_resolvers(const json_t *cluster)
{
    json_t *process, *role;
    const char *id;
    size_t index;
    bool any = false;

    json_object_foreach(json_object_get(cluster, "processes"), id, process)
        json_array_foreach(json_object_get(process, "roles"), index, role) {
            json_t *range = json_object_get(role, "key_range");

            if (range == NULL || strcmp(text_or(json_object_get(role, "role"), ""), "resolver") != 0)
                continue;
            if (!any)
                printf("\nResolvers:\n");
            any = true;
            printf("  %-22s %8" JSON_INTEGER_FORMAT " ranges/s  `%s' to `%s'\n", text_or(json_object_get(process, "address"), "?"),
                   json_integer_value(json_object_get(role, "conflict_ranges_per_s")), text_or(json_object_get(range, "begin"), ""),
                   text_or(json_object_get(range, "end"), ""));
        }
}

/* In order of their addresses: the document has them by id. */
static void print_processes(const json_t *cluster)
{
    json_t *processes = json_object_get(cluster, "processes"), *process, *next;
    const char *id, *last = "";

    printf("\nProcess details:\n");
    for (;;) {
        const char *least = NULL;

        next = NULL;
        json_object_foreach(processes, id, process)
        {
            const char *address = text_or(json_object_get(process, "address"), "?");

            if (strcmp(address, last) > 0 && (least == NULL || strcmp(address, least) < 0)) {
                least = address;
                next = process;
            }
        }
        if (next == NULL)
            return;
        print_process(next);
        last = least;
    }
}

/* ---- the whole ---- */

void cli_print_status(const json_t *document, const json_t *later, double interval_s, bool details)
{
    const json_t *cluster = json_object_get(document, "cluster");

    printf("Using cluster file `%s'.\n", text_or(find(document, "client", "cluster_file", "path", NULL), "?"));
    print_coordinators(document);
    print_messages(find(document, "client", "messages", NULL));
    if (json_object_get(cluster, "processes") == NULL) { /* the controller did not answer */
        printf("\n");
        return;
    }
    print_recovery(document);
    print_messages(json_object_get(cluster, "messages"));
    print_configuration(document);
    print_cluster(cluster);
    if (json_object_get(cluster, "data") != NULL) {
        print_data(cluster);
        print_space(cluster);
        print_workload(cluster, json_object_get(later, "cluster"), interval_s);
    }
    if (json_is_true(find(cluster, "database_lock_state", "locked", NULL)))
        printf("\nThe database is locked.\n");
    if (details) {
        print_resolvers(cluster);
        print_processes(cluster);
    }
    printf("\n");
}
