/* A transaction's idempotency id goes to the database with it: into its own mutations, so that both are there or neither is. */
#include "net/buggify.h"
#include "roles/commit_proxy/commit_proxy_impl.h"
#include "txn/idempotency.h"

static int append_id(struct commit_batch *batch, uint32_t index, struct bytes_buffer *out)
{
    uint8_t key[IDEMPOTENCY_KEY_BYTES];

    idempotency_key(batch->version, (uint16_t)index, key);
    return mutation_append(out, MUTATION_SET, bytes_of(key, sizeof(key)), batch->items[index].body->idempotency_id);
}

/* Clears what has expired as of this version; a client that finds nothing knows by the same number whether it may have been there. */
static int append_clear(struct commit_batch *batch, struct bytes_buffer *out)
{
    struct commit_proxy *proxy = batch->proxy;
    uint8_t begin[IDEMPOTENCY_KEY_BYTES], end[IDEMPOTENCY_KEY_BYTES];

    if (batch->version <= IDEMPOTENCY_LIFE_VERSIONS || batch->version - proxy->forgot_ids < IDEMPOTENCY_FORGET_VERSIONS)
        return 0;
    PROBE(proxy->context.env, "expired idempotency ids are cleared");
    proxy->forgot_ids = batch->version;
    idempotency_key(0, 0, begin);
    idempotency_key(batch->version - IDEMPOTENCY_LIFE_VERSIONS, 0, end);
    return mutation_append(out, MUTATION_CLEAR_RANGE, bytes_of(begin, sizeof(begin)), bytes_of(end, sizeof(end)));
}

int commit_add_idempotency(struct commit_batch *batch, uint32_t index)
{
    struct commit_item *item = &batch->items[index];
    struct bytes_buffer out = {0};
    int error = bytes_buffer_append(&out, item->mutations);

    if (error == 0)
        error = append_clear(batch, &out);
    if (error == 0)
        error = append_id(batch, index, &out);
    if (error == 0)
        error = arena_copy(&batch->arena, bytes_buffer_bytes(&out), &item->mutations);
    bytes_buffer_done(&out);
    return error;
}
