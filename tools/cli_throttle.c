/* throttle: limits of tags, as fdbcli has it. They stand in \xff\x02/throttledTags/ (txn/tags.h); the ratekeeper hears of a change by the
 * signal key, which each changes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net/error.h"
#include "tools/cli_shell.h"
#include "txn/tags.h"

enum { LIST_LIMIT_DEFAULT = 100, LIST_LIMIT_MAX = 100000, DURATION_DEFAULT_S = 3600 };
#define DURATION_MAX_S 3.2e9 /* a hundred years */

struct request {
    struct throttle throttle; /* on; off: its tag and priority, if they were named */
    bool has_tag, has_priority, manual, automatic;
    bool enable;
    uint32_t changed; /* off: limits that were cleared; of manual ones: */
    uint32_t changed_manual;
    /* list */
    bool throttled, recommended;
    int64_t limit, shown;
    bool auto_enabled;
    json_t *list;
};

static void bad(struct cli *cli, const char *what, struct bytes word)
{
    cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "throttle: `%s' is not %s; see `help throttle'", cli_show(cli, word), what);
}

/* ---- words ---- */

/* A number, and nothing else; *ret_rest is where it ends when that is wanted. */
static bool read_number(struct bytes word, double *ret, const char **ret_rest, char text[64])
{
    char *end;

    if (word.len == 0 || word.len >= 64 || memchr(word.ptr, 0, word.len) != NULL)
        return false;
    memcpy(text, word.ptr, word.len);
    text[word.len] = '\0';
    *ret = strtod(text, &end);
    *ret_rest = end;
    return end != text && isfinite(*ret) && *ret >= 0;
}

static bool read_rate(struct bytes word, double *ret)
{
    const char *rest;
    char text[64];

    return read_number(word, ret, &rest, text) && *rest == '\0';
}

/* "90s", "5m", "1h", "2d". */
static bool read_duration(struct bytes word, double *ret)
{
    static const struct {
        char suffix;
        double seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    const char *rest;
    char text[64];

    if (!read_number(word, ret, &rest, text) || rest[0] == '\0' || rest[1] != '\0')
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (units[i].suffix == rest[0]) {
            *ret *= units[i].seconds;
            return *ret > 0 && *ret <= DURATION_MAX_S;
        }
    return false;
}

static bool read_tag(struct cli *cli, struct bytes word, struct throttle *throttle)
{
    if (tag_name_of(word, &throttle->tag))
        return true;
    cli_fail(cli, ERROR_TAG_TOO_LONG, "throttle: a tag has at most %u bytes, `%s' has %zu", TRANSACTION_TAG_BYTES_MAX, cli_show(cli, word),
             word.len);
    return false;
}

/* ---- changes ---- */

static int get_number(struct cli *cli, struct transaction *txn, struct bytes key, int64_t otherwise, int64_t *ret)
{
    struct bytes value;
    bool present;
    int error = cli_read(cli, txn, key, &present, &value);

    *ret = error == 0 && present && value.len == 8 ? (int64_t)get_le64(value.ptr) : otherwise;
    return error;
}

static int change_count(struct cli *cli, struct transaction *txn, int64_t delta)
{
    int64_t count, limit;
    int error = get_number(cli, txn, KEY_THROTTLE_COUNT, 0, &count);
    uint8_t number[8];

    if (error == 0)
        error = get_number(cli, txn, KEY_THROTTLE_LIMIT, THROTTLES_DEFAULT, &limit);
    if (error != 0 || delta == 0)
        return error;
    count += delta;
    if (delta > 0 && count > limit)
        return ERROR_TOO_MANY_TAG_THROTTLES;
    put_le64(number, (uint64_t)(count < 0 ? 0 : count));
    return transaction_set(txn, KEY_THROTTLE_COUNT, bytes_of(number, sizeof(number)));
}

/* The version of the commit, so that no two changes leave the same. */
static int signal_change(struct transaction *txn)
{
    static const uint8_t stamp[VERSIONSTAMP_BYTES + 4] = "XXXXXXXXXX";

    return transaction_atomic(txn, MUTATION_SET_VERSIONSTAMPED_VALUE, KEY_THROTTLE_SIGNAL, bytes_of(stamp, sizeof(stamp)));
}

static int on_body(struct cli *cli, struct transaction *txn)
{
    const struct request *request = cli->ctx;
    uint8_t key[THROTTLE_KEY_BYTES_MAX], value[THROTTLE_VALUE_BYTES];
    size_t key_len = throttle_key_write(key, &request->throttle);
    struct bytes old;
    bool present = false;
    int error = cli_read(cli, txn, bytes_of(key, key_len), &present, &old);

    throttle_value_write(value, &request->throttle);
    if (error == 0)
        error = change_count(cli, txn, present ? 0 : 1);
    if (error == 0)
        error = transaction_set(txn, bytes_of(key, key_len), bytes_of(value, sizeof(value)));
    return error != 0 ? error : signal_change(txn);
}

static void throttle_on(struct cli *cli)
{
    struct request request = {.throttle = {.type = THROTTLE_MANUAL, .priority = THROTTLE_DEFAULT, .duration_s = DURATION_DEFAULT_S,
                                           .reason = THROTTLE_BY_HAND}};
    int error;

    if (cli->word_count < 4 || cli->word_count > 7 || !cli_word_is(cli, 2, "tag")) {
        cli_usage(cli);
        return;
    }
    if (!read_tag(cli, cli->words[3], &request.throttle))
        return;
    if (cli->word_count > 4 && !read_rate(cli->words[4], &request.throttle.rate)) {
        bad(cli, "a rate (transactions a second, as in 100 or 0.5)", cli->words[4]);
        return;
    }
    if (cli->word_count > 5 && !read_duration(cli->words[5], &request.throttle.duration_s)) {
        bad(cli, "a duration (a number above 0 and s, m, h or d, as in 90s)", cli->words[5]);
        return;
    }
    if (cli->word_count > 6 && !throttle_priority_parse(cli->words[6], &request.throttle.priority)) {
        bad(cli, "a priority (default, immediate or batch)", cli->words[6]);
        return;
    }
    cli->ctx = &request;
    error = cli_transact_system(cli, on_body, NULL);
    if (error == ERROR_TOO_MANY_TAG_THROTTLES)
        cli_fail(cli, error, "as many tags are throttled as may be; `throttle list' shows them, `throttle off' takes them away");
    else
        cli_fail_with(cli, error);
    if (cli->error == 0)
        cli_say(cli, "Tag `%s' has been throttled\n", cli_show(cli, cli->words[3]));
}

static int off_one(struct cli *cli, const struct client_pair *pair, void *ctx)
{
    struct transaction *txn = ctx;
    struct request *request = cli->ctx;
    struct throttle found;

    if (!throttle_key_parse(pair->key, &found) || !(found.type == THROTTLE_MANUAL ? request->manual : request->automatic) ||
        (request->has_priority && found.priority != request->throttle.priority) ||
        (request->has_tag && !tag_equal(&found.tag, &request->throttle.tag)))
        return 0;
    request->changed++;
    request->changed_manual += found.type == THROTTLE_MANUAL;
    return transaction_clear(txn, pair->key);
}

static int off_body(struct cli *cli, struct transaction *txn)
{
    struct request *request = cli->ctx;
    int error;

    request->changed = request->changed_manual = 0;
    error = cli_read_range(cli, txn, KEY_THROTTLE_PREFIX, KEY_THROTTLE_END, off_one, txn);
    if (error == 0)
        error = change_count(cli, txn, -(int64_t)request->changed_manual);
    return error != 0 || request->changed == 0 ? error : signal_change(txn);
}

/* False: it has said what was wrong. */
static bool read_off(struct cli *cli, struct request *request)
{
    bool typed = false;

    for (size_t i = 2; i < cli->word_count; i++) {
        bool all = cli_word_is(cli, i, "all"), is_auto = cli_word_is(cli, i, "auto"), manual = cli_word_is(cli, i, "manual");

        if ((all || is_auto || manual) && !typed) {
            request->manual = all || manual;
            request->automatic = all || is_auto;
            typed = true;
        } else if (cli_word_is(cli, i, "tag") && !request->has_tag && i + 1 < cli->word_count) {
            if (!read_tag(cli, cli->words[++i], &request->throttle))
                return false;
            request->has_tag = true;
        } else if (!request->has_priority && throttle_priority_parse(cli->words[i], &request->throttle.priority)) {
            request->has_priority = true;
        } else {
            bad(cli, "all, auto, manual, tag TAG or a priority, once each", cli->words[i]);
            return false;
        }
    }
    return true;
}

static void throttle_off(struct cli *cli)
{
    struct request request = {.manual = true};
    const char *type, *priority;

    if (cli->word_count == 2) {
        cli_usage(cli);
        return;
    }
    if (!read_off(cli, &request))
        return;
    cli->ctx = &request;
    cli_fail_with(cli, cli_transact_system(cli, off_body, NULL));
    if (cli->error != 0)
        return;
    type = request.manual && request.automatic ? "" : request.manual ? "manually " : "auto-";
    priority = request.has_priority ? throttle_priority_name(request.throttle.priority) : "any";
    if (request.has_tag)
        cli_say(cli, request.changed > 0 ? "Unthrottled tag `%s' (%sthrottled, at %s priority)\n" : "Tag `%s' was not %sthrottled at %s priority\n",
                cli_show(cli, tag_bytes(&request.throttle.tag)), type, priority);
    else
        cli_say(cli, request.changed > 0 ? "Unthrottled all %sthrottled tags at %s priority\n" : "There were no tags being %sthrottled at %s priority\n",
                type, priority);
    cli_result(cli, "unthrottled", json_integer(request.changed));
}

static int auto_body(struct cli *cli, struct transaction *txn)
{
    const struct request *request = cli->ctx;
    int error = transaction_set(txn, KEY_THROTTLE_AUTO_ENABLED, bytes_of_string(request->enable ? "1" : "0"));

    return error != 0 ? error : signal_change(txn);
}

static void throttle_auto(struct cli *cli)
{
    struct request request = {.enable = cli_word_is(cli, 1, "enable")};

    if (cli->word_count != 3 || !cli_word_is(cli, 2, "auto")) {
        cli_usage(cli);
        return;
    }
    cli->ctx = &request;
    cli_fail_with(cli, cli_transact_system(cli, auto_body, NULL));
    if (cli->error == 0)
        cli_say(cli, "Automatic tag throttling has been %s\n", request.enable ? "enabled" : "disabled");
}

/* ---- list ---- */

static double wall_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static json_t *shown(struct cli *cli, const struct throttle *throttle, double left_s)
{
    return json_pack("{s:o, s:f, s:f, s:s, s:s, s:s}", "tag", cli_json_bytes(cli, tag_bytes(&throttle->tag)), "rate", throttle->rate, "seconds", left_s,
                     "priority", throttle_priority_name(throttle->priority), "type", throttle->type == THROTTLE_AUTO ? "auto" : "manual",
                     "reason", throttle_reason_name(throttle->reason));
}

static int list_one(struct cli *cli, const struct client_pair *pair, void *ctx)
{
    struct request *request = ctx;
    struct throttle found = {0};
    double left_s;

    if (request->shown >= request->limit || !throttle_key_parse(pair->key, &found) || !throttle_value_parse(pair->value, &found))
        return 0;
    if (found.type == THROTTLE_MANUAL ? !request->throttled : request->auto_enabled ? !request->throttled : !request->recommended)
        return 0;
    left_s = found.expires_s == 0 ? found.duration_s : found.expires_s - wall_s(); /* 0: the ratekeeper has not seen it yet */
    if (left_s <= 0)
        return 0;
    if (left_s > found.duration_s)
        left_s = found.duration_s;
    (void)json_array_append_new(request->list, shown(cli, &found, left_s));
    request->shown++;
    return 0;
}

static int list_body(struct cli *cli, struct transaction *txn)
{
    struct request *request = cli->ctx;
    struct bytes value;
    bool present;
    int error = cli_read(cli, txn, KEY_THROTTLE_AUTO_ENABLED, &present, &value);

    request->auto_enabled = error != 0 || !present || !bytes_equal(value, BYTES_LITERAL("0"));
    request->shown = 0;
    (void)json_array_clear(request->list);
    return error != 0 ? error : cli_read_range(cli, txn, KEY_THROTTLE_PREFIX, KEY_THROTTLE_END, list_one, request);
}

static void say_list(struct cli *cli, const struct request *request)
{
    size_t i;
    json_t *one;

    if (request->shown == 0) {
        cli_say(cli, "There are no %s tags\n", request->throttled ? "throttled" : "recommended");
        return;
    }
    cli_say(cli, "Throttled tags:\n\n  Rate (txn/s) | Expiration (s) | Priority  | Type   | Reason     |Tag\n"
                 " --------------+----------------+-----------+--------+------------+------\n");
    json_array_foreach(request->list, i, one)
        cli_say(cli, "  %12.0f | %13.0fs | %9s | %6s | %10s |%s\n", json_real_value(json_object_get(one, "rate")),
                json_real_value(json_object_get(one, "seconds")), json_string_value(json_object_get(one, "priority")),
                json_string_value(json_object_get(one, "type")), json_string_value(json_object_get(one, "reason")),
                json_string_value(json_object_get(one, "tag")));
    if (request->shown == request->limit)
        cli_say(cli, "\nThe tag limit `%lld' was reached. Use the [LIMIT] argument to view additional tags.\n", (long long)request->limit);
}

static void throttle_list(struct cli *cli)
{
    struct request request = {.throttled = true, .limit = LIST_LIMIT_DEFAULT};
    bool all = cli_word_is(cli, 2, "all"), recommended = cli_word_is(cli, 2, "recommended");

    if (cli->word_count > 4) {
        cli_usage(cli);
        return;
    }
    if (cli->word_count > 2 && !all && !recommended && !cli_word_is(cli, 2, "throttled")) {
        bad(cli, "throttled, recommended or all", cli->words[2]);
        return;
    }
    if (cli->word_count > 3 && !cli_parse_number(cli->words[3], 1, LIST_LIMIT_MAX, &request.limit)) {
        bad(cli, "a limit (1 to 100000)", cli->words[3]);
        return;
    }
    request.throttled = !recommended;
    request.recommended = all || recommended;
    request.list = json_array();
    cli->ctx = &request;
    cli_fail_with(cli, cli_transact_system(cli, list_body, NULL));
    if (cli->error == 0)
        say_list(cli, &request);
    cli_result(cli, "automatic", json_boolean(request.auto_enabled));
    cli_result(cli, "tags", request.list);
}

void cli_throttle(struct cli *cli)
{
    if (cli_word_is(cli, 1, "on"))
        throttle_on(cli);
    else if (cli_word_is(cli, 1, "off"))
        throttle_off(cli);
    else if (cli_word_is(cli, 1, "enable") || cli_word_is(cli, 1, "disable"))
        throttle_auto(cli);
    else if (cli_word_is(cli, 1, "list"))
        throttle_list(cli);
    else
        cli_usage(cli);
}
