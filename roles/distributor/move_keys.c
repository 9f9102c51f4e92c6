/* See the agreement in README.md; the order of the mutations within a table matters (NONE before its CLEAR). */
#include "roles/distributor/move_keys.h"

#include "net/error.h"
#include "net/planted_bug.h"
#include "roles/distributor/teams.h"
#include "txn/keys.h"
#include "txn/key_servers.h"
#include "txn/mutation.h"
#include "txn/system_keys.h"

static bool has(const uint64_t *ids, uint32_t count, uint64_t id)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static bool same(const uint64_t *a, uint32_t a_count, const uint64_t *b, uint32_t b_count)
{
    for (uint32_t i = 0; i < b_count; i++)
        if (!has(a, a_count, b[i]))
            return false;
    return a_count == b_count;
}

/* ---- reading ---- */

static bool is_sound(const uint64_t *team, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (team[i] == 0)
            return false;
    return count <= TEAM_SERVERS_MAX;
}

int move_keys_read(const struct shard_record *records, uint32_t count, struct bytes begin, struct bytes end, struct arena *arena,
                   struct shard_now *ret)
{
    struct bytes first, second;
    struct key_servers_value value;
    int error;

    if (count != 2 || !system_key_parse_key_servers(records[0].key, &first) ||
        !system_key_parse_key_servers(records[1].key, &second) || !bytes_equal(first, begin) || !bytes_equal(second, end))
        return ERROR_OPERATION_OBSOLETE;
    error = key_servers_decode(records[0].value, arena, &value);
    if (error == 0 && (!is_sound(value.source, value.source_count) || !is_sound(value.destination, value.destination_count)))
        error = ERROR_SERIALIZATION_FAILED; /* a replica lies */
    if (error != 0)
        return error;
    *ret = (struct shard_now){begin, end, value.source, value.destination, value.source_count, value.destination_count};
    return 0;
}

/* ---- writing ---- */

static int clear_key(struct bytes_buffer *out, struct bytes key)
{
    struct arena arena = {0};
    struct bytes after;
    int error = key_after(&arena, key, &after);

    if (error == 0)
        error = mutation_append(out, MUTATION_CLEAR_RANGE, key, after);
    arena_done(&arena);
    return error;
}

static int clear_record(struct bytes_buffer *out, uint64_t server, struct bytes begin)
{
    struct bytes_buffer key = {0};
    int error = system_key_server_keys(&key, server, begin);

    if (error == 0)
        error = clear_key(out, bytes_buffer_bytes(&key));
    bytes_buffer_done(&key);
    return error;
}

static int clear_boundary(struct bytes_buffer *out, struct bytes begin)
{
    struct bytes_buffer key = {0};
    int error = system_key_key_servers(&key, begin);

    if (error == 0)
        error = clear_key(out, bytes_buffer_bytes(&key));
    bytes_buffer_done(&key);
    return error;
}

/* The private mutation NONE, and no record. */
static int give_up(struct bytes_buffer *out, uint64_t server, struct bytes begin, struct bytes end)
{
    int error = server_keys_set(out, server, begin, end, SERVER_KEYS_NONE);

    return error != 0 ? error : clear_record(out, server, begin);
}

/* Those of the destination who are neither in the source nor in `kept` need not fetch any more. */
static int drop_destination(const struct shard_now *shard, const uint64_t *kept, uint32_t kept_count, struct bytes_buffer *out)
{
    int error = 0;

    for (uint32_t i = 0; i < shard->destination_count && error == 0; i++) {
        uint64_t id = shard->destination[i];

        if (!has(shard->source, shard->source_count, id) && !has(kept, kept_count, id))
            error = give_up(out, id, shard->begin, shard->end);
    }
    return error;
}

int move_keys_start(const struct shard_now *shard, const uint64_t *team, uint32_t team_count, struct bytes_buffer *out)
{
    struct key_servers_value value = {shard->source, shard->source_count, team, team_count};
    int error;

    if (same(shard->destination, shard->destination_count, team, team_count))
        return 0;
    if (shard->destination_count == 0 && same(shard->source, shard->source_count, team, team_count))
        return ERROR_OPERATION_OBSOLETE;
    error = key_servers_set(out, shard->begin, &value);
    if (error == 0)
        error = drop_destination(shard, team, team_count, out);
    for (uint32_t i = 0; i < team_count && error == 0; i++)
        if (!has(shard->source, shard->source_count, team[i]) && !has(shard->destination, shard->destination_count, team[i]))
            error = server_keys_set(out, team[i], shard->begin, shard->end, SERVER_KEYS_FETCH);
    return error;
}

int move_keys_finish(const struct shard_now *shard, const uint64_t *team, uint32_t team_count, struct bytes_buffer *out)
{
    struct key_servers_value value = {team, team_count, NULL, 0};
    int error;

    if (shard->destination_count == 0 && same(shard->source, shard->source_count, team, team_count))
        return 0;
    if (!same(shard->destination, shard->destination_count, team, team_count))
        return ERROR_OPERATION_OBSOLETE;
    error = key_servers_set(out, shard->begin, &value);
    for (uint32_t i = 0; i < team_count && error == 0; i++)
        error = server_keys_set(out, team[i], shard->begin, shard->end, SERVER_KEYS_READY);
    for (uint32_t i = 0; i < shard->source_count && error == 0; i++)
        if (!has(team, team_count, shard->source[i]))
            error = give_up(out, shard->source[i], shard->begin, shard->end);
    return error;
}

int move_keys_cancel(const struct shard_now *shard, struct bytes_buffer *out)
{
    struct key_servers_value value = {shard->source, shard->source_count, NULL, 0};
    int error;

    if (shard->destination_count == 0 || PLANTED_BUG(CANCEL_FORGOTTEN))
        return 0;
    error = key_servers_set(out, shard->begin, &value);
    return error != 0 ? error : drop_destination(shard, NULL, 0, out);
}

int move_keys_refetch(const struct shard_now *shard, uint64_t bad, struct bytes_buffer *out)
{
    struct key_servers_value value = {.destination = shard->source, .destination_count = shard->source_count};
    uint64_t good[UINT8_MAX];
    int error;

    if (has(shard->destination, shard->destination_count, bad) && !has(shard->source, shard->source_count, bad))
        return 0;
    if (shard->destination_count > 0 || !has(shard->source, shard->source_count, bad) || shard->source_count < 2 ||
        shard->source_count > UINT8_MAX)
        return ERROR_OPERATION_OBSOLETE;
    for (uint32_t i = 0; i < shard->source_count; i++)
        if (shard->source[i] != bad)
            good[value.source_count++] = shard->source[i];
    value.source = good;
    error = key_servers_set(out, shard->begin, &value);
    if (error == 0)
        error = server_keys_set(out, bad, shard->begin, shard->end, SERVER_KEYS_NONE);
    return error != 0 ? error : server_keys_set(out, bad, shard->begin, shard->end, SERVER_KEYS_FETCH);
}

static int set_piece(const struct shard_now *shard, struct bytes begin, struct bytes end, struct bytes_buffer *out)
{
    struct key_servers_value value = {shard->source, shard->source_count, NULL, 0};
    int error = key_servers_set(out, begin, &value);

    for (uint32_t i = 0; i < shard->source_count && error == 0; i++)
        error = server_keys_set(out, shard->source[i], begin, end, SERVER_KEYS_READY);
    return error;
}

int move_keys_split(const struct shard_now *shard, const struct bytes *keys, uint32_t count, struct bytes_buffer *out)
{
    struct bytes begin = shard->begin;
    int error = 0;

    if (shard->destination_count > 0)
        return ERROR_OPERATION_OBSOLETE;
    for (uint32_t i = 0; i <= count && error == 0; i++) {
        struct bytes end = i == count ? shard->end : keys[i];

        if (bytes_compare(begin, end) >= 0)
            return ERROR_OPERATION_OBSOLETE; /* a server's answer: not trusted */
        error = set_piece(shard, begin, end, out);
        begin = end;
    }
    return error;
}

bool move_keys_may_merge(struct bytes left_begin, struct bytes right_begin)
{
    return key_is_system(left_begin) == key_is_system(right_begin) || PLANTED_BUG(MERGE_OVER_SYSTEM);
}

int move_keys_merge(const struct shard_now *left, const struct shard_now *right, struct bytes_buffer *out)
{
    int error;

    if (left->destination_count > 0 || right->destination_count > 0 || !bytes_equal(left->end, right->begin) ||
        !same(left->source, left->source_count, right->source, right->source_count) ||
        !move_keys_may_merge(left->begin, right->begin))
        return ERROR_OPERATION_OBSOLETE;
    error = clear_boundary(out, right->begin);
    for (uint32_t i = 0; i < right->source_count && error == 0; i++)
        error = clear_record(out, right->source[i], right->begin);
    for (uint32_t i = 0; i < left->source_count && error == 0; i++)
        error = server_keys_set(out, left->source[i], left->begin, right->end, SERVER_KEYS_READY);
    return error;
}
