/* Keys and transactions. A command outside `begin' is a transaction of its own, tried again as the client library says; inside, its
 * errors are the user's to judge. */
#include <assert.h>
#include <inttypes.h>

#include "net/error.h"
#include "tools/cli_shell.h"
#include "txn/client/include/quoin/quoin.h"

enum { RANGE_LIMIT_DEFAULT = 25 };

/* ---- options ---- */

const struct cli_option cli_options[] = {
    {"access_system_keys", QUOIN_OPTION_ACCESS_SYSTEM_KEYS, false, "reads and writes keys that begin with \\xff"},
    {"bypass_unreadable", QUOIN_OPTION_BYPASS_UNREADABLE, false, "reads what was written with a versionstamp"},
    {"causal_read_risky", QUOIN_OPTION_CAUSAL_READ_RISKY, false, "a read version that may lag in the moment of a recovery"},
    {"causal_write_risky", QUOIN_OPTION_CAUSAL_WRITE_RISKY, false, "an unknown commit is reported at once"},
    {"lock_aware", QUOIN_OPTION_LOCK_AWARE, false, "reads and writes while the database is locked"},
    {"max_retry_delay", QUOIN_OPTION_MAX_RETRY_DELAY, true, "milliseconds, at most, between tries"},
    {"next_write_no_write_conflict_range", QUOIN_OPTION_NEXT_WRITE_NO_WRITE_CONFLICT_RANGE, false,
     "the next write conflicts with no read"},
    {"priority_batch", QUOIN_OPTION_PRIORITY_BATCH, false, "gives way to others"},
    {"priority_system_immediate", QUOIN_OPTION_PRIORITY_SYSTEM_IMMEDIATE, false, "goes before all others"},
    {"raw_access", QUOIN_OPTION_RAW_ACCESS, false, "as access_system_keys"},
    {"read_lock_aware", QUOIN_OPTION_READ_LOCK_AWARE, false, "reads while the database is locked"},
    {"read_system_keys", QUOIN_OPTION_READ_SYSTEM_KEYS, false, "reads keys that begin with \\xff"},
    {"read_your_writes_disable", QUOIN_OPTION_READ_YOUR_WRITES_DISABLE, false, "reads don't see the transaction's own writes"},
    {"retry_limit", QUOIN_OPTION_RETRY_LIMIT, true, "tries again at most so often; -1: always"},
    {"size_limit", QUOIN_OPTION_SIZE_LIMIT, true, "bytes that the transaction may hold"},
    {"snapshot_ryw_disable", QUOIN_OPTION_SNAPSHOT_RYW_DISABLE, false, "snapshot reads don't see own writes"},
    {"snapshot_ryw_enable", QUOIN_OPTION_SNAPSHOT_RYW_ENABLE, false, "snapshot reads see own writes"},
    {"timeout", QUOIN_OPTION_TIMEOUT, true, "milliseconds after which it fails"},
    {"used_during_commit_protection_disable", QUOIN_OPTION_USED_DURING_COMMIT_PROTECTION_DISABLE, false,
     "reads during the commit are no error"},
};
const size_t cli_option_count = sizeof(cli_options) / sizeof(cli_options[0]);

int cli_option_by_name(struct bytes name, size_t *ret_index)
{
    for (size_t i = 0; i < cli_option_count; i++)
        if (bytes_equal(name, bytes_of_string(cli_options[i].name))) {
            *ret_index = i;
            return 0;
        }
    return ERROR_INVALID_OPTION;
}

static int apply_option(struct transaction *txn, const struct cli_option_setting *setting)
{
    const struct cli_option *option = &cli_options[setting->option];
    uint8_t number[8];

    put_le64(number, (uint64_t)setting->number);
    return transaction_set_option(txn, option->code, option->takes_number ? bytes_of(number, sizeof(number)) : bytes_none());
}

static int apply_options(struct transaction *txn, const struct cli_option_set *set)
{
    int error = 0;

    for (size_t i = 0; i < set->count && error == 0; i++)
        error = apply_option(txn, &set->settings[i]);
    return error;
}

/* ---- waiting ---- */

/* 0: the transaction is as new, with `set` to be applied again. A locked database stays locked: that is said at once. */
static int wait_retry(struct cli *cli, struct transaction *txn, int error)
{
    struct transaction_retry retry = {0};

    if (error == ERROR_DATABASE_LOCKED || cli->session.why[0] != '\0')
        return error;
    cli_session_begin(&cli->session, &retry.call);
    transaction_on_error_start(&retry, NULL, txn, error);
    return cli_session_wait(&cli->session, &retry.call, true);
}

int cli_transact(struct cli *cli, const struct cli_option_set *options, int (*body)(struct cli *cli, struct transaction *txn),
                 version_t *ret_committed)
{
    struct transaction *txn;
    int error = transaction_create(cli->session.client, &txn);

    if (error != 0)
        return error;
    for (;;) {
        error = apply_options(txn, options);
        if (error == 0)
            error = body(cli, txn);
        if (error == 0)
            error = cli_session_commit(&cli->session, txn);
        if (error == 0)
            break;
        error = wait_retry(cli, txn, error);
        if (error != 0)
            break;
    }
    if (error == 0 && ret_committed != NULL)
        *ret_committed = transaction_committed_version(txn);
    transaction_destroy(txn);
    return error;
}

int cli_transact_system(struct cli *cli, int (*body)(struct cli *cli, struct transaction *txn), version_t *ret_committed)
{
    static const char *const names[] = {"access_system_keys", "lock_aware", "priority_system_immediate"};
    struct cli_option_set options = {.count = sizeof(names) / sizeof(names[0])};
    int error = 0;

    for (size_t i = 0; i < options.count && error == 0; i++)
        error = cli_option_by_name(bytes_of_string(names[i]), &options.settings[i].option);
    return error != 0 ? error : cli_transact(cli, &options, body, ret_committed);
}

int cli_read(struct cli *cli, struct transaction *txn, struct bytes key, bool *ret_present, struct bytes *ret_value)
{
    struct transaction_get get = {0};
    int error;

    *ret_present = false;
    *ret_value = bytes_none();
    cli_session_begin(&cli->session, &get.call);
    transaction_get_start(&get, NULL, txn, key, false);
    error = cli_session_wait(&cli->session, &get.call, true);
    if (error == 0) {
        *ret_present = get.present;
        if (get.present)
            error = arena_copy(&cli->arena, bytes_buffer_bytes(&get.value), ret_value);
    }
    transaction_get_done(&get);
    return error;
}

int cli_read_range(struct cli *cli, struct transaction *txn, struct bytes begin, struct bytes end,
                   int (*each)(struct cli *cli, const struct client_pair *pair, void *ctx), void *ctx)
{
    struct transaction_range range = {.pairs = NULL};
    struct transaction_range_options options = {0};
    int error;

    cli_session_begin(&cli->session, &range.call);
    transaction_range_start(&range, NULL, txn, SELECT_FIRST_AT_OR_AFTER(begin), SELECT_FIRST_AT_OR_AFTER(end), &options);
    error = cli_session_wait(&cli->session, &range.call, true);
    for (uint32_t i = 0; error == 0 && i < range.pair_count; i++)
        error = each(cli, &range.pairs[i], ctx);
    transaction_range_done(&range);
    return error;
}

/* In the open transaction, or in one of its own. */
static int in_transaction(struct cli *cli, int (*body)(struct cli *cli, struct transaction *txn), version_t *ret_committed)
{
    return cli->txn != NULL ? body(cli, cli->txn) : cli_transact(cli, &cli->options, body, ret_committed);
}

/* ---- begin, commit, rollback ---- */

void cli_drop_transaction(struct cli *cli)
{
    transaction_destroy(cli->txn);
    cli->txn = NULL;
}

void cli_begin(struct cli *cli)
{
    int error;

    if (cli->txn != NULL) {
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "Already in transaction");
        return;
    }
    error = transaction_create(cli->session.client, &cli->txn);
    if (error == 0)
        error = apply_options(cli->txn, &cli->options);
    if (error != 0) {
        cli_drop_transaction(cli);
        cli_fail_with(cli, error);
        return;
    }
    cli_say(cli, "Transaction started\n");
}

static bool has_transaction(struct cli *cli)
{
    if (cli->txn == NULL)
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "No active transaction");
    return cli->txn != NULL;
}

static void say_committed(struct cli *cli, version_t version)
{
    cli_say(cli, "Committed (%" PRId64 ")\n", version == VERSION_NONE ? -1 : version);
    cli_result(cli, "committed_version", json_integer(version == VERSION_NONE ? -1 : version));
}

/* Whether it worked or not, the transaction is over. */
void cli_commit(struct cli *cli)
{
    int error;

    if (!has_transaction(cli))
        return;
    error = cli_session_commit(&cli->session, cli->txn);
    if (error == 0)
        say_committed(cli, transaction_committed_version(cli->txn));
    else
        cli_fail_with(cli, error);
    cli_drop_transaction(cli);
}

void cli_rollback(struct cli *cli)
{
    if (!has_transaction(cli))
        return;
    cli_drop_transaction(cli);
    cli_say(cli, "Transaction rolled back\n");
}

void cli_reset(struct cli *cli)
{
    if (!has_transaction(cli))
        return;
    transaction_reset(cli->txn);
    cli_fail_with(cli, apply_options(cli->txn, &cli->options));
    if (cli->error == 0)
        cli_say(cli, "Transaction reset\n");
}

/* ---- reads ---- */

static int get_body(struct cli *cli, struct transaction *txn)
{
    struct bytes key = cli->words[1], value;
    bool present;
    int error = cli_read(cli, txn, key, &present, &value);

    if (error != 0)
        return error;
    cli_result(cli, "key", cli_json_bytes(cli, key));
    cli_result(cli, "present", json_boolean(present));
    cli_result(cli, "value", present ? cli_json_bytes(cli, value) : json_null());
    if (present)
        cli_say(cli, "`%s' is `%s'\n", cli_show(cli, key), cli_show(cli, value));
    else
        cli_say(cli, "`%s': not found\n", cli_show(cli, key));
    return 0;
}

void cli_get(struct cli *cli)
{
    cli_fail_with(cli, in_transaction(cli, get_body, NULL));
}

struct range_words {
    struct bytes begin, end;
    int64_t limit; /* negative: from the end */
};

static int read_range_words(struct cli *cli, struct range_words *ret)
{
    struct bytes prefix = cli->words[1];

    *ret = (struct range_words){.begin = prefix, .limit = RANGE_LIMIT_DEFAULT};
    if (cli->word_count > 3 && (!cli_parse_number(cli->words[3], -1000000, 1000000, &ret->limit) || ret->limit == 0))
        return ERROR_RANGE_LIMITS_INVALID;
    if (cli->word_count > 2)
        ret->end = cli->words[2];
    else if (prefix.len == 0)
        ret->end = BYTES_LITERAL("\xff");
    else if (!cli_prefix_end(&cli->arena, prefix, &ret->end))
        ret->end = BYTES_LITERAL("\xff\xff");
    return bytes_compare(ret->begin, ret->end) > 0 ? ERROR_INVERTED_RANGE : 0;
}

static void show_pairs(struct cli *cli, const struct transaction_range *range, int64_t limit, bool keys_alone)
{
    json_t *pairs = json_array();

    cli_say(cli, "\nRange limited to %" PRId64 " keys\n", limit < 0 ? -limit : limit);
    for (uint32_t i = 0; i < range->pair_count; i++) {
        const struct client_pair *pair = &range->pairs[i];
        json_t *object = json_object();

        (void)json_object_set_new(object, "key", cli_json_bytes(cli, pair->key));
        if (keys_alone) {
            cli_say(cli, "`%s'\n", cli_show(cli, pair->key));
        } else {
            (void)json_object_set_new(object, "value", cli_json_bytes(cli, pair->value));
            cli_say(cli, "`%s' is `%s'\n", cli_show(cli, pair->key), cli_show(cli, pair->value));
        }
        (void)json_array_append_new(pairs, object);
    }
    cli_say(cli, "\n");
    cli_result(cli, "pairs", pairs);
    cli_result(cli, "more", json_boolean(range->more));
}

static int range_body(struct cli *cli, struct transaction *txn)
{
    struct transaction_range range = {.pairs = NULL};
    struct transaction_range_options options = {0};
    struct range_words words;
    int error = read_range_words(cli, &words);

    if (error != 0)
        return error;
    options.limit = (uint32_t)(words.limit < 0 ? -words.limit : words.limit);
    options.reverse = words.limit < 0;
    cli_session_begin(&cli->session, &range.call);
    transaction_range_start(&range, NULL, txn, SELECT_FIRST_AT_OR_AFTER(words.begin), SELECT_FIRST_AT_OR_AFTER(words.end),
                            &options);
    error = cli_session_wait(&cli->session, &range.call, true);
    if (error == 0)
        show_pairs(cli, &range, words.limit, cli_word_is(cli, 0, "getrangekeys"));
    transaction_range_done(&range);
    return error;
}

/* What is wrong with the words alone needs no cluster to be found. */
static void range_command(struct cli *cli)
{
    struct range_words words;
    int error = read_range_words(cli, &words);

    if (error == ERROR_RANGE_LIMITS_INVALID)
        cli_fail(cli, error, "bad limit: a whole number other than 0, at most 1000000");
    else
        cli_fail_with(cli, error != 0 ? error : in_transaction(cli, range_body, NULL));
}

void cli_getrange(struct cli *cli)
{
    range_command(cli);
}

void cli_getrangekeys(struct cli *cli)
{
    range_command(cli);
}

static int version_body(struct cli *cli, struct transaction *txn)
{
    struct transaction_version version = {.version = VERSION_NONE};
    int error;

    cli_session_begin(&cli->session, &version.call);
    transaction_read_version_start(&version, NULL, txn);
    error = cli_session_wait(&cli->session, &version.call, true);
    if (error == 0) {
        cli_say(cli, "%" PRId64 "\n", version.version);
        cli_result(cli, "version", json_integer(version.version));
    }
    return error;
}

void cli_getversion(struct cli *cli)
{
    cli_fail_with(cli, in_transaction(cli, version_body, NULL));
}

/* ---- writes ---- */

static int set_body(struct cli *cli, struct transaction *txn)
{
    return transaction_set(txn, cli->words[1], cli->words[2]);
}

/* To the library, clearing a key that can't exist is nothing to do; a person who typed it should know. */
static int clear_body(struct cli *cli, struct transaction *txn)
{
    struct bytes key = cli->words[1];

    if (key.len > (bytes_starts_with(key, BYTES_LITERAL("\xff")) ? SYSTEM_KEY_BYTES_MAX : KEY_BYTES_MAX))
        return ERROR_KEY_TOO_LARGE;
    return transaction_clear(txn, cli->words[1]);
}

static int clear_range_body(struct cli *cli, struct transaction *txn)
{
    return transaction_clear_range(txn, cli->words[1], cli->words[2]);
}

static void write_command(struct cli *cli, int (*body)(struct cli *cli, struct transaction *txn))
{
    version_t version = VERSION_NONE;
    int error;

    if (!cli->writemode) {
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "writemode must be enabled to set or clear keys in the database.");
        return;
    }
    error = in_transaction(cli, body, &version);
    if (error != 0)
        cli_fail_with(cli, error);
    else if (cli->txn == NULL)
        say_committed(cli, version);
}

void cli_set(struct cli *cli)
{
    write_command(cli, set_body);
}

void cli_clear(struct cli *cli)
{
    write_command(cli, clear_body);
}

void cli_clearrange(struct cli *cli)
{
    write_command(cli, clear_range_body);
}

/* ---- modes ---- */

void cli_writemode(struct cli *cli)
{
    if (!cli_word_is(cli, 1, "on") && !cli_word_is(cli, 1, "off")) {
        cli_usage(cli);
        return;
    }
    cli->writemode = cli_word_is(cli, 1, "on");
}

static void list_options(struct cli *cli)
{
    if (cli->options.count == 0)
        cli_say(cli, "There are no options enabled.\n");
    else
        cli_say(cli, "The following options are enabled for all transactions:\n");
    for (size_t i = 0; i < cli->options.count; i++) {
        const struct cli_option_setting *setting = &cli->options.settings[i];
        const struct cli_option *option = &cli_options[setting->option];

        if (option->takes_number)
            cli_say(cli, "  %s: `%" PRId64 "'\n", option->name, setting->number);
        else
            cli_say(cli, "  %s\n", option->name);
        cli_result(cli, option->name, option->takes_number ? json_integer(setting->number) : json_true());
    }
}

static void forget_option(struct cli_option_set *set, size_t option)
{
    size_t kept = 0;

    for (size_t i = 0; i < set->count; i++)
        if (set->settings[i].option != option)
            set->settings[kept++] = set->settings[i];
    set->count = kept;
}

static void option_off(struct cli *cli, size_t option)
{
    if (cli->txn != NULL) {
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "An option of a transaction that has begun can't be taken back; `rollback'");
        return;
    }
    forget_option(&cli->options, option);
    cli_say(cli, "Option disabled for all transactions\n");
}

/* A new transaction tries it out: a bad number is refused now, not with every later command. */
static void option_on(struct cli *cli, const struct cli_option_setting *setting)
{
    struct transaction *tried = NULL;
    int error = cli->txn != NULL ? 0 : transaction_create(cli->session.client, &tried);

    if (error == 0)
        error = apply_option(cli->txn != NULL ? cli->txn : tried, setting);
    transaction_destroy(tried);
    if (error != 0) {
        cli_fail_with(cli, error);
        return;
    }
    if (cli->txn == NULL) {
        forget_option(&cli->options, setting->option);
        cli->options.settings[cli->options.count++] = *setting;
    }
    cli_say(cli, "Option enabled for %s\n", cli->txn != NULL ? "current transaction" : "all transactions");
}

void cli_option_command(struct cli *cli)
{
    struct cli_option_setting setting = {0};
    bool on = cli_word_is(cli, 1, "on");

    static_assert(sizeof(cli_options) / sizeof(cli_options[0]) <= CLI_OPTIONS_MAX, "each may be set once");
    if (cli->word_count == 1) {
        list_options(cli);
    } else if (cli->word_count < 3 || (!on && !cli_word_is(cli, 1, "off")) || (!on && cli->word_count > 3)) {
        cli_usage(cli);
    } else if (cli_option_by_name(cli->words[2], &setting.option) != 0) {
        cli_fail(cli, ERROR_INVALID_OPTION, "invalid option `%s'. Try `help options'", cli_show(cli, cli->words[2]));
    } else if (!on) {
        option_off(cli, setting.option);
    } else if (!cli_options[setting.option].takes_number && cli->word_count > 3) {
        cli_fail(cli, ERROR_INVALID_OPTION_VALUE, "option `%s' takes no argument", cli_options[setting.option].name);
    } else if (cli_options[setting.option].takes_number &&
               (cli->word_count < 4 || !cli_parse_number(cli->words[3], -1, INT64_MAX, &setting.number))) {
        cli_fail(cli, ERROR_INVALID_OPTION_VALUE, "option `%s' takes a whole number", cli_options[setting.option].name);
    } else {
        option_on(cli, &setting);
    }
}
