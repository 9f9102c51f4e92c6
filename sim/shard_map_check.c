/* The map of the shards, read in one transaction: keyServers, serverKeys and serverList must say the same.
 *
 * Every key belongs to one shard, whose team has at least one server, all of them listed. Each server of a shard's source or
 * destination has one entry in serverKeys, just as long as the shard, in the state that its place says; nobody else has one. Replicas
 * follow the private mutations that are made of these entries, so a wrong one may do its harm much later: after another move, or
 * when a new distributor believes it. No shard crosses the border between user and system keys. Where a distributor works, no shard
 * stays between two teams: it has said that it has nothing to do. */
#include "net/error.h"
#include "sim/cluster.h"
#include "sim/transaction.h"
#include "txn/key_servers.h"
#include "txn/operator_keys.h"
#include "txn/system_keys.h"

enum { OPTION_READ_SYSTEM_KEYS = 302, OPTION_READ_LOCK_AWARE = 702, PAIRS_A_REQUEST = 1000 };
enum { MOVE_US_MAX = 60000000 /* one may have begun since, for balance */ };

struct shard {
    struct bytes begin, end;
    struct key_servers_value team;
    uint32_t entries; /* of serverKeys that belong to it */
};

/* Of one attempt; borrowed from the transaction or in the arena. */
struct shard_map {
    struct sim_world *world;
    struct sim_transaction *transaction;
    struct arena arena;
    struct shard *shards;
    size_t shard_count;
    uint64_t *servers;
    size_t server_count;
    int64_t began_us;
    const struct shard *moving; /* NULL: none, or nobody is there to move it */
};

__attribute__((format(printf, 3, 4))) static void wrong(struct shard_map *map, const struct shard *shard, const char *format, ...)
{
    char begin[128] = "", what[200];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    sim_world_fail(map->world, "the shard map is wrong: %s%s%s", what, shard == NULL ? "" : ", shard from ",
                   shard == NULL ? "" : bytes_print(shard->begin, begin, sizeof(begin)));
}

static bool has(const uint64_t *ids, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* How many servers have it: those of the destination that are in the source as well count once. */
static uint32_t holders(const struct shard *shard)
{
    uint32_t count = shard->team.source_count;

    for (uint32_t i = 0; i < shard->team.destination_count; i++)
        count += !has(shard->team.source, shard->team.source_count, shard->team.destination[i]);
    return count;
}

/* ---- reading ---- */

static int read_servers(struct shard_map *map)
{
    const struct sim_pair *pairs;
    size_t count;
    int error = sim_get_range(map->transaction, KEY_SERVER_LIST_PREFIX, BYTES_LITERAL("\xff/serverList0"), PAIRS_A_REQUEST, &pairs,
                              &count);

    if (error != 0)
        return error;
    map->servers = arena_zalloc(&map->arena, (count + 1) * sizeof(*map->servers));
    for (size_t i = 0; i < count; i++)
        if (!system_key_parse_server_list(pairs[i].key, &map->servers[map->server_count++]))
            wrong(map, NULL, "a key of serverList is none");
    return 0;
}

static int read_shards(struct shard_map *map)
{
    const struct sim_pair *pairs;
    size_t count;
    int error = sim_get_range(map->transaction, KEY_KEY_SERVERS_PREFIX, BYTES_LITERAL("\xff/keyServers0"), PAIRS_A_REQUEST, &pairs,
                              &count);

    if (error != 0)
        return error;
    map->shards = arena_zalloc(&map->arena, (count + 1) * sizeof(*map->shards));
    for (size_t i = 0; i + 1 < count; i++) {
        struct shard *shard = &map->shards[map->shard_count++];

        if (!system_key_parse_key_servers(pairs[i].key, &shard->begin) ||
            !system_key_parse_key_servers(pairs[i + 1].key, &shard->end) ||
            key_servers_decode(pairs[i].value, &map->arena, &shard->team) != 0)
            wrong(map, shard, "a record of keyServers is none");
    }
    return 0;
}

static int find_moving(struct shard_map *map)
{
    struct bytes mode;
    bool present;
    int error = sim_get(map->transaction, KEY_DATA_DISTRIBUTION_MODE, &present, &mode);

    map->moving = NULL;
    if (error != 0 || !map->world->knobs.dd_enabled || (present && bytes_equal(mode, BYTES_LITERAL("0"))))
        return error;
    for (size_t i = 0; i < map->shard_count && map->moving == NULL; i++)
        if (map->shards[i].team.destination_count > 0)
            map->moving = &map->shards[i];
    return 0;
}

/* ---- judging ---- */

static void judge_shards(struct shard_map *map)
{
    if (map->shard_count == 0 || map->shards[0].begin.len != 0 ||
        !bytes_equal(map->shards[map->shard_count - 1].end, KEY_SYSTEM_END))
        wrong(map, NULL, "it does not reach from the first key to the last");
    for (size_t i = 0; i < map->shard_count; i++) {
        const struct shard *shard = &map->shards[i];

        if (bytes_compare(shard->begin, KEY_SYSTEM_BEGIN) < 0 && bytes_compare(shard->end, KEY_SYSTEM_BEGIN) > 0)
            wrong(map, shard, "user and system keys are in one shard");
        if (shard->team.source_count == 0)
            wrong(map, shard, "nobody has it");
        for (uint32_t k = 0; k < shard->team.source_count; k++)
            if (!has(map->servers, map->server_count, shard->team.source[k]))
                wrong(map, shard, "a server that is not listed has it");
    }
}

/* The shard that begins there; NULL: none. */
static struct shard *shard_at(struct shard_map *map, struct bytes begin)
{
    size_t low = 0, high = map->shard_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = bytes_compare(map->shards[middle].begin, begin);

        if (order == 0)
            return &map->shards[middle];
        *(order < 0 ? &low : &high) = order < 0 ? middle + 1 : middle;
    }
    return NULL;
}

static void judge_entry(struct shard_map *map, const struct sim_pair *pair)
{
    struct server_keys_value value;
    struct shard *shard;
    struct bytes begin;
    uint64_t id;
    bool held;

    if (!system_key_parse_server_keys(pair->key, &id, &begin) ||
        message_decode(&schema_server_keys_value, pair->value, &map->arena, &value) != 0) {
        wrong(map, NULL, "a record of serverKeys is none");
        return;
    }
    shard = shard_at(map, begin);
    if (shard == NULL || !bytes_equal(value.end, shard->end)) {
        wrong(map, shard, "server %016llx has an entry of no shard", (unsigned long long)id);
        return;
    }
    held = has(shard->team.source, shard->team.source_count, id);
    if (!held && !has(shard->team.destination, shard->team.destination_count, id))
        wrong(map, shard, "server %016llx has an entry and is not of its teams", (unsigned long long)id);
    else if (value.state == SERVER_KEYS_NONE || held != (value.state != SERVER_KEYS_FETCH))
        wrong(map, shard, "server %016llx has an entry in state %u", (unsigned long long)id, value.state);
    shard->entries++; /* no two of a server: their keys would be the same */
}

static int judge_entries(struct shard_map *map)
{
    const struct sim_pair *pairs;
    size_t count;
    int error = sim_get_range(map->transaction, KEY_SERVER_KEYS_PREFIX, BYTES_LITERAL("\xff/serverKeys0"), PAIRS_A_REQUEST, &pairs,
                              &count);

    for (size_t i = 0; i < count && error == 0; i++)
        judge_entry(map, &pairs[i]);
    for (size_t i = 0; i < map->shard_count && error == 0; i++)
        if (map->shards[i].entries != holders(&map->shards[i]))
            wrong(map, &map->shards[i], "%u servers have an entry of it, and %u should", map->shards[i].entries,
                  holders(&map->shards[i]));
    return error;
}

static int judge(struct shard_map *map)
{
    int error;

    arena_reset(&map->arena);
    map->shard_count = map->server_count = 0;
    error = read_servers(map);
    if (error == 0)
        error = read_shards(map);
    if (error == 0 && !map->world->failed) {
        judge_shards(map);
        error = judge_entries(map);
    }
    return error != 0 ? error : find_moving(map);
}

/* Reads and judges it until that is done at one version. */
static void look(struct sim_actor *actor, struct shard_map *map)
{
    int error;

    map->transaction = sim_transaction_create(actor);
    sim_option(map->transaction, OPTION_READ_SYSTEM_KEYS);
    sim_option(map->transaction, OPTION_READ_LOCK_AWARE);
    while ((error = judge(map)) != 0 && sim_retry(map->transaction, error))
        ;
    if (error != 0)
        sim_world_fail(map->world, "the shard map can't be read: %s", error_name(error));
    if (map->moving != NULL && map->world->now_us - map->began_us > MOVE_US_MAX)
        wrong(map, map->moving, "nobody moves it from one team to the other");
    sim_transaction_destroy(map->transaction);
}

void sim_cluster_check_shard_map(struct sim_actor *actor, void *arg)
{
    struct sim_cluster *cluster = arg;
    struct shard_map map = {.world = cluster->world, .began_us = cluster->world->now_us};

    look(actor, &map);
    while (map.moving != NULL && !map.world->failed) {
        sim_actor_sleep(actor, SIM_SECOND_US);
        look(actor, &map);
    }
    sim_say(map.world, actor->client->process, "shard map: %zu shards, %zu servers, as serverKeys has them", map.shard_count,
            map.server_count);
    arena_done(&map.arena);
}
