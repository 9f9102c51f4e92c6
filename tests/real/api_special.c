/* Promises of the special keys, \xff\xff: what stands in each module, and what a write to it does. */
#include "tests/real/api_test.h"

#include <string.h>

static bool has_text(struct quoin_transaction *txn, const char *key, const char *text)
{
    struct quoin_future *future = ask(txn, key);
    const uint8_t *value = NULL;
    bool present = false, has;
    int length = 0;

    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    CHECK_EQ(quoin_future_get_value(future, &present, &value, &length), 0);
    has = present && memmem(value, (size_t)length, text, strlen(text)) != NULL;
    if (!has)
        fprintf(stderr, "%s: %.*s\n", key + 2, length, (const char *)value);
    quoin_future_destroy(future);
    return has;
}

static int count_range(struct quoin_transaction *txn, const char *begin, const char *end)
{
    struct quoin_range_options all = {.mode = QUOIN_MODE_WANT_ALL};
    struct quoin_future *future = quoin_transaction_get_range(txn, QUOIN_FIRST_AT_OR_AFTER(begin, (int)strlen(begin)),
                                                              QUOIN_FIRST_AT_OR_AFTER(end, (int)strlen(end)), all);
    const struct quoin_pair *pairs = NULL;
    int count = 0, error;
    bool more = true;

    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    error = quoin_future_get_range(future, &pairs, &count, &more);
    quoin_future_destroy(future);
    return error != 0 ? -error : count;
}

static void special_keys_are_read_and_guarded(void)
{
    struct quoin_transaction *txn = begin(), *other = begin();

    CHECK(has_text(txn, "\xff\xff/status/json", "\"cluster\":{"));
    CHECK(has_text(txn, "\xff\xff/status/json", "\"quorum_reachable\":true"));
    CHECK(has_text(txn, "\xff\xff/connection_string", "@127.0.0.1:"));
    CHECK(has_text(txn, "\xff\xff/cluster_file_path", "cluster"));
    CHECK_EQ(count_range(txn, "\xff\xff/worker_interfaces/", "\xff\xff/worker_interfaces0"), 1);
    CHECK_EQ(count_range(txn, "\xff\xff/management/excluded/", "\xff\xff/management/excluded0"), 0);
    CHECK_EQ(count_range(txn, "\xff\xff/transaction/", "\xff\xff/worker_interfaces0"), -2112);
    CHECK_EQ(count_range(txn, "\xff\xff/nothing/", "\xff\xff/nothing0"), -2113);
    CHECK_EQ(get_error(txn, "\xff\xff/nothing/"), 2113);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_SPECIAL_KEY_SPACE_RELAXED, NULL, 0), 0);
    CHECK(count_range(txn, "\xff\xff/transaction/", "\xff\xff/worker_interfaces0") >= 1);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_REPORT_CONFLICTING_KEYS, NULL, 0), 0);
    CHECK_EQ(get_error(txn, "special/a"), 0);
    set(txn, "special/b", "v");
    CHECK_EQ(count_range(txn, "\xff\xff/transaction/read_conflict_range/", "\xff\xff/transaction/read_conflict_range0"), 2);
    set(other, "special/a", "v");
    CHECK_EQ(commit(other), 0);
    CHECK_EQ(commit(txn), QUOIN_ERROR_NOT_COMMITTED);
    CHECK_EQ(count_range(txn, "\xff\xff/transaction/conflicting_keys/", "\xff\xff/transaction/conflicting_keys0"), 2);
    CHECK(has_text(txn, "\xff\xff/transaction/conflicting_keys/special/a", "1"));
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set(txn, "\xff\xff/management/x", 14, "v", 1), 2114);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_SPECIAL_KEY_SPACE_ENABLE_WRITES, NULL, 0), 0);
    CHECK_EQ(quoin_transaction_set(txn, "\xff\xff/management/x", 14, "v", 1), 2115);
    quoin_transaction_destroy(other);
    quoin_transaction_destroy(txn);
}

static struct quoin_transaction *begin_special(void)
{
    struct quoin_transaction *txn = begin();

    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_SPECIAL_KEY_SPACE_ENABLE_WRITES, NULL, 0), 0);
    return txn;
}

static const char lock_key[] = "\xff\xff/management/db_locked", lock_id[] = "00112233445566778899aabbccddeeff";

static void the_database_is_locked_by_a_special_key(void)
{
    struct quoin_transaction *txn = begin_special(), *before = begin(), *other = begin();

    CHECK(is(txn, lock_key, NULL, 0));
    set(before, "special/a", "v");
    CHECK(read_version(before) > 0);
    set(txn, lock_key, lock_id);
    CHECK(is(txn, lock_key, lock_id, 32)); /* it sees what it wrote */
    CHECK_EQ(count_range(txn, "\xff\xff/management/db_locked", "\xff\xff/management/e"), 1);
    CHECK_EQ(commit(txn), 0);
    CHECK_EQ(commit(before), 1038);
    CHECK_EQ(get_error(other, "special/a"), 1038);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_LOCK_AWARE, NULL, 0), 0);
    CHECK(is(txn, lock_key, lock_id, 32));
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_SPECIAL_KEY_SPACE_ENABLE_WRITES, NULL, 0), 0);
    set(txn, lock_key, lock_id); /* a repeat */
    CHECK_EQ(commit(txn), 0);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_SPECIAL_KEY_SPACE_ENABLE_WRITES, NULL, 0), 0);
    set(txn, lock_key, "ffffffffffffffffffffffffffffffff");
    CHECK_EQ(commit(txn), 1038);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_SPECIAL_KEY_SPACE_ENABLE_WRITES, NULL, 0), 0);
    CHECK_EQ(quoin_transaction_clear(txn, lock_key, (int)strlen(lock_key)), 0);
    CHECK(is(txn, lock_key, NULL, 0));
    CHECK_EQ(commit(txn), 0);
    quoin_transaction_reset(other);
    CHECK_EQ(get_error(other, "special/a"), 0);
    quoin_transaction_destroy(other);
    quoin_transaction_destroy(before);
    quoin_transaction_destroy(txn);
}

static void enable_special(struct quoin_transaction *txn)
{
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_SPECIAL_KEY_SPACE_ENABLE_WRITES, NULL, 0), 0);
}

static void an_operator_excludes_by_special_keys(void)
{
    static const char excluded[] = "\xff\xff/management/excluded/", end[] = "\xff\xff/management/excluded0";
    static const char nobody[] = "\xff\xff/management/excluded/10.9.8.7:4500", suspended[] = "\xff\xff/management/consistency_check_suspended";
    static const char failed[] = "\xff\xff/management/failed/10.9.8.6";
    struct quoin_transaction *txn = begin_special();

    set(txn, nobody, "");
    set(txn, failed, "");
    set(txn, suspended, "");
    CHECK_EQ(count_range(txn, excluded, end), 1);
    CHECK_EQ(commit(txn), 0);
    enable_special(txn);
    CHECK(is(txn, nobody, "", 0));
    CHECK(is(txn, failed, "", 0));
    CHECK(is(txn, suspended, "", 0));
    CHECK_EQ(quoin_transaction_clear_range(txn, excluded, (int)strlen(excluded), end, (int)strlen(end)), 0);
    CHECK_EQ(quoin_transaction_clear(txn, failed, (int)strlen(failed)), 0);
    CHECK_EQ(quoin_transaction_clear(txn, suspended, (int)strlen(suspended)), 0);
    CHECK_EQ(commit(txn), 0);
    quoin_transaction_reset(txn);
    CHECK_EQ(count_range(txn, "\xff\xff/management/excluded/", "\xff\xff/management/in"), 0);
    enable_special(txn);
    set(txn, "\xff\xff/management/excluded/nobody", "");
    CHECK_EQ(commit(txn), 2117);
    CHECK(has_text(txn, "\xff\xff/error_message", "\"command\":\"exclude\""));
    enable_special(txn);
    set(txn, "\xff\xff/configuration/process/class_type/10.9.8.7:4500", "juggler");
    CHECK_EQ(commit(txn), 2117);
    quoin_transaction_destroy(txn);
}

static void a_refused_special_write_says_why(void)
{
    struct quoin_transaction *txn = begin_special();
    const char *file = "\xff\xff/cluster_file_path", *end = "\xff\xff/management/db_lockee";

    set(txn, lock_key, "no hexadecimal digits");
    set(txn, "special/c", "v");
    CHECK_EQ(commit(txn), 2117);
    CHECK(has_text(txn, "\xff\xff/error_message", "{\"retriable\":false,\"command\":\"lock\",\"message\":\""));
    CHECK_EQ(wait_for(quoin_transaction_on_error(txn, 2117)), 2117);
    CHECK(has_text(txn, "\xff\xff/error_message", "32 hexadecimal digits"));
    quoin_transaction_reset(txn);
    CHECK(is(txn, "\xff\xff/error_message", NULL, 0));
    CHECK(is(txn, "special/c", NULL, 0));
    CHECK_EQ(quoin_transaction_clear_range(txn, lock_key, (int)strlen(lock_key), end, (int)strlen(end)), 2114);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_SPECIAL_KEY_SPACE_ENABLE_WRITES, NULL, 0), 0);
    CHECK_EQ(quoin_transaction_clear_range(txn, lock_key, (int)strlen(lock_key), end, (int)strlen(end)), 2116);
    quoin_transaction_reset(txn);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_SPECIAL_KEY_SPACE_ENABLE_WRITES, NULL, 0), 0);
    CHECK_EQ(quoin_transaction_set(txn, file, (int)strlen(file), "v", 1), 2115);
    quoin_transaction_destroy(txn);
}

/* ---- tracing/ ---- */

static uint64_t number_at(struct quoin_transaction *txn, const char *key)
{
    struct quoin_future *future = ask(txn, key);
    const uint8_t *value = NULL;
    char text[32] = "";
    bool present = false;
    int length = 0;

    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    CHECK_EQ(quoin_future_get_value(future, &present, &value, &length), 0);
    CHECK(present && length < (int)sizeof(text));
    memcpy(text, value, (size_t)length);
    quoin_future_destroy(future);
    return strtoull(text, NULL, 10);
}

static const char trace_id[] = "\xff\xff/tracing/transaction_id", trace_token[] = "\xff\xff/tracing/token";

static void tracing_is_set_before_anything_else(void)
{
    struct quoin_transaction *txn = begin_special();
    uint64_t id = number_at(txn, trace_id);

    CHECK(id != 0);
    CHECK(number_at(txn, trace_id) == id);
    CHECK(number_at(txn, trace_token) == 0);
    set(txn, trace_id, "18446744073709551615");
    CHECK(number_at(txn, trace_id) == UINT64_MAX);
    set(txn, trace_token, "true");
    CHECK(number_at(txn, trace_token) != 0);
    set(txn, trace_token, "false");
    CHECK(number_at(txn, trace_token) == 0);
    CHECK_EQ(count_range(txn, "\xff\xff/tracing/", "\xff\xff/tracing0"), 2);
    set(txn, "special/traced", "v");
    CHECK_EQ(commit(txn), 0);
    enable_special(txn);
    CHECK(number_at(txn, trace_id) != UINT64_MAX);
    CHECK_EQ(quoin_transaction_set(txn, trace_id, (int)strlen(trace_id), "12x", 3), 2117);
    enable_special(txn);
    CHECK_EQ(quoin_transaction_clear(txn, trace_id, (int)strlen(trace_id)), 2117);
    enable_special(txn);
    set(txn, "special/traced", "w");
    set(txn, trace_id, "0"); /* too late */
    CHECK(number_at(txn, trace_id) != 0);
    CHECK_EQ(commit(txn), 2117);
    CHECK(has_text(txn, "\xff\xff/error_message", "must be set first"));
    quoin_transaction_destroy(txn);
}

/* ---- management/ ---- */

/* A fresh transaction's set and commit. */
static int set_special(struct quoin_transaction *txn, const char *key, const char *value)
{
    enable_special(txn);
    set(txn, key, value);
    return commit(txn);
}

static int clear_special(struct quoin_transaction *txn, const char *key)
{
    enable_special(txn);
    CHECK_EQ(quoin_transaction_clear(txn, key, (int)strlen(key)), 0);
    return commit(txn);
}

static bool reads(struct quoin_transaction *txn, const char *key, const char *wanted)
{
    quoin_transaction_reset(txn);
    return is(txn, key, wanted, wanted == NULL ? 0 : (int)strlen(wanted));
}

static void a_zone_is_under_maintenance_for_a_time(void)
{
    static const char zone[] = "\xff\xff/management/maintenance/rack 1", other[] = "\xff\xff/management/maintenance/rack 2";
    struct quoin_transaction *txn = begin();
    uint64_t left;

    CHECK_EQ(set_special(txn, zone, "100"), 0);
    quoin_transaction_reset(txn);
    left = number_at(txn, zone);
    CHECK(left >= 90 && left <= 100);
    CHECK_EQ(count_range(txn, "\xff\xff/management/maintenance/", "\xff\xff/management/maintenance0"), 1);
    CHECK_EQ(set_special(txn, zone, "-1"), 2117);
    CHECK(has_text(txn, "\xff\xff/error_message", "negative"));
    CHECK_EQ(set_special(txn, zone, "soon"), 2117);
    CHECK_EQ(set_special(txn, zone, "nan"), 2117);
    CHECK_EQ(set_special(txn, "\xff\xff/management/maintenance/", "9"), 2117);
    enable_special(txn);
    set(txn, zone, "9");
    set(txn, other, "9");
    CHECK_EQ(commit(txn), 2117);
    CHECK(has_text(txn, "\xff\xff/error_message", "\"command\":\"maintenance\""));
    CHECK_EQ(clear_special(txn, other), 0); /* not this one */
    quoin_transaction_reset(txn);
    CHECK(number_at(txn, zone) > 80);
    CHECK_EQ(clear_special(txn, zone), 0);
    CHECK(reads(txn, zone, NULL));
    enable_special(txn);
    set(txn, zone, "9");
    CHECK_EQ(quoin_transaction_clear(txn, zone, (int)strlen(zone)), 0);
    CHECK_EQ(commit(txn), 0);
    CHECK(reads(txn, zone, NULL));
    quoin_transaction_destroy(txn);
}

static void data_distribution_is_turned_off_and_on(void)
{
    static const char mode[] = "\xff\xff/management/data_distribution/mode";
    static const char ignored[] = "\xff\xff/management/data_distribution/rebalance_ignored";
    struct quoin_transaction *txn = begin();

    CHECK(reads(txn, mode, "-1"));
    CHECK_EQ(set_special(txn, mode, "0"), 0);
    CHECK(reads(txn, mode, "0"));
    CHECK_EQ(set_special(txn, mode, "1"), 0);
    CHECK(reads(txn, mode, "1"));
    CHECK_EQ(set_special(txn, mode, "2"), 2117);
    CHECK_EQ(set_special(txn, mode, "off"), 2117);
    CHECK_EQ(set_special(txn, "\xff\xff/management/data_distribution/speed", "1"), 2117);
    CHECK(reads(txn, ignored, NULL));
    CHECK_EQ(set_special(txn, ignored, "1"), 2117);
    CHECK_EQ(set_special(txn, ignored, ""), 0);
    CHECK(reads(txn, ignored, ""));
    CHECK_EQ(clear_special(txn, ignored), 0);
    CHECK_EQ(clear_special(txn, mode), 0);
    CHECK(reads(txn, ignored, NULL));
    CHECK(reads(txn, mode, "-1"));
    quoin_transaction_destroy(txn);
}

/* The first pair of a range, as text. */
static void first_of(struct quoin_transaction *txn, const char *begin, const char *end, char key[256], char value[256])
{
    struct quoin_range_options one = {.limit = 1, .mode = QUOIN_MODE_EXACT};
    struct quoin_future *future = quoin_transaction_get_range(txn, QUOIN_FIRST_AT_OR_AFTER(begin, (int)strlen(begin)),
                                                              QUOIN_FIRST_AT_OR_AFTER(end, (int)strlen(end)), one);
    const struct quoin_pair *pairs = NULL;
    int count = 0;
    bool more;

    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    CHECK_EQ(quoin_future_get_range(future, &pairs, &count, &more), 0);
    CHECK_EQ(count, 1);
    snprintf(key, 256, "%.*s", pairs[0].key_length, (const char *)pairs[0].key);
    snprintf(value, 256, "%.*s", pairs[0].value_length, (const char *)pairs[0].value);
    quoin_future_destroy(future);
}

static const char classes[] = "\xff\xff/configuration/process/class_type/", sources[] = "\xff\xff/configuration/process/class_source/";

static void the_only_process_is_not_excluded(void)
{
    struct quoin_transaction *txn = begin();
    char key[256], value[256], excluded[300];

    first_of(txn, "\xff\xff/worker_interfaces/", "\xff\xff/worker_interfaces0", key, value);
    snprintf(excluded, sizeof(excluded), "\xff\xff/management/excluded/%s", value);
    CHECK_EQ(set_special(txn, excluded, ""), 2117);
    CHECK(has_text(txn, "\xff\xff/error_message", "needs processes for logs"));
    snprintf(excluded, sizeof(excluded), "\xff\xff/management/failed/%s", value);
    CHECK_EQ(set_special(txn, excluded, ""), 2117);
    quoin_transaction_reset(txn);
    CHECK_EQ(count_range(txn, "\xff\xff/management/in_progress_exclusion/", "\xff\xff/management/in_progress_exclusion0"), 0);
    enable_special(txn);
    set(txn, "\xff\xff/management/options/failed/force", "");
    set(txn, excluded, "");
    CHECK_EQ(commit(txn), 2117); /* nobody would be left to make an epoch of */
    enable_special(txn);
    set(txn, "\xff\xff/management/options/excluded/force", "");
    CHECK(is(txn, "\xff\xff/management/options/excluded/force", "", 0));
    set(txn, "\xff\xff/management/options/excluded/softly", "");
    CHECK(is(txn, "\xff\xff/management/options/excluded/softly", NULL, 0));
    set(txn, "\xff\xff/management/excluded/10.9.8.7", "");
    CHECK_EQ(commit(txn), 0);
    CHECK_EQ(clear_special(txn, "\xff\xff/management/excluded/10.9.8.7"), 0);
    CHECK(reads(txn, "\xff\xff/management/options/excluded/force", NULL));
    quoin_transaction_destroy(txn);
}

static void classes_of_processes_are_set_and_given_back(void)
{
    struct quoin_transaction *txn = begin();
    char key[256], value[256], source[300];

    first_of(txn, classes, "\xff\xff/configuration/process/class_type0", key, value);
    snprintf(source, sizeof(source), "%s%s", sources, key + strlen(classes));
    CHECK(is(txn, source, "command_line", 12));
    CHECK_EQ(set_special(txn, key, "stateless"), 2117); /* who would be the log? */
    CHECK_EQ(set_special(txn, key, "storage"), 0);
    CHECK(reads(txn, source, "set_class"));
    CHECK_EQ(set_special(txn, key, "default"), 0);
    CHECK(reads(txn, source, "command_line"));
    CHECK_EQ(set_special(txn, "\xff\xff/configuration/process/class_type/10.9.8.7:4500", "log"), 2117);
    enable_special(txn);
    CHECK_EQ(quoin_transaction_clear(txn, key, (int)strlen(key)), 2117);
    enable_special(txn);
    CHECK_EQ(quoin_transaction_set(txn, source, (int)strlen(source), "x", 1), 2115);
    quoin_transaction_destroy(txn);
}

static void coordinators_are_told(void)
{
    static const char processes[] = "\xff\xff/configuration/coordinators/processes";
    struct quoin_transaction *txn = begin();
    char key[256], address[256];

    first_of(txn, "\xff\xff/worker_interfaces/", "\xff\xff/worker_interfaces0", key, address);
    CHECK(is(txn, processes, address, (int)strlen(address)));
    CHECK(is(txn, "\xff\xff/management/auto_coordinators", address, (int)strlen(address)));
    CHECK_EQ(count_range(txn, "\xff\xff/configuration/coordinators/", "\xff\xff/configuration/coordinators0"), 2);
    CHECK_EQ(set_special(txn, processes, "10.9.8.7:4500"), 2117);
    CHECK(has_text(txn, "\xff\xff/error_message", "\"command\":\"coordinators\""));
    quoin_transaction_destroy(txn);
}

static void settings_are_checked_and_read_as_text(void)
{
    static const char rate[] = "\xff\xff/management/profiling/client_txn_sample_rate";
    static const char setting[] = "\xff\xff/global_config/a/setting";
    static const struct {
        const char *packed;
        int length;
        const char *text;
    } values[] = {{"\x02" "a\x00\xff" "b\x00", 6, NULL}, {"\x15\x07", 2, "7"}, {"\x14", 1, "0"}, {"\x13\xf8", 2, "-7"}, {"\x27", 1, "1"},
                  {"\x21\xbf\xf8\x00\x00\x00\x00\x00\x00", 9, "1.500000"}};
    struct quoin_transaction *txn = begin();

    CHECK(reads(txn, rate, "default"));
    CHECK_EQ(set_special(txn, rate, "0.5"), 0);
    CHECK(reads(txn, rate, "0.5"));
    CHECK_EQ(set_special(txn, rate, "often"), 2117);
    CHECK_EQ(set_special(txn, rate, "default"), 0);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        enable_special(txn);
        CHECK_EQ(quoin_transaction_set(txn, setting, (int)strlen(setting), values[i].packed, values[i].length), 0);
        CHECK_EQ(commit(txn), 0);
        quoin_transaction_reset(txn);
        CHECK(values[i].text == NULL ? is(txn, setting, "a\0b", 3) : is(txn, setting, values[i].text, (int)strlen(values[i].text)));
    }
    CHECK_EQ(set_special(txn, setting, "no tuple"), 2117);
    CHECK_EQ(set_special(txn, setting, ""), 2117);
    CHECK_EQ(clear_special(txn, setting), 0);
    CHECK(reads(txn, setting, NULL));
    quoin_transaction_destroy(txn);
}

/* ---- metrics/ ---- */

static void metrics_name_shards_and_servers(void)
{
    static const char stats[] = "\xff\xff/metrics/data_distribution_stats/", stats_end[] = "\xff\xff/metrics/data_distribution_stats0";
    static const char health[] = "\xff\xff/metrics/health/", health_end[] = "\xff\xff/metrics/health0";
    struct quoin_transaction *txn = begin();
    char key[256], value[256];

    first_of(txn, stats, stats_end, key, value);
    CHECK(strcmp(key, stats) == 0); /* the first shard begins at the empty key */
    CHECK(strncmp(value, "{\"shard_bytes\":", 15) == 0);
    CHECK(count_range(txn, stats, stats_end) >= 1);
    CHECK(count_range(txn, health, health_end) >= 3); /* a log, a storage server, the ratekeeper */
    CHECK(has_text(txn, "\xff\xff/metrics/health/aggregate", "\"tps_limit\":"));
    first_of(txn, "\xff\xff/metrics/health/storage/", "\xff\xff/metrics/health/storage0", key, value);
    CHECK(strstr(value, "\"storage_durability_lag\":") != NULL);
    CHECK_EQ(count_range(txn, stats, health_end), count_range(txn, stats, stats_end) + count_range(txn, health, health_end));
    enable_special(txn);
    CHECK_EQ(quoin_transaction_set(txn, stats, (int)strlen(stats), "1", 1), 2115);
    quoin_transaction_destroy(txn);
}

/* ---- selectors and limits ---- */

static int range_of(struct quoin_transaction *txn, struct quoin_selector begin, struct quoin_selector end, struct quoin_range_options options)
{
    struct quoin_future *future = quoin_transaction_get_range(txn, begin, end, options);
    const struct quoin_pair *pairs = NULL;
    bool more = false;
    int count = 0, error;

    CHECK_EQ(quoin_future_block_until_ready(future), 0);
    error = quoin_future_get_range(future, &pairs, &count, &more);
    quoin_future_destroy(future);
    return error != 0 ? -error : more ? 1000 + count : count;
}

static struct quoin_selector select_key(const char *key, bool or_equal, int offset)
{
    return (struct quoin_selector){key, (int)strlen(key), or_equal, offset};
}

static void selectors_and_limits_count_special_keys(void)
{
    static const char begin_key[] = "\xff\xff/tracing/", end_key[] = "\xff\xff/tracing0";
    struct quoin_selector from = select_key(begin_key, false, 1), to = select_key(end_key, false, 1);
    struct quoin_range_options all = {.mode = QUOIN_MODE_WANT_ALL};
    struct quoin_transaction *txn = begin();

    CHECK_EQ(range_of(txn, from, to, all), 2);
    CHECK_EQ(range_of(txn, from, select_key(end_key, false, 0), all), 1);
    CHECK_EQ(range_of(txn, select_key(trace_token, true, 1), to, all), 1);
    CHECK_EQ(range_of(txn, select_key(begin_key, false, 2), to, all), 1);
    CHECK_EQ(range_of(txn, select_key(end_key, false, -100), to, all), -2113); /* its key is in no module */
    CHECK_EQ(range_of(txn, select_key(trace_token, false, -100), to, all), 2);
    CHECK_EQ(range_of(txn, from, select_key(begin_key, false, 100), all), 2);
    CHECK_EQ(range_of(txn, to, from, all), 0);
    CHECK_EQ(range_of(txn, from, to, (struct quoin_range_options){.mode = QUOIN_MODE_EXACT, .limit = 1}), 1001);
    CHECK_EQ(range_of(txn, from, to, (struct quoin_range_options){.mode = QUOIN_MODE_WANT_ALL, .target_bytes = 1}), 1001);
    CHECK_EQ(range_of(txn, from, to, (struct quoin_range_options){.mode = QUOIN_MODE_WANT_ALL, .limit = 1, .reverse = true}), 1001);
    CHECK_EQ(range_of(txn, select_key("\xff\xff/a", false, 1), select_key("\xff\xff/tracing/", false, 1), all), -2112);
    CHECK_EQ(range_of(txn, select_key("\xff\xff/a", false, 1), select_key("\xff\xff/b", false, 1), all), -2113);
    CHECK_EQ(range_of(txn, from, select_key("\xff\xff/transaction/", false, 1), all), -2112);
    CHECK_EQ(quoin_transaction_set_option(txn, QUOIN_OPTION_SPECIAL_KEY_SPACE_RELAXED, NULL, 0), 0);
    CHECK_EQ(range_of(txn, from, select_key("\xff\xff/transaction/", false, 1), all), 2);
    CHECK_EQ(range_of(txn, select_key("\xff\xff/a", false, 1), select_key("\xff\xff/b", false, 1), all), 0);
    quoin_transaction_destroy(txn);
}

const struct test special_tests[] = {
    TEST(special_keys_are_read_and_guarded),
    TEST(the_database_is_locked_by_a_special_key),
    TEST(an_operator_excludes_by_special_keys),
    TEST(a_refused_special_write_says_why),
    TEST(tracing_is_set_before_anything_else),
    TEST(a_zone_is_under_maintenance_for_a_time),
    TEST(data_distribution_is_turned_off_and_on),
    TEST(the_only_process_is_not_excluded),
    TEST(classes_of_processes_are_set_and_given_back),
    TEST(coordinators_are_told),
    TEST(settings_are_checked_and_read_as_text),
    TEST(metrics_name_shards_and_servers),
    TEST(selectors_and_limits_count_special_keys),
    {NULL, NULL},
};
