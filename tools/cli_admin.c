/* What an operator does to a whole cluster: locks its database, ends processes. */
#include <stdio.h>

#include "net/env.h"
#include "net/error.h"
#include "tools/cli_shell.h"
#include "txn/client/include/quoin/quoin.h"
#include "txn/messages.h"
#include "txn/system_keys.h"

/* ---- lock and unlock ---- */

static void print_uid(struct bytes uid, char *out, size_t out_size)
{
    size_t at = 0;

    out[0] = '\0';
    for (size_t i = 0; i < uid.len && at + 3 <= out_size; i++, at += 2)
        snprintf(out + at, out_size - at, "%02x", uid.ptr[i]);
}

/* *ret_uid is empty when the database is not locked; else in the command's arena. */
static int read_lock(struct cli *cli, struct transaction *txn, struct bytes *ret_uid)
{
    bool present;

    return cli_read(cli, txn, KEY_DB_LOCKED, &present, ret_uid);
}

/* words[1] is the UID's bytes. A repeat after an unknown result finds its own UID, and is done. */
static int lock_body(struct cli *cli, struct transaction *txn)
{
    struct bytes locked_by;
    char shown[2 * 64 + 1];
    int error = read_lock(cli, txn, &locked_by);

    if (error != 0 || bytes_equal(locked_by, cli->words[1]))
        return error;
    if (locked_by.len == 0)
        return transaction_set(txn, KEY_DB_LOCKED, cli->words[1]);
    print_uid(locked_by, shown, sizeof(shown));
    snprintf(cli->session.why, sizeof(cli->session.why), "Database is locked already, with UID %s", shown);
    return ERROR_DATABASE_LOCKED;
}

void cli_lock(struct cli *cli)
{
    uint8_t uid[CLI_UID_BYTES] = {0};
    struct bytes words[2] = {cli->words[0], bytes_of(uid, sizeof(uid))};
    char shown[2 * CLI_UID_BYTES + 1];
    int error;

    put_le64(uid, env_random(cli->session.env));
    put_le64(uid + 8, env_random(cli->session.env));
    print_uid(words[1], shown, sizeof(shown));
    cli_say(cli, "Locking database with UID: %s\n", shown);
    cli->words = words;
    error = cli_transact_system(cli, lock_body, NULL);
    cli_fail_with(cli, error);
    if (error == 0) {
        cli_say(cli, "Database locked.\n");
        cli_result(cli, "uid", json_string(shown));
    }
}

static int unlock_body(struct cli *cli, struct transaction *txn)
{
    struct bytes locked_by;
    int error = read_lock(cli, txn, &locked_by);

    if (error != 0 || locked_by.len == 0)
        return error;
    if (bytes_equal(locked_by, cli->words[1]))
        return transaction_clear(txn, KEY_DB_LOCKED);
    snprintf(cli->session.why, sizeof(cli->session.why),
             "Unable to unlock database: it is locked with another UID. Make sure to unlock with the correct lock UID");
    return ERROR_DATABASE_LOCKED;
}

static bool confirmed(struct cli *cli)
{
    char passphrase[11], question[256], answer[64];

    for (size_t i = 0; i < sizeof(passphrase) - 1; i++)
        passphrase[i] = (char)('a' + env_random_below(cli->session.env, 26));
    passphrase[sizeof(passphrase) - 1] = '\0';
    snprintf(question, sizeof(question),
             "Unlocking the database is a potentially dangerous operation.\n%s\nRepeat the above passphrase if you would like to "
             "proceed: ", passphrase);
    return cli_ask(cli, question, answer, sizeof(answer)) && strcmp(answer, passphrase) == 0;
}

void cli_unlock(struct cli *cli)
{
    uint8_t uid[CLI_UID_BYTES] = {0};
    struct bytes words[2] = {cli->words[0], bytes_of(uid, sizeof(uid))};
    int error;

    if (!cli_parse_uid(cli->words[1], uid)) {
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "`%s' is not a lock UID: 32 hex digits, as `lock' printed them",
                 cli_show(cli, cli->words[1]));
        return;
    }
    if (cli->prompts && !confirmed(cli)) {
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "Incorrect passphrase entered.");
        return;
    }
    cli->words = words;
    error = cli_transact_system(cli, unlock_body, NULL);
    cli_fail_with(cli, error);
    if (error == 0)
        cli_say(cli, "Database unlocked.\n");
}

/* ---- kill ---- */

static int reboot(struct cli *cli, struct address address)
{
    struct client_reboot reboot = {.address = {0}};

    cli_session_begin(&cli->session, &reboot.call);
    client_reboot_start(&reboot, NULL, cli->session.client, address);
    return cli_session_wait(&cli->session, &reboot.call, false);
}

static void list_addresses(struct cli *cli, const json_t *processes)
{
    json_t *addresses = json_array(), *process;
    const char *id;

    cli_say(cli, "\nThe following %zu addresses can be killed:\n", json_object_size(processes));
    json_object_foreach((json_t *)processes, id, process)
    {
        cli_say(cli, "%s\n", json_string_value(json_object_get(process, "address")));
        (void)json_array_append(addresses, json_object_get(process, "address"));
    }
    cli_say(cli, "\n");
    cli_result(cli, "addresses", addresses);
}

/* The one that a shell finds the cluster through goes last. */
static size_t collect_all(struct cli *cli, const json_t *processes, struct address *addresses)
{
    struct address last = client_controller(cli->session.client), address;
    size_t count = 0;
    json_t *process;
    const char *id;

    json_object_foreach((json_t *)processes, id, process)
    {
        const char *text = json_string_value(json_object_get(process, "address"));

        if (text != NULL && address_parse(bytes_of_string(text), &address) == 0 && !address_equal(address, last))
            addresses[count++] = address;
    }
    if (last.port != 0)
        addresses[count++] = last;
    return count;
}

static bool is_listed(const json_t *processes, struct address wanted)
{
    struct address address;
    json_t *process;
    const char *id;

    json_object_foreach((json_t *)processes, id, process)
    {
        const char *text = json_string_value(json_object_get(process, "address"));

        if (text != NULL && address_parse(bytes_of_string(text), &address) == 0 && address_equal(address, wanted))
            return true;
    }
    return false;
}

/* All or none: a misspelt address ends nobody. */
static size_t collect_words(struct cli *cli, const json_t *processes, struct address *addresses)
{
    for (size_t i = 1; i < cli->word_count; i++) {
        if (address_parse(cli->words[i], &addresses[i - 1]) != 0) {
            cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "`%s' is not an address of the form IP:PORT",
                     cli_show(cli, cli->words[i]));
            return 0;
        }
        if (!is_listed(processes, addresses[i - 1])) {
            cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "process `%s' not recognized; `kill list' shows the addresses",
                     cli_show(cli, cli->words[i]));
            return 0;
        }
    }
    return cli->word_count - 1;
}

static void kill_processes(struct cli *cli, const json_t *processes)
{
    size_t max = cli->word_count + json_object_size(processes) + 1, count;
    struct address *addresses = arena_alloc(&cli->arena, max * sizeof(*addresses));
    char text[ADDRESS_TEXT_MAX];

    if (addresses == NULL) {
        cli_fail_with(cli, ERROR_OUT_OF_MEMORY);
        return;
    }
    if (cli_word_is(cli, 1, "all") && cli->word_count == 2)
        count = collect_all(cli, processes, addresses);
    else
        count = collect_words(cli, processes, addresses);
    if (cli->error != 0)
        return;
    for (size_t i = 0; i < count; i++) {
        int error = reboot(cli, addresses[i]);

        if (error != 0) {
            cli_fail(cli, error, "%s could not be killed: %s", address_print(addresses[i], text),
                     cli->session.why[0] != '\0' ? cli->session.why : cli_unreachable(error));
            return;
        }
    }
    cli_say(cli, "Attempted to kill %zu processes\n", count);
    cli_result(cli, "killed", json_integer((json_int_t)count));
}

void cli_kill(struct cli *cli)
{
    bool quorum;
    json_t *document = cli_status_document(cli, &quorum);
    const json_t *processes = json_object_get(json_object_get(document, "cluster"), "processes");

    if (processes == NULL)
        cli_fail(cli, ERROR_TIMED_OUT, "The cluster controller can't be reached, so its processes are not known; see `status'");
    else if (cli->word_count == 1 || (cli->word_count == 2 && cli_word_is(cli, 1, "list")))
        list_addresses(cli, processes);
    else
        kill_processes(cli, processes);
    json_decref(document);
}
