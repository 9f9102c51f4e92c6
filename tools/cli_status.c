/* The status document: what the coordinators say of themselves, and what the controller says of the cluster. It needs neither a
 * transaction system nor a database, and says what it has within two seconds, whoever is dead. */
#include <stdio.h>

#include "net/error.h"
#include "tools/cli_shell.h"

enum { PROBE_LIMIT_US = 700000, STATUS_LIMIT_US = 1100000, RATE_INTERVAL_US = 250000, RATE_BUDGET_US = 1200000 };

static void put(json_t *object, const char *key, json_t *value)
{
    (void)json_object_set_new(object, key, value);
}

static void add_message(json_t *messages, const char *name, const char *description)
{
    json_t *message = json_object();

    put(message, "name", json_string(name));
    put(message, "description", json_string(description));
    (void)json_array_append_new(messages, message);
}

/* ---- the client's part ---- */

static json_t *coordinator_of(const struct cli_coordinator *coordinator)
{
    json_t *object = json_object();
    char text[ADDRESS_TEXT_MAX];

    put(object, "address", json_string(address_print(coordinator->address, text)));
    put(object, "reachable", json_boolean(coordinator->error == 0));
    if (coordinator->error != 0)
        put(object, "error", json_string(cli_unreachable(coordinator->error)));
    return object;
}

static json_t *coordinators_of(struct cli *cli, const struct cli_coordinator *coordinators, uint32_t *ret_reachable)
{
    json_t *object = json_object(), *list = json_array();
    uint32_t count = cli->session.file.coordinator_count, reachable = 0;

    for (uint32_t i = 0; i < count; i++) {
        reachable += coordinators[i].error == 0;
        (void)json_array_append_new(list, coordinator_of(&coordinators[i]));
    }
    put(object, "coordinators", list);
    put(object, "quorum_reachable", json_boolean(reachable > count / 2));
    *ret_reachable = reachable;
    return object;
}

static bool have_two_clusters(struct cli *cli, const struct cli_coordinator *coordinators)
{
    for (uint32_t i = 0; i < cli->session.file.coordinator_count; i++) {
        if (coordinators[i].error == ERROR_INVALID_CLUSTER_ID)
            return true;
        for (uint32_t j = 0; j < i; j++)
            if (!uid_is_none(coordinators[i].cluster_id) && !uid_is_none(coordinators[j].cluster_id) &&
                !uid_equal(coordinators[i].cluster_id, coordinators[j].cluster_id))
                return true;
    }
    return false;
}

static bool has_cluster(struct cli *cli, const struct cli_coordinator *coordinators)
{
    for (uint32_t i = 0; i < cli->session.file.coordinator_count; i++)
        if (!uid_is_none(coordinators[i].cluster_id))
            return true;
    return false;
}

static bool is_up_to_date(struct cli *cli, const struct cli_coordinator *coordinators)
{
    for (uint32_t i = 0; i < cli->session.file.coordinator_count; i++)
        if (coordinators[i].error == 0 && coordinators[i].other_set)
            return false;
    return true;
}

static json_t *messages_of(struct cli *cli, const struct cli_coordinator *coordinators, uint32_t reachable, bool controller)
{
    json_t *messages = json_array();
    uint32_t count = cli->session.file.coordinator_count;

    if (reachable <= count / 2)
        add_message(messages, "quorum_not_reachable", "Unable to reach a quorum of coordinators.");
    if (have_two_clusters(cli, coordinators))
        add_message(messages, "wrong_cluster_id", "Wrong cluster id: the coordinators belong to different clusters.");
    if (!is_up_to_date(cli, coordinators))
        add_message(messages, "inconsistent_cluster_file", "The coordinators know another set of coordinators than the cluster file.");
    if (reachable > count / 2 && !has_cluster(cli, coordinators))
        add_message(messages, "no_database", "The database has not been created yet; run: configure new "
                                             "<single|double|triple> <lmdb|memory>");
    else if (reachable > count / 2 && !controller)
        add_message(messages, "unreachable_cluster_controller", "No response received from the cluster controller.");
    return messages;
}

static json_t *client_of(struct cli *cli, const struct cli_coordinator *coordinators, const json_t *cluster, bool *ret_quorum)
{
    json_t *client = json_object(), *file = json_object(), *status = json_object();
    const json_t *data = json_object_get(cluster, "data");
    uint32_t reachable;

    put(client, "coordinators", coordinators_of(cli, coordinators, &reachable));
    *ret_quorum = reachable > cli->session.file.coordinator_count / 2;
    put(file, "path", json_string(cli->session.path));
    put(file, "up_to_date", json_boolean(is_up_to_date(cli, coordinators)));
    put(client, "cluster_file", file);
    put(status, "available", json_boolean(json_is_true(json_object_get(cluster, "database_available"))));
    put(status, "healthy", json_boolean(json_is_true(json_object_get(cluster, "database_available")) &&
                                        json_is_true(json_object_get(json_object_get(data, "state"), "healthy"))));
    put(client, "database_status", status);
    put(client, "messages", messages_of(cli, coordinators, reachable, cluster != NULL));
    put(client, "timestamp", json_integer(env_wall_us(cli->session.env) / 1000000));
    return client;
}

/* ---- the whole ---- */

/* The user's own limit may be shorter. */
static int64_t limited(struct cli *cli, int64_t limit_us)
{
    int64_t left_us = cli->session.deadline_us - env_now_us(cli->session.env);

    if (cli->session.deadline_us == 0 || left_us > limit_us)
        return limit_us;
    return left_us > 0 ? left_us : 0;
}

static json_t *ask_controller(struct cli *cli)
{
    struct bytes_buffer text = {0};
    json_t *cluster = NULL;

    if (cli_session_status(&cli->session, limited(cli, STATUS_LIMIT_US), &text) == 0)
        cluster = json_loadb((const char *)text.ptr, text.len, 0, NULL);
    bytes_buffer_done(&text);
    if (cluster != NULL && !json_is_object(cluster)) {
        json_decref(cluster);
        cluster = NULL;
    }
    return cluster;
}

json_t *cli_status_document(struct cli *cli, bool *ret_quorum)
{
    struct cli_coordinator coordinators[CLUSTER_FILE_COORDINATORS_MAX];
    json_t *document = json_object(), *cluster = NULL;
    bool worth_asking = false;

    cli_session_probe(&cli->session, limited(cli, PROBE_LIMIT_US), coordinators);
    for (uint32_t i = 0; i < cli->session.file.coordinator_count; i++)
        worth_asking |= coordinators[i].error == 0 && !uid_is_none(coordinators[i].cluster_id);
    if (worth_asking && !cli->session.interrupted)
        cluster = ask_controller(cli);
    put(document, "client", client_of(cli, coordinators, cluster, ret_quorum));
    put(document, "cluster", cluster != NULL ? cluster : json_pack("{s:[]}", "messages"));
    cli->session.why[0] = '\0';
    return document;
}

/* A second look, for rates: only when the first one came quickly. */
static json_t *look_again(struct cli *cli, const json_t *document, int64_t began_us)
{
    json_t *cluster, *later;

    if (json_object_get(json_object_get(document, "cluster"), "workload") == NULL ||
        env_now_us(cli->session.env) - began_us > RATE_BUDGET_US - RATE_INTERVAL_US)
        return NULL;
    for (int64_t end_us = env_now_us(cli->session.env) + RATE_INTERVAL_US; env_now_us(cli->session.env) < end_us;)
        cli_session_idle(&cli->session);
    cluster = ask_controller(cli);
    if (cluster == NULL)
        return NULL;
    later = json_object();
    put(later, "cluster", cluster);
    return later;
}

/* Without a quorum there is no cluster: scripts should notice. */
static void fail_unreachable(struct cli *cli, const json_t *document)
{
    const json_t *list = json_object_get(json_object_get(json_object_get(document, "client"), "coordinators"), "coordinators");
    char text[CLI_WHY_MAX] = "";
    size_t index, at = 0;
    json_t *coordinator;

    json_array_foreach((json_t *)list, index, coordinator)
    {
        if (json_is_true(json_object_get(coordinator, "reachable")) || at >= sizeof(text))
            continue;
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s: %s", at > 0 ? "; " : "",
                               json_string_value(json_object_get(coordinator, "address")),
                               json_string_value(json_object_get(coordinator, "error")));
    }
    cli_fail(cli, ERROR_TIMED_OUT, "Unable to reach a quorum of coordinators: %s", text);
}

static void say_whether_available(const json_t *document)
{
    printf("%s\n", cli_status_is_available(document) ? "The database is available."
                                                     : "The database is unavailable; type `status' for more information.");
}

void cli_status_minimal(struct cli *cli)
{
    bool quorum;
    json_t *document = cli_status_document(cli, &quorum);

    say_whether_available(document);
    json_decref(document);
}

static void show(struct cli *cli, const json_t *document, int64_t began_us)
{
    if (cli_word_is(cli, 1, "json")) {
        (void)json_dumpf(document, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
        putchar('\n');
    } else if (cli_word_is(cli, 1, "minimal")) {
        say_whether_available(document);
    } else {
        int64_t first_us = env_now_us(cli->session.env);
        json_t *later = look_again(cli, document, began_us);

        cli_print_status(document, later, (double)(env_now_us(cli->session.env) - first_us) / 1e6, cli_word_is(cli, 1, "details"));
        json_decref(later);
    }
}

void cli_status(struct cli *cli)
{
    int64_t began_us = env_now_us(cli->session.env);
    json_t *document;
    bool quorum;

    if (cli->word_count == 2 && !cli_word_is(cli, 1, "minimal") && !cli_word_is(cli, 1, "details") && !cli_word_is(cli, 1, "json")) {
        cli_usage(cli);
        return;
    }
    document = cli_status_document(cli, &quorum);
    if (!cli->json)
        show(cli, document, began_us);
    if (!quorum)
        fail_unreachable(cli, document);
    cli->result = document;
}
