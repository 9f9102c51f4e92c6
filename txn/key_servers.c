/* The codec of shard assignments. */
#include "txn/key_servers.h"

#include <assert.h>

#include "net/error.h"
#include "txn/mutation.h"
#include "txn/system_keys.h"

#define SELF struct server_keys_value
SCHEMA_DEFINE(server_keys_value, server_keys_value_fields)
#undef SELF

static const uint64_t protocol = UINT64_C(0x0FDB00B062010001);

/* ---- writing ---- */

/* Into its place among the `count` entries that ascend at `entries`; returns how many there are then. */
static uint32_t insert_id(uint8_t *entries, uint32_t count, uint64_t id)
{
    uint8_t *at = entries + (size_t)count * KEY_SERVERS_ID_BYTES;

    while (at > entries && get_le64(at - KEY_SERVERS_ID_BYTES) >= id) {
        at -= KEY_SERVERS_ID_BYTES;
        if (get_le64(at) == id)
            return count;
    }
    memmove(at + KEY_SERVERS_ID_BYTES, at, (size_t)(entries + (size_t)count * KEY_SERVERS_ID_BYTES - at));
    put_le64(at, id);
    put_le64(at + 8, 0);
    return count + 1;
}

/* There is room. */
static void put_team(struct bytes_buffer *out, const uint64_t *ids, uint32_t id_count)
{
    uint8_t *start = out->ptr + out->len;
    uint32_t count = 0;

    for (uint32_t i = 0; i < id_count; i++)
        count = insert_id(start + 4, count, ids[i]);
    put_le32(start, count);
    out->len += 4 + (size_t)count * KEY_SERVERS_ID_BYTES;
}

int key_servers_encode(const struct key_servers_value *value, struct bytes_buffer *out)
{
    size_t ids = (size_t)value->source_count + value->destination_count;
    int error;

    assert(value->source_count <= KEY_SERVERS_TEAM_MAX && value->destination_count <= KEY_SERVERS_TEAM_MAX);
    error = bytes_buffer_reserve(out, KEY_SERVERS_HEADER_BYTES + 2 * 4 + ids * KEY_SERVERS_ID_BYTES);
    if (error != 0)
        return error;
    put_le64(out->ptr + out->len, protocol);
    out->len += KEY_SERVERS_HEADER_BYTES;
    put_team(out, value->source, value->source_count);
    put_team(out, value->destination, value->destination_count);
    return 0;
}

/* ---- reading ---- */

static int take_team(struct bytes *packed, struct arena *arena, const uint64_t **ret_ids, uint32_t *ret_count)
{
    uint64_t *ids;
    uint32_t count;

    if (packed->len < 4)
        return ERROR_SERIALIZATION_FAILED;
    count = get_le32(packed->ptr);
    *packed = bytes_of(packed->ptr + 4, packed->len - 4);
    if (count > KEY_SERVERS_TEAM_MAX || packed->len < (size_t)count * KEY_SERVERS_ID_BYTES)
        return ERROR_SERIALIZATION_FAILED;
    ids = arena_alloc(arena, (size_t)count * sizeof(*ids));
    if (ids == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *entry = packed->ptr + (size_t)i * KEY_SERVERS_ID_BYTES;

        ids[i] = get_le64(entry);
        if (get_le64(entry + 8) != 0 || (i > 0 && ids[i] <= ids[i - 1]))
            return ERROR_SERIALIZATION_FAILED;
    }
    *packed = bytes_of(packed->ptr + (size_t)count * KEY_SERVERS_ID_BYTES, packed->len - (size_t)count * KEY_SERVERS_ID_BYTES);
    *ret_ids = ids;
    *ret_count = count;
    return 0;
}

int key_servers_decode(struct bytes packed, struct arena *arena, struct key_servers_value *ret)
{
    struct key_servers_value value = {0};
    int error;

    if (packed.len > 0) {
        if (packed.len < KEY_SERVERS_HEADER_BYTES || get_le64(packed.ptr) != protocol)
            return ERROR_SERIALIZATION_FAILED;
        packed = bytes_of(packed.ptr + KEY_SERVERS_HEADER_BYTES, packed.len - KEY_SERVERS_HEADER_BYTES);
        error = take_team(&packed, arena, &value.source, &value.source_count);
        if (error == 0)
            error = take_team(&packed, arena, &value.destination, &value.destination_count);
        if (error == 0 && packed.len > 0)
            error = ERROR_SERIALIZATION_FAILED;
        if (error != 0)
            return error;
    }
    *ret = value;
    return 0;
}

/* ---- mutations ---- */

/* Takes both buffers. */
static int set_and_done(struct bytes_buffer *mutations, struct bytes_buffer *key, struct bytes_buffer *value, int error)
{
    if (error == 0)
        error = mutation_append(mutations, MUTATION_SET, bytes_buffer_bytes(key), bytes_buffer_bytes(value));
    bytes_buffer_done(key);
    bytes_buffer_done(value);
    return error;
}

int key_servers_set(struct bytes_buffer *mutations, struct bytes begin, const struct key_servers_value *value)
{
    struct bytes_buffer key = {0}, packed = {0};
    int error = system_key_key_servers(&key, begin);

    if (error == 0)
        error = key_servers_encode(value, &packed);
    return set_and_done(mutations, &key, &packed, error);
}

int server_keys_set(struct bytes_buffer *mutations, uint64_t server_id, struct bytes begin, struct bytes end,
                    enum server_keys_state state)
{
    struct server_keys_value value = {.state = (uint32_t)state, .end = end};
    struct bytes_buffer key = {0}, packed = {0};
    int error = system_key_server_keys(&key, server_id, begin);

    if (error == 0)
        error = message_encode(&schema_server_keys_value, &value, &packed);
    return set_and_done(mutations, &key, &packed, error);
}
