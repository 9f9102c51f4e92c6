/* See the header. Shards are read in one transaction: what is shown is of one version. Sizes come from the servers' samples a moment later; a shard
 * that has moved or was split since has none. */
#include "tools/cli_shards.h"

#include "net/error.h"
#include "txn/key_servers.h"
#include "txn/system_keys.h"

enum { ASK_LIMIT_US = 3000000 };

struct reading {
    struct bytes begin, end;
    size_t limit, server_capacity, shard_capacity;
    struct cli_shards *shards;
};

/* ---- what the database says ---- */

static int add_server(struct cli *cli, const struct client_pair *pair, void *ctx)
{
    struct reading *reading = ctx;
    struct cli_shards *shards = reading->shards;
    struct server_value value;
    uint64_t id;

    if (!system_key_parse_server_list(pair->key, &id))
        return 0;
    if (shards->server_count == reading->server_capacity) {
        size_t capacity = 2 * reading->server_capacity + 16;
        struct cli_server *grown = arena_zalloc(&cli->arena, capacity * sizeof(*grown));

        if (grown == NULL)
            return ERROR_OUT_OF_MEMORY;
        if (shards->server_count > 0)
            memcpy(grown, shards->servers, shards->server_count * sizeof(*grown));
        shards->servers = grown;
        reading->server_capacity = capacity;
    }
    if (message_decode(&schema_server_value, pair->value, &cli->arena, &value) != 0)
        return ERROR_SERIALIZATION_FAILED;
    shards->servers[shards->server_count] = (struct cli_server){
        .id = id, .endpoint = {{value.endpoint.address.ip, value.endpoint.address.port}, value.endpoint.id}};
    return arena_copy(&cli->arena, value.zone, &shards->servers[shards->server_count++].zone);
}

static uint32_t copy_ids(uint64_t into[CLI_TEAM_MAX], const uint64_t *ids, uint32_t count)
{
    count = count > CLI_TEAM_MAX ? CLI_TEAM_MAX : count;
    if (count > 0)
        memcpy(into, ids, count * sizeof(*ids));
    return count;
}

/* The record where a shard begins; the next one is its end. */
static int add_boundary(struct cli *cli, const struct client_pair *pair, void *ctx)
{
    struct reading *reading = ctx;
    struct cli_shards *shards = reading->shards;
    struct key_servers_value value;
    struct cli_shard *shard;
    struct bytes begin;
    int error;

    if (!system_key_parse_key_servers(pair->key, &begin))
        return 0;
    if (shards->shard_count > 0 && shards->shards[shards->shard_count - 1].end.ptr == NULL) {
        error = arena_copy(&cli->arena, begin, &shards->shards[shards->shard_count - 1].end);
        if (error != 0)
            return error;
    }
    if (pair->value.len == 0 || bytes_compare(begin, reading->end) >= 0)
        return 0;
    if (shards->shard_count == reading->limit) {
        shards->more = true;
        return 0;
    }
    shard = &shards->shards[shards->shard_count];
    *shard = (struct cli_shard){.bytes = -1};
    error = arena_copy(&cli->arena, begin, &shard->begin);
    if (error == 0)
        error = key_servers_decode(pair->value, &cli->arena, &value);
    if (error != 0)
        return error;
    shard->source_count = copy_ids(shard->source, value.source, value.source_count);
    shard->destination_count = copy_ids(shard->destination, value.destination, value.destination_count);
    shards->shard_count++;
    return 0;
}

/* The boundary at or before `begin`. */
static int first_boundary(struct cli *cli, struct transaction *txn, struct bytes begin, struct bytes *ret_key)
{
    struct transaction_range range = {.pairs = NULL};
    struct transaction_range_options options = {.limit = 1, .reverse = true};
    struct bytes_buffer key = {0};
    struct bytes after;
    int error = system_key_key_servers(&key, begin);

    if (error == 0)
        error = key_after(&cli->arena, bytes_buffer_bytes(&key), &after);
    if (error == 0) {
        cli_session_begin(&cli->session, &range.call);
        transaction_range_start(&range, NULL, txn, SELECT_FIRST_AT_OR_AFTER(KEY_KEY_SERVERS_PREFIX), SELECT_FIRST_AT_OR_AFTER(after),
                                &options);
        error = cli_session_wait(&cli->session, &range.call, true);
    }
    if (error == 0 && range.pair_count != 1)
        error = ERROR_SERIALIZATION_FAILED;
    if (error == 0)
        error = arena_copy(&cli->arena, range.pairs[0].key, ret_key);
    transaction_range_done(&range);
    bytes_buffer_done(&key);
    return error;
}

static int read_all(struct cli *cli, struct transaction *txn)
{
    struct reading *reading = cli->ctx;
    struct cli_shards *shards = reading->shards;
    struct bytes first, end, after;
    struct bytes_buffer key = {0};
    int error = first_boundary(cli, txn, reading->begin, &first);

    *shards = (struct cli_shards){.shards = arena_zalloc(&cli->arena, (reading->limit + 1) * sizeof(*shards->shards))};
    reading->server_capacity = 0;
    if (error == 0 && shards->shards == NULL)
        error = ERROR_OUT_OF_MEMORY;
    if (error == 0)
        error = key_strinc(&cli->arena, KEY_SERVER_LIST_PREFIX, &end);
    if (error == 0)
        error = cli_read_range(cli, txn, KEY_SERVER_LIST_PREFIX, end, add_server, reading);
    if (error == 0)
        error = key_strinc(&cli->arena, KEY_KEY_SERVERS_PREFIX, &after);
    if (error == 0)
        error = cli_read_range(cli, txn, first, after, add_boundary, reading);
    bytes_buffer_done(&key);
    return error;
}

bool cli_shards_read(struct cli *cli, struct bytes begin, struct bytes end, size_t limit, struct cli_shards *ret)
{
    struct reading reading = {.begin = begin, .end = end, .limit = limit, .shards = ret};

    cli->ctx = &reading;
    cli_fail_with(cli, cli_transact_system(cli, read_all, NULL));
    return cli->error == 0;
}

const struct cli_server *cli_shards_server(const struct cli_shards *shards, uint64_t id)
{
    for (size_t i = 0; i < shards->server_count; i++)
        if (shards->servers[i].id == id)
            return &shards->servers[i];
    return NULL;
}

/* ---- what the servers say ---- */

int cli_server_loads(struct cli *cli, const struct cli_server *server, struct bytes begin, struct bytes end,
                     void (*each)(void *ctx, const struct shard_load *load), void *ctx)
{
    struct bytes at = begin;
    bool more = true;
    int error = 0;

    while (error == 0 && more) {
        struct message *request, *reply = NULL;
        const struct shard_loads *loads;
        struct get_shard_loads *m = MESSAGE_NEW(get_shard_loads, &request);

        error = m == NULL ? ERROR_OUT_OF_MEMORY : arena_copy(&request->arena, at, &m->begin);
        if (error != 0) {
            message_unref(request);
            return error;
        }
        error = cli_session_call(&cli->session, server->endpoint, request, ASK_LIMIT_US, &reply);
        if (error != 0)
            return error;
        loads = MESSAGE_BODY(shard_loads, reply);
        for (uint32_t i = 0; i < loads->shards_count; i++)
            if (bytes_compare(loads->shards[i].begin, end) < 0 && bytes_compare(loads->shards[i].end, begin) > 0)
                each(ctx, &loads->shards[i]);
        more = loads->more && loads->shards_count > 0 && bytes_compare(loads->shards[loads->shards_count - 1].end, at) > 0 &&
               bytes_compare(loads->shards[loads->shards_count - 1].end, end) < 0;
        if (more)
            error = arena_copy(&cli->arena, loads->shards[loads->shards_count - 1].end, &at);
        message_unref(reply);
    }
    return error;
}

static void take_weight(void *ctx, const struct shard_load *load)
{
    struct cli_shards *shards = ctx;
    size_t low = 0, high = shards->shard_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (bytes_compare(shards->shards[middle].begin, load->begin) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < shards->shard_count && bytes_equal(shards->shards[low].begin, load->begin) &&
        bytes_equal(shards->shards[low].end, load->end) && load->bytes > shards->shards[low].bytes)
        shards->shards[low].bytes = load->bytes;
}

static bool is_asked(const struct cli_shards *shards, uint64_t id)
{
    for (size_t i = 0; i < shards->shard_count; i++)
        for (uint32_t k = 0; k < shards->shards[i].source_count; k++)
            if (shards->shards[i].source[k] == id)
                return true;
    return false;
}

void cli_shards_weigh(struct cli *cli, struct cli_shards *shards)
{
    if (shards->shard_count == 0)
        return;
    for (size_t i = 0; i < shards->server_count; i++)
        if (is_asked(shards, shards->servers[i].id))
            shards->servers[i].error = cli_server_loads(cli, &shards->servers[i], shards->shards[0].begin,
                                                        shards->shards[shards->shard_count - 1].end, take_weight, shards);
}
