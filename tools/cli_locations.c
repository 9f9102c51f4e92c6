/* Where data is, and where it is hot: `locations` and `hotrange`. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/error.h"
#include "net/mem.h"
#include "tools/cli_shards.h"
#include "txn/system_keys.h"

enum { SHOWN_MAX = 1000, HOT_DEFAULT = 5, HOT_MAX = 10000 };

/* ---- locations ---- */

static const char *print_bytes(int64_t bytes, char out[32])
{
    if (bytes < 0)
        snprintf(out, 32, "size unknown");
    else if (bytes >= 10000000)
        snprintf(out, 32, "%.1f MB", (double)bytes / 1e6);
    else
        snprintf(out, 32, "%" PRId64 " bytes", bytes);
    return out;
}

static json_t *server_json(struct cli *cli, const struct cli_shards *shards, uint64_t id)
{
    const struct cli_server *server = cli_shards_server(shards, id);
    char id_text[20], address[ADDRESS_TEXT_MAX];
    json_t *object = json_object();

    snprintf(id_text, sizeof(id_text), "%016" PRIx64, id);
    (void)json_object_set_new(object, "id", json_string(id_text));
    if (server == NULL)
        return object;
    (void)json_object_set_new(object, "address", json_string(address_print(server->endpoint.address, address)));
    (void)json_object_set_new(object, "zone", cli_json_bytes(cli, server->zone));
    return object;
}

static void say_team(struct cli *cli, const struct cli_shards *shards, const char *what, const uint64_t *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct cli_server *server = cli_shards_server(shards, ids[i]);
        char address[ADDRESS_TEXT_MAX];

        if (server == NULL)
            cli_say(cli, "    %-4s server %016" PRIx64 "  not in the list of servers\n", what, ids[i]);
        else
            cli_say(cli, "    %-4s %-21s zone %s  server %016" PRIx64 "\n", what, address_print(server->endpoint.address, address),
                    cli_show(cli, server->zone), ids[i]);
    }
}

static void say_shard(struct cli *cli, const struct cli_shards *shards, const struct cli_shard *shard, json_t *list)
{
    json_t *object = json_object(), *source = json_array(), *destination = json_array();
    char bytes[32];

    cli_say(cli, "[%s, %s)  %s%s\n", cli_show(cli, shard->begin), cli_show(cli, shard->end), print_bytes(shard->bytes, bytes),
            shard->destination_count > 0 ? ", moving" : "");
    say_team(cli, shards, "on", shard->source, shard->source_count);
    say_team(cli, shards, "to", shard->destination, shard->destination_count);
    for (uint32_t i = 0; i < shard->source_count; i++)
        (void)json_array_append_new(source, server_json(cli, shards, shard->source[i]));
    for (uint32_t i = 0; i < shard->destination_count; i++)
        (void)json_array_append_new(destination, server_json(cli, shards, shard->destination[i]));
    (void)json_object_set_new(object, "begin", cli_json_bytes(cli, shard->begin));
    (void)json_object_set_new(object, "end", cli_json_bytes(cli, shard->end));
    (void)json_object_set_new(object, "bytes", shard->bytes < 0 ? json_null() : json_integer(shard->bytes));
    (void)json_object_set_new(object, "moving", json_boolean(shard->destination_count > 0));
    (void)json_object_set_new(object, "servers", source);
    (void)json_object_set_new(object, "moving_to", destination);
    (void)json_array_append_new(list, object);
}

static void say_silent(struct cli *cli, const struct cli_shards *shards)
{
    char address[ADDRESS_TEXT_MAX];

    for (size_t i = 0; i < shards->server_count; i++)
        if (shards->servers[i].error != 0)
            cli_say(cli, "%s did not say what its shards weigh: %s\n", address_print(shards->servers[i].endpoint.address, address),
                    cli_unreachable(shards->servers[i].error));
}

static bool is_range(struct cli *cli, struct bytes begin, struct bytes end)
{
    if (begin.len > SYSTEM_KEY_BYTES_MAX || end.len > SYSTEM_KEY_BYTES_MAX)
        cli_fail(cli, ERROR_KEY_TOO_LARGE, "a key has at most %d bytes", SYSTEM_KEY_BYTES_MAX);
    else if (bytes_compare(begin, KEY_SYSTEM_END) >= 0)
        cli_fail(cli, ERROR_KEY_OUTSIDE_LEGAL_RANGE, "`%s' is not in the database, whose keys lie below \\xff\\xff", cli_show(cli, begin));
    else if (bytes_compare(begin, end) >= 0)
        cli_fail(cli, ERROR_INVERTED_RANGE, "the range begins at `%s' and ends before that; give BEGINKEY first",
                 cli_show(cli, begin));
    return cli->error == 0;
}

void cli_locations(struct cli *cli)
{
    struct bytes begin = cli->words[1], end;
    struct cli_shards shards;
    json_t *list;

    if (cli->word_count == 3)
        end = cli->words[2];
    else if (key_after(&cli->arena, begin, &end) != 0) {
        cli_fail_with(cli, ERROR_OUT_OF_MEMORY);
        return;
    }
    if (!is_range(cli, begin, end) || !cli_shards_read(cli, begin, end, SHOWN_MAX, &shards))
        return;
    cli_shards_weigh(cli, &shards);
    list = json_array();
    for (size_t i = 0; i < shards.shard_count; i++)
        say_shard(cli, &shards, &shards.shards[i], list);
    say_silent(cli, &shards);
    if (shards.more)
        cli_say(cli, "More shards follow; go on with: locations %s ENDKEY\n", cli_show(cli, shards.shards[shards.shard_count - 1].end));
    cli_result(cli, "shards", list);
    cli_result(cli, "more", json_boolean(shards.more));
}

/* ---- hotrange ---- */

enum hot_by { HOT_BY_READ_BYTES, HOT_BY_READ_OPS, HOT_BY_WRITE_BYTES, HOT_BY_BYTES, HOT_BYS };

static const char *const hot_names[HOT_BYS] = {"readbytes", "readops", "writebytes", "bytes"};

struct hot_range {
    struct bytes begin, end;
    struct shard_load load;
    int64_t weight;
};

struct hot {
    struct cli *cli;
    enum hot_by by;
    size_t count, capacity;
    struct hot_range *ranges;
    bool failed;
};

static int64_t weight_of(const struct shard_load *load, enum hot_by by)
{
    const int64_t weights[HOT_BYS] = {load->read_bytes_per_s, load->reads_per_s, load->write_bytes_per_s, load->bytes};

    return weights[by];
}

static void take_hot(void *ctx, const struct shard_load *load)
{
    struct hot *hot = ctx;
    struct hot_range *range;

    if (weight_of(load, hot->by) == 0)
        return;
    if (hot->count == hot->capacity) {
        size_t capacity = 2 * hot->capacity + 64;
        struct hot_range *grown = arena_alloc(&hot->cli->arena, capacity * sizeof(*grown));

        hot->failed |= grown == NULL;
        if (grown == NULL)
            return;
        if (hot->count > 0)
            memcpy(grown, hot->ranges, hot->count * sizeof(*grown));
        hot->ranges = grown;
        hot->capacity = capacity;
    }
    range = &hot->ranges[hot->count];
    *range = (struct hot_range){.load = *load, .weight = weight_of(load, hot->by)};
    if (arena_copy(&hot->cli->arena, load->begin, &range->begin) != 0 || arena_copy(&hot->cli->arena, load->end, &range->end) != 0)
        hot->failed = true;
    else
        hot->count++;
}

static int hotter(const void *left, const void *right)
{
    const struct hot_range *a = left, *b = right;

    return a->weight != b->weight ? (a->weight < b->weight ? 1 : -1) : bytes_compare(a->begin, b->begin);
}

static void say_hot(struct cli *cli, const struct hot_range *range, json_t *list)
{
    const struct shard_load *load = &range->load;
    double density = load->bytes > 0 ? (double)load->read_bytes_per_s / (double)load->bytes : 0;

    cli_say(cli, "  [%s, %s)\n    %" PRId64 " bytes; read %" PRId64 " bytes/s, %" PRId64 " ops/s, density %.3g/s; written %" PRId64 " bytes/s\n",
            cli_show(cli, range->begin), cli_show(cli, range->end), load->bytes, load->read_bytes_per_s, load->reads_per_s, density,
            load->write_bytes_per_s);
    (void)json_array_append_new(
        list, json_pack("{s:o, s:o, s:I, s:I, s:I, s:f, s:I}", "begin", cli_json_bytes(cli, range->begin), "end",
                        cli_json_bytes(cli, range->end), "bytes", (json_int_t)load->bytes, "read_bytes_per_second",
                        (json_int_t)load->read_bytes_per_s, "reads_per_second", (json_int_t)load->reads_per_s, "read_density", density,
                        "write_bytes_per_second", (json_int_t)load->write_bytes_per_s));
}

static void hot_of_server(struct cli *cli, const struct cli_server *server, enum hot_by by, size_t wanted, json_t *servers)
{
    struct hot hot = {.cli = cli, .by = by};
    char address[ADDRESS_TEXT_MAX];
    json_t *object = json_object(), *list = json_array();
    int error = cli_server_loads(cli, server, bytes_none(), KEY_SYSTEM_END, take_hot, &hot);

    if (error == 0 && hot.failed)
        error = ERROR_OUT_OF_MEMORY;
    address_print(server->endpoint.address, address);
    if (error != 0)
        cli_say(cli, "%s did not answer: %s\n", address, cli_unreachable(error));
    else
        cli_say(cli, "%s: %zu ranges, the first by %s%s\n", address, hot.count, hot_names[by], hot.count > 0 ? ":" : "");
    if (hot.count > 0)
        qsort(hot.ranges, hot.count, sizeof(*hot.ranges), hotter);
    for (size_t i = 0; error == 0 && i < hot.count && i < wanted; i++)
        say_hot(cli, &hot.ranges[i], list);
    (void)json_object_set_new(object, "address", json_string(address));
    (void)json_object_set_new(object, "error", error == 0 ? json_null() : json_string(error_name(error)));
    (void)json_object_set_new(object, "ranges", list);
    (void)json_array_append_new(servers, object);
}

struct hot_question {
    struct address address; /* port 0: all servers */
    enum hot_by by;
    int64_t count;
};

static bool read_words(struct cli *cli, struct hot_question *ret)
{
    size_t at = 1;

    *ret = (struct hot_question){.count = HOT_DEFAULT};
    if (at < cli->word_count && address_parse(cli->words[at], &ret->address) == 0)
        at++;
    for (int by = 0; at < cli->word_count && by < HOT_BYS; by++)
        if (cli_word_is(cli, at, hot_names[by])) {
            ret->by = (enum hot_by)by;
            at++;
            break;
        }
    if (at < cli->word_count && cli_parse_number(cli->words[at], 1, HOT_MAX, &ret->count))
        at++;
    if (at < cli->word_count)
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION,
                 "`%s' is none of: IP:PORT of a storage server; readbytes, readops, writebytes or bytes; how many ranges (1 to %d)",
                 cli_show(cli, cli->words[at]), HOT_MAX);
    return cli->error == 0;
}

void cli_hotrange(struct cli *cli)
{
    struct hot_question question;
    struct cli_shards shards;
    json_t *list;
    size_t asked = 0;

    if (!read_words(cli, &question) || !cli_shards_read(cli, bytes_none(), BYTES_LITERAL("\0"), 1, &shards))
        return;
    list = json_array();
    for (size_t i = 0; i < shards.server_count; i++) {
        if (question.address.port != 0 && !address_equal(question.address, shards.servers[i].endpoint.address))
            continue;
        hot_of_server(cli, &shards.servers[i], question.by, (size_t)question.count, list);
        asked++;
    }
    if (asked == 0)
        cli_fail(cli, ERROR_CLIENT_INVALID_OPERATION, "there is no storage server at %s; `status details' shows which processes are",
                 cli_show(cli, cli->words[1]));
    cli_result(cli, "servers", list);
}
