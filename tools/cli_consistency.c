/* The consistency scan from the shell: let it go on, pause it, ask how far it is and what it has found. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "net/error.h"
#include "tools/cli_shell.h"
#include "txn/operator_keys.h"

static int check_on(struct cli *cli, struct transaction *txn)
{
    (void)cli;
    return transaction_clear(txn, KEY_CONSISTENCY_CHECK_SUSPEND);
}

static int check_off(struct cli *cli, struct transaction *txn)
{
    (void)cli;
    return transaction_set(txn, KEY_CONSISTENCY_CHECK_SUSPEND, bytes_none());
}

static int check_read(struct cli *cli, struct transaction *txn)
{
    struct bytes value;

    return cli_read(cli, txn, KEY_CONSISTENCY_CHECK_SUSPEND, cli->ctx, &value);
}

static int64_t number(const json_t *object, const char *key)
{
    return (int64_t)json_integer_value(json_object_get(object, key));
}

static const char *when(int64_t seconds, char out[40])
{
    time_t time = (time_t)seconds;
    struct tm parts;

    if (localtime_r(&time, &parts) == NULL || strftime(out, 40, "%Y-%m-%d %H:%M:%S", &parts) == 0)
        out[0] = '\0';
    return out;
}

static void say_list(struct cli *cli, const char *title, const json_t *list)
{
    json_t *text;
    size_t index;

    if (json_array_size(list) > 0)
        cli_say(cli, "%s\n", title);
    json_array_foreach((json_t *)list, index, text)
        cli_say(cli, "  %s\n", json_string_value(text));
}

static void say_rounds(struct cli *cli, const json_t *scan)
{
    const json_t *round = json_object_get(scan, "current_round"), *last = json_object_get(scan, "last_round");
    char text[40];

    if (number(round, "began") > 0)
        cli_say(cli, "Round %" PRId64 ", since %s: %" PRId64 " %%, %" PRId64 " shards compared, %" PRId64 " passed over, %.1f MB of one copy\n",
                number(round, "number"), when(number(round, "began"), text), number(round, "percent"), number(round, "shards"),
                number(round, "shards_passed_over"), (double)number(round, "bytes") / 1e6);
    if (number(last, "ended") > 0)
        cli_say(cli, "Last round, ended %s: %" PRId64 " shards compared, %" PRId64 " passed over, %.1f MB, in %" PRId64 " s\n",
                when(number(last, "ended"), text), number(last, "shards"), number(last, "shards_passed_over"),
                (double)number(last, "bytes") / 1e6, number(last, "ended") - number(last, "began"));
    else
        cli_say(cli, "No round has ended yet\n");
}

static void say_scan(struct cli *cli, const json_t *scan)
{
    const json_t *lifetime = json_object_get(scan, "lifetime");

    cli_say(cli, "At most %.1f MB/s of one copy are read\n", (double)number(scan, "bytes_per_second_limit") / 1e6);
    say_rounds(cli, scan);
    cli_say(cli, "Since the database began: %" PRId64 " differences found, %" PRId64 " copies fetched again\n",
            number(lifetime, "differences_found"), number(lifetime, "replicas_repaired"));
    say_list(cli, "Not mended:", json_object_get(scan, "findings"));
    say_list(cli, "Mended lately:", json_object_get(scan, "repaired"));
}

static void show(struct cli *cli)
{
    bool suspended = false, quorum;
    json_t *document, *scan;

    cli->ctx = &suspended;
    cli_fail_with(cli, cli_transact_system(cli, check_read, NULL));
    if (cli->error != 0)
        return;
    cli_say(cli, "ConsistencyCheck is %s\n", suspended ? "off" : "on");
    cli_result(cli, "on", json_boolean(!suspended));
    document = cli_status_document(cli, &quorum);
    scan = json_object_get(json_object_get(document, "cluster"), "consistency_scan");
    if (scan == NULL)
        cli_say(cli, "No data distributor says how far it is; see `status'\n");
    else
        say_scan(cli, scan);
    cli_result(cli, "scan", scan == NULL ? json_null() : json_incref(scan));
    json_decref(document);
}

void cli_consistencycheck(struct cli *cli)
{
    if (cli->word_count == 1)
        show(cli);
    else if (cli_word_is(cli, 1, "on"))
        cli_run_and_say(cli, check_on, "ConsistencyCheck is on");
    else if (cli_word_is(cli, 1, "off"))
        cli_run_and_say(cli, check_off, "ConsistencyCheck is off");
    else
        cli_usage(cli);
}
