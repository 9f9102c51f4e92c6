/* RandomMoves: shards move to drawn teams, split and merge all the time, by the transactions that a distributor would make.
 *
 * Each actor is a hand of one distributor: it chooses by what it reads, and decides by what its transaction reads again. A move is
 * START_MOVE, a wait until every destination says that it is ready, FINISH_MOVE; or it is given up, at a drawn moment or because
 * somebody never gets ready, or another team takes it over; and of those that are finished some go straight back, while not everybody
 * has heard of it. Moves that were left in the middle are taken up by whoever comes by.
 * The other workloads and the comparison of replicas say whether the data came along, the check of the shard map whether the records
 * that these transactions left are right. */
#include "sim/cluster.h"
#include "sim/workloads/values.h"
#include "txn/key_servers.h"
#include "txn/mutation.h"
#include "txn/system_keys.h"

enum option { ACTORS, PAUSE_MS, PATIENCE_MS, BACK };
enum { OPTION_ACCESS_SYSTEM_KEYS = 301, OPTION_LOCK_AWARE = 700 };
enum { SERVERS_MAX = 32, TEAM_MAX = 8, SHARDS_MAX = 2000, PROGRESS_WAIT_US = 500000, PROGRESS_TIMEOUT_US = 3000000 };

#define KEY_MOVE_KEYS_LOCK BYTES_LITERAL("\xff/moveKeysLock")

struct team {
    uint64_t ids[TEAM_MAX];
    uint32_t count;
};

struct server {
    uint64_t id;
    struct endpoint endpoint;
    struct bytes zone;
};

struct shard {
    struct bytes begin, end;
    struct team source, destination;
};

/* What one attempt of a transaction has read; all of it in the arena. */
struct map {
    struct sim_actor *actor;
    struct sim_transaction *transaction;
    struct arena arena;
    struct server servers[SERVERS_MAX];
    uint32_t server_count;
    struct shard *shards;
    uint32_t shard_count;
    version_t version;
};

/* A move as its actor remembers it. */
struct move {
    struct bytes_buffer begin, end;
    struct team source, destination;
    struct endpoint endpoints[TEAM_MAX];
    version_t version; /* at or above that of START_MOVE */
};

struct random_moves {
    uint64_t lock;
    uint64_t started, finished, given_up, taken_over, back, splits, merges;
};

/* ---- teams ---- */

static bool contains(const struct team *team, uint64_t id)
{
    for (uint32_t i = 0; i < team->count; i++)
        if (team->ids[i] == id)
            return true;
    return false;
}

static bool same_team(const struct team *a, const struct team *b)
{
    bool same = a->count == b->count;

    for (uint32_t i = 0; same && i < a->count; i++)
        same = contains(b, a->ids[i]);
    return same;
}

static struct team team_of_ids(const uint64_t *ids, uint32_t count)
{
    struct team team = {.count = count < TEAM_MAX ? count : TEAM_MAX};

    memcpy(team.ids, ids, team.count * sizeof(*ids));
    return team;
}

static const struct server *server_of(const struct map *map, uint64_t id)
{
    for (uint32_t i = 0; i < map->server_count; i++)
        if (map->servers[i].id == id)
            return &map->servers[i];
    return NULL;
}

static bool zone_is_taken(const struct map *map, const struct team *team, struct bytes zone)
{
    for (uint32_t i = 0; i < team->count; i++)
        if (bytes_equal(server_of(map, team->ids[i])->zone, zone))
            return true;
    return false;
}

/* As many servers in different zones as there are copies; false when the draw came out short. */
static bool draw_team(struct map *map, struct team *ret_team)
{
    uint32_t wanted = map->actor->client->cluster->redundancy;

    ret_team->count = 0;
    for (int tries = 0; tries < 100 && ret_team->count < wanted && map->server_count > 0; tries++) {
        const struct server *server = &map->servers[sim_actor_random(map->actor, map->server_count)];

        if (!zone_is_taken(map, ret_team, server->zone))
            ret_team->ids[ret_team->count++] = server->id;
    }
    return ret_team->count == wanted;
}

/* ---- reading the map ---- */

static int read_servers(struct map *map)
{
    const struct sim_pair *pairs;
    size_t count;
    int error = sim_get_range(map->transaction, KEY_SERVER_LIST_PREFIX, BYTES_LITERAL("\xff/serverList0"), 100, &pairs, &count);

    for (size_t i = 0; error == 0 && i < count && map->server_count < SERVERS_MAX; i++) {
        struct server *server = &map->servers[map->server_count];
        struct server_value value;

        if (!system_key_parse_server_list(pairs[i].key, &server->id))
            continue;
        error = message_decode(&schema_server_value, pairs[i].value, &map->arena, &value);
        if (error != 0)
            break;
        server->endpoint = (struct endpoint){{value.endpoint.address.ip, value.endpoint.address.port}, value.endpoint.id};
        error = arena_copy(&map->arena, value.zone, &server->zone);
        map->server_count++;
    }
    return error;
}

static int read_shards(struct map *map)
{
    const struct sim_pair *pairs;
    size_t count;
    int error = sim_get_range(map->transaction, KEY_KEY_SERVERS_PREFIX, BYTES_LITERAL("\xff/keyServers0"), 100, &pairs, &count);

    if (error != 0)
        return error;
    if (count == 0 || count > SHARDS_MAX)
        return ERROR_OPERATION_FAILED;
    map->shards = arena_zalloc(&map->arena, count * sizeof(*map->shards));
    for (size_t i = 0; i + 1 < count; i++) {
        struct shard *shard = &map->shards[map->shard_count++];
        struct key_servers_value value;

        if (!system_key_parse_key_servers(pairs[i].key, &shard->begin) ||
            !system_key_parse_key_servers(pairs[i + 1].key, &shard->end) ||
            key_servers_decode(pairs[i].value, &map->arena, &value) != 0)
            return ERROR_OPERATION_FAILED;
        shard->source = team_of_ids(value.source, value.source_count);
        shard->destination = team_of_ids(value.destination, value.destination_count);
    }
    return 0;
}

/* 0, an error to retry, or ERROR_OPERATION_CANCELLED when another distributor has taken the lock. */
static int read_map(struct map *map, const struct random_moves *moves)
{
    struct bytes value;
    bool present;
    int error = sim_get(map->transaction, KEY_MOVE_KEYS_LOCK, &present, &value);

    arena_reset(&map->arena);
    map->server_count = map->shard_count = 0;
    if (error == 0 && (!present || value.len != 8 || get_be64(value.ptr) != moves->lock))
        return ERROR_OPERATION_CANCELLED;
    if (error == 0)
        error = sim_read_version(map->transaction, &map->version);
    if (error == 0)
        error = read_servers(map);
    return error != 0 ? error : read_shards(map);
}

static struct shard *shard_at(struct map *map, struct bytes begin)
{
    for (uint32_t i = 0; i < map->shard_count; i++)
        if (bytes_equal(map->shards[i].begin, begin))
            return &map->shards[i];
    return NULL;
}

/* Mostly one that holds something. */
static int draw_shard(struct map *map, struct shard **ret_shard)
{
    uint8_t first = (uint8_t)('a' + sim_actor_random(map->actor, 26));
    struct sim_range range = {.limit = 30, .snapshot = true};
    struct bytes key;
    int error = 0;

    *ret_shard = &map->shards[sim_actor_random(map->actor, map->shard_count)];
    if (sim_actor_random(map->actor, 5) == 0)
        return 0;
    error = sim_read_range(map->transaction, bytes_of(&first, 1), KEY_SYSTEM_BEGIN, &range);
    if (error == 0 && range.count == 0)
        error = sim_read_range(map->transaction, bytes_none(), KEY_SYSTEM_BEGIN, &range);
    if (error != 0 || range.count == 0)
        return error;
    key = range.pairs[sim_actor_random(map->actor, range.count)].key;
    for (uint32_t i = 0; i < map->shard_count; i++)
        if (bytes_compare(map->shards[i].begin, key) <= 0)
            *ret_shard = &map->shards[i];
    return 0;
}

/* ---- writing it ---- */

static void apply(struct map *map, struct bytes_buffer *table)
{
    struct bytes rest = bytes_buffer_bytes(table);
    struct mutation mutation;

    while (mutation_next(&rest, &mutation) == 0)
        sim_set(map->transaction, mutation.param1, mutation.param2);
    bytes_buffer_done(table);
}

static void set_shard(struct map *map, struct bytes begin, const struct team *source, const struct team *destination)
{
    struct key_servers_value value = {.source = source->ids, .source_count = source->count,
                                      .destination = destination->ids, .destination_count = destination->count};
    struct bytes_buffer table = {0};

    if (key_servers_set(&table, begin, &value) != 0)
        sim_world_fail(workload_world(map->actor), "RandomMoves: no memory");
    apply(map, &table);
}

static void set_server(struct map *map, uint64_t id, struct bytes begin, struct bytes end, enum server_keys_state state)
{
    struct bytes_buffer table = {0};

    if (server_keys_set(&table, id, begin, end, state) != 0)
        sim_world_fail(workload_world(map->actor), "RandomMoves: no memory");
    apply(map, &table);
}

static void clear_server(struct map *map, uint64_t id, struct bytes begin)
{
    struct bytes_buffer key = {0};
    struct bytes after = bytes_none();

    if (system_key_server_keys(&key, id, begin) != 0 || key_after(&map->arena, bytes_buffer_bytes(&key), &after) != 0)
        sim_world_fail(workload_world(map->actor), "RandomMoves: no memory");
    sim_clear_range(map->transaction, bytes_buffer_bytes(&key), after);
    bytes_buffer_done(&key);
}

/* The server hears that it gives the range up, and nothing of it stays in the map. */
static void withdraw(struct map *map, const struct team *from, const struct team *but, const struct team *and_but,
                     const struct shard *shard)
{
    for (uint32_t i = 0; i < from->count; i++) {
        if (contains(but, from->ids[i]) || contains(and_but, from->ids[i]))
            continue;
        set_server(map, from->ids[i], shard->begin, shard->end, SERVER_KEYS_NONE);
        clear_server(map, from->ids[i], shard->begin);
    }
}

/* START_MOVE, also in the place of another move. */
static void write_start(struct map *map, const struct shard *shard, const struct team *destination)
{
    withdraw(map, &shard->destination, &shard->source, destination, shard);
    set_shard(map, shard->begin, &shard->source, destination);
    for (uint32_t i = 0; i < destination->count; i++)
        if (!contains(&shard->source, destination->ids[i]) && !contains(&shard->destination, destination->ids[i]))
            set_server(map, destination->ids[i], shard->begin, shard->end, SERVER_KEYS_FETCH);
}

static void write_give_up(struct map *map, const struct shard *shard)
{
    static const struct team nobody;

    withdraw(map, &shard->destination, &shard->source, &nobody, shard);
    set_shard(map, shard->begin, &shard->source, &nobody);
}

static void write_finish(struct map *map, const struct shard *shard)
{
    static const struct team nobody;

    set_shard(map, shard->begin, &shard->destination, &nobody);
    for (uint32_t i = 0; i < shard->destination.count; i++)
        set_server(map, shard->destination.ids[i], shard->begin, shard->end, SERVER_KEYS_READY);
    withdraw(map, &shard->source, &shard->destination, &nobody, shard);
}

/* ---- transactions ---- */

typedef int decision(struct map *map, struct random_moves *moves, void *ctx);

/* Runs `decide` on a fresh map until it is committed; ERROR_OPERATION_CANCELLED: it decided to do nothing. */
static int decide_and_commit(struct sim_actor *actor, struct random_moves *moves, decision *decide, void *ctx,
                             version_t *ret_version)
{
    struct map map = {.actor = actor, .transaction = sim_transaction_create(actor)};
    int error;

    sim_option(map.transaction, OPTION_ACCESS_SYSTEM_KEYS);
    sim_option(map.transaction, OPTION_LOCK_AWARE);
    do {
        error = read_map(&map, moves);
        if (error == 0)
            error = decide(&map, moves, ctx);
        if (error == 0)
            error = sim_commit(map.transaction);
    } while (error != 0 && error != ERROR_OPERATION_CANCELLED && !sim_actor_stopping(actor) && sim_retry(map.transaction, error));
    if (error == 0 && ret_version != NULL)
        *ret_version = sim_committed_version(map.transaction);
    sim_transaction_destroy(map.transaction);
    arena_done(&map.arena);
    return error;
}

static int remember(struct map *map, struct move *move, const struct shard *shard, const struct team *destination)
{
    move->begin.len = move->end.len = 0;
    move->source = shard->source;
    move->destination = *destination;
    for (uint32_t i = 0; i < destination->count; i++) {
        const struct server *server = server_of(map, destination->ids[i]);

        if (server == NULL)
            return ERROR_OPERATION_CANCELLED;
        move->endpoints[i] = server->endpoint;
    }
    if (bytes_buffer_append(&move->begin, shard->begin) != 0 || bytes_buffer_append(&move->end, shard->end) != 0)
        return ERROR_OUT_OF_MEMORY;
    return 0;
}

static int decide_start(struct map *map, struct random_moves *moves, void *ctx)
{
    struct move *move = ctx;
    struct shard *shard;
    struct team team;
    int error = draw_shard(map, &shard);

    if (error != 0)
        return error;
    if (shard->destination.count > 0 && sim_actor_random(map->actor, 2) == 0) {
        /* somebody left it (it may have been us, by an answer that was lost): go on with it */
        error = remember(map, move, shard, &shard->destination);
        move->version = map->version;
        moves->taken_over++;
        return error != 0 ? error : ERROR_OPERATION_CANCELLED;
    }
    if (!draw_team(map, &team) || same_team(&team, &shard->source) || same_team(&team, &shard->destination))
        return ERROR_OPERATION_CANCELLED;
    error = remember(map, move, shard, &team);
    if (error == 0)
        write_start(map, shard, &team);
    return error;
}

/* The shard of the move if it still is that move. */
static struct shard *same_move(struct map *map, const struct move *move)
{
    struct shard *shard = shard_at(map, bytes_buffer_bytes(&move->begin));

    return shard != NULL && bytes_equal(shard->end, bytes_buffer_bytes(&move->end)) &&
                   same_team(&shard->source, &move->source) && same_team(&shard->destination, &move->destination)
               ? shard
               : NULL;
}

/* True when this destination says that all of it is fetched and durable there. */
static bool is_ready(struct sim_actor *actor, const struct move *move, uint32_t i)
{
    struct message *message, *reply;
    struct get_shard_progress *m = MESSAGE_NEW(get_shard_progress, &message);
    bool ready;

    m->version = move->version;
    m->wait_us = PROGRESS_WAIT_US;
    if (arena_copy(&message->arena, bytes_buffer_bytes(&move->begin), &m->begin) != 0 ||
        arena_copy(&message->arena, bytes_buffer_bytes(&move->end), &m->end) != 0 ||
        sim_actor_call(actor, &move->endpoints[i], message, PROGRESS_TIMEOUT_US, &reply) != 0)
        return false;
    ready = MESSAGE_BODY(shard_progress, reply)->ready;
    message_unref(reply);
    return ready;
}

/* That of another may look the same, to the same team: they are asked once more, as of what is read here. The distributor needs no such
 * question: nobody else moves anything while it has its lock. */
static int decide_finish(struct map *map, struct random_moves *moves, void *ctx)
{
    struct shard *shard = same_move(map, ctx);
    struct move *move = ctx;

    (void)moves;
    if (shard == NULL)
        return ERROR_OPERATION_CANCELLED;
    move->version = map->version;
    for (uint32_t i = 0; i < move->destination.count; i++)
        if (!is_ready(map->actor, move, i))
            return ERROR_OPERATION_CANCELLED;
    workload_world(map->actor)->hands_over_us = workload_world(map->actor)->now_us;
    write_finish(map, shard);
    return 0;
}

struct going_back {
    struct move *move; /* the one back, once decided */
    struct team at, to;
};

/* What has just been moved goes back to where it came from. */
static int decide_return(struct map *map, struct random_moves *moves, void *ctx)
{
    struct going_back *back = ctx;
    struct shard *shard = shard_at(map, bytes_buffer_bytes(&back->move->begin));
    int error;

    (void)moves;
    if (shard == NULL || !bytes_equal(shard->end, bytes_buffer_bytes(&back->move->end)) || shard->destination.count > 0 ||
        !same_team(&shard->source, &back->at))
        return ERROR_OPERATION_CANCELLED;
    error = remember(map, back->move, shard, &back->to);
    if (error == 0)
        write_start(map, shard, &back->to);
    return error;
}

static int decide_give_up(struct map *map, struct random_moves *moves, void *ctx)
{
    struct shard *shard = same_move(map, ctx);

    (void)moves;
    if (shard == NULL)
        return ERROR_OPERATION_CANCELLED;
    write_give_up(map, shard);
    return 0;
}

static void set_source(struct map *map, const struct shard *shard, struct bytes begin, struct bytes end)
{
    for (uint32_t i = 0; i < shard->source.count; i++)
        set_server(map, shard->source.ids[i], begin, end, SERVER_KEYS_READY);
}

static int decide_split(struct map *map, struct random_moves *moves, void *ctx)
{
    struct shard *shard;
    struct sim_range range = {.limit = 20, .snapshot = true};
    struct bytes at;
    int error = draw_shard(map, &shard);

    (void)ctx;
    (void)moves;
    if (error != 0)
        return error;
    if (shard->destination.count > 0 || map->shard_count >= 150)
        return ERROR_OPERATION_CANCELLED;
    error = sim_read_range(map->transaction, shard->begin, shard->end, &range);
    if (error != 0)
        return error;
    if (range.count < 2)
        return ERROR_OPERATION_CANCELLED;
    at = range.pairs[1 + sim_actor_random(map->actor, range.count - 1)].key;
    set_shard(map, at, &shard->source, &shard->destination);
    set_source(map, shard, shard->begin, at);
    set_source(map, shard, at, shard->end);
    return 0;
}

static int decide_merge(struct map *map, struct random_moves *moves, void *ctx)
{
    uint32_t first = (uint32_t)sim_actor_random(map->actor, map->shard_count);

    (void)ctx;
    (void)moves;
    for (uint32_t n = 0; n < map->shard_count; n++) {
        struct shard *shard = &map->shards[(first + n) % map->shard_count], *next = shard + 1;
        struct bytes_buffer key = {0};
        struct bytes after;

        if ((first + n) % map->shard_count + 1 == map->shard_count || shard->destination.count > 0 ||
            next->destination.count > 0 || !same_team(&shard->source, &next->source) || key_is_system(next->begin))
            continue;
        if (system_key_key_servers(&key, next->begin) != 0 || key_after(&map->arena, bytes_buffer_bytes(&key), &after) != 0)
            return ERROR_OUT_OF_MEMORY;
        sim_clear_range(map->transaction, bytes_buffer_bytes(&key), after);
        bytes_buffer_done(&key);
        set_source(map, shard, shard->begin, next->end);
        for (uint32_t i = 0; i < shard->source.count; i++)
            clear_server(map, shard->source.ids[i], next->begin);
        return 0;
    }
    return ERROR_OPERATION_CANCELLED;
}

/* ---- a move ---- */

static bool wait_until_ready(struct sim_actor *actor, const struct move *move, int64_t deadline_us)
{
    uint32_t ready = 0;

    while (ready < move->destination.count && !sim_actor_stopping(actor) && workload_world(actor)->now_us < deadline_us) {
        if (is_ready(actor, move, ready))
            ready++;
        else
            sim_actor_sleep(actor, 100000);
    }
    return ready == move->destination.count;
}

/* True: it is finished. */
static bool see_through(struct sim_actor *actor, struct random_moves *moves, struct move *move, int64_t patience_us)
{
    int64_t patience = patience_us / 2 + (int64_t)sim_actor_random(actor, (uint64_t)patience_us);
    bool finished = false;

    if (sim_actor_random(actor, 5) == 0)
        patience = (int64_t)sim_actor_random(actor, 2000000); /* given up while it goes well */
    if (wait_until_ready(actor, move, workload_world(actor)->now_us + patience))
        finished = decide_and_commit(actor, moves, decide_finish, move, NULL) == 0;
    else if (sim_actor_random(actor, 4) != 0) /* else it is left to others */
        moves->given_up += decide_and_commit(actor, moves, decide_give_up, move, NULL) == 0;
    moves->finished += finished;
    return finished;
}

static bool start_back(struct sim_actor *actor, struct random_moves *moves, struct move *move)
{
    struct going_back back = {move, move->destination, move->source};

    return decide_and_commit(actor, moves, decide_return, &back, &move->version) == 0;
}

static void move_one(struct sim_actor *actor, struct random_moves *moves, const int64_t *options)
{
    int64_t patience_us = 1000 * options[PATIENCE_MS];
    struct move move = {0};
    int error = decide_and_commit(actor, moves, decide_start, &move, &move.version);

    moves->started += error == 0;
    if (error == 0 || (error == ERROR_OPERATION_CANCELLED && move.destination.count > 0 && move.version > 0))
        while (see_through(actor, moves, &move, patience_us) && sim_actor_random(actor, 100) < (uint64_t)options[BACK] && start_back(actor, moves, &move))
            moves->back++;
    bytes_buffer_done(&move.begin);
    bytes_buffer_done(&move.end);
}

/* ---- the workload ---- */

static void random_moves_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct random_moves *moves = run->state;
    struct sim_transaction *transaction = sim_transaction_create(actor);
    uint8_t id[8];
    int error;

    moves->lock = sim_actor_random(actor, UINT64_MAX);
    put_be64(id, moves->lock);
    sim_option(transaction, OPTION_ACCESS_SYSTEM_KEYS);
    sim_option(transaction, OPTION_LOCK_AWARE);
    do {
        sim_set(transaction, KEY_MOVE_KEYS_LOCK, bytes_of(id, sizeof(id)));
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "RandomMoves: setup: %s", error_name(error));
    sim_transaction_destroy(transaction);
}

static void random_moves_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct random_moves *moves = run->state;

    while (actor->client->index == 0 && !sim_actor_stopping(actor)) {
        uint64_t what = sim_actor_random(actor, 10);

        if (what == 0)
            moves->splits += decide_and_commit(actor, moves, decide_split, NULL, NULL) == 0;
        else if (what == 1)
            moves->merges += decide_and_commit(actor, moves, decide_merge, NULL, NULL) == 0;
        else
            move_one(actor, moves, run->options);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static void random_moves_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    const struct random_moves *moves = run->state;

    sim_say(workload_world(actor), actor->client->process,
            "RandomMoves: %llu started, %llu finished, %llu given up, %llu taken over, %llu back, %llu splits, %llu merges",
            (unsigned long long)moves->started, (unsigned long long)moves->finished, (unsigned long long)moves->given_up,
            (unsigned long long)moves->taken_over, (unsigned long long)moves->back,
            (unsigned long long)moves->splits, (unsigned long long)moves->merges);
}

const struct sim_workload sim_workload_random_moves = {
    .name = "RandomMoves",
    .what = "shards move to drawn teams, split and merge; no write is lost or applied twice",
    .options = {{"actors", 3, 1, 20}, {"pause-ms", 500, 0, 100000}, {"patience-ms", 20000, 100, 1000000},
                {"back", 30, 0, 100}},
    .state_bytes = sizeof(struct random_moves),
    .setup = random_moves_setup,
    .run = random_moves_run,
    .check = random_moves_check,
};
