/* Special keys by which an operator sets what the data distributor and the clients do: maintenance of a zone, whether data is moved,
 * profiling; and the options of the other ones.
 *
 * What the shell's `maintenance' and `datadistribution' write is written here, in the same form (txn/operator_keys.h). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "txn/client/client_internal.h"
#include "txn/client/special_keys.h"
#include "txn/operator_keys.h"

/* A decimal number without anything behind it; false: it is none, or too long for one. */
static bool parse_decimal(struct bytes text, double *ret)
{
    char copy[40], *end;

    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (memchr("0123456789.+-eE", text.ptr[i], 15) == NULL) /* strtod knows words, which are none here */
            return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    *ret = strtod(copy, &end);
    return *end == '\0';
}

static bool parse_integer(struct bytes text, int64_t *ret)
{
    char copy[24], *end;

    if (text.len == 0 || text.len >= sizeof(copy) || (text.ptr[0] != '-' && (text.ptr[0] < '0' || text.ptr[0] > '9')))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    *ret = strtoll(copy, &end, 10);
    return *end == '\0';
}

/* ---- management/options/ ---- */

/* FoundationDB passes over options that it does not know. */
bool special_ignores_option(struct bytes rest)
{
    static const char *const known[] = {"excluded/force", "failed/force", "excluded_locality/force", "failed_locality/force"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (bytes_equal(rest, bytes_of_string(known[i])))
            return false;
    return true;
}

/* ---- management/maintenance/ ---- */

enum { MAINTENANCE_SECONDS_MAX = 1000000000 };

/* The zone under maintenance now; false: none is. */
static bool zone_now(const struct special_fetch *fetch, version_t *ret_left, struct bytes *ret_zone)
{
    version_t until;
    struct bytes value;

    if (!special_fetched(fetch, KEY_HEALTHY_ZONE, &value) || !healthy_zone_parse(value, &until, ret_zone))
        return false;
    *ret_left = until - fetch->ranges[0].version;
    return *ret_left > 0;
}

int special_collect_maintenance(struct special_read *read, const struct special_part *part)
{
    struct bytes zone;
    char text[24];
    version_t left;

    if (!zone_now(&read->fetch, &left, &zone))
        return 0;
    if (bytes_equal(zone, ZONE_IGNORE_STORAGE_FAILURES))
        left = 0;
    snprintf(text, sizeof(text), "%" PRId64, left / VERSIONS_PER_SECOND);
    return special_add(read, part->span.begin, zone, bytes_of_string(text));
}

static int begin_maintenance(struct special_commit *commit, const struct special_part *part, const struct mutation *write)
{
    struct bytes zone = special_rest(part, write->param1);
    struct bytes_buffer value = {0};
    double seconds;
    int error;

    if (zone.len == 0)
        return special_refuse(commit->txn, part->command, "The key must end in a zone");
    if (!parse_decimal(write->param2, &seconds) || !(seconds <= MAINTENANCE_SECONDS_MAX))
        return special_refuse(commit->txn, part->command, "The value must be a number of seconds, at most %d", MAINTENANCE_SECONDS_MAX);
    if (seconds < 0)
        return special_refuse(commit->txn, part->command, "The specified maintenance time %g is a negative value", seconds);
    error = healthy_zone_write(&value, commit->fetch.ranges[0].version + (version_t)(seconds * VERSIONS_PER_SECOND), zone);
    if (error == 0)
        error = special_system_set(commit->txn, KEY_HEALTHY_ZONE, bytes_buffer_bytes(&value));
    bytes_buffer_done(&value);
    return error;
}

/* The writes are gone through in their order: a zone that was set is counted out by a later clear of it, or meets another one. */
int special_commit_maintenance(struct special_commit *commit, const struct special_part *part)
{
    struct bytes left = bytes_buffer_bytes(&commit->txn->special_table), zone, end;
    struct mutation write, set = {.type = MUTATION_CLEAR_RANGE};
    bool cleared = false;
    version_t remaining;

    if (!zone_now(&commit->fetch, &remaining, &zone))
        zone = bytes_none();
    while (special_next_write(&left, part, &write)) {
        if (write.type == MUTATION_SET && set.type == MUTATION_SET && !bytes_equal(set.param1, write.param1))
            return special_refuse(commit->txn, part->command, "Multiple zones given for maintenance, only one allowed at the same time");
        if (write.type == MUTATION_SET) {
            set = write;
            continue;
        }
        end = special_span_has(&part->span, write.param2) ? special_rest(part, write.param2) : BYTES_LITERAL("\xff\xff\xff");
        cleared |= zone.len > 0 && bytes_compare(special_rest(part, write.param1), zone) <= 0 && bytes_compare(zone, end) < 0;
        if (set.type == MUTATION_SET && bytes_compare(write.param1, set.param1) <= 0 && bytes_compare(set.param1, write.param2) < 0)
            set.type = MUTATION_CLEAR_RANGE;
    }
    if (set.type != MUTATION_SET)
        return cleared ? special_system_clear(commit->txn, KEY_HEALTHY_ZONE) : 0;
    if (bytes_equal(zone, ZONE_IGNORE_STORAGE_FAILURES))
        return special_refuse(commit->txn, part->command,
                              "Maintenance mode cannot be used while data distribution is disabled for storage server failures.");
    return begin_maintenance(commit, part, &set);
}

/* ---- management/data_distribution/ ---- */

#define MODE BYTES_LITERAL("mode")
#define REBALANCE_IGNORED BYTES_LITERAL("rebalance_ignored")

int special_collect_distribution(struct special_read *read, const struct special_part *part)
{
    struct bytes mode, ignored;
    bool set = special_fetched(&read->fetch, KEY_DATA_DISTRIBUTION_MODE, &mode);
    int error = special_add_text(read, part->span.begin, "mode", !set ? "-1" : bytes_equal(mode, BYTES_LITERAL("0")) ? "0" : "1");

    if (error == 0 && special_fetched(&read->fetch, KEY_REBALANCE_IGNORED, &ignored))
        error = special_add(read, part->span.begin, REBALANCE_IGNORED, bytes_none());
    return error;
}

static int set_distribution(struct special_commit *commit, const struct special_part *part, const struct mutation *write)
{
    struct bytes rest = special_rest(part, write->param1), value = write->param2;
    int64_t mode;

    if (bytes_equal(rest, REBALANCE_IGNORED))
        return value.len == 0 ? special_system_set(commit->txn, KEY_REBALANCE_IGNORED, BYTES_LITERAL("1"))
                              : special_refuse(commit->txn, part->command, "Value is unused for the data_distribution/rebalance_ignored "
                                               "key, please set it to an empty value");
    if (!bytes_equal(rest, MODE))
        return special_refuse(commit->txn, part->command, "Changing invalid keys: there are data_distribution/mode and "
                              "data_distribution/rebalance_ignored");
    if (!parse_integer(value, &mode))
        return special_refuse(commit->txn, part->command, "Invalid datadistribution mode: give 0 or 1");
    if (mode != 0 && mode != 1)
        return special_refuse(commit->txn, part->command, "Please set the value of the data_distribution/mode to 0(disable) or 1(enable), "
                              "other values are not allowed");
    return special_system_set(commit->txn, KEY_DATA_DISTRIBUTION_MODE, mode == 0 ? BYTES_LITERAL("0") : BYTES_LITERAL("1"));
}

static int clear_distribution(struct special_commit *commit, const struct special_part *part, const struct mutation *write)
{
    struct bytes begin = special_rest(part, write->param1), end = BYTES_LITERAL("\xff");
    int error = 0;

    if (special_span_has(&part->span, write->param2))
        end = special_rest(part, write->param2);
    if (bytes_compare(begin, MODE) <= 0 && bytes_compare(MODE, end) < 0)
        error = special_system_clear(commit->txn, KEY_DATA_DISTRIBUTION_MODE);
    if (error == 0 && bytes_compare(begin, REBALANCE_IGNORED) <= 0 && bytes_compare(REBALANCE_IGNORED, end) < 0)
        error = special_system_clear(commit->txn, KEY_REBALANCE_IGNORED);
    return error;
}

int special_commit_distribution(struct special_commit *commit, const struct special_part *part)
{
    struct bytes left = bytes_buffer_bytes(&commit->txn->special_table);
    struct mutation write;
    int error = 0;

    while (error == 0 && special_next_write(&left, part, &write))
        error = write.type == MUTATION_SET ? set_distribution(commit, part, &write) : clear_distribution(commit, part, &write);
    return error;
}

/* ---- management/profiling/ ---- */

#define SAMPLE_RATE BYTES_LITERAL("client_txn_sample_rate")
#define SIZE_LIMIT BYTES_LITERAL("client_txn_size_limit")

/* Kept for those who set and read it; there is no profiler. */
int special_collect_profiling(struct special_read *read, const struct special_part *part)
{
    static const char *const names[] = {"client_txn_sample_rate", "client_txn_size_limit"};
    struct bytes_buffer key = {0};
    struct bytes value;
    int error = 0;

    for (int i = 0; i < 2 && error == 0; i++) {
        key.len = 0;
        error = bytes_buffer_append(&key, part->map_begin);
        if (error == 0)
            error = bytes_buffer_append(&key, bytes_of_string(names[i]));
        if (error == 0)
            error = special_add(read, part->span.begin, bytes_of_string(names[i]),
                                special_fetched(&read->fetch, bytes_buffer_bytes(&key), &value) ? value : BYTES_LITERAL("default"));
    }
    bytes_buffer_done(&key);
    return error;
}

const char *special_refuses_profiling(struct bytes rest, struct bytes value)
{
    bool by_default = bytes_equal(value, BYTES_LITERAL("default"));
    int64_t limit;
    double rate;

    if (bytes_equal(rest, SAMPLE_RATE))
        return by_default || parse_decimal(value, &rate) ? NULL : "Invalid transaction sample rate: give a number, or default";
    if (bytes_equal(rest, SIZE_LIMIT))
        return by_default || parse_integer(value, &limit) ? NULL : "Invalid transaction size limit: give a whole number, or default";
    return "There are profiling/client_txn_sample_rate and profiling/client_txn_size_limit";
}
