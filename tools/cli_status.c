/* status, kill and configure: what the shell asks of the controller. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "net/error.h"
#include "tools/cli.h"
#include "txn/system_keys.h"

/* ---- the document ---- */

static json_t *coordinators_json(struct cli *cli, uint32_t *ret_reachable, uint32_t *ret_count)
{
    struct client_coordinator list[CLUSTER_FILE_COORDINATORS_MAX];
    uint32_t count = quoin_admin_coordinators(cli->db, list);
    json_t *array = json_array();
    char address[ADDRESS_TEXT_MAX];

    *ret_reachable = 0;
    *ret_count = count;
    for (uint32_t i = 0; i < count; i++) {
        bool reachable = list[i].asked && list[i].error == 0;

        *ret_reachable += reachable;
        json_array_append_new(array, json_pack("{s:s, s:b, s:s}", "address", address_print(list[i].address, address), "reachable",
                                               reachable, "protocol", "0000000000000000"));
    }
    return json_pack("{s:o, s:b}", "coordinators", array, "quorum_reachable", *ret_reachable > count / 2);
}

static json_t *message_json(const char *name, const char *description)
{
    return json_pack("{s:s, s:s}", "name", name, "description", description);
}

static bool is_healthy(const json_t *cluster)
{
    const json_t *data = json_object_get(json_object_get(cluster, "data"), "state");

    return json_is_true(json_object_get(data, "healthy"));
}

static json_t *client_json(struct cli *cli, const json_t *cluster, const char *why)
{
    json_t *messages = json_array();
    uint32_t reachable, count;
    json_t *coordinators = coordinators_json(cli, &reachable, &count);
    bool available = json_is_true(json_object_get(json_object_get(cluster, "database_available"), "x"));

    available = json_is_true(json_object_get(cluster, "database_available"));
    if (reachable <= count / 2)
        json_array_append_new(messages, message_json("quorum_not_reachable", "Unable to reach a quorum of coordinators."));
    if (why[0] != '\0')
        json_array_append_new(messages, message_json("unreachable_cluster_controller", why));
    return json_pack("{s:o, s:{s:s, s:b}, s:{s:b, s:b}, s:o}", "coordinators", coordinators, "cluster_file", "path",
                     quoin_database_cluster_file(cli->db), "up_to_date", 1, "database_status", "available", available, "healthy",
                     available && is_healthy(cluster), "messages", messages);
}

/* The whole document; the cluster part is an empty object when the controller can't be reached. */
static json_t *fetch(struct cli *cli)
{
    struct bytes_buffer text = {0};
    json_t *cluster = NULL;
    char why[900] = "";
    json_t *client;

    if (quoin_admin_status(cli->db, &text, cli_timeout_us(cli)) == 0) {
        json_error_t ignored;

        cluster = json_loadb((const char *)text.ptr, text.len, 0, &ignored);
        if (cluster != NULL && json_object_get(cluster, "cluster") != NULL) { /* a whole document */
            json_t *inner = json_incref(json_object_get(cluster, "cluster"));

            json_decref(cluster);
            cluster = inner;
        }
    }
    bytes_buffer_done(&text);
    if (cluster == NULL)
        quoin_database_explain(cli->db, why, sizeof(why));
    if (cluster == NULL && why[0] == '\0')
        snprintf(why, sizeof(why), "the cluster controller does not answer");
    if (cluster == NULL)
        cluster = json_object();
    client = client_json(cli, cluster, why);
    if (why[0] != '\0')
        cli_fail(cli, ERROR_TIMED_OUT, "%s", why);
    return json_pack("{s:o, s:o}", "client", client, "cluster", cluster);
}

/* ---- for people ---- */

static const char *text_at(const json_t *object, const char *key, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : otherwise;
}

static void print_configuration(struct cli *cli, const json_t *cluster)
{
    const json_t *configuration = json_object_get(cluster, "configuration");

    cli_print(cli, "Configuration:\n");
    cli_print(cli, "  Redundancy mode        - %s\n",
              text_at(json_object_get(configuration, "redundancy"), "factor", text_at(configuration, "redundancy_mode", "unknown")));
    cli_print(cli, "  Storage engine         - %s\n", text_at(configuration, "storage_engine", "unknown"));
    cli_print(cli, "  Coordinators           - %" JSON_INTEGER_FORMAT "\n",
              json_integer_value(json_object_get(configuration, "coordinators_count")));
}

static void print_cluster(struct cli *cli, const json_t *cluster)
{
    const json_t *recovery = json_object_get(cluster, "recovery_state");

    cli_print(cli, "\nCluster:\n");
    cli_print(cli, "  Quoin processes        - %zu\n", json_object_size(json_object_get(cluster, "processes")));
    cli_print(cli, "  Zones                  - %zu\n", json_object_size(json_object_get(cluster, "machines")));
    cli_print(cli, "  Recovery state         - %s\n", text_at(recovery, "name", "unknown"));
    if (json_object_get(recovery, "description") != NULL)
        cli_print(cli, "  Recovery               - %s\n", text_at(recovery, "description", ""));
    cli_print(cli, "  Generation             - %" JSON_INTEGER_FORMAT "\n", json_integer_value(json_object_get(cluster, "generation")));
}

static void print_data(struct cli *cli, const json_t *cluster)
{
    const json_t *data = json_object_get(cluster, "data"), *state = json_object_get(data, "state");
    const json_t *faults = json_object_get(cluster, "fault_tolerance");

    cli_print(cli, "\nData:\n");
    cli_print(cli, "  Replication health     - %s\n",
              json_is_true(json_object_get(state, "healthy")) ? "Healthy" : text_at(state, "description", "unknown"));
    if (faults != NULL)
        cli_print(cli, "  Fault Tolerance        - %" JSON_INTEGER_FORMAT " zones\n",
                  json_integer_value(json_object_get(faults, "max_zone_failures_without_losing_availability")));
    cli_print(cli, "  Database               - %s\n",
              json_is_true(json_object_get(cluster, "database_available")) ? "available" : "unavailable");
    cli_print(cli, "  Lock                   - %s\n",
              json_is_true(json_object_get(json_object_get(cluster, "database_lock_state"), "locked")) ? "locked" : "unlocked");
}

static void print_processes(struct cli *cli, const json_t *cluster)
{
    const char *id;
    json_t *process;

    cli_print(cli, "\nProcess performance details:\n");
    json_object_foreach(json_object_get(cluster, "processes"), id, process) {
        const json_t *roles = json_object_get(process, "roles");

        cli_print(cli, "  %-22s %-12s", text_at(process, "address", id), text_at(process, "class_type", ""));
        for (size_t i = 0; i < json_array_size(roles); i++)
            cli_print(cli, " %s", text_at(json_array_get(roles, i), "role", ""));
        cli_print(cli, "\n");
    }
}

static void print_coordinators(struct cli *cli, const json_t *document)
{
    const json_t *list = json_object_get(json_object_get(json_object_get(document, "client"), "coordinators"), "coordinators");

    for (size_t i = 0; i < json_array_size(list); i++)
        cli_print(cli, "  %s  (%s)\n", text_at(json_array_get(list, i), "address", ""),
                  json_is_true(json_object_get(json_array_get(list, i), "reachable")) ? "reachable" : "unreachable");
}

static void print_document(struct cli *cli, const json_t *document, const char *level)
{
    const json_t *cluster = json_object_get(document, "cluster");
    bool available = json_is_true(json_object_get(cluster, "database_available"));

    if (strcmp(level, "minimal") == 0) {
        cli_print(cli, "The database is %s.\n", available ? "available" : "unavailable");
        return;
    }
    cli_print(cli, "Using cluster file `%s'.\n\n", quoin_database_cluster_file(cli->db));
    if (json_object_size(cluster) == 0) {
        cli_print(cli, "Could not communicate with a quorum of coordination servers:\n");
        print_coordinators(cli, document);
        return;
    }
    print_configuration(cli, cluster);
    print_cluster(cli, cluster);
    print_data(cli, cluster);
    if (strcmp(level, "details") == 0) {
        print_processes(cli, cluster);
        cli_print(cli, "\nCoordination servers:\n");
        print_coordinators(cli, document);
    }
}

int cli_status(struct cli *cli, struct cli_word *words, int count)
{
    char level[16] = "";
    json_t *document;

    if (count > 1)
        snprintf(level, sizeof(level), "%.*s", (int)words[1].bytes.len, (const char *)words[1].bytes.ptr);
    if (level[0] != '\0' && strcmp(level, "minimal") != 0 && strcmp(level, "details") != 0 && strcmp(level, "json") != 0)
        return cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "usage: status [minimal|details|json]");
    document = fetch(cli);
    if (strcmp(level, "json") == 0 && !cli->json) {
        char *text = json_dumps(document, JSON_INDENT(2));

        cli_print(cli, "%s\n", text);
        free(text);
    } else if (!cli->json) {
        print_document(cli, document, level);
    }
    cli->result = document;
    return cli->error;
}

/* ---- kill ---- */

static int kill_one(struct cli *cli, const char *text)
{
    struct address address;
    int error;

    if (address_parse(bytes_of_string(text), &address) != 0)
        return cli_fail(cli, ERROR_ADDRESS_PARSE_ERROR, "'%s' is not ip:port", text);
    error = quoin_admin_reboot(cli->db, address, cli_timeout_us(cli));
    if (error != 0)
        return cli_fail(cli, error, "%s: %s", text, error_text(error));
    json_array_append_new(cli->result, json_string(text));
    return 0;
}

static int each_process(struct cli *cli, int (*each)(struct cli *cli, const char *address))
{
    json_t *document = fetch(cli);
    const char *id;
    json_t *process;

    json_object_foreach(json_object_get(json_object_get(document, "cluster"), "processes"), id, process)
        if (cli->error == 0)
            each(cli, text_at(process, "address", id));
    json_decref(document);
    return cli->error;
}

static int show_one(struct cli *cli, const char *address)
{
    cli_print(cli, "%s\n", address);
    json_array_append_new(cli->result, json_string(address));
    return 0;
}

int cli_kill(struct cli *cli, struct cli_word *words, int count)
{
    char text[64];
    int killed;

    cli->result = json_array();
    if (count == 1)
        return each_process(cli, show_one);
    if (count == 2 && cli_word_is(&words[1], "all")) {
        each_process(cli, kill_one);
    } else {
        for (int i = 1; i < count && cli->error == 0; i++) {
            snprintf(text, sizeof(text), "%.*s", (int)words[i].bytes.len, (const char *)words[i].bytes.ptr);
            kill_one(cli, text);
        }
    }
    killed = (int)json_array_size(cli->result);
    if (cli->error == 0)
        cli_print(cli, "Attempted to kill %d processes\n", killed);
    return cli->error;
}

/* ---- configure ---- */

int cli_configure(struct cli *cli, struct cli_word *words, int count)
{
    uint32_t redundancy = 0, engine = 0;
    bool fresh = false;
    char why[900];
    int error;

    for (int i = 1; i < count; i++) {
        uint32_t r = redundancy_parse(words[i].bytes), e = engine_parse(words[i].bytes);

        if (cli_word_is(&words[i], "new"))
            fresh = true;
        else if (r != 0)
            redundancy = r;
        else if (e != 0)
            engine = e;
        else
            return cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "configure: unknown word '%.*s'", (int)words[i].bytes.len,
                            (const char *)words[i].bytes.ptr);
    }
    if (!fresh || redundancy == 0 || engine == 0)
        return cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "usage: configure new <single|double|triple> <lmdb|memory>");
    error = quoin_admin_configure(cli->db, redundancy, engine, cli_timeout_us(cli));
    if (error == ERROR_TIMED_OUT) {
        quoin_database_explain(cli->db, why, sizeof(why));
        return cli_fail(cli, error, "the database was not created in time%s%s", why[0] != '\0' ? ": " : "", why);
    }
    if (error == ERROR_CLIENT_INVALID_OPERATION)
        return cli_fail(cli, error, "Database already exists! To change configuration, don't say `new'");
    if (error == ERROR_INVALID_CLUSTER_ID)
        return cli_fail(cli, error, "the coordinators belong to different clusters");
    if (error != 0)
        return cli_fail(cli, error, "%s", error_text(error));
    cli_print(cli, "Database created\n");
    return 0;
}
