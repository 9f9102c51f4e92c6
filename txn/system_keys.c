/* The metadata's formats: keys by prefix and big-endian ids, values by the message codec or as decimal text. */
#include "txn/system_keys.h"

#include "net/error.h"
#include "txn/kv_map.h"
#include "txn/log_system.h"
#include "txn/mutation.h"

#define SELF struct server_value
SCHEMA_DEFINE(server_value, server_value_fields)
#undef SELF

enum { COUNT_MAX = 64, ID_BYTES = 8 };

/* ---- what is metadata ---- */

bool system_key_is_metadata(struct bytes key)
{
    if (!key_is_system(key) || bytes_compare(key, KEY_SYSTEM_END) >= 0)
        return false;
    return bytes_compare(key, KEY_NON_METADATA_BEGIN) < 0 || bytes_compare(key, KEY_NON_METADATA_END) >= 0;
}

static bool ranges_meet(struct bytes begin, struct bytes end, struct bytes low, struct bytes high)
{
    return bytes_compare(bytes_max(begin, low), bytes_min(end, high)) < 0;
}

bool system_range_touches_metadata(struct bytes begin, struct bytes end)
{
    return ranges_meet(begin, end, KEY_SYSTEM_BEGIN, KEY_NON_METADATA_BEGIN) ||
           ranges_meet(begin, end, KEY_NON_METADATA_END, KEY_SYSTEM_END);
}

/* ---- keys ---- */

static int append_parts(struct bytes_buffer *out, struct bytes prefix, const uint64_t *id, struct bytes rest)
{
    uint8_t packed_id[ID_BYTES];
    int error = bytes_buffer_reserve(out, prefix.len + ID_BYTES + 1 + rest.len);

    if (error != 0)
        return error;
    bytes_buffer_append(out, prefix); /* reserved: these can't fail */
    if (id != NULL) {
        put_be64(packed_id, *id);
        bytes_buffer_append(out, bytes_of(packed_id, ID_BYTES));
    }
    bytes_buffer_append(out, rest);
    return 0;
}

int system_key_server_list(struct bytes_buffer *out, uint64_t server_id)
{
    return append_parts(out, KEY_SERVER_LIST_PREFIX, &server_id, bytes_none());
}

int system_key_key_servers(struct bytes_buffer *out, struct bytes begin)
{
    return append_parts(out, KEY_KEY_SERVERS_PREFIX, NULL, begin);
}

int system_key_server_keys(struct bytes_buffer *out, uint64_t server_id, struct bytes begin)
{
    size_t len_before = out->len;
    int error = append_parts(out, KEY_SERVER_KEYS_PREFIX, &server_id, BYTES_LITERAL("/"));

    if (error == 0)
        error = bytes_buffer_append(out, begin);
    if (error != 0)
        out->len = len_before;
    return error;
}

struct bytes system_key_removed_tag(tag_t tag, uint8_t ret_key[SYSTEM_KEY_REMOVED_TAG_BYTES])
{
    static_assert(SYSTEM_KEY_REMOVED_TAG_BYTES == sizeof("\xff/removedTags/") - 1 + 8, "the prefix and the tag");
    memcpy(ret_key, KEY_REMOVED_TAGS_PREFIX.ptr, KEY_REMOVED_TAGS_PREFIX.len);
    put_be64(ret_key + KEY_REMOVED_TAGS_PREFIX.len, tag);
    return bytes_of(ret_key, SYSTEM_KEY_REMOVED_TAG_BYTES);
}

static bool take_prefix(struct bytes *key, struct bytes prefix)
{
    if (!bytes_starts_with(*key, prefix))
        return false;
    *key = bytes_of(key->ptr + prefix.len, key->len - prefix.len);
    return true;
}

bool system_key_parse_server_list(struct bytes key, uint64_t *ret_server_id)
{
    if (!take_prefix(&key, KEY_SERVER_LIST_PREFIX) || key.len != ID_BYTES)
        return false;
    *ret_server_id = get_be64(key.ptr);
    return true;
}

bool system_key_parse_key_servers(struct bytes key, struct bytes *ret_begin)
{
    if (!take_prefix(&key, KEY_KEY_SERVERS_PREFIX))
        return false;
    *ret_begin = key;
    return true;
}

bool system_key_parse_server_keys(struct bytes key, uint64_t *ret_server_id, struct bytes *ret_begin)
{
    if (!take_prefix(&key, KEY_SERVER_KEYS_PREFIX) || key.len < ID_BYTES + 1 || key.ptr[ID_BYTES] != '/')
        return false;
    *ret_server_id = get_be64(key.ptr);
    *ret_begin = bytes_of(key.ptr + ID_BYTES + 1, key.len - ID_BYTES - 1);
    return true;
}

/* ---- configuration ---- */

const char *redundancy_name(uint32_t replication)
{
    static const char *const known[] = {"unknown", "single", "double", "triple"};

    return known[replication <= 3 ? replication : 0];
}

const char *engine_name(uint32_t engine)
{
    return engine == ENGINE_LMDB ? "lmdb" : engine == ENGINE_MEMORY ? "memory" : "unknown";
}

uint32_t redundancy_parse(struct bytes name)
{
    for (uint32_t replication = 1; replication <= 3; replication++)
        if (bytes_equal(name, bytes_of_string(redundancy_name(replication))))
            return replication;
    return 0;
}

uint32_t engine_parse(struct bytes name)
{
    static const struct {
        const char *name;
        enum engine_kind engine;
    } known[] = {
        {"lmdb", ENGINE_LMDB},           {"ssd", ENGINE_LMDB},      {"ssd-2", ENGINE_LMDB},
        {"ssd-redwood-1", ENGINE_LMDB},  {"memory", ENGINE_MEMORY},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (bytes_equal(name, bytes_of_string(known[i].name)))
            return known[i].engine;
    return 0;
}

/* Decimal text from 1 to COUNT_MAX; anything else means the default. */
static uint32_t read_count(const struct kv_map *metadata, struct bytes key, uint32_t fallback)
{
    struct bytes text;
    uint32_t count = 0;

    if (!kv_map_get(metadata, key, &text) || text.len == 0)
        return fallback;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return fallback;
        count = count * 10 + (uint32_t)(text.ptr[i] - '0');
        if (count > COUNT_MAX)
            return fallback;
    }
    return count == 0 ? fallback : count;
}

void configuration_read(const struct kv_map *metadata, struct configuration *ret)
{
    struct bytes name;
    uint32_t number;

    static_assert((int)COUNT_MAX == (int)LOGS_MAX, "a mask of logs is 64 bits");
    *ret = (struct configuration){.replication = 1, .engine = ENGINE_LMDB};
    if (kv_map_get(metadata, KEY_CONF_REDUNDANCY, &name) && (number = redundancy_parse(name)) != 0)
        ret->replication = number;
    if (kv_map_get(metadata, KEY_CONF_ENGINE, &name) && (number = engine_parse(name)) != 0)
        ret->engine = number;
    ret->logs = read_count(metadata, KEY_CONF_LOGS, 3);
    ret->commit_proxies = read_count(metadata, KEY_CONF_COMMIT_PROXIES, 1);
    ret->grv_proxies = read_count(metadata, KEY_CONF_GRV_PROXIES, 1);
    ret->resolvers = read_count(metadata, KEY_CONF_RESOLVERS, 1);
}

static int write_text(struct bytes_buffer *mutations, struct bytes key, const char *text)
{
    return mutation_append(mutations, MUTATION_SET, key, bytes_of_string(text));
}

static int write_count(struct bytes_buffer *mutations, struct bytes key, uint32_t count)
{
    char text[12];
    size_t at = sizeof(text);

    do {
        text[--at] = (char)('0' + count % 10);
        count /= 10;
    } while (count > 0);
    return mutation_append(mutations, MUTATION_SET, key, bytes_of(text + at, sizeof(text) - at));
}

int configuration_write(struct bytes_buffer *mutations, const struct configuration *configuration)
{
    size_t len_before = mutations->len;
    int error = write_text(mutations, KEY_CONF_REDUNDANCY, redundancy_name(configuration->replication));

    if (error == 0)
        error = write_text(mutations, KEY_CONF_ENGINE, engine_name(configuration->engine));
    if (error == 0)
        error = write_count(mutations, KEY_CONF_LOGS, configuration->logs);
    if (error == 0)
        error = write_count(mutations, KEY_CONF_COMMIT_PROXIES, configuration->commit_proxies);
    if (error == 0)
        error = write_count(mutations, KEY_CONF_GRV_PROXIES, configuration->grv_proxies);
    if (error == 0)
        error = write_count(mutations, KEY_CONF_RESOLVERS, configuration->resolvers);
    if (error != 0)
        mutations->len = len_before;
    return error;
}
