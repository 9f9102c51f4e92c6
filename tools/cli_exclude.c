/* exclude and include: taking processes out of service, and when it is safe to remove them.
 *
 * An exclusion is a key; the controller gives the process no role any more and the distributor moves its data away. It is safe to
 * remove it when no shard names a storage server on it, no living generation has a log on it, it is no coordinator, and the remaining
 * zones satisfy the replication: checked before the exclusion, and again at each look, for other processes may have gone since. What
 * cannot be seen is never taken for empty: without a word of the generations or of the coordinators nothing is safe. The wait only looks: to
 * interrupt it changes nothing. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "net/error.h"
#include "tools/cli_processes.h"
#include "tools/cli_shell.h"
#include "txn/system_keys.h"

enum { LOOK_INTERVAL_US = 1000000 };

/* What still stands on what an exclusion names. */
struct leaving {
    struct address address; /* port 0: a whole IP */
    bool failed;            /* it counts as lost for good */
    uint32_t servers;       /* storage servers of the database */
    uint64_t shards;        /* that name one of them */
    int64_t bytes;          /* of the shards that they still hold, by their sample; 0 without shards */
    uint32_t logs;          /* of living generations */
    uint32_t others;        /* roles of other kinds, but coordinators: recruited elsewhere as soon as it dies, if not before */
    bool coordinator;
};

struct exclude {
    bool force, failed, no_wait;
    struct leaving *list; /* in the command's arena */
    size_t count;
    struct operator_processes processes;
    const json_t *document; /* borrowed; the newest */
    /* of one look, or of one try of the transaction */
    struct operator_server *servers;
    size_t server_count, server_space;
    uint64_t last_copies; /* shards all copies of which are on what is to count as failed, or dead */
    char unsafe[256];     /* why nothing may be removed, whatever it holds; "": it may */
};

/* ---- words ---- */

static bool add_address(struct cli *cli, struct exclude *exclude, struct bytes word)
{
    struct address address;
    char text[ADDRESS_TEXT_MAX];

    if (!exclusion_parse(word, &address)) {
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "`%s' is not an address of the form IP or IP:PORT", cli_show(cli, word));
        return false;
    }
    if (operator_processes_at(&exclude->processes, address) == NULL && !exclude->force) {
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "there is no process at %s; `status details' shows the addresses. To exclude one "
                 "that is not running: `exclude FORCE %s'", exclusion_print(address, text), text);
        return false;
    }
    exclude->list[exclude->count++] = (struct leaving){.address = address, .failed = exclude->failed};
    return true;
}

static bool read_words(struct cli *cli, struct exclude *exclude)
{
    exclude->list = arena_zalloc(&cli->arena, cli->word_count * sizeof(*exclude->list));
    if (exclude->list == NULL) {
        cli_fail_with(cli, ERROR_OUT_OF_MEMORY);
        return false;
    }
    for (size_t i = 1; i < cli->word_count; i++) { /* options first: they say how addresses are judged */
        exclude->force |= cli_word_is(cli, i, "FORCE");
        exclude->failed |= cli_word_is(cli, i, "failed");
        exclude->no_wait |= cli_word_is(cli, i, "no_wait");
    }
    for (size_t i = 1; i < cli->word_count; i++)
        if (!cli_word_is(cli, i, "FORCE") && !cli_word_is(cli, i, "failed") && !cli_word_is(cli, i, "no_wait") &&
            !add_address(cli, exclude, cli->words[i]))
            return false;
    if (exclude->count == 0)
        cli_usage(cli);
    return exclude->count > 0;
}

static bool is_named(const struct exclude *exclude, struct address address)
{
    for (size_t i = 0; i < exclude->count; i++)
        if (exclusion_means(exclude->list[i].address, address))
            return true;
    return false;
}

/* ---- the database's servers and shards ---- */

static bool lives(const struct exclude *exclude, uint64_t id, struct address address)
{
    const struct operator_process *process = operator_processes_at(&exclude->processes, address);
    char text[20];
    json_t *role;
    size_t index;

    snprintf(text, sizeof(text), "%016" PRIx64, id);
    json_array_foreach(json_object_get(process == NULL ? NULL : process->source, "roles"), index, role)
    {
        const char *its = json_string_value(json_object_get(role, "id"));

        if (its != NULL && strcmp(its, text) == 0)
            return true;
    }
    return false;
}

static int take_server(struct cli *cli, const struct client_pair *pair, void *ctx)
{
    struct exclude *exclude = ctx;
    struct server_value value;
    struct address address;
    uint64_t id;

    if (!system_key_parse_server_list(pair->key, &id) || message_decode(&schema_server_value, pair->value, &cli->arena, &value) != 0)
        return 0;
    if (exclude->server_count == exclude->server_space) {
        size_t space = exclude->server_space == 0 ? 64 : 2 * exclude->server_space;
        struct operator_server *servers = arena_zalloc(&cli->arena, space * sizeof(*servers));

        if (servers == NULL)
            return ERROR_OUT_OF_MEMORY;
        if (exclude->server_count > 0)
            memcpy(servers, exclude->servers, exclude->server_count * sizeof(*servers));
        exclude->servers = servers;
        exclude->server_space = space;
    }
    address = (struct address){value.endpoint.address.ip, value.endpoint.address.port};
    exclude->servers[exclude->server_count++] = (struct operator_server){id, address, lives(exclude, id, address), is_named(exclude, address)};
    return 0;
}

static bool team_names(const struct exclude *exclude, const struct key_servers_value *value, struct address wanted)
{
    for (uint32_t i = 0; i < value->source_count + value->destination_count; i++) {
        const struct operator_server *server =
            operator_server_of(exclude->servers, exclude->server_count,
                               i < value->source_count ? value->source[i] : value->destination[i - value->source_count]);

        if (server != NULL && exclusion_means(wanted, server->address))
            return true;
    }
    return false;
}

static int take_shard(struct cli *cli, const struct client_pair *pair, void *ctx)
{
    struct exclude *exclude = ctx;
    struct key_servers_value value;

    if (key_servers_decode(pair->value, &cli->arena, &value) != 0)
        return 0;
    for (size_t i = 0; i < exclude->count; i++)
        exclude->list[i].shards += team_names(exclude, &value, exclude->list[i].address);
    exclude->last_copies += operator_loses_last_copy(exclude->servers, exclude->server_count, &value);
    return 0;
}

static int read_shards(struct cli *cli, struct transaction *txn, struct exclude *exclude)
{
    int error;

    exclude->server_count = 0;
    exclude->last_copies = 0;
    for (size_t i = 0; i < exclude->count; i++)
        exclude->list[i].servers = 0, exclude->list[i].shards = 0;
    error = cli_read_range(cli, txn, KEY_SERVER_LIST_PREFIX, BYTES_LITERAL("\xff/serverList0"), take_server, exclude);
    if (error == 0)
        error = cli_read_range(cli, txn, KEY_KEY_SERVERS_PREFIX, BYTES_LITERAL("\xff/keyServers0"), take_shard, exclude);
    for (size_t i = 0; i < exclude->count; i++)
        for (size_t s = 0; s < exclude->server_count; s++)
            exclude->list[i].servers += exclusion_means(exclude->list[i].address, exclude->servers[s].address);
    return error;
}

/* ---- the exclusion ---- */

static int mark_excluded(struct cli *cli, const struct client_pair *pair, void *ctx)
{
    struct exclude *exclude = ctx;
    struct exclusion exclusion;

    (void)cli;
    if (!exclusion_key_parse(pair->key, &exclusion))
        return 0;
    operator_processes_exclude(&exclude->processes, exclusion.address);
    return 0;
}

static int refuse_last_copies(struct cli *cli, const struct exclude *exclude)
{
    char answer[64], question[256];

    if (!exclude->failed || exclude->last_copies == 0)
        return 0;
    snprintf(cli->session.why, sizeof(cli->session.why), "the only living copies of %" PRIu64 " shards are there: they would be lost. "
             "`exclude' without `failed' moves them away first", exclude->last_copies);
    if (!exclude->force)
        return ERROR_CLIENT_INVALID_OPERATION;
    snprintf(question, sizeof(question),
             "The only living copies of %" PRIu64 " shards are there, and will be lost for good. Type `lose data' to go on: ",
             exclude->last_copies);
    if (cli->prompts && (!cli_ask(cli, question, answer, sizeof(answer)) || strcmp(answer, "lose data") != 0))
        return ERROR_CLIENT_INVALID_OPERATION;
    cli->session.why[0] = '\0';
    return 0;
}

/* Exclusions that others commit meanwhile conflict: two that suffice one by one need not do so together. */
static int exclude_body(struct cli *cli, struct transaction *txn)
{
    struct exclude *exclude = cli->ctx;
    struct bytes_buffer key = {0};
    struct bytes value;
    bool present;
    int error = cli_read(cli, txn, KEY_MOVE_KEYS_LOCK, &present, &value);

    if (error == 0)
        error = cli_read_range(cli, txn, KEY_EXCLUDED_PREFIX, KEY_EXCLUDED_END, mark_excluded, exclude);
    if (error == 0)
        error = cli_read_range(cli, txn, KEY_FAILED_PREFIX, KEY_FAILED_END, mark_excluded, exclude);
    for (size_t i = 0; i < exclude->count; i++)
        operator_processes_exclude(&exclude->processes, exclude->list[i].address);
    if (error == 0 && !operator_processes_suffice(&exclude->processes, exclude->processes.replication, cli->session.why,
                                             sizeof(cli->session.why)))
        return ERROR_CLIENT_INVALID_OPERATION;
    if (error == 0 && exclude->failed)
        error = read_shards(cli, txn, exclude);
    if (error == 0)
        error = refuse_last_copies(cli, exclude);
    for (size_t i = 0; i < exclude->count && error == 0; i++) {
        key.len = 0;
        error = exclusion_key(&key, exclude->list[i].address, exclude->failed);
        if (error == 0)
            error = transaction_set(txn, bytes_buffer_bytes(&key), bytes_none());
    }
    bytes_buffer_done(&key);
    return error;
}

/* ---- the wait ---- */

static int shards_body(struct cli *cli, struct transaction *txn)
{
    return read_shards(cli, txn, cli->ctx);
}

static void count_addresses(const json_t *list, struct leaving *leaving, uint32_t *count)
{
    struct address address;
    json_t *object;
    size_t index;

    json_array_foreach((json_t *)list, index, object)
    {
        const char *text = json_string_value(json_object_get(object, "address"));

        *count += text != NULL && address_parse(bytes_of_string(text), &address) == 0 && exclusion_means(leaving->address, address);
    }
}

static const json_t *generations_of(const struct exclude *exclude)
{
    return json_object_get(json_object_get(exclude->document, "cluster"), "logs");
}

static const json_t *coordinators_of(const struct exclude *exclude)
{
    return json_object_get(json_object_get(json_object_get(exclude->document, "client"), "coordinators"), "coordinators");
}

/* What the processes that are meant host, by their own words. */
static void count_hosted(const struct exclude *exclude, struct leaving *leaving)
{
    leaving->bytes = 0;
    leaving->others = 0;
    for (size_t i = 0; i < exclude->processes.count; i++) {
        const struct operator_process *process = &exclude->processes.list[i];
        json_t *role;
        size_t index;

        json_array_foreach(exclusion_means(leaving->address, process->address) ? json_object_get(process->source, "roles") : NULL, index, role)
        {
            const char *kind = json_string_value(json_object_get(role, "role"));

            if (kind != NULL && strcmp(kind, "storage") == 0)
                leaving->bytes += leaving->shards == 0 ? 0 : json_integer_value(json_object_get(role, "held_bytes"));
            else if (kind != NULL && strcmp(kind, "log") != 0 && strcmp(kind, "coordinator") != 0)
                leaving->others++;
        }
    }
}

/* Logs of living generations and coordinators, as the status has them. */
static void count_roles(const struct exclude *exclude, struct leaving *leaving)
{
    uint32_t coordinators = 0;
    json_t *generation;
    size_t index;

    leaving->logs = 0;
    json_array_foreach((json_t *)generations_of(exclude), index, generation)
        count_addresses(json_object_get(generation, "log_interfaces"), leaving, &leaving->logs);
    count_addresses(coordinators_of(exclude), leaving, &coordinators);
    leaving->coordinator = coordinators > 0;
    count_hosted(exclude, leaving);
}

static bool is_empty(const struct leaving *leaving)
{
    return leaving->shards == 0 && leaving->logs == 0;
}

/* What holds for all of them. A document without generations comes from a controller that has not read the coordinated state. */
static void judge(struct exclude *exclude)
{
    const char *unknown = json_array_size(generations_of(exclude)) == 0     ? "which logs are in use"
                          : json_array_size(coordinators_of(exclude)) == 0 ? "who the coordinators are"
                                                                          : NULL;

    exclude->unsafe[0] = '\0';
    for (size_t i = 0; i < exclude->count; i++)
        operator_processes_exclude(&exclude->processes, exclude->list[i].address);
    if (unknown != NULL)
        snprintf(exclude->unsafe, sizeof(exclude->unsafe), "nobody can tell now %s", unknown);
    else
        (void)operator_processes_suffice(&exclude->processes, exclude->processes.replication, exclude->unsafe, sizeof(exclude->unsafe));
}

/* One look; false: the command has failed. */
static bool look(struct cli *cli, struct exclude *exclude, json_t **document)
{
    struct operator_processes processes;
    json_t *newer = cli_processes_now(cli, &processes);

    if (newer == NULL)
        return false;
    json_decref(*document);
    exclude->document = *document = newer;
    exclude->processes = processes;
    cli->ctx = exclude;
    cli_fail_with(cli, cli_transact_system(cli, shards_body, NULL));
    for (size_t i = 0; i < exclude->count; i++)
        count_roles(exclude, &exclude->list[i]);
    judge(exclude);
    return cli->error == 0;
}

/* "3 shards (1.5 MB) and 1 log in use" */
static const char *holdings(const struct leaving *leaving, char *text, size_t size)
{
    snprintf(text, size, "%" PRIu64 " shards (%.1f MB) and %u logs in use", leaving->shards, (double)leaving->bytes / 1e6, leaving->logs);
    return text;
}

static void say_progress(struct cli *cli, const struct exclude *exclude, uint64_t *last)
{
    uint64_t now = 0;
    char text[ADDRESS_TEXT_MAX], held[96];

    for (size_t i = 0; i < exclude->count; i++)
        now = now * 31 + exclude->list[i].shards * 1009 + (uint64_t)exclude->list[i].bytes + exclude->list[i].logs + 1;
    if (now == *last)
        return;
    *last = now;
    for (size_t i = 0; i < exclude->count; i++)
        if (!is_empty(&exclude->list[i]))
            cli_say(cli, "  %s  holds %s\n", exclusion_print(exclude->list[i].address, text),
                    holdings(&exclude->list[i], held, sizeof(held)));
    fflush(stdout);
}

static bool all_empty(const struct exclude *exclude)
{
    for (size_t i = 0; i < exclude->count; i++)
        if (!is_empty(&exclude->list[i]))
            return false;
    return true;
}

/* Until the look after next, or Ctrl-C, or the time limit. */
static bool pause(struct cli *cli)
{
    int64_t end_us = env_now_us(cli->session.env) + LOOK_INTERVAL_US;

    while (env_now_us(cli->session.env) < end_us && !cli->session.interrupted)
        cli_session_idle(&cli->session);
    if (cli->session.interrupted)
        cli_fail(cli, ERROR_OPERATION_CANCELLED, "Interrupted: the exclusion stays and goes on; the same command waits again");
    else if (cli->session.deadline_us != 0 && env_now_us(cli->session.env) >= cli->session.deadline_us)
        cli_fail(cli, ERROR_TIMED_OUT, "Not all are empty yet: the exclusion stays and goes on; the same command waits again");
    return cli->error == 0;
}

static bool is_safe(const struct exclude *exclude, const struct leaving *leaving)
{
    return is_empty(leaving) && !leaving->coordinator && exclude->unsafe[0] == '\0';
}

static json_t *state_of(const struct exclude *exclude, const struct leaving *leaving)
{
    char text[ADDRESS_TEXT_MAX];

    return json_pack("{s:s, s:b, s:b, s:I, s:I, s:i, s:b, s:i}", "address", exclusion_print(leaving->address, text), "failed",
                     leaving->failed, "safe_to_remove", is_safe(exclude, leaving), "shards", (json_int_t)leaving->shards, "bytes",
                     (json_int_t)leaving->bytes, "logs", (int)leaving->logs, "coordinator", leaving->coordinator, "other_roles",
                     (int)leaving->others);
}

static void say_state(struct cli *cli, const struct exclude *exclude, const struct leaving *leaving)
{
    char text[ADDRESS_TEXT_MAX], held[96];

    cli_say(cli, "  %s%s  ---- ", exclusion_print(leaving->address, text), leaving->failed ? " (failed)" : "");
    if (!is_empty(leaving))
        cli_say(cli, "still holds %s; it is not safe to remove it yet.\n", holdings(leaving, held, sizeof(held)));
    else if (leaving->coordinator)
        cli_say(cli, "WARNING: it is a coordinator! Change the coordinators before it is removed.\n");
    else if (exclude->unsafe[0] != '\0')
        cli_say(cli, "holds nothing, but it is not safe to remove it: %s.\n", exclude->unsafe);
    else
        cli_say(cli, "Successfully excluded. It is now safe to remove this process from the cluster.\n");
}

static void show_states(struct cli *cli, const struct exclude *exclude)
{
    json_t *list = json_array();

    for (size_t i = 0; i < exclude->count; i++) {
        (void)json_array_append_new(list, state_of(exclude, &exclude->list[i]));
        say_state(cli, exclude, &exclude->list[i]);
    }
    cli_result(cli, "excluded", list);
}

static void show_result(struct cli *cli, const struct exclude *exclude)
{
    bool coordinators = false;

    show_states(cli, exclude);
    for (size_t i = 0; i < exclude->count; i++)
        coordinators |= exclude->list[i].coordinator;
    if (cli->error != 0 || exclude->no_wait)
        return;
    if (coordinators)
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "excluded, but a coordinator is among them: it is not safe to remove all of them");
    else if (exclude->unsafe[0] != '\0')
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "excluded, but it is not safe to remove them: %s", exclude->unsafe);
}

/* ---- exclude ---- */

static int list_one(struct cli *cli, const struct client_pair *pair, void *ctx)
{
    struct exclusion exclusion;
    char text[ADDRESS_TEXT_MAX];

    if (exclusion_key_parse(pair->key, &exclusion))
        (void)json_array_append_new(ctx, json_pack("{s:s, s:b}", "address", exclusion_print(exclusion.address, text), "failed",
                                                   exclusion.failed));
    (void)cli;
    return 0;
}

static int list_body(struct cli *cli, struct transaction *txn)
{
    int error;

    (void)json_array_clear(cli->ctx);
    error = cli_read_range(cli, txn, KEY_EXCLUDED_PREFIX, KEY_EXCLUDED_END, list_one, cli->ctx);
    return error != 0 ? error : cli_read_range(cli, txn, KEY_FAILED_PREFIX, KEY_FAILED_END, list_one, cli->ctx);
}

/* What is excluded, and how far each has come. */
static void show_list(struct cli *cli, const json_t *excluded)
{
    struct exclude exclude = {.list = arena_zalloc(&cli->arena, json_array_size(excluded) * sizeof(*exclude.list))};
    json_t *document = NULL, *one;
    size_t index;

    if (exclude.list == NULL) {
        cli_fail_with(cli, ERROR_OUT_OF_MEMORY);
        return;
    }
    json_array_foreach((json_t *)excluded, index, one)
    {
        struct leaving *leaving = &exclude.list[exclude.count++];

        (void)exclusion_parse(bytes_of_string(json_string_value(json_object_get(one, "address"))), &leaving->address);
        leaving->failed = json_is_true(json_object_get(one, "failed"));
    }
    if (look(cli, &exclude, &document)) {
        cli_say(cli, "There are currently %zu servers or processes being excluded from the database:\n", exclude.count);
        show_states(cli, &exclude);
        cli_say(cli, "To wait until all of some are safe to remove, type `exclude <addresses>'. To return one of these servers to the\n"
                "cluster, type `include <addresses>'.\n");
    }
    json_decref(document);
}

static void list(struct cli *cli)
{
    json_t *excluded = json_array();

    cli->ctx = excluded;
    cli_fail_with(cli, cli_transact_system(cli, list_body, NULL));
    if (cli->error == 0 && json_array_size(excluded) > 0) {
        show_list(cli, excluded);
    } else if (cli->error == 0) {
        cli_say(cli, "There are currently no servers excluded from the database.\n"
                "To learn how to exclude a server, type `help exclude'.\n");
        cli_result(cli, "excluded", json_incref(excluded));
    }
    json_decref(excluded);
}

static void wait_until_empty(struct cli *cli, struct exclude *exclude, json_t **document)
{
    uint64_t last = 0;

    if (!exclude->no_wait)
        cli_say(cli, "Waiting for state to be removed from all excluded servers. This may take a while.\n"
                "(Interrupting this wait with CTRL+C will not cancel the data movement.)\n");
    while (look(cli, exclude, document) && !exclude->no_wait && !all_empty(exclude)) {
        say_progress(cli, exclude, &last);
        if (!pause(cli))
            break;
    }
    show_result(cli, exclude);
}

void cli_exclude(struct cli *cli)
{
    struct exclude exclude = {.count = 0};
    json_t *document;

    if (cli->word_count == 1) {
        list(cli);
        return;
    }
    document = cli_processes_now(cli, &exclude.processes);
    if (document == NULL)
        return;
    exclude.document = document;
    if (read_words(cli, &exclude)) {
        cli->ctx = &exclude;
        cli_fail_with(cli, cli_transact_system(cli, exclude_body, NULL));
        if (cli->error == 0)
            wait_until_empty(cli, &exclude, &document);
    }
    json_decref(document);
}

/* ---- include ---- */

/* An IP includes the processes at it that were excluded one by one. */
static int clear_exclusion(struct transaction *txn, struct address address, bool failed)
{
    struct bytes_buffer key = {0}, end = {0};
    int error = exclusion_key(&key, address, failed);

    if (error == 0)
        error = transaction_clear(txn, bytes_buffer_bytes(&key));
    if (error == 0 && address.port == 0) { /* "ip:" to "ip;" */
        error = bytes_buffer_append(&end, bytes_buffer_bytes(&key));
        if (error == 0)
            error = bytes_buffer_append(&key, BYTES_LITERAL(":"));
        if (error == 0)
            error = bytes_buffer_append(&end, BYTES_LITERAL(";"));
        if (error == 0)
            error = transaction_clear_range(txn, bytes_buffer_bytes(&key), bytes_buffer_bytes(&end));
    }
    bytes_buffer_done(&key);
    bytes_buffer_done(&end);
    return error;
}

static bool is_listed(const json_t *excluded, struct address address)
{
    struct address other;
    json_t *one;
    size_t index;

    json_array_foreach((json_t *)excluded, index, one)
        if (exclusion_parse(bytes_of_string(json_string_value(json_object_get(one, "address"))), &other) &&
            other.ip == address.ip && (address.port == 0 || other.port == address.port))
            return true;
    return false;
}

static int include_body(struct cli *cli, struct transaction *txn)
{
    struct address address;
    struct bytes lock;
    bool present;
    int error = list_body(cli, txn);

    if (error == 0)
        error = cli_read(cli, txn, KEY_MOVE_KEYS_LOCK, &present, &lock);
    if (error == 0 && cli_word_is(cli, 1, "all")) {
        error = transaction_clear_range(txn, KEY_EXCLUDED_PREFIX, KEY_EXCLUDED_END);
        return error != 0 ? error : transaction_clear_range(txn, KEY_FAILED_PREFIX, KEY_FAILED_END);
    }
    for (size_t i = 1; i < cli->word_count && error == 0; i++) {
        if (cli_word_is(cli, i, "failed") || !exclusion_parse(cli->words[i], &address))
            continue;
        if (!is_listed(cli->ctx, address)) {
            snprintf(cli->session.why, sizeof(cli->session.why), "%s is not excluded; `exclude' shows what is",
                     cli_show(cli, cli->words[i]));
            return ERROR_CLIENT_INVALID_OPERATION;
        }
        error = clear_exclusion(txn, address, false);
        if (error == 0)
            error = clear_exclusion(txn, address, true);
    }
    return error;
}

void cli_include(struct cli *cli)
{
    struct address address;

    for (size_t i = 1; i < cli->word_count; i++) {
        if (exclusion_parse(cli->words[i], &address) || cli_word_is(cli, i, "failed") ||
            (i == 1 && cli->word_count == 2 && cli_word_is(cli, 1, "all")))
            continue;
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "`%s' is not an address of the form IP or IP:PORT, nor `all' alone",
                 cli_show(cli, cli->words[i]));
        return;
    }
    cli->ctx = json_array();
    cli_fail_with(cli, cli_transact_system(cli, include_body, NULL));
    json_decref(cli->ctx);
    if (cli->error == 0)
        cli_say(cli, "Included: %s may be given roles and data again.\n", cli_word_is(cli, 1, "all") ? "all processes" : "what was named");
}
