/* What the transactions that change shards write: random moves, splits and merges against a model of what each server has heard. */
#include <criterion/criterion.h>

#include "net/error.h"
#include "net/mem.h"
#include "roles/distributor/move_keys.h"
#include "tests/unit/draw.h"
#include "txn/key_servers.h"
#include "txn/kv_map.h"
#include "txn/mutation.h"
#include "txn/system_keys.h"

/* Keys are single letters; a piece is the range of one letter. Servers are 101, 102, ... */
enum { LETTERS = 26, SERVERS = 6, TEAM = 3, SHARDS_MAX = LETTERS };

struct cluster {
    struct kv_map *metadata;
    uint8_t heard[SERVERS][LETTERS]; /* the last state that the server was told for the letter */
    bool begins[LETTERS + 1];        /* a shard begins there; the first letter's begin stands for "" */
    uint64_t random;
};

static struct bytes letter(unsigned i, uint8_t out[2])
{
    out[0] = (uint8_t)('a' + i);
    return i == 0 ? bytes_none() : i == LETTERS ? KEY_SYSTEM_BEGIN : bytes_of(out, 1);
}

static unsigned index_of(struct bytes key)
{
    return key.len == 0 ? 0 : key.ptr[0] == 0xff ? LETTERS : (unsigned)(key.ptr[0] - 'a');
}

static void hear(struct cluster *cluster, uint64_t server, struct bytes begin, struct bytes packed)
{
    struct arena arena = {0};
    struct server_keys_value value;

    cr_assert_eq(message_decode(&schema_server_keys_value, packed, &arena, &value), 0);
    for (unsigned i = index_of(begin); i < index_of(value.end); i++) {
        if (value.state == SERVER_KEYS_READY)
            cr_assert_neq(cluster->heard[server - 101][i], SERVER_KEYS_NONE, "READY of what it was never told to fetch");
        cluster->heard[server - 101][i] = (uint8_t)value.state;
    }
    arena_done(&arena);
}

static void apply(struct cluster *cluster, struct bytes_buffer *table)
{
    struct bytes left = bytes_buffer_bytes(table), begin;
    struct mutation mutation;
    uint64_t server;

    cr_assert_eq(kv_map_apply(cluster->metadata, left), 0);
    while (left.len > 0) {
        cr_assert_eq(mutation_next(&left, &mutation), 0);
        if (mutation.type == MUTATION_SET && system_key_parse_server_keys(mutation.param1, &server, &begin))
            hear(cluster, server, begin, mutation.param2);
    }
    bytes_buffer_done(table);
}

static unsigned next_begin(const struct cluster *cluster, unsigned from)
{
    do
        from++;
    while (!cluster->begins[from]);
    return from;
}

static int read(struct cluster *cluster, unsigned begin, struct arena *arena, struct shard_now *ret)
{
    struct shard_record records[2];
    struct bytes_buffer key = {0};
    struct bytes after, at;
    uint8_t a[2], b[2];

    cr_assert_eq(system_key_key_servers(&key, letter(begin, a)), 0);
    at = bytes_buffer_bytes(&key);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert(kv_map_at_or_after(cluster->metadata, at, &records[i].key, &records[i].value));
        cr_assert_eq(key_after(arena, records[i].key, &after), 0);
        at = after;
    }
    bytes_buffer_done(&key);
    cr_assert_eq(arena_copy(arena, letter(begin, a), &at), 0);
    cr_assert_eq(arena_copy(arena, letter(next_begin(cluster, begin), b), &after), 0);
    return move_keys_read(records, 2, at, after, arena, ret);
}

static struct cluster fresh(uint64_t seed)
{
    struct cluster cluster = {.metadata = kv_map_create(), .random = seed};
    const uint64_t team[2] = {101, 102};
    struct key_servers_value value = {team, 2, NULL, 0}, none = {NULL, 0, NULL, 0};
    struct bytes_buffer table = {0};

    cr_assert_eq(key_servers_set(&table, bytes_none(), &value), 0);
    cr_assert_eq(key_servers_set(&table, KEY_SYSTEM_BEGIN, &none), 0);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(server_keys_set(&table, team[i], bytes_none(), KEY_SYSTEM_BEGIN, SERVER_KEYS_OWNED_EMPTY), 0);
    cluster.begins[0] = cluster.begins[LETTERS] = true;
    apply(&cluster, &table);
    return cluster;
}

static bool has(const uint64_t *ids, uint32_t count, uint64_t id)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* Exactly one entry for each server of the shard, at its begin and up to its end, and none for others; and each has heard so. */
static void check_shard(struct cluster *cluster, unsigned begin, const struct shard_now *shard)
{
    unsigned end = next_begin(cluster, begin);

    for (uint64_t server = 101; server < 101 + SERVERS; server++) {
        bool source = has(shard->source, shard->source_count, server);
        bool named = source || has(shard->destination, shard->destination_count, server);

        for (unsigned i = begin; i < end; i++) {
            uint8_t state = cluster->heard[server - 101][i];

            cr_assert_eq(state != SERVER_KEYS_NONE, named);
            cr_assert(!source || state == SERVER_KEYS_OWNED_EMPTY || state == SERVER_KEYS_READY);
        }
        for (unsigned i = begin; i < end; i++) {
            struct bytes_buffer key = {0};
            struct arena arena = {0};
            struct server_keys_value value;
            struct bytes packed;
            uint8_t text[2];
            bool there;

            cr_assert_eq(system_key_server_keys(&key, server, letter(i, text)), 0);
            there = kv_map_get(cluster->metadata, bytes_buffer_bytes(&key), &packed);
            cr_assert_eq(there, named && i == begin);
            if (there) {
                cr_assert_eq(message_decode(&schema_server_keys_value, packed, &arena, &value), 0);
                cr_assert_eq(index_of(value.end), end);
            }
            arena_done(&arena);
            bytes_buffer_done(&key);
        }
    }
}

static void check(struct cluster *cluster)
{
    for (unsigned begin = 0; begin < LETTERS; begin = next_begin(cluster, begin)) {
        struct arena arena = {0};
        struct shard_now shard;

        cr_assert_eq(read(cluster, begin, &arena, &shard), 0);
        check_shard(cluster, begin, &shard);
        arena_done(&arena);
    }
}

static unsigned random_begin(struct cluster *cluster)
{
    unsigned at = (unsigned)draw_below(&cluster->random, LETTERS);

    while (!cluster->begins[at])
        at--;
    return at;
}

static uint32_t random_team(struct cluster *cluster, uint64_t team[TEAM])
{
    uint32_t count = 1 + (uint32_t)draw_below(&cluster->random, TEAM), first = (uint32_t)draw_below(&cluster->random, SERVERS);

    for (uint32_t i = 0; i < count; i++)
        team[i] = 101 + (first + i) % SERVERS;
    return count;
}

static void random_split(struct cluster *cluster, unsigned begin, const struct shard_now *shard)
{
    unsigned end = next_begin(cluster, begin), count = 0;
    struct bytes_buffer table = {0};
    struct bytes keys[LETTERS];
    uint8_t text[LETTERS][2];

    for (unsigned i = begin + 1; i < end; i++)
        if (draw_below(&cluster->random, 3) == 0)
            keys[count++] = letter(i, text[i]);
    if (move_keys_split(shard, keys, count, &table) != 0) {
        cr_assert_gt(shard->destination_count, 0);
        bytes_buffer_done(&table);
        return;
    }
    for (unsigned i = 0; i < count; i++)
        cluster->begins[index_of(keys[i])] = true;
    apply(cluster, &table);
}

static void random_merge(struct cluster *cluster, unsigned begin, const struct shard_now *shard, struct arena *arena)
{
    unsigned next = next_begin(cluster, begin);
    struct bytes_buffer table = {0};
    struct shard_now right;

    if (next == LETTERS)
        return;
    cr_assert_eq(read(cluster, next, arena, &right), 0);
    if (move_keys_merge(shard, &right, &table) == 0) {
        cluster->begins[next] = false;
        apply(cluster, &table);
    }
    bytes_buffer_done(&table);
}

static void random_step(struct cluster *cluster)
{
    unsigned begin = random_begin(cluster);
    struct bytes_buffer table = {0};
    struct arena arena = {0};
    struct shard_now shard;
    uint64_t team[TEAM];

    cr_assert_eq(read(cluster, begin, &arena, &shard), 0);
    switch (draw_below(&cluster->random, 7)) {
    case 0:
    case 1:
        if (move_keys_start(&shard, team, random_team(cluster, team), &table) == 0)
            apply(cluster, &table);
        break;
    case 2:
        if (shard.destination_count > 0 && move_keys_finish(&shard, shard.destination, shard.destination_count, &table) == 0)
            apply(cluster, &table);
        break;
    case 3:
        cr_assert_eq(move_keys_cancel(&shard, &table), 0);
        apply(cluster, &table);
        break;
    case 4:
        if (move_keys_refetch(&shard, shard.source[draw_below(&cluster->random, shard.source_count)], &table) == 0)
            apply(cluster, &table);
        break;
    case 5:
        random_split(cluster, begin, &shard);
        break;
    default:
        random_merge(cluster, begin, &shard, &arena);
    }
    bytes_buffer_done(&table);
    arena_done(&arena);
}

Test(move_keys, records_and_what_servers_hear_stay_in_step)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct cluster cluster = fresh(seed);

        for (unsigned i = 0; i < 300; i++) {
            random_step(&cluster);
            check(&cluster);
        }
        kv_map_destroy(cluster.metadata);
    }
}

Test(move_keys, what_has_been_done_is_not_done_again)
{
    struct cluster cluster = fresh(1);
    const uint64_t team[2] = {103, 104};
    struct bytes_buffer table = {0};
    struct arena arena = {0};
    struct shard_now shard;

    cr_assert_eq(read(&cluster, 0, &arena, &shard), 0);
    cr_assert_eq(move_keys_finish(&shard, team, 2, &table), ERROR_OPERATION_OBSOLETE);
    cr_assert_eq(move_keys_start(&shard, team, 2, &table), 0);
    apply(&cluster, &table);
    cr_assert_eq(read(&cluster, 0, &arena, &shard), 0);
    cr_assert_eq(move_keys_start(&shard, team, 2, &table), 0);
    cr_assert_eq(table.len, 0);
    cr_assert_eq(move_keys_finish(&shard, team, 2, &table), 0);
    apply(&cluster, &table);
    cr_assert_eq(read(&cluster, 0, &arena, &shard), 0);
    cr_assert_eq(move_keys_finish(&shard, team, 2, &table), 0);
    cr_assert_eq(table.len, 0);
    arena_done(&arena);
    kv_map_destroy(cluster.metadata);
}

Test(move_keys, a_server_that_gives_up_hears_of_it_and_leaves_no_record)
{
    struct cluster cluster = fresh(1);
    const uint64_t team[2] = {102, 104};
    struct bytes_buffer table = {0};
    struct arena arena = {0};
    struct shard_now shard;

    cr_assert_eq(read(&cluster, 0, &arena, &shard), 0);
    cr_assert_eq(move_keys_start(&shard, team, 2, &table), 0);
    apply(&cluster, &table);
    cr_assert_eq(cluster.heard[3][5], SERVER_KEYS_FETCH);
    cr_assert_eq(read(&cluster, 0, &arena, &shard), 0);
    cr_assert_eq(move_keys_finish(&shard, team, 2, &table), 0);
    apply(&cluster, &table);
    cr_assert_eq(cluster.heard[0][5], SERVER_KEYS_NONE);
    check(&cluster);
    arena_done(&arena);
    kv_map_destroy(cluster.metadata);
}

Test(move_keys, a_shard_that_is_not_as_believed_is_left_alone)
{
    struct cluster cluster = fresh(1);
    struct bytes_buffer table = {0};
    struct arena arena = {0};
    struct shard_now shard, wrong;
    struct bytes keys[2] = {BYTES_LITERAL("k"), BYTES_LITERAL("k")};
    struct shard_record record = {BYTES_LITERAL("\xff/keyServers/"), bytes_none()};

    cr_assert_eq(move_keys_read(&record, 1, bytes_none(), KEY_SYSTEM_BEGIN, &arena, &shard), ERROR_OPERATION_OBSOLETE);
    cr_assert_eq(read(&cluster, 0, &arena, &shard), 0);
    cr_assert_eq(move_keys_split(&shard, keys, 2, &table), ERROR_OPERATION_OBSOLETE, "keys in no order");
    wrong = shard;
    wrong.begin = KEY_SYSTEM_BEGIN;
    cr_assert_eq(move_keys_merge(&shard, &wrong, &table), ERROR_OPERATION_OBSOLETE, "over \\xff");
    bytes_buffer_done(&table);
    arena_done(&arena);
    kv_map_destroy(cluster.metadata);
}

Test(move_keys, a_bad_copy_is_fetched_again_from_the_others)
{
    struct cluster cluster = fresh(1);
    struct bytes_buffer table = {0};
    struct arena arena = {0};
    struct shard_now shard;

    cr_assert_eq(read(&cluster, 0, &arena, &shard), 0);
    cr_assert_eq(move_keys_refetch(&shard, 105, &table), ERROR_OPERATION_OBSOLETE, "it does not have it");
    cr_assert_eq(move_keys_refetch(&shard, 102, &table), 0);
    apply(&cluster, &table);
    check(&cluster);
    cr_assert_eq(cluster.heard[1][5], SERVER_KEYS_FETCH);
    cr_assert_eq(read(&cluster, 0, &arena, &shard), 0);
    cr_assert_eq(shard.source_count, 1);
    cr_assert_eq(shard.source[0], 101);
    cr_assert_eq(shard.destination_count, 2);
    cr_assert_eq(move_keys_refetch(&shard, 102, &table), 0, "it does so already");
    cr_assert_eq(table.len, 0);
    cr_assert_eq(move_keys_refetch(&shard, 101, &table), ERROR_OPERATION_OBSOLETE, "the last copy is never given up");
    cr_assert_eq(move_keys_finish(&shard, shard.destination, 2, &table), 0);
    apply(&cluster, &table);
    cr_assert_eq(cluster.heard[1][5], SERVER_KEYS_READY);
    check(&cluster);
    arena_done(&arena);
    kv_map_destroy(cluster.metadata);
}
