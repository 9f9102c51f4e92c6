/* The client library's calls, each with done() that resumes the actor (its ctx).
 *
 * Everything that a call touches lives in the sim_transaction, which is on its client's list: when the run ends in the middle of
 * one, it is destroyed from there. */
#include "sim/transaction.h"

#include <assert.h>

#include "net/mem.h"
#include "sim/cluster.h"
#include "txn/client/client_admin.h"
#include "txn/client/mapped.h"
#include "txn/client/special_keys.h"
#include "txn/client/transaction.h"

struct library {
    struct client *client; /* owned */
    struct list transactions, watches;
    struct client_configure configure;
};

struct sim_transaction {
    struct list link;
    struct sim_actor *actor;
    struct transaction *txn; /* owned */
    struct transaction_get get;
    struct transaction_range range;
    struct transaction_mapped mapped;
    struct special_read special;
    struct transaction_query query;
    struct transaction_version version;
    struct client_call commit;
    struct transaction_retry retry;
    struct arena arena;     /* what was read */
    struct sim_pair *pairs; /* in the arena */
    size_t pair_count, pair_capacity;
    int write_error; /* the first */
    int options[4];
    size_t option_count;
    const char *tag; /* NULL: none */
};

struct sim_watch {
    struct client_watch watch; /* first */
    struct list link;
    struct sim_world *world;
    bool over;
    int error;
    int64_t when_us;
};

static void resume_actor(struct client_call *call)
{
    sim_actor_resume(call->ctx);
}

static void belongs_to(struct client_call *call, struct sim_actor *actor)
{
    call->done = resume_actor;
    call->ctx = actor;
}

/* ---- the library ---- */

int sim_transactions_start(struct sim_client *client)
{
    struct client_options options = {.coordinators = client->cluster->coordinators,
                                     .coordinator_count = (uint32_t)client->cluster->coordinator_count,
                                     .rpc = client->rpc};
    struct library *library = sim_zalloc(sizeof(*library));

    list_init(&library->transactions);
    list_init(&library->watches);
    client->library = library;
    return client_create(&client->process->env, &options, &library->client);
}

bool sim_client_knows_coordinators(const struct sim_client *client)
{
    const struct sim_cluster *cluster = client->cluster;
    const struct library *library = client->library;
    uint32_t count = client_coordinator_count(library->client);
    bool same = count == cluster->coordinator_count;

    for (uint32_t i = 0; i < count && same; i++) {
        struct client_coordinator coordinator;

        same = false;
        client_coordinator(library->client, i, &coordinator);
        for (size_t k = 0; k < cluster->coordinator_count; k++)
            same |= address_equal(coordinator.address, cluster->coordinators[k]);
    }
    return same;
}

void sim_transactions_stop(struct sim_client *client)
{
    struct library *library = client->library;

    client_call_cancel(&library->configure.call);
    while (!list_empty(&library->transactions))
        sim_transaction_destroy(list_entry(library->transactions.next, struct sim_transaction, link));
    while (!list_empty(&library->watches))
        sim_watch_destroy(list_entry(library->watches.next, struct sim_watch, link));
    client_destroy(library->client);
    mem_free(library);
    client->library = NULL;
}

int sim_configure_new(struct sim_actor *actor, uint32_t redundancy, uint32_t engine)
{
    struct library *library = actor->client->library;
    struct client_configure *configure = &library->configure;

    assert(!client_call_under_way(&configure->call));
    *configure = (struct client_configure){0};
    belongs_to(&configure->call, actor);
    client_configure_start(configure, NULL, library->client, redundancy, engine);
    sim_actor_wait(actor);
    return configure->call.error;
}

/* ---- transactions ---- */

struct sim_transaction *sim_transaction_create(struct sim_actor *actor)
{
    struct library *library = actor->client->library;
    struct sim_transaction *transaction = sim_zalloc(sizeof(*transaction));
    int error = transaction_create(library->client, &transaction->txn);

    assert(error == 0);
    transaction->actor = actor;
    list_push_back(&library->transactions, &transaction->link);
    return transaction;
}

void sim_transaction_destroy(struct sim_transaction *transaction)
{
    list_remove(&transaction->link);
    transaction_destroy(transaction->txn);
    transaction_get_done(&transaction->get);
    transaction_range_done(&transaction->range);
    transaction_mapped_done(&transaction->mapped);
    special_read_done(&transaction->special);
    transaction_query_done(&transaction->query);
    arena_done(&transaction->arena);
    mem_free(transaction);
}

struct arena *sim_transaction_arena(struct sim_transaction *transaction)
{
    return &transaction->arena;
}

static int get_key(struct sim_transaction *transaction, struct bytes key, bool snapshot, bool *ret_present,
                   struct bytes *ret_value)
{
    struct transaction_get *get = &transaction->get;

    belongs_to(&get->call, transaction->actor);
    transaction_get_start(get, NULL, transaction->txn, key, snapshot);
    sim_actor_wait(transaction->actor);
    if (get->call.error != 0)
        return get->call.error;
    *ret_present = get->present;
    return arena_copy(&transaction->arena, bytes_buffer_bytes(&get->value), ret_value);
}

int sim_get(struct sim_transaction *transaction, struct bytes key, bool *ret_present, struct bytes *ret_value)
{
    return get_key(transaction, key, false, ret_present, ret_value);
}

int sim_get_snapshot(struct sim_transaction *transaction, struct bytes key, bool *ret_present, struct bytes *ret_value)
{
    return get_key(transaction, key, true, ret_present, ret_value);
}

int sim_read_version(struct sim_transaction *transaction, version_t *ret_version)
{
    struct transaction_version *version = &transaction->version;

    belongs_to(&version->call, transaction->actor);
    transaction_read_version_start(version, NULL, transaction->txn);
    sim_actor_wait(transaction->actor);
    if (version->call.error == 0)
        *ret_version = version->version;
    return version->call.error;
}

static void keep_pair(struct sim_transaction *transaction, const struct client_pair *pair)
{
    struct sim_pair *kept;

    if (transaction->pair_count == transaction->pair_capacity) {
        size_t capacity = transaction->pair_capacity == 0 ? 64 : transaction->pair_capacity * 2;
        struct sim_pair *grown = arena_alloc(&transaction->arena, capacity * sizeof(grown[0]));

        if (transaction->pair_count != 0)
            memcpy(grown, transaction->pairs, transaction->pair_count * sizeof(grown[0]));
        transaction->pairs = grown;
        transaction->pair_capacity = capacity;
    }
    kept = &transaction->pairs[transaction->pair_count++];
    arena_copy(&transaction->arena, pair->key, &kept->key);
    arena_copy(&transaction->arena, pair->value, &kept->value);
}

/* Where the range goes on behind the last pair. */
static struct bytes behind(struct sim_transaction *transaction, struct bytes key)
{
    uint8_t *next = arena_alloc(&transaction->arena, key.len + 1);

    memcpy(next, key.ptr, key.len);
    next[key.len] = 0;
    return bytes_of(next, key.len + 1);
}

int sim_get_range(struct sim_transaction *transaction, struct bytes begin, struct bytes end, uint32_t limit,
                  const struct sim_pair **ret_pairs, size_t *ret_count)
{
    const struct transaction_range_options options = {.limit = limit};
    struct transaction_range *range = &transaction->range;

    transaction->pair_count = transaction->pair_capacity = 0;
    do {
        belongs_to(&range->call, transaction->actor);
        transaction_range_start(range, NULL, transaction->txn, SELECT_FIRST_AT_OR_AFTER(begin), SELECT_FIRST_AT_OR_AFTER(end),
                                &options);
        sim_actor_wait(transaction->actor);
        if (range->call.error != 0)
            return range->call.error;
        for (uint32_t i = 0; i < range->pair_count; i++)
            keep_pair(transaction, &range->pairs[i]);
        if (range->more && range->pair_count != 0)
            begin = behind(transaction, transaction->pairs[transaction->pair_count - 1].key);
    } while (range->more && range->pair_count != 0);
    *ret_pairs = transaction->pairs;
    *ret_count = transaction->pair_count;
    return 0;
}

int sim_get_key(struct sim_transaction *transaction, struct bytes key, bool or_equal, int offset, struct bytes *ret_key)
{
    struct transaction_range *call = &transaction->range;

    belongs_to(&call->call, transaction->actor);
    transaction_key_start(call, NULL, transaction->txn, (struct key_selector){key, or_equal, offset}, false);
    sim_actor_wait(transaction->actor);
    return call->call.error != 0 ? call->call.error : arena_copy(&transaction->arena, call->begin, ret_key);
}

int sim_read_range(struct sim_transaction *transaction, struct bytes begin, struct bytes end, struct sim_range *range)
{
    const struct transaction_range_options options = {.limit = range->limit, .reverse = range->reverse,
                                                      .snapshot = range->snapshot};
    struct transaction_range *call = &transaction->range;

    belongs_to(&call->call, transaction->actor);
    transaction_range_start(call, NULL, transaction->txn, SELECT_FIRST_AT_OR_AFTER(begin), SELECT_FIRST_AT_OR_AFTER(end),
                            &options);
    sim_actor_wait(transaction->actor);
    if (call->call.error != 0)
        return call->call.error;
    transaction->pair_count = transaction->pair_capacity = 0;
    for (uint32_t i = 0; i < call->pair_count; i++)
        keep_pair(transaction, &call->pairs[i]);
    range->pairs = transaction->pairs;
    range->count = transaction->pair_count;
    range->more = call->more;
    return 0;
}

static const struct sim_pair *copy_pairs(struct sim_transaction *transaction, const struct client_pair *pairs, size_t count)
{
    struct sim_pair *copies = arena_alloc(&transaction->arena, (count + 1) * sizeof(copies[0]));

    for (size_t i = 0; i < count; i++) {
        arena_copy(&transaction->arena, pairs[i].key, &copies[i].key);
        arena_copy(&transaction->arena, pairs[i].value, &copies[i].value);
    }
    return copies;
}

static void keep_rows(struct sim_transaction *transaction, const struct transaction_mapped *call, struct sim_mapped *mapped)
{
    struct sim_mapped_row *rows = arena_alloc(&transaction->arena, (call->row_count + 1) * sizeof(rows[0]));

    for (uint32_t i = 0; i < call->row_count; i++) {
        const struct mapped_row *row = &call->rows[i];

        arena_copy(&transaction->arena, row->key, &rows[i].key);
        arena_copy(&transaction->arena, row->value, &rows[i].value);
        rows[i].pairs = copy_pairs(transaction, row->pairs, row->pair_count);
        rows[i].count = row->pair_count;
    }
    mapped->rows = rows;
    mapped->count = call->row_count;
    mapped->more = call->more;
}

int sim_read_mapped(struct sim_transaction *transaction, struct bytes begin, struct bytes end, struct bytes mapper,
                    struct sim_mapped *mapped)
{
    const struct transaction_range_options options = {.limit = mapped->limit, .bytes_limit = mapped->bytes_limit,
                                                      .reverse = mapped->reverse, .snapshot = mapped->snapshot};
    struct transaction_mapped *call = &transaction->mapped;

    transaction_mapped_done(call);
    *call = (struct transaction_mapped){0};
    belongs_to(&call->call, transaction->actor);
    if (!transaction_mapped_prepare(call, transaction->txn, SELECT_FIRST_AT_OR_AFTER(begin), SELECT_FIRST_AT_OR_AFTER(end), mapper,
                                    &options)) {
        transaction_mapped_submit(call, NULL);
        sim_actor_wait(transaction->actor);
    }
    if (call->call.error == 0)
        keep_rows(transaction, call, mapped);
    return call->call.error;
}

int sim_read_special(struct sim_transaction *transaction, struct bytes begin, struct bytes end, struct sim_range *range)
{
    const struct transaction_range_options options = {.limit = range->limit, .reverse = range->reverse};
    struct special_read *call = &transaction->special;

    special_read_done(call);
    *call = (struct special_read){0};
    belongs_to(&call->call, transaction->actor);
    if (!special_read_prepare(call, transaction->txn, SELECT_FIRST_AT_OR_AFTER(begin), SELECT_FIRST_AT_OR_AFTER(end), &options)) {
        special_read_submit(call);
        sim_actor_wait(transaction->actor);
    }
    if (call->call.error != 0)
        return call->call.error;
    range->pairs = copy_pairs(transaction, call->pairs == NULL ? NULL : call->pairs + call->first, call->count);
    range->count = call->count;
    range->more = call->more;
    return 0;
}

int sim_query(struct sim_transaction *transaction, struct bytes begin, struct bytes end, struct sim_query *query)
{
    struct transaction_query *call = &transaction->query;

    transaction_query_done(call);
    *call = (struct transaction_query){.kind = (enum query_kind)query->kind, .chunk = query->chunk};
    belongs_to(&call->call, transaction->actor);
    if (!transaction_query_prepare(call, transaction->txn, begin, end)) {
        transaction_query_submit(call, NULL);
        sim_actor_wait(transaction->actor);
    }
    query->items = call->items;
    query->count = call->count;
    query->bytes = call->bytes;
    return call->call.error;
}

static void remember(struct sim_transaction *transaction, int error)
{
    if (transaction->write_error == 0)
        transaction->write_error = error;
}

void sim_set(struct sim_transaction *transaction, struct bytes key, struct bytes value)
{
    remember(transaction, transaction_set(transaction->txn, key, value));
}

void sim_clear_range(struct sim_transaction *transaction, struct bytes begin, struct bytes end)
{
    remember(transaction, transaction_clear_range(transaction->txn, begin, end));
}

void sim_add(struct sim_transaction *transaction, struct bytes key, uint64_t number)
{
    uint8_t param[8];

    put_le64(param, number);
    remember(transaction, transaction_atomic(transaction->txn, MUTATION_ADD, key, bytes_of(param, sizeof(param))));
}

static void apply_option(struct sim_transaction *transaction, int option)
{
    int error = transaction_set_option(transaction->txn, option, bytes_none());

    assert(error == 0);
}

void sim_option(struct sim_transaction *transaction, int option)
{
    assert(transaction->option_count < sizeof(transaction->options) / sizeof(transaction->options[0]));
    transaction->options[transaction->option_count++] = option;
    apply_option(transaction, option);
}

static void apply_tag(struct sim_transaction *transaction)
{
    enum { OPTION_AUTO_THROTTLE_TAG = 801 };
    int error = transaction_set_option(transaction->txn, OPTION_AUTO_THROTTLE_TAG, bytes_of_string(transaction->tag));

    assert(error == 0);
}

void sim_tag(struct sim_transaction *transaction, const char *tag)
{
    transaction->tag = tag;
    apply_tag(transaction);
}

void sim_atomic(struct sim_transaction *transaction, unsigned type, struct bytes key, struct bytes param)
{
    remember(transaction, transaction_atomic(transaction->txn, (enum mutation_type)type, key, param));
}

void sim_conflict_range(struct sim_transaction *transaction, bool write, struct bytes begin, struct bytes end)
{
    remember(transaction, transaction_add_conflict_range(transaction->txn, write ? CONFLICT_WRITE : CONFLICT_READ, begin, end));
}

static void watch_over(struct client_call *call)
{
    struct sim_watch *watch = container_of(container_of(call, struct client_watch, call), struct sim_watch, watch);

    watch->over = true;
    watch->error = call->error;
    watch->when_us = watch->world->now_us;
}

struct sim_watch *sim_watch(struct sim_transaction *transaction, struct bytes key)
{
    struct library *library = transaction->actor->client->library;
    struct sim_watch *watch = sim_zalloc(sizeof(*watch));

    watch->world = transaction->actor->client->world;
    watch->watch.call.done = watch_over;
    list_push_back(&library->watches, &watch->link);
    transaction_watch_start(&watch->watch, NULL, transaction->txn, key);
    return watch;
}

bool sim_watch_over(const struct sim_watch *watch, int *ret_error, int64_t *ret_when_us)
{
    *ret_error = watch->error;
    *ret_when_us = watch->when_us;
    return watch->over;
}

void sim_watch_destroy(struct sim_watch *watch)
{
    if (watch == NULL)
        return;
    list_remove(&watch->link);
    client_watch_done(&watch->watch);
    mem_free(watch);
}

int sim_commit(struct sim_transaction *transaction)
{
    if (transaction->write_error != 0)
        return transaction->write_error;
    belongs_to(&transaction->commit, transaction->actor);
    transaction_commit_start(&transaction->commit, NULL, transaction->txn);
    sim_actor_wait(transaction->actor);
    if (transaction->commit.error == 0)
        sim_world_committed(transaction->actor->client->world);
    return transaction->commit.error;
}

version_t sim_committed_version(struct sim_transaction *transaction)
{
    return transaction_committed_version(transaction->txn);
}

int sim_versionstamp(struct sim_transaction *transaction, uint8_t ret_stamp[VERSIONSTAMP_BYTES])
{
    return transaction_versionstamp(transaction->txn, ret_stamp);
}

bool sim_retry(struct sim_transaction *transaction, int error)
{
    struct transaction_retry *retry = &transaction->retry;

    belongs_to(&retry->call, transaction->actor);
    transaction_on_error_start(retry, NULL, transaction->txn, error);
    sim_actor_wait(transaction->actor);
    transaction->write_error = 0;
    transaction->pairs = NULL;
    transaction->pair_count = transaction->pair_capacity = 0;
    arena_reset(&transaction->arena);
    for (size_t i = 0; i < transaction->option_count; i++)
        apply_option(transaction, transaction->options[i]);
    if (transaction->tag != NULL)
        apply_tag(transaction);
    return retry->call.error == 0;
}

bool sim_retry_anew(struct sim_actor *actor, struct sim_transaction **transaction, int error)
{
    struct sim_transaction *old = *transaction;

    if (error != ERROR_GRV_PROXY_MEMORY_LIMIT_EXCEEDED && error != ERROR_COMMIT_PROXY_MEMORY_LIMIT_EXCEEDED)
        return sim_retry(old, error);
    sim_actor_sleep(actor, SIM_SECOND_US / 10);
    *transaction = sim_transaction_create(actor);
    for (size_t i = 0; i < old->option_count; i++)
        sim_option(*transaction, old->options[i]);
    sim_transaction_destroy(old);
    return true;
}
