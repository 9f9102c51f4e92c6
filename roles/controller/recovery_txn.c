/* What a new epoch writes first: the recovery transaction, then the coordinated state.
 *
 * The recovery transaction goes through the new pipeline like any other; its version is the oldest that the new resolvers
 * accept reads from. For a new database it also brings the configuration, the storage servers and the shards. */
#include <inttypes.h>
#include <stdio.h>

#include "net/mem.h"
#include "roles/controller/recovery.h"
#include "txn/mutation.h"

/* A new database's user keys are cut into this many shards by first byte, spread over the teams. */
enum { FIRST_SHARDS = 64 };

static void must(int error)
{
    assert(error == 0); /* a server dies of a failed allocation before it gets here */
}

static void set(struct bytes_buffer *out, struct bytes key, struct bytes value)
{
    must(mutation_append(out, MUTATION_SET, key, value));
}

static void set_number(struct bytes_buffer *out, struct bytes key, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, number);
    set(out, key, bytes_of_string(text));
}

static void set_schema(struct bytes_buffer *out, struct bytes key, const struct schema *schema, const void *body)
{
    struct bytes_buffer value = {0};

    must(message_encode(schema, body, &value));
    set(out, key, bytes_buffer_bytes(&value));
    bytes_buffer_done(&value);
}

static void set_server(struct bytes_buffer *out, uint64_t id, const struct server_value *server)
{
    struct bytes_buffer key = {0};

    must(system_key_server_list(&key, id));
    set_schema(out, bytes_buffer_bytes(&key), &schema_server_value, server);
    bytes_buffer_done(&key);
}

/* Team i: servers from the i-th on, going round, in different zones. Returns how many. */
static uint32_t team_of(struct recovery *recovery, uint32_t servers, uint32_t i, struct recruit **ret_team)
{
    uint32_t count = 0, wanted = recovery->controller->configuration.replication;

    for (uint32_t n = 0; n < servers && count < wanted; n++) {
        struct recruit *server = recovery_find(recovery, ROLE_STORAGE, (i + n) % servers);
        bool zone_taken = false;

        for (uint32_t t = 0; t < count; t++)
            zone_taken |= bytes_equal(ret_team[t]->zone, server->zone);
        if (!zone_taken)
            ret_team[count++] = server;
    }
    assert(count == wanted);
    return count;
}

static void set_shard(struct bytes_buffer *out, struct bytes begin, struct bytes end, struct recruit **team,
                      uint32_t team_count)
{
    uint64_t ids[LOG_REPLICATION_MAX];
    struct key_servers_value servers = {.source = ids, .source_count = team_count};

    for (uint32_t i = 0; i < team_count; i++)
        ids[i] = team[i]->role_id;
    must(key_servers_set(out, begin, &servers));
    for (uint32_t i = 0; i < team_count; i++)
        must(server_keys_set(out, ids[i], begin, end, SERVER_KEYS_OWNED_EMPTY));
}

/* Whoever reads the map of shards needs the end of the last one, too. */
static void set_last_boundary(struct bytes_buffer *out)
{
    struct bytes_buffer key = {0};

    must(system_key_key_servers(&key, KEY_SYSTEM_END));
    set(out, bytes_buffer_bytes(&key), bytes_none());
    bytes_buffer_done(&key);
}

static void create_shards(struct recovery *recovery, struct bytes_buffer *out, uint32_t servers)
{
    uint32_t replication = recovery->controller->configuration.replication;
    uint32_t shards = servers == replication ? 1 : FIRST_SHARDS;
    struct recruit *team[LOG_REPLICATION_MAX];
    uint32_t count;

    for (uint32_t i = 0; i < shards; i++) {
        uint8_t first = (uint8_t)(256 * i / shards), last = (uint8_t)(256 * (i + 1) / shards);

        count = team_of(recovery, servers, i % servers, team);
        set_shard(out, bytes_of(&first, i == 0 ? 0 : 1),
                  i + 1 == shards ? KEY_SYSTEM_BEGIN : bytes_of(&last, 1), team, count);
    }
    count = team_of(recovery, servers, 0, team);
    set_shard(out, KEY_SYSTEM_BEGIN, KEY_SYSTEM_END, team, count);
    set_last_boundary(out);
}

static void create(struct recovery *recovery, struct bytes_buffer *out)
{
    struct controller *controller = recovery->controller;
    uint32_t servers = 0;
    tag_t next_tag = 0;
    struct recruit *server;

    controller->server_count = 0; /* what later epochs read from the metadata is made here */

    must(configuration_write(out, &recovery->controller->configuration));
    while ((server = recovery_find(recovery, ROLE_STORAGE, servers)) != NULL) {
        struct server_value value = {.endpoint = {{server->address.ip, server->address.port}, server->role_id},
                                     .zone = server->zone,
                                     .tag = server->tag,
                                     .engine = recovery->controller->configuration.engine,
                                     .rack = server->rack,
                                     .hall = server->hall,
                                     .data_center = server->data_center};

        set_server(out, server->role_id, &value);
        if (controller->server_count < STORAGE_SERVERS_MAX)
            controller->servers[controller->server_count++] = (struct known_server){server->role_id, server->address, 0};
        next_tag = server->tag + 1;
        servers++;
    }
    set_number(out, KEY_NEXT_TAG, next_tag);
    create_shards(recovery, out, servers);
}

/* What clients read to learn whom to ask: FoundationDB's key and form. */
static void set_coordinators(struct recovery *recovery, struct bytes_buffer *out)
{
    const struct role_context *context = &recovery->controller->context;
    struct bytes_buffer text = {0};
    char address[ADDRESS_TEXT_MAX];

    must(bytes_buffer_append(&text, BYTES_LITERAL("quoin:quoin@")));
    for (uint32_t i = 0; i < context->coordinator_count; i++) {
        if (i > 0)
            must(bytes_buffer_append(&text, BYTES_LITERAL(",")));
        must(bytes_buffer_append(&text, bytes_of_string(address_print(context->coordinators[i], address))));
    }
    set(out, KEY_COORDINATORS, bytes_buffer_bytes(&text));
    bytes_buffer_done(&text);
}

static bool stands_there(const struct server_value *value, const struct worker_info *worker)
{
    return value->endpoint.address.ip == worker->address.ip && value->endpoint.address.port == worker->address.port &&
           bytes_equal(value->rack, worker->rack) && bytes_equal(value->hall, worker->hall) &&
           bytes_equal(value->data_center, worker->data_center);
}

/* A storage server that came back under another address, or elsewhere, is where its worker says it is. */
static void move_server(struct recovery *recovery, struct bytes_buffer *out, uint64_t id, struct server_value *value)
{
    list_each(node, after, &recovery->controller->workers) {
        struct worker_info *worker = list_entry(node, struct worker_info, link);

        for (uint32_t i = 0; i < worker->role_count; i++) {
            if (worker->roles[i].kind != ROLE_STORAGE || worker->roles[i].id != id || worker->roles[i].error.len > 0)
                continue;
            if (stands_there(value, worker))
                return;
            value->endpoint.address = (struct wire_address){worker->address.ip, worker->address.port};
            value->zone = worker->zone;
            value->rack = worker->rack;
            value->hall = worker->hall;
            value->data_center = worker->data_center;
            set_server(out, id, value);
            return;
        }
    }
}

static void move_servers(struct recovery *recovery, struct bytes_buffer *out)
{
    struct bytes key = KEY_SERVER_LIST_PREFIX, at, packed;

    while (kv_map_at_or_after(recovery->metadata, key, &at, &packed) && bytes_starts_with(at, KEY_SERVER_LIST_PREFIX)) {
        struct server_value value;
        uint64_t id;

        if (system_key_parse_server_list(at, &id) &&
            message_decode(&schema_server_value, packed, &recovery->arena, &value) == 0)
            move_server(recovery, out, id, &value);
        must(key_after(&recovery->arena, at, &key));
    }
}

struct message *recovery_transaction(struct recovery *recovery)
{
    struct bytes_buffer out = {0};
    struct message *message;
    struct commit *m = MESSAGE_NEW(commit, &message);

    set_number(&out, KEY_LAST_EPOCH, recovery->epoch);
    set_coordinators(recovery, &out);
    if (recovery->creating)
        create(recovery, &out);
    else
        move_servers(recovery, &out);
    m->read_version = VERSION_NONE;
    m->flags = COMMIT_RECOVERY | COMMIT_LOCK_AWARE | COMMIT_ACCESS_SYSTEM;
    must(arena_copy(&message->arena, bytes_buffer_bytes(&out), &m->mutations));
    bytes_buffer_done(&out);
    return message;
}

void recovery_new_state(struct recovery *recovery, struct coordinated_state *ret_state)
{
    struct coordinated_state *state = ret_state;
    uint32_t old = recovery->state.generations_count;

    *state = recovery->state;
    state->written_epoch = recovery->epoch;
    state->recovery_transaction_version = recovery->transaction_version;
    state->generations = arena_zalloc(&recovery->arena, (old + 1) * sizeof(*state->generations));
    state->generations_count = 0;
    for (uint32_t i = 0; i < old; i++) {
        struct generation *generation = &state->generations[state->generations_count];

        *generation = recovery->state.generations[i];
        if (i == old - 1)
            generation->end = recovery->recovery_version;
        assert(generation->end <= recovery->recovery_version);
        if (generation->end > generation->begin) /* one that never committed holds nothing */
            state->generations_count++;
    }
    state->generations[state->generations_count++] = recovery->generation;
    state->roles = arena_zalloc(&recovery->arena, recovery->recruit_count * sizeof(*state->roles));
    state->roles_count = 0;
    for (uint32_t i = 0; i < recovery->recruit_count; i++) {
        const struct recruit *recruit = &recovery->recruits[i];

        if (recruit->kind == ROLE_LOG || recruit->kind == ROLE_STORAGE)
            continue;
        state->roles[state->roles_count++] = (struct role_ref){
            .kind = recruit->kind,
            .endpoint = {{recruit->address.ip, recruit->address.port}, recruit->role_id},
        };
    }
}
