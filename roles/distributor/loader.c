/* What the distributor knows of the metadata: all of it once, then what operators change, again and again.
 *
 *   TAKE -> TAKEN -> LOAD -> LOADED -> HEARD
 *                     ^__________________|  when something was set, and after a while
 *
 * Shards are read once (and again when a change found them other than expected): nobody else changes them. Configuration, exclusions and
 * servers are read when a commit proxy says that something was set, and each dd_settings_interval_us, in one transaction that reads a few keys. */
#include <assert.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/trace.h"
#include "roles/distributor/distributor_internal.h"
#include "roles/distributor/scan.h"
#include "txn/kv_map.h"

enum { TAKE, TAKEN, LOAD, LOADED, HEARD, STAGES };
enum { RETRY_US = 200000 };

struct loader {
    struct op op;
    struct distributor *distributor;
    struct change change;
    struct wait_timer timer;
    struct rpc_call news; /* a long poll: an operator has set something */
    const struct transaction_range *conf, *servers, *zone, *mode, *balance, *no_scan, *shards; /* of the present try; shards: NULL: not read */
    bool waiting; /* for its next time */
};

static struct loader *loader_of(struct op *op)
{
    return container_of(op, struct loader, op);
}

static void must(int error)
{
    assert(error == 0); /* a server dies of a failed allocation before it gets here */
}

static void resume(struct change *change)
{
    op_resume(&((struct loader *)change->parent)->op);
}

/* ---- the lock ---- */

static void ask_nothing(struct change *change)
{
    (void)change;
}

static int decide_lock(struct change *change)
{
    uint8_t id[8];

    if (change->lock.pair_count == 1 && change->lock.pairs[0].value.len == 8 &&
        get_be64(change->lock.pairs[0].value.ptr) == change->distributor->id)
        return 0;
    put_be64(id, change->distributor->id);
    must(mutation_append(&change->writes, MUTATION_SET, KEY_MOVE_KEYS_LOCK, bytes_of(id, sizeof(id))));
    return 0;
}

static enum op_result run_take(struct op *op)
{
    struct loader *loader = loader_of(op);

    loader->change = (struct change){
        .ask = ask_nothing, .decide = decide_lock, .done = resume, .parent = loader, .taking_lock = true};
    change_start(&loader->change, loader->distributor);
    return op_wait(op, TAKEN);
}

static enum op_result run_taken(struct op *op)
{
    struct loader *loader = loader_of(op);

    if (loader->change.error != 0) {
        wait_timer_start(&loader->timer, op, RETRY_US);
        return op_wait(op, TAKE);
    }
    TRACE(op->env, SEVERITY_INFO, "MoveKeysLockTaken", {"Id", trace_id(loader->distributor->id)},
          {"Version", trace_int(loader->change.version)});
    return op_move(op, LOAD);
}

/* ---- reading ---- */

static struct bytes after_prefix(struct change *change, struct bytes prefix)
{
    struct bytes end;

    must(key_strinc(&change->arena, prefix, &end));
    return end;
}

static void ask(struct change *change)
{
    struct loader *loader = change->parent;

    loader->conf = change_read(change, KEY_CONF_PREFIX, after_prefix(change, KEY_CONF_PREFIX));
    loader->servers = change_read(change, KEY_SERVER_LIST_PREFIX, after_prefix(change, KEY_SERVER_LIST_PREFIX));
    loader->zone = change_read_key(change, KEY_HEALTHY_ZONE);
    loader->mode = change_read_key(change, KEY_DATA_DISTRIBUTION_MODE);
    loader->balance = change_read_key(change, KEY_REBALANCE_IGNORED);
    loader->no_scan = change_read_key(change, KEY_CONSISTENCY_CHECK_SUSPEND);
    loader->shards = loader->distributor->shards_stale
                         ? change_read(change, KEY_KEY_SERVERS_PREFIX, after_prefix(change, KEY_KEY_SERVERS_PREFIX))
                         : NULL;
}

static void take_settings(struct loader *loader, version_t version)
{
    struct dd_settings *settings = &loader->distributor->settings;
    struct kv_map *map = kv_map_create();
    struct bytes zone;

    for (uint32_t i = 0; i < loader->conf->pair_count; i++)
        must(kv_map_set(map, loader->conf->pairs[i].key, loader->conf->pairs[i].value));
    arena_done(&settings->arena);
    *settings = (struct dd_settings){.version = version};
    configuration_read(map, &settings->configuration);
    must(exclusions_read(map, &settings->arena, &settings->exclusions));
    kv_map_destroy(map);
    settings->off = loader->mode->pair_count == 1 && bytes_equal(loader->mode->pairs[0].value, BYTES_LITERAL("0"));
    settings->balance_off = loader->balance->pair_count == 1;
    settings->scan_off = loader->no_scan->pair_count == 1;
    if (loader->zone->pair_count == 1 && healthy_zone_parse(loader->zone->pairs[0].value, &settings->healthy_until, &zone))
        settings->healthy_zone = picture_digest_name(zone);
}

/* ---- servers ---- */

static void take_server(struct distributor *self, uint64_t id, const struct server_value *value)
{
    uint32_t slot = picture_server(self->picture, id);
    struct picture_server *server = &self->picture->servers[slot];
    const struct exclusion *exclusion = exclusions_find(&self->settings.exclusions, endpoint_of(&value->endpoint).address);

    if (!server->known) {
        server->failed = false;
        self->announce = true;
    }
    server->known = true;
    server->zone = picture_digest_name(value->zone);
    server->data_center = picture_digest_name(value->data_center);
    server->hall = picture_digest_within(server->data_center, value->hall);
    server->rack = picture_digest_within(server->hall != 0 ? server->hall : server->data_center, value->rack);
    server->engine = value->engine;
    server->excluded = exclusion != NULL;
    server->given_up = exclusion != NULL && exclusion->failed;
    tracker_start(self, slot, &value->endpoint);
}

/* The range is in key order. */
static bool is_listed(const struct transaction_range *range, uint64_t id)
{
    uint32_t low = 0, high = range->pair_count;
    struct bytes_buffer key = {0};
    bool found = false;

    must(system_key_server_list(&key, id));
    while (low < high && !found) {
        uint32_t middle = low + (high - low) / 2;
        int order = bytes_compare(range->pairs[middle].key, bytes_buffer_bytes(&key));

        found = order == 0;
        *(order < 0 ? &low : &high) = order < 0 ? middle + 1 : middle;
    }
    bytes_buffer_done(&key);
    return found;
}

static void take_servers(struct loader *loader)
{
    struct distributor *self = loader->distributor;
    const struct transaction_range *range = loader->servers;

    for (uint32_t i = 0; i < range->pair_count; i++) {
        struct arena arena = {0};
        struct server_value value;
        uint64_t id;

        if (!system_key_parse_server_list(range->pairs[i].key, &id) || id == 0 ||
            message_decode(&schema_server_value, range->pairs[i].value, &arena, &value) != 0)
            TRACE(self->env, SEVERITY_WARN_ALWAYS, "BadServerRecord", {"Key", trace_bytes(range->pairs[i].key)});
        else
            take_server(self, id, &value);
        arena_done(&arena);
    }
    for (uint32_t slot = 0; slot < self->picture->server_count; slot++) {
        struct picture_server *server = &self->picture->servers[slot];

        if (server->known && !is_listed(range, server->id)) {
            server->known = false;
            server->failed = self->announce = true;
            tracker_stop(tracker_of(self, server->id));
        }
    }
}

/* ---- shards ---- */

static uint32_t slots_of(struct distributor *self, const uint64_t *ids, uint32_t count, uint32_t slots[TEAM_SERVERS_MAX])
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < count && n < TEAM_SERVERS_MAX; i++)
        if (ids[i] != 0) {
            slots[n] = picture_server(self->picture, ids[i]);
            self->picture->servers[slots[n]].failed |= !self->picture->servers[slots[n]].known;
            n++;
        }
    return n;
}

static void take_shard(struct distributor *self, const struct client_pair *pair, struct bytes begin, version_t version)
{
    uint32_t source[TEAM_SERVERS_MAX], destination[TEAM_SERVERS_MAX];
    struct key_servers_value value;
    struct arena arena = {0};

    if (key_servers_decode(pair->value, &arena, &value) != 0)
        TRACE(self->env, SEVERITY_WARN_ALWAYS, "BadShardRecord", {"Key", trace_bytes(pair->key)});
    else
        picture_set_shard(self->picture, begin, source, slots_of(self, value.source, value.source_count, source), destination,
                          slots_of(self, value.destination, value.destination_count, destination), version);
    arena_done(&arena);
}

/* Boundaries that are no more: both lists are in key order. */
static void drop_others(struct distributor *self, const struct transaction_range *range, version_t version)
{
    struct picture *picture = self->picture;
    uint32_t at = range->pair_count;

    for (size_t i = picture->shard_count; i-- > 0;) {
        struct bytes begin = picture_shard_begin(picture->shards[i]), read = bytes_none();
        int order = 1;

        while (at > 0 && system_key_parse_key_servers(range->pairs[at - 1].key, &read) &&
               (order = bytes_compare(read, begin)) > 0)
            at--;
        if ((at == 0 || order != 0) && !picture->shards[i]->busy && picture->shards[i]->changed < version)
            picture_remove_shard(picture, begin, version);
    }
}

static void take_shards(struct loader *loader, version_t version)
{
    struct distributor *self = loader->distributor;
    const struct transaction_range *range = loader->shards;

    drop_others(self, range, version);
    for (uint32_t i = 0; i < range->pair_count; i++) {
        struct bytes begin;

        if (system_key_parse_key_servers(range->pairs[i].key, &begin) && bytes_compare(begin, KEY_SYSTEM_END) < 0)
            take_shard(self, &range->pairs[i], begin, version);
    }
}

/* Nothing is written: what was read is taken in here, where it still is at hand. */
static int decide(struct change *change)
{
    struct loader *loader = change->parent;
    struct distributor *self = loader->distributor;
    version_t version = change->read_version.version;

    if (version < self->settings.version)
        return 0;
    take_settings(loader, version);
    take_servers(loader);
    servers_hurry(self);
    if (loader->shards != NULL) {
        take_shards(loader, version);
        self->shards_stale = !picture_begins(self->picture); /* a replica lies, or its first record is damaged: it is read again */
    }
    return 0;
}

static enum op_result run_load(struct op *op)
{
    struct loader *loader = loader_of(op);

    loader->waiting = false;
    rpc_call_clear(&loader->news);
    loader->change = (struct change){.ask = ask, .decide = decide, .done = resume, .parent = loader};
    change_start(&loader->change, loader->distributor);
    return op_wait(op, LOADED);
}

/* Until an operator changes something, and a while at the longest: some of what is read is nobody's news. */
static enum op_result wait_for_news(struct loader *loader)
{
    struct distributor *self = loader->distributor;
    int64_t longest_us = self->shards_stale ? RETRY_US : self->env->knobs.dd_settings_interval_us;

    loader->waiting = true;
    loader->news.error = 0;
    wait_timer_start(&loader->timer, &loader->op, longest_us);
    for (uint32_t i = 0; i < self->description.roles_count; i++) {
        const struct role_ref *role = &self->description.roles[i];
        struct endpoint to = endpoint_of(&role->endpoint);
        struct message *message;

        if (role->kind != ROLE_COMMIT_PROXY || self->settings.version == 0)
            continue;
        MESSAGE_NEW(get_settings, &message)->known_version = self->settings.version;
        rpc_call_start(&loader->news, &loader->op, self->context.rpc, &to, message, 2 * longest_us);
        break;
    }
    return op_wait(&loader->op, HEARD);
}

static enum op_result run_heard(struct op *op)
{
    struct loader *loader = loader_of(op);

    if (loader->news.error != 0 && !loader->distributor->shards_stale) { /* the proxy has gone, with its epoch perhaps */
        loader->news.error = 0;
        wait_timer_start(&loader->timer, op, RETRY_US);
        return op_wait(op, LOAD);
    }
    return op_move(op, LOAD);
}

static enum op_result run_loaded(struct op *op)
{
    struct loader *loader = loader_of(op);
    struct distributor *self = loader->distributor;
    int error = loader->change.error;

    if (error == ERROR_MOVEKEYS_CONFLICT) {
        distributor_end(self, error);
        return op_finish(op, error);
    }
    if (error == 0 && !self->loaded) {
        self->loaded = true;
        TRACE(op->env, SEVERITY_INFO, "DistributorLoaded", {"Shards", trace_int((int64_t)self->picture->shard_count)},
              {"Servers", trace_int(self->picture->server_count)});
        servers_start(self);
        scan_start(self);
    }
    if (error == 0) {
        servers_look(self);
        distributor_plan_soon(self);
    }
    return wait_for_news(loader);
}

/* ---- life ---- */

static void ended(struct op *op)
{
    struct loader *loader = loader_of(op);

    change_cancel(&loader->change);
    rpc_call_clear(&loader->news);
    loader->distributor->loader = NULL;
    mem_free(loader);
}

static const struct op_stage stages[STAGES] = {
    [TAKE] = {"TAKE", run_take, OP_STAGE(TAKEN)},
    [TAKEN] = {"TAKEN", run_taken, OP_STAGE(TAKE) | OP_STAGE(LOAD)},
    [LOAD] = {"LOAD", run_load, OP_STAGE(LOADED)},
    [LOADED] = {"LOADED", run_loaded, OP_STAGE(HEARD)},
    [HEARD] = {"HEARD", run_heard, OP_STAGE(LOAD)},
};
static const struct op_type type = {"loader", stages, STAGES, READY_COMMIT, ended};

void loader_start(struct distributor *self)
{
    struct loader *loader = mem_zalloc(sizeof(*loader));

    loader->distributor = self;
    self->shards_stale = true;
    self->loader = &loader->op;
    op_start(&loader->op, &type, &self->ops);
}

void loader_hurry(struct distributor *self)
{
    if (self->loader != NULL && loader_of(self->loader)->waiting)
        op_resume(self->loader);
}
