/* Keeping the proxy's metadata in step, in version order.
 *
 * All proxies must hold the same metadata as of the same version, though each sees only its own transactions: the resolvers tell
 * each of the others' (committed if all of them say so), and every proxy judges the lock alike, by the state that the
 * transactions before left and by the flag that travels with each. A batch's own transactions are all applied before any of its
 * mutations is tagged: the shard map that tags version v is the one as of v.
 *
 * A SET of serverKeys becomes a private mutation in the tag of that server alone. The server may be named by the same
 * transaction, so a tag that is not known yet is looked up again at the transaction's end. */
#include <assert.h>

#include "net/buggify.h"
#include "roles/commit_proxy/commit_proxy_impl.h"
#include "txn/system_keys.h"

static bool is_state(struct bytes key)
{
    return bytes_equal(key, KEY_DB_LOCKED) || bytes_equal(key, KEY_METADATA_VERSION);
}

static bool covers(const struct mutation *clear, struct bytes key)
{
    return bytes_compare(clear->param1, key) <= 0 && bytes_compare(key, clear->param2) < 0;
}

static bool touches_state(const struct mutation *mutation)
{
    if (mutation->type == MUTATION_CLEAR_RANGE)
        return covers(mutation, KEY_DB_LOCKED) || covers(mutation, KEY_METADATA_VERSION);
    return is_state(mutation->param1);
}

/* ---- private mutations ---- */

static struct private_mutation *privates_of(struct commit_batch *batch, size_t *ret_count)
{
    *ret_count = batch->privates.len / sizeof(struct private_mutation);
    return (void *)batch->privates.ptr;
}

static void find_tag(const struct commit_proxy *proxy, struct private_mutation *private_mutation)
{
    const struct shard_server *server = shard_map_server(proxy->shards, private_mutation->server);

    private_mutation->tag_known = server != NULL;
    if (server != NULL)
        private_mutation->tag = server->tag;
}

static int collect_private(struct commit_batch *batch, const struct mutation *mutation)
{
    struct private_mutation made = {.value = mutation->param2};

    if (mutation->type != MUTATION_SET || !system_key_parse_server_keys(mutation->param1, &made.server, &made.begin))
        return 0;
    find_tag(batch->proxy, &made);
    return bytes_buffer_append(&batch->privates, bytes_of(&made, sizeof(made)));
}

static void find_missing_tags(struct commit_batch *batch, size_t from)
{
    size_t count;
    struct private_mutation *all = privates_of(batch, &count);

    for (size_t i = from; i < count; i++) {
        if (!all[i].tag_known)
            find_tag(batch->proxy, &all[i]);
    }
}

/* ---- one table ---- */

static int take_one(struct commit_proxy *proxy, struct commit_batch *batch, struct bytes record,
                    const struct mutation *mutation)
{
    int error = kv_map_apply(proxy->metadata, record);

    if (error == 0)
        error = shard_map_apply(proxy->shards, mutation->type, mutation->param1, mutation->param2);
    if (error == 0 && batch != NULL)
        error = collect_private(batch, mutation);
    if (error == 0 && touches_state(mutation)) {
        struct bytes value;

        proxy->locked = kv_map_get(proxy->metadata, KEY_DB_LOCKED, &value);
        proxy->state_changed = true;
    }
    proxy->settings_touched |= settings_touched_by(mutation);
    return error;
}

int commit_metadata_take(struct commit_proxy *proxy, struct commit_batch *batch, struct bytes table)
{
    size_t privates_before = 0;
    struct mutation mutation;
    int error = 0;

    if (batch != NULL)
        privates_of(batch, &privates_before);
    while (table.len > 0 && error == 0) {
        struct bytes record = table;

        error = mutation_next(&table, &mutation);
        record.len -= table.len;
        if (error == 0)
            error = take_one(proxy, batch, record, &mutation);
    }
    if (batch != NULL)
        find_missing_tags(batch, privates_before);
    return error;
}

/* All of the version's metadata is applied. */
static void applied(struct commit_proxy *proxy, version_t version)
{
    proxy->applied_version = version;
    if (proxy->settings_touched)
        proxy->settings_version = version;
    proxy->settings_touched = false;
}

/* ---- lower versions ---- */

static const struct resolve_reply *reply_of(const struct commit_batch *batch, uint32_t resolver)
{
    return MESSAGE_BODY(resolve_reply, batch->calls[resolver].reply);
}

/* The first metadata batch that the proxy has not applied; what it asked for may have been overtaken by its own batches. */
static uint32_t first_unknown(const struct resolve_reply *reply, version_t applied)
{
    uint32_t at = 0;

    while (at < reply->metadata_count && reply->metadata[at].version <= applied)
        at++;
    return at;
}

/* The same transactions, whatever the verdicts. */
static bool is_same_batch(const struct metadata_batch *a, const struct metadata_batch *b)
{
    return a->version == b->version && a->transactions_count == b->transactions_count;
}

static int take_lower_batch(struct commit_batch *batch, const uint32_t *at)
{
    struct commit_proxy *proxy = batch->proxy;
    const struct metadata_batch *first = &reply_of(batch, 0)->metadata[at[0]];
    int error = 0;

    if (first->version <= proxy->applied_version || first->version >= batch->version)
        return ERROR_OPERATION_FAILED;
    for (uint32_t i = 1; i < proxy->resolver_count; i++)
        if (!is_same_batch(first, &reply_of(batch, i)->metadata[at[i]]))
            return ERROR_OPERATION_FAILED;
    for (uint32_t t = 0; t < first->transactions_count && error == 0; t++) {
        bool committed = !proxy->locked || (first->transactions[t].flags & RESOLVE_LOCK_AWARE) != 0;

        for (uint32_t i = 0; i < proxy->resolver_count; i++)
            committed &= reply_of(batch, i)->metadata[at[i]].transactions[t].committed;
        if (!committed)
            PROBE(proxy->context.env, "metadata of another proxy that did not commit is passed over");
        if (committed)
            error = commit_metadata_take(proxy, NULL, first->transactions[t].mutations);
    }
    applied(proxy, first->version);
    return error;
}

static int take_lower(struct commit_batch *batch)
{
    struct commit_proxy *proxy = batch->proxy;
    uint32_t at[RESOLVERS_MAX], left;
    int error = 0;

    for (uint32_t i = 0; i < proxy->resolver_count; i++)
        at[i] = first_unknown(reply_of(batch, i), proxy->applied_version);
    if (at[0] > 0)
        PROBE(proxy->context.env, "a resolver tells of metadata that the proxy has applied already");
    left = reply_of(batch, 0)->metadata_count - at[0];
    for (uint32_t i = 1; i < proxy->resolver_count; i++)
        if (reply_of(batch, i)->metadata_count - at[i] != left)
            return ERROR_OPERATION_FAILED;
    if (left > 0)
        PROBE(proxy->context.env, "metadata of another proxy is applied");
    while (left-- > 0 && error == 0) {
        error = take_lower_batch(batch, at);
        for (uint32_t i = 0; i < proxy->resolver_count; i++)
            at[i]++;
    }
    return error;
}

/* ---- the batch ---- */

static int take_own(struct commit_batch *batch)
{
    struct commit_proxy *proxy = batch->proxy;
    int error = 0;

    for (uint32_t i = 0; i < batch->count && error == 0; i++) {
        struct commit_item *item = &batch->items[i];

        if (item->error != 0)
            continue;
        if (proxy->locked && (item->flags & (COMMIT_LOCK_AWARE | COMMIT_RECOVERY)) == 0) {
            PROBE(proxy->context.env, "a lock that came meanwhile refuses a transaction at its commit");
            item->error = ERROR_DATABASE_LOCKED;
        } else if (item->metadata.len > 0) {
            error = commit_metadata_take(proxy, batch, item->metadata);
            proxy->metadata_transactions++;
        }
    }
    return error;
}

int commit_metadata_apply(struct commit_batch *batch)
{
    struct commit_proxy *proxy = batch->proxy;
    struct bytes version = bytes_none();
    int error;

    assert(batch->version > proxy->applied_version);
    error = take_lower(batch);
    if (error == 0)
        error = take_own(batch);
    if (error != 0)
        return error;
    applied(proxy, batch->version);
    commit_resolve_forget(proxy, batch->version);
    batch->locked = proxy->locked;
    batch->state_changed = proxy->state_changed;
    kv_map_get(proxy->metadata, KEY_METADATA_VERSION, &version);
    return arena_copy(&batch->arena, version, &batch->metadata_version);
}
