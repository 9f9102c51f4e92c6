/* configure: creates the database of a new cluster, and changes what it is made of.
 *
 * A change is a transaction on \xff/conf/. What the cluster could not be made of is refused here, by the processes that the status
 * names: a change that can't be satisfied would make the next recovery wait. */
#include <stdio.h>

#include "net/error.h"
#include "tools/cli_processes.h"
#include "tools/cli_shell.h"
#include "txn/client/include/quoin/quoin.h"
#include "txn/system_keys.h"

enum { COUNT_MAX = 64 };

enum { LOGS, COMMIT_PROXIES, GRV_PROXIES, RESOLVERS, COUNTS };
static const struct {
    const char *name, *key;
} counts[COUNTS] = {
    [LOGS] = {"logs", "\xff/conf/logs"},
    [COMMIT_PROXIES] = {"commit_proxies", "\xff/conf/commit_proxies"},
    [GRV_PROXIES] = {"grv_proxies", "\xff/conf/grv_proxies"},
    [RESOLVERS] = {"resolvers", "\xff/conf/resolvers"},
};

/* What the words ask for; 0: nothing of it. */
struct wanted {
    bool new, force;
    uint32_t redundancy, engine;
    int64_t counts[COUNTS];
};

/* ---- words ---- */

/* The names that FoundationDB's scripts use mean the engine that keeps its data on disk. */
static uint32_t engine_of(struct bytes word)
{
    static const char *const more_lmdb[] = {"ssd-1", "ssd-rocksdb-v1"}, *const more_memory[] = {"memory-1", "memory-2"};

    for (size_t i = 0; i < 2; i++) {
        if (bytes_equal(word, bytes_of_string(more_lmdb[i])))
            return ENGINE_LMDB;
        if (bytes_equal(word, bytes_of_string(more_memory[i])))
            return ENGINE_MEMORY;
    }
    return engine_parse(word);
}

static bool read_count(struct cli *cli, struct bytes word, struct wanted *wanted)
{
    const uint8_t *sign = memchr(word.ptr, '=', word.len);
    struct bytes name = bytes_of(word.ptr, (size_t)(sign - word.ptr)), number = bytes_of(sign + 1, word.len - name.len - 1);

    for (int i = 0; i < COUNTS; i++) {
        if (!bytes_equal(name, bytes_of_string(counts[i].name)))
            continue;
        if (cli_parse_number(number, 1, COUNT_MAX, &wanted->counts[i]))
            return true;
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "configure: %s is a number from 1 to %d, not `%s'", counts[i].name, COUNT_MAX,
                 cli_show(cli, number));
        return false;
    }
    cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "configure: `%s' can't be set; logs, commit_proxies, grv_proxies and resolvers can; copies and engine "
             "are words alone: `configure double lmdb'", cli_show(cli, name));
    return false;
}

static bool read_words(struct cli *cli, struct wanted *ret)
{
    for (size_t i = 1; i < cli->word_count; i++) {
        struct bytes word = cli->words[i];

        if (cli_word_is(cli, i, "new"))
            ret->new = true;
        else if (cli_word_is(cli, i, "FORCE"))
            ret->force = true;
        else if (redundancy_parse(word) != 0)
            ret->redundancy = redundancy_parse(word);
        else if (engine_of(word) != 0)
            ret->engine = engine_of(word);
        else if (memchr(word.ptr, '=', word.len) != NULL) {
            if (!read_count(cli, word, ret))
                return false;
        } else {
            cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "configure: `%s' is not `new', a redundancy mode (single, double, triple), "
                     "a storage engine (lmdb, memory) or a number as in logs=3", cli_show(cli, word));
            return false;
        }
    }
    return true;
}

/* ---- a new database ---- */

static void create_database(struct cli *cli, const struct wanted *wanted)
{
    struct client_configure configure = {.redundancy = 0};
    int error;

    cli_session_begin(&cli->session, &configure.call);
    client_configure_start(&configure, NULL, cli->session.client, wanted->redundancy, wanted->engine);
    error = cli_session_wait(&cli->session, &configure.call, false);
    if (error == ERROR_CLIENT_INVALID_OPERATION)
        cli_fail(cli, error, "Database already exists; `configure new' creates the first one");
    else if (error == ERROR_INVALID_CLUSTER_ID && cli->session.why[0] == '\0')
        cli_fail(cli, error, "Wrong cluster id: the coordinators in %s belong to different clusters", cli->session.path);
    else
        cli_fail_with(cli, error);
    if (cli->error == 0)
        cli_say(cli, "Database created\n");
}

/* ---- a change ---- */

static int64_t count_or(const struct wanted *wanted, int which, uint32_t otherwise)
{
    return wanted->counts[which] != 0 ? wanted->counts[which] : otherwise;
}

/* Each of them is recruited once, wherever; more than one of a kind only for processes that have no other role of the epoch. */
static bool stateless_fit(struct cli *cli, const struct operator_processes *processes, const struct wanted *wanted)
{
    int64_t roles = 1 + count_or(wanted, COMMIT_PROXIES, processes->commit_proxies) +
                    count_or(wanted, GRV_PROXIES, processes->grv_proxies) + count_or(wanted, RESOLVERS, processes->resolvers);
    bool more = wanted->counts[COMMIT_PROXIES] > processes->commit_proxies || wanted->counts[GRV_PROXIES] > processes->grv_proxies ||
                wanted->counts[RESOLVERS] > processes->resolvers;
    size_t places = operator_processes_places(processes, ROLE_SEQUENCER);

    if (!more || roles <= (int64_t)places)
        return true;
    cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION,
             "sequencer, commit proxies, GRV proxies and resolvers would be %d, and there are %zu processes for them; start more of class stateless, ask for fewer, or say `configure FORCE ...' to have what fits until more come",
             (int)roles, places);
    return false;
}

/* Fewer than asked for do no harm: the rest comes when there are processes. So FORCE takes it. */
static bool are_enough(struct cli *cli, const struct operator_processes *processes, const struct wanted *wanted)
{
    size_t logs = operator_processes_places(processes, ROLE_LOG);
    char why[512];

    if (wanted->redundancy != 0 && !operator_processes_suffice(processes, wanted->redundancy, why, sizeof(why))) {
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "%s", why);
        return false;
    }
    if (wanted->force)
        return true;
    if (wanted->counts[LOGS] > (int64_t)logs) {
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION,
                 "logs=%d needs as many processes of class log or unset, and there are %zu; start more, ask for fewer, or say `configure FORCE ...' to have what fits until more come", (int)wanted->counts[LOGS], logs);
        return false;
    }
    return stateless_fit(cli, processes, wanted);
}

static int change_body(struct cli *cli, struct transaction *txn)
{
    const struct wanted *wanted = cli->ctx;
    char number[8];
    int error = 0;

    if (wanted->redundancy != 0)
        error = transaction_set(txn, KEY_CONF_REDUNDANCY, bytes_of_string(redundancy_name(wanted->redundancy)));
    if (error == 0 && wanted->engine != 0)
        error = transaction_set(txn, KEY_CONF_ENGINE, bytes_of_string(engine_name(wanted->engine)));
    for (int i = 0; i < COUNTS && error == 0; i++) {
        if (wanted->counts[i] == 0)
            continue;
        snprintf(number, sizeof(number), "%d", (int)wanted->counts[i]);
        error = transaction_set(txn, bytes_of_string(counts[i].key), bytes_of_string(number));
    }
    return error;
}

static void change(struct cli *cli, struct wanted *wanted)
{
    struct operator_processes processes;
    json_t *document = cli_processes_now(cli, &processes);

    if (document == NULL)
        return;
    if (processes.replication == 0)
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "There is no database to configure; `configure new <single|double|triple> "
                 "<lmdb|memory>' creates it");
    else if (are_enough(cli, &processes, wanted)) {
        cli->ctx = wanted;
        cli_fail_with(cli, cli_transact_system(cli, change_body, NULL));
        if (cli->error == 0)
            cli_say(cli, "Configuration changed\n");
    }
    json_decref(document);
}

void cli_configure(struct cli *cli)
{
    struct wanted wanted = {.redundancy = 0};
    bool counted = false;

    if (!read_words(cli, &wanted))
        return;
    for (int i = 0; i < COUNTS; i++)
        counted |= wanted.counts[i] != 0;
    if (wanted.new ? wanted.redundancy == 0 || wanted.engine == 0 || counted
                   : wanted.redundancy == 0 && wanted.engine == 0 && !counted)
        cli_usage(cli);
    else if (wanted.new)
        create_database(cli, &wanted);
    else
        change(cli, &wanted);
}
