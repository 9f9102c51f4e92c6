/* The commands on keys and transactions. Outside of begin .. commit each is a transaction of its own, tried again as
 * on_error says until it succeeds or the time-out ends it. Wording as fdbcli's. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/error.h"
#include "net/mem.h"
#include "tools/cli.h"
#include "txn/client/include/quoin/quoin.h"

#define LOCK_KEY "\xff/dbLocked"

/* ---- transactions ---- */

static int end_of(struct quoin_future *future)
{
    int error = quoin_future_block_until_ready(future);

    if (error == 0)
        error = quoin_future_get_error(future);
    return error;
}

static int finish(struct quoin_future *future)
{
    int error = end_of(future);

    quoin_future_destroy(future);
    return error;
}

static void set_number(struct quoin_transaction *transaction, int option, int64_t number)
{
    uint8_t value[8];

    put_le64(value, (uint64_t)number);
    quoin_transaction_set_option(transaction, option, value, sizeof(value));
}

static void set_options(struct cli *cli, struct quoin_transaction *transaction)
{
    if (cli->timeout_ms > 0)
        set_number(transaction, QUOIN_OPTION_TIMEOUT, cli->timeout_ms);
    if (cli->lock_aware)
        quoin_transaction_set_option(transaction, QUOIN_OPTION_LOCK_AWARE, NULL, 0);
    if (cli->access_system_keys)
        quoin_transaction_set_option(transaction, QUOIN_OPTION_ACCESS_SYSTEM_KEYS, NULL, 0);
}

static int fail(struct cli *cli, int error)
{
    char why[900] = "";

    if (error == ERROR_TRANSACTION_TIMED_OUT || error == ERROR_TIMED_OUT)
        quoin_database_explain(cli->db, why, sizeof(why));
    return cli_fail(cli, error, "%s (%d)%s%s", error_text(error), error, why[0] != '\0' ? ": " : "", why);
}

struct run {
    struct cli *cli;
    struct cli_word *words;
    int count;
    bool writes;
    int (*body)(struct quoin_transaction *transaction, struct run *run);
    int64_t number;
};

/* In the transaction of begin, or in one of its own, again and again. */
static int run(struct run *run)
{
    struct cli *cli = run->cli;
    struct quoin_transaction *transaction = cli->transaction;
    int error;

    if (transaction != NULL) {
        error = run->body(transaction, run);
        return error == 0 ? 0 : fail(cli, error);
    }
    error = quoin_transaction_create(cli->db, &transaction);
    if (error != 0)
        return fail(cli, error);
    do {
        set_options(cli, transaction);
        error = run->body(transaction, run);
        if (error == 0 && run->writes)
            error = finish(quoin_transaction_commit(transaction));
        if (error == 0)
            break;
        error = finish(quoin_transaction_on_error(transaction, error));
    } while (error == 0);
    if (error == 0 && run->writes) {
        int64_t version = -1;

        quoin_transaction_get_committed_version(transaction, &version);
        cli_print(cli, "Committed (%" PRId64 ")\n", version);
        cli->result = json_pack("{s:I}", "version", (json_int_t)version);
    }
    quoin_transaction_destroy(transaction);
    return error == 0 ? 0 : fail(cli, error);
}

static int check_writable(struct cli *cli)
{
    if (cli->write_mode)
        return 0;
    return cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "writemode must be enabled to set or clear keys in the database.");
}

/* ---- keys ---- */

static int get_body(struct quoin_transaction *transaction, struct run *run)
{
    struct bytes key = run->words[1].bytes;
    struct quoin_future *future = quoin_transaction_get(transaction, key.ptr, (int)key.len, false);
    struct bytes_buffer shown = {0}, shown_value = {0};
    const uint8_t *value;
    bool present;
    int length, error = end_of(future);

    if (error == 0)
        error = quoin_future_get_value(future, &present, &value, &length);
    if (error == 0 && present) {
        cli_print(run->cli, "`%s' is `%s'\n", cli_show(key, &shown), cli_show(bytes_of(value, (size_t)length), &shown_value));
        run->cli->result = json_pack("{s:o, s:o, s:b}", "key", cli_json_bytes(key), "value",
                                     cli_json_bytes(bytes_of(value, (size_t)length)), "present", 1);
    } else if (error == 0) {
        cli_print(run->cli, "`%s': not found\n", cli_show(key, &shown));
        run->cli->result = json_pack("{s:o, s:n, s:b}", "key", cli_json_bytes(key), "value", "present", 0);
    }
    bytes_buffer_done(&shown);
    bytes_buffer_done(&shown_value);
    quoin_future_destroy(future);
    return error;
}

static int cli_get(struct cli *cli, struct cli_word *words, int count)
{
    struct run get = {cli, words, count, false, get_body, 0};

    return run(&get);
}

static int set_body(struct quoin_transaction *transaction, struct run *run)
{
    struct bytes key = run->words[1].bytes, value = run->words[2].bytes;

    return quoin_transaction_set(transaction, key.ptr, (int)key.len, value.ptr, (int)value.len);
}

static int cli_set(struct cli *cli, struct cli_word *words, int count)
{
    struct run set = {cli, words, count, true, set_body, 0};
    int error = check_writable(cli);

    return error != 0 ? error : run(&set);
}

static int clear_body(struct quoin_transaction *transaction, struct run *run)
{
    struct bytes key = run->words[1].bytes;

    return quoin_transaction_clear(transaction, key.ptr, (int)key.len);
}

static int cli_clear(struct cli *cli, struct cli_word *words, int count)
{
    struct run clear = {cli, words, count, true, clear_body, 0};
    int error = check_writable(cli);

    return error != 0 ? error : run(&clear);
}

static int clearrange_body(struct quoin_transaction *transaction, struct run *run)
{
    struct bytes begin = run->words[1].bytes, end = run->words[2].bytes;

    return quoin_transaction_clear_range(transaction, begin.ptr, (int)begin.len, end.ptr, (int)end.len);
}

static int cli_clearrange(struct cli *cli, struct cli_word *words, int count)
{
    struct run clear = {cli, words, count, true, clearrange_body, 0};
    int error = check_writable(cli);

    return error != 0 ? error : run(&clear);
}

static void show_pair(struct cli *cli, json_t *list, const struct quoin_pair *pair)
{
    struct bytes key = bytes_of(pair->key, (size_t)pair->key_length), value = bytes_of(pair->value, (size_t)pair->value_length);
    struct bytes_buffer shown = {0}, shown_value = {0};

    cli_print(cli, "`%s' is `%s'\n", cli_show(key, &shown), cli_show(value, &shown_value));
    json_array_append_new(list, json_pack("{s:o, s:o}", "key", cli_json_bytes(key), "value", cli_json_bytes(value)));
    bytes_buffer_done(&shown);
    bytes_buffer_done(&shown_value);
}

static int getrange_body(struct quoin_transaction *transaction, struct run *run)
{
    struct bytes begin = run->words[1].bytes, end = run->count > 2 ? run->words[2].bytes : BYTES_LITERAL("\xff");
    struct quoin_range_options options = {.limit = (int)run->number, .mode = QUOIN_MODE_EXACT};
    struct quoin_future *future =
        quoin_transaction_get_range(transaction, QUOIN_FIRST_AT_OR_AFTER(begin.ptr, (int)begin.len),
                                    QUOIN_FIRST_AT_OR_AFTER(end.ptr, (int)end.len), options);
    const struct quoin_pair *pairs;
    bool more;
    int count, error = end_of(future);

    if (error == 0)
        error = quoin_future_get_range(future, &pairs, &count, &more);
    if (error == 0) {
        json_t *list = json_array();

        cli_print(run->cli, "\nRange limited to %" PRId64 " keys\n", run->number);
        for (int i = 0; i < count; i++)
            show_pair(run->cli, list, &pairs[i]);
        cli_print(run->cli, "\n");
        run->cli->result = json_pack("{s:o, s:b}", "pairs", list, "more", more);
    }
    quoin_future_destroy(future);
    return error;
}

static int cli_getrange(struct cli *cli, struct cli_word *words, int count)
{
    struct run get = {cli, words, count, false, getrange_body, 25};

    if (count > 3) {
        char *end;

        get.number = strtoll((const char *)words[3].bytes.ptr, &end, 10);
        if (*end != '\0' || get.number < 1 || get.number > 1000000)
            return cli_fail(cli, ERROR_RANGE_LIMITS_INVALID, "bad limit (1 to 1000000)");
    }
    return run(&get);
}

/* ---- transactions of several commands ---- */

static int cli_begin(struct cli *cli, struct cli_word *words, int count)
{
    int error;

    (void)words, (void)count;
    if (cli->transaction != NULL)
        return cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "Already in transaction");
    error = quoin_transaction_create(cli->db, &cli->transaction);
    if (error != 0)
        return fail(cli, error);
    set_options(cli, cli->transaction);
    cli_print(cli, "Transaction started\n");
    return 0;
}

static int cli_commit(struct cli *cli, struct cli_word *words, int count)
{
    int64_t version = -1;
    int error;

    (void)words, (void)count;
    if (cli->transaction == NULL)
        return cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "No active transaction");
    error = finish(quoin_transaction_commit(cli->transaction));
    quoin_transaction_get_committed_version(cli->transaction, &version);
    quoin_transaction_destroy(cli->transaction);
    cli->transaction = NULL;
    if (error != 0)
        return fail(cli, error);
    if (version == -1)
        cli_print(cli, "Transaction committed (nothing was written)\n");
    else
        cli_print(cli, "Committed (%" PRId64 ")\n", version);
    cli->result = json_pack("{s:I}", "version", (json_int_t)version);
    return 0;
}

static int cli_rollback(struct cli *cli, struct cli_word *words, int count)
{
    (void)words, (void)count;
    if (cli->transaction == NULL)
        return cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "No active transaction");
    quoin_transaction_destroy(cli->transaction);
    cli->transaction = NULL;
    cli_print(cli, "Transaction rolled back\n");
    return 0;
}

static int getversion_body(struct quoin_transaction *transaction, struct run *run)
{
    struct quoin_future *future = quoin_transaction_get_read_version(transaction);
    int error = end_of(future);

    if (error == 0)
        error = quoin_future_get_int64(future, &run->number);
    quoin_future_destroy(future);
    return error;
}

static int cli_getversion(struct cli *cli, struct cli_word *words, int count)
{
    struct run get = {cli, words, count, false, getversion_body, 0};
    int error = run(&get);

    if (error != 0)
        return error;
    cli_print(cli, "%" PRId64 "\n", get.number);
    cli->result = json_pack("{s:I}", "version", (json_int_t)get.number);
    return 0;
}

/* ---- modes ---- */

static int cli_writemode(struct cli *cli, struct cli_word *words, int count)
{
    (void)count;
    if (!cli_word_is(&words[1], "on") && !cli_word_is(&words[1], "off"))
        return cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "usage: writemode <on|off>");
    cli->write_mode = cli_word_is(&words[1], "on");
    return 0;
}

static int cli_option(struct cli *cli, struct cli_word *words, int count)
{
    bool on;

    if (count == 1) {
        cli_print(cli, "lock_aware %s\naccess_system_keys %s\n", cli->lock_aware ? "on" : "off",
                  cli->access_system_keys ? "on" : "off");
        cli->result = json_pack("{s:b, s:b}", "lock_aware", cli->lock_aware, "access_system_keys", cli->access_system_keys);
        return 0;
    }
    if (count < 3 || (!cli_word_is(&words[1], "on") && !cli_word_is(&words[1], "off")))
        return cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "usage: option [<on|off> <lock_aware|access_system_keys>]");
    on = cli_word_is(&words[1], "on");
    if (cli_word_is(&words[2], "lock_aware"))
        cli->lock_aware = on;
    else if (cli_word_is(&words[2], "access_system_keys"))
        cli->access_system_keys = on;
    else
        return cli_fail(cli, ERROR_INVALID_OPTION, "unknown option '%.*s'", (int)words[2].bytes.len,
                        (const char *)words[2].bytes.ptr);
    if (cli->transaction != NULL)
        set_options(cli, cli->transaction);
    return 0;
}

/* ---- the lock ---- */

static int lock_body(struct quoin_transaction *transaction, struct run *run)
{
    bool lock = run->number != 0, present;
    uint8_t id[16];
    struct quoin_future *future;
    const uint8_t *value;
    int length, error;

    quoin_transaction_set_option(transaction, QUOIN_OPTION_LOCK_AWARE, NULL, 0);
    quoin_transaction_set_option(transaction, QUOIN_OPTION_ACCESS_SYSTEM_KEYS, NULL, 0);
    future = quoin_transaction_get(transaction, LOCK_KEY, sizeof(LOCK_KEY) - 1, false);
    error = end_of(future);
    if (error == 0)
        error = quoin_future_get_value(future, &present, &value, &length);
    quoin_future_destroy(future);
    if (error != 0)
        return error;
    if (lock && present)
        return ERROR_DATABASE_LOCKED;
    arc4random_buf(id, sizeof(id));
    return lock ? quoin_transaction_set(transaction, LOCK_KEY, sizeof(LOCK_KEY) - 1, id, sizeof(id))
                : quoin_transaction_clear(transaction, LOCK_KEY, sizeof(LOCK_KEY) - 1);
}

static int cli_lock(struct cli *cli, struct cli_word *words, int count)
{
    struct run lock = {cli, words, count, true, lock_body, 1};
    int error;

    if (cli->transaction != NULL)
        return cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "not within a transaction");
    error = run(&lock);
    if (error == 0)
        cli_print(cli, "Database locked.\n");
    return error;
}

static int cli_unlock(struct cli *cli, struct cli_word *words, int count)
{
    struct run lock = {cli, words, count, true, lock_body, 0};
    int error;

    if (cli->transaction != NULL)
        return cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "not within a transaction");
    error = run(&lock);
    if (error == 0)
        cli_print(cli, "Database unlocked.\n");
    return error;
}

/* ---- help ---- */

static int cli_help(struct cli *cli, struct cli_word *words, int count)
{
    bool found = count < 2;

    for (const struct cli_command *command = cli_commands; command->name != NULL; command++) {
        if (count < 2)
            cli_print(cli, "  %-14s %s\n", command->name, command->help);
        else if (cli_word_is(&words[1], command->name)) {
            cli_print(cli, "%s\n\n%s\n", command->usage, command->help);
            found = true;
        }
    }
    if (!found)
        return cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "no help for '%.*s'", (int)words[1].bytes.len,
                        (const char *)words[1].bytes.ptr);
    if (count < 2)
        cli_print(cli, "\nKeys and values: \\xNN for any byte, \"...\" around spaces, \\\\ for a backslash.\n");
    return 0;
}

static int cli_exit(struct cli *cli, struct cli_word *words, int count)
{
    (void)words, (void)count;
    cli->quit = true;
    return 0;
}

const struct cli_command cli_commands[] = {
    {"begin", 0, 0, cli_begin, "begin", "begin a new transaction"},
    {"clear", 1, 1, cli_clear, "clear <KEY>", "clear a key from the database"},
    {"clearrange", 2, 2, cli_clearrange, "clearrange <BEGINKEY> <ENDKEY>", "clear a range of keys from the database"},
    {"commit", 0, 0, cli_commit, "commit", "commit the current transaction"},
    {"configure", 1, 8, cli_configure, "configure new <single|double|triple> <lmdb|memory>", "create the database"},
    {"exit", 0, 0, cli_exit, "exit", "exit the CLI"},
    {"get", 1, 1, cli_get, "get <KEY>", "fetch the value for a given key"},
    {"getrange", 1, 3, cli_getrange, "getrange <BEGINKEY> [ENDKEY] [LIMIT]", "fetch key/value pairs in a range of keys"},
    {"getversion", 0, 0, cli_getversion, "getversion", "fetch the current read version"},
    {"help", 0, 1, cli_help, "help [COMMAND]", "get help about a command"},
    {"kill", 0, 30, cli_kill, "kill [all|ADDRESS...]", "list processes, or end some (their supervisor starts them again)"},
    {"lock", 0, 0, cli_lock, "lock", "lock the database"},
    {"option", 0, 2, cli_option, "option [<on|off> <lock_aware|access_system_keys>]", "enable or disable an option"},
    {"quit", 0, 0, cli_exit, "quit", "exit the CLI"},
    {"rollback", 0, 0, cli_rollback, "rollback", "roll back the current transaction"},
    {"set", 2, 2, cli_set, "set <KEY> <VALUE>", "set a value for a given key"},
    {"status", 0, 1, cli_status, "status [minimal|details|json]", "get the status of a cluster"},
    {"unlock", 0, 0, cli_unlock, "unlock", "unlock the database"},
    {"writemode", 1, 1, cli_writemode, "writemode <on|off>", "enables or disables sets and clears"},
    {NULL, 0, 0, NULL, NULL, NULL},
};
