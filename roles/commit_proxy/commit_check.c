/* What a proxy refuses by itself, whatever the client library has checked: one bad transaction fails alone. */
#include "net/error.h"
#include "roles/commit_proxy/commit_proxy_impl.h"
#include "txn/conflict_range.h"
#include "txn/idempotency.h"
#include "txn/system_keys.h"

/* Keys and values alone, as a client counts them; and a bound for tables of many empty records. */
static int check_size(const struct commit *body, uint32_t mutations, uint32_t reads, uint32_t writes)
{
    size_t raw = body->mutations.len + body->read_conflicts.len + body->write_conflicts.len;
    size_t headers = (size_t)mutations * MUTATION_HEADER_BYTES + ((size_t)reads + writes) * CONFLICT_RANGE_HEADER_BYTES;

    if (raw - headers > TRANSACTION_BYTES_MAX || raw > COMMIT_PUSH_BYTES_MAX)
        return ERROR_TRANSACTION_TOO_LARGE;
    return 0;
}

size_t commit_push_bytes(const struct commit_proxy *proxy, struct bytes table)
{
    size_t bytes = table.len;
    struct mutation mutation;

    while (bytes <= COMMIT_PUSH_BYTES_MAX && mutation_next(&table, &mutation) == 0) {
        size_t pieces, key_bytes, limit = (COMMIT_PUSH_BYTES_MAX - bytes) / MUTATION_HEADER_BYTES + 2;

        if (mutation.type != MUTATION_CLEAR_RANGE)
            continue;
        pieces = shard_map_pieces(proxy->shards, mutation.param1, mutation.param2, limit, &key_bytes);
        bytes += (pieces - 1) * MUTATION_HEADER_BYTES + 2 * key_bytes;
    }
    return bytes;
}

static bool decodes(const struct schema *schema, struct bytes packed)
{
    union {
        struct server_value server;
        struct server_keys_value server_keys;
    } body;
    struct arena arena = {0};
    bool well = message_decode(schema, packed, &arena, &body) == 0;

    arena_done(&arena);
    return well;
}

static bool is_team(struct bytes packed)
{
    struct key_servers_value value;
    struct arena arena = {0};
    bool well = key_servers_decode(packed, &arena, &value) == 0;

    arena_done(&arena);
    return well;
}

/* What proxies and storage servers read out of the metadata must be of its format, and written whole. */
static bool is_sound_metadata(const struct mutation *mutation)
{
    const struct schema *schema;
    struct bytes begin;
    uint64_t id;

    if (mutation->type == MUTATION_CLEAR_RANGE)
        return true;
    if (system_key_parse_key_servers(mutation->param1, &begin))
        return mutation->type == MUTATION_SET && is_team(mutation->param2);
    if (system_key_parse_server_list(mutation->param1, &id))
        schema = &schema_server_value;
    else if (system_key_parse_server_keys(mutation->param1, &id, &begin))
        schema = &schema_server_keys_value;
    else
        return true;
    return mutation->type == MUTATION_SET && decodes(schema, mutation->param2);
}

static int check_metadata(struct bytes table)
{
    struct mutation mutation;

    while (mutation_next(&table, &mutation) == 0)
        if (!is_sound_metadata(&mutation))
            return ERROR_CLIENT_INVALID_OPERATION;
    return 0;
}

int commit_check(const struct commit *body, unsigned flags, struct mutation_table_facts *ret_facts)
{
    bool system = (flags & (COMMIT_ACCESS_SYSTEM | COMMIT_RECOVERY)) != 0;
    struct mutation_table_facts facts;
    uint32_t reads, writes;
    int error = mutation_table_check(body->mutations, system ? MUTATION_ALLOW_SYSTEM : 0, &facts);

    if (error == 0)
        error = conflict_range_table_check(body->read_conflicts, true, &reads);
    if (error == 0)
        error = conflict_range_table_check(body->write_conflicts, system, &writes);
    if (error == 0)
        error = check_size(body, facts.count, reads, writes);
    if (error == 0 && facts.touches_system)
        error = check_metadata(body->mutations);
    if (error == 0 && body->idempotency_id.len > 0)
        error = idempotency_check(body->idempotency_id, body->read_version);
    if (error == 0 && reads > 0 && body->read_version < 0)
        error = ERROR_VERSION_INVALID;
    if (error == 0)
        *ret_facts = facts;
    return error;
}

static int append_clear(struct bytes_buffer *out, const struct mutation *clear, struct bytes low, struct bytes high)
{
    struct bytes begin = bytes_max(clear->param1, low), end = bytes_min(clear->param2, high);

    return bytes_compare(begin, end) < 0 ? mutation_append(out, MUTATION_CLEAR_RANGE, begin, end) : 0;
}

int commit_metadata_part(struct bytes mutations, struct bytes_buffer *out)
{
    struct mutation mutation;
    int error = 0;

    while (error == 0 && mutation_next(&mutations, &mutation) == 0) {
        if (mutation.type == MUTATION_CLEAR_RANGE) {
            error = append_clear(out, &mutation, KEY_SYSTEM_BEGIN, KEY_NON_METADATA_BEGIN);
            if (error == 0)
                error = append_clear(out, &mutation, KEY_NON_METADATA_END, KEY_SYSTEM_END);
        } else if (system_key_is_metadata(mutation.param1)) {
            error = mutation_append(out, mutation.type, mutation.param1, mutation.param2);
        }
    }
    return error;
}
