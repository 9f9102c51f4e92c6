/* What an operator sets for processes and for the data distributor: classes, maintenance of a zone, whether data is moved. */
#include <inttypes.h>
#include <stdio.h>

#include "net/error.h"
#include "tools/cli_processes.h"
#include "tools/cli_shell.h"

json_t *cli_processes_now(struct cli *cli, struct operator_processes *ret)
{
    bool quorum;
    json_t *document = cli_status_document(cli, &quorum);

    if (cli_processes_read(document, &cli->arena, ret))
        return document;
    cli_fail(cli, ERROR_TIMED_OUT, "The cluster controller can't be reached, so its processes are not known; see `status'");
    json_decref(document);
    return NULL;
}

/* ---- setclass ---- */

static void list_classes(struct cli *cli, const struct operator_processes *processes)
{
    json_t *list = json_array();
    char text[ADDRESS_TEXT_MAX];

    cli_say(cli, "There are currently %zu processes in the database:\n", processes->count);
    for (size_t i = 0; i < processes->count; i++) {
        const struct operator_process *process = &processes->list[i];
        const char *source = json_string_value(json_object_get(process->source, "class_source"));

        address_print(process->address, text);
        cli_say(cli, "  %s: %s (%s)\n", text, process_class_name(process->process_class), source == NULL ? "command_line" : source);
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "address", text, "class",
                                                    process_class_name(process->process_class), "source",
                                                    source == NULL ? "command_line" : source));
    }
    cli_result(cli, "processes", list);
}

struct setclass {
    struct address address;
    enum process_class process_class;
    bool unset; /* back to the class of the command line */
};

static int setclass_body(struct cli *cli, struct transaction *txn)
{
    const struct setclass *setclass = cli->ctx;
    struct bytes_buffer key = {0};
    int error = process_class_key(&key, setclass->address);

    if (error == 0)
        error = setclass->unset ? transaction_clear(txn, bytes_buffer_bytes(&key))
                                : transaction_set(txn, bytes_buffer_bytes(&key),
                                                  bytes_of_string(process_class_name(setclass->process_class)));
    bytes_buffer_done(&key);
    return error;
}

static bool is_sound(struct cli *cli, const struct operator_processes *processes, struct setclass *ret)
{
    struct operator_process *process;
    char why[512];

    if (address_parse(cli->words[1], &ret->address) != 0) {
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "`%s' is not an address of the form IP:PORT", cli_show(cli, cli->words[1]));
        return false;
    }
    process = operator_processes_at(processes, ret->address);
    if (process == NULL) {
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "there is no process at %s; `setclass' shows the addresses",
                 cli_show(cli, cli->words[1]));
        return false;
    }
    ret->unset = cli_word_is(cli, 2, "default");
    if (ret->unset)
        return true;
    if (!process_class_parse(cli->words[2], &ret->process_class)) {
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION,
                 "`%s' is no class; there are unset, coordinator, stateless, log, storage, and `default' for that of the command line", cli_show(cli, cli->words[2]));
        return false;
    }
    process->process_class = ret->process_class;
    if (processes->replication == 0 || operator_processes_suffice(processes, processes->replication, why, sizeof(why)))
        return true;
    cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "%s", why);
    return false;
}

void cli_setclass(struct cli *cli)
{
    struct operator_processes processes;
    struct setclass setclass = {.unset = false};
    json_t *document;

    if (cli->word_count == 2) {
        cli_usage(cli);
        return;
    }
    document = cli_processes_now(cli, &processes);
    if (document == NULL)
        return;
    if (cli->word_count == 1) {
        list_classes(cli, &processes);
    } else if (is_sound(cli, &processes, &setclass)) {
        cli->ctx = &setclass;
        cli_fail_with(cli, cli_transact_system(cli, setclass_body, NULL));
        if (cli->error == 0)
            cli_say(cli, "Class set; roles that it does not host move away\n");
    }
    json_decref(document);
}

/* ---- maintenance ---- */

struct maintenance {
    struct bytes zone;
    int64_t seconds;
    version_t until, now; /* as found */
};

static int read_version(struct cli *cli, struct transaction *txn, version_t *ret)
{
    struct transaction_version version = {.version = VERSION_NONE};
    int error;

    cli_session_begin(&cli->session, &version.call);
    transaction_read_version_start(&version, NULL, txn);
    error = cli_session_wait(&cli->session, &version.call, true);
    *ret = version.version;
    return error;
}

/* zone is empty when none is under maintenance. */
static int maintenance_read(struct cli *cli, struct transaction *txn)
{
    struct maintenance *found = cli->ctx;
    struct bytes value;
    bool present;
    int error = read_version(cli, txn, &found->now);

    found->zone = bytes_none();
    if (error == 0)
        error = cli_read(cli, txn, KEY_HEALTHY_ZONE, &present, &value);
    if (error == 0 && present && (!healthy_zone_parse(value, &found->until, &found->zone) || found->until <= found->now))
        found->zone = bytes_none();
    return error;
}

static int maintenance_write(struct cli *cli, struct transaction *txn)
{
    const struct maintenance *wanted = cli->ctx;
    struct bytes_buffer value = {0};
    version_t now;
    int error = read_version(cli, txn, &now);

    if (error == 0)
        error = healthy_zone_write(&value, now + wanted->seconds * VERSIONS_PER_SECOND, wanted->zone);
    if (error == 0)
        error = transaction_set(txn, KEY_HEALTHY_ZONE, bytes_buffer_bytes(&value));
    bytes_buffer_done(&value);
    return error;
}

static int maintenance_clear(struct cli *cli, struct transaction *txn)
{
    (void)cli;
    return transaction_clear(txn, KEY_HEALTHY_ZONE);
}

static void maintenance_show(struct cli *cli)
{
    struct maintenance found = {.seconds = 0};
    int64_t seconds;

    cli->ctx = &found;
    cli_fail_with(cli, cli_transact_system(cli, maintenance_read, NULL));
    if (cli->error != 0)
        return;
    seconds = found.zone.len == 0 ? 0 : (found.until - found.now) / VERSIONS_PER_SECOND;
    if (found.zone.len == 0)
        cli_say(cli, "No ongoing maintenance.\n");
    else if (bytes_equal(found.zone, ZONE_IGNORE_STORAGE_FAILURES))
        cli_say(cli, "Data distribution has been disabled for all storage server failures in this cluster and thus maintenance mode is not "
                "active.\n");
    else
        cli_say(cli, "Maintenance for zone %s will continue for %" PRId64 " seconds.\n", cli_show(cli, found.zone), seconds);
    cli_result(cli, "zone", found.zone.len == 0 ? json_null() : cli_json_bytes(cli, found.zone));
    cli_result(cli, "seconds", json_integer(seconds));
}

static bool is_zone(const struct operator_processes *processes, struct bytes zone)
{
    for (size_t i = 0; i < processes->count; i++)
        if (bytes_equal(zone, bytes_of_string(processes->list[i].zone)))
            return true;
    return false;
}

static void maintenance_begin(struct cli *cli)
{
    struct maintenance wanted = {.zone = cli->words[2]};
    struct operator_processes processes;
    json_t *document;

    if (!cli_parse_number(cli->words[3], 1, 1000000, &wanted.seconds)) {
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "`%s' is not a number of seconds from 1 to 1000000", cli_show(cli, cli->words[3]));
        return;
    }
    document = cli_processes_now(cli, &processes);
    if (document == NULL)
        return;
    if (!is_zone(&processes, wanted.zone)) {
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "no process is in zone `%s'; `status details' shows the zones",
                 cli_show(cli, wanted.zone));
    } else {
        cli->ctx = &wanted;
        cli_fail_with(cli, cli_transact_system(cli, maintenance_write, NULL));
        if (cli->error == 0)
            cli_say(cli, "Maintenance of zone %s for %" PRId64 " seconds: nothing is moved because its processes are away.\n",
                    cli_show(cli, wanted.zone), wanted.seconds);
    }
    json_decref(document);
}

void cli_run_and_say(struct cli *cli, int (*body)(struct cli *cli, struct transaction *txn), const char *said)
{
    cli_fail_with(cli, cli_transact_system(cli, body, NULL));
    if (cli->error == 0)
        cli_say(cli, "%s\n", said);
}

void cli_maintenance(struct cli *cli)
{
    if (cli->word_count == 1)
        maintenance_show(cli);
    else if (cli->word_count == 4 && cli_word_is(cli, 1, "on"))
        maintenance_begin(cli);
    else if (cli->word_count == 2 && cli_word_is(cli, 1, "off"))
        cli_run_and_say(cli, maintenance_clear, "Maintenance has ended.");
    else
        cli_usage(cli);
}

/* ---- datadistribution ---- */

static int distribution_on(struct cli *cli, struct transaction *txn)
{
    (void)cli;
    return transaction_clear(txn, KEY_DATA_DISTRIBUTION_MODE);
}

static int distribution_off(struct cli *cli, struct transaction *txn)
{
    (void)cli;
    return transaction_set(txn, KEY_DATA_DISTRIBUTION_MODE, BYTES_LITERAL("0"));
}

static int rebalance_on(struct cli *cli, struct transaction *txn)
{
    (void)cli;
    return transaction_clear(txn, KEY_REBALANCE_IGNORED);
}

static int rebalance_off(struct cli *cli, struct transaction *txn)
{
    (void)cli;
    return transaction_set(txn, KEY_REBALANCE_IGNORED, BYTES_LITERAL("1"));
}

static int distribution_read(struct cli *cli, struct transaction *txn)
{
    bool *found = cli->ctx, present;
    struct bytes value;
    int error = cli_read(cli, txn, KEY_DATA_DISTRIBUTION_MODE, &present, &value);

    found[0] = !present || !bytes_equal(value, BYTES_LITERAL("0"));
    if (error == 0)
        error = cli_read(cli, txn, KEY_REBALANCE_IGNORED, &present, &value);
    found[1] = !present;
    return error;
}

static void distribution_show(struct cli *cli)
{
    bool found[2] = {false};

    cli->ctx = found;
    cli_fail_with(cli, cli_transact_system(cli, distribution_read, NULL));
    if (cli->error != 0)
        return;
    cli_say(cli, "Data distribution is %s%s.\n", found[0] ? "on" : "off", found[1] ? "" : "; moving data for balance is disabled");
    cli_result(cli, "data_distribution", json_boolean(found[0]));
    cli_result(cli, "rebalance", json_boolean(found[1]));
}

void cli_datadistribution(struct cli *cli)
{
    bool enable = cli_word_is(cli, 1, "enable"), rebalance = cli_word_is(cli, 2, "rebalance");

    if (cli->word_count == 1)
        distribution_show(cli);
    else if (cli->word_count == 2 && cli_word_is(cli, 1, "on"))
        cli_run_and_say(cli, distribution_on, "Data distribution is turned on.");
    else if (cli->word_count == 2 && cli_word_is(cli, 1, "off"))
        cli_run_and_say(cli, distribution_off, "Data distribution is turned off: nothing is moved, lost copies are not replaced.");
    else if (rebalance && enable)
        cli_run_and_say(cli, rebalance_on, "Data distribution is enabled for rebalance.");
    else if (rebalance && cli_word_is(cli, 1, "disable"))
        cli_run_and_say(cli, rebalance_off, "Data distribution is disabled for rebalance.");
    else
        cli_usage(cli);
}
