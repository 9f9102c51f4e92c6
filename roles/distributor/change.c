/*   READ -> DECIDE -> COMMITTED -> (ended)
 *     ^        |______ __|
 *     |               v
 *     |_ RETRIED <- (a retryable error) */
#include "roles/distributor/change.h"

#include <assert.h>

#include "net/buggify.h"
#include "net/planted_bug.h"
#include "net/trace.h"
#include "roles/distributor/distributor_internal.h"
#include "roles/role_client.h"
#include "txn/mutation.h"

enum { READ, DECIDE, COMMITTED, RETRIED, STAGES };

static struct change *change_of(struct op *op)
{
    return container_of(op, struct change, op);
}

/* ---- reading ---- */

static void start_read(struct change *change, struct transaction_range *range, struct bytes begin, struct bytes end)
{
    static const struct transaction_range_options all = {0};

    transaction_range_done(range);
    *range = (struct transaction_range){0};
    transaction_range_start(range, &change->op, change->txn, SELECT_FIRST_AT_OR_AFTER(begin), SELECT_FIRST_AT_OR_AFTER(end), &all);
    gather_add(&change->gather, &range->call.wait);
}

struct transaction_range *change_read(struct change *change, struct bytes begin, struct bytes end)
{
    struct transaction_range *range;

    assert(change->read_count < CHANGE_READS_MAX);
    range = &change->reads[change->read_count++];
    start_read(change, range, begin, end);
    return range;
}

struct transaction_range *change_read_key(struct change *change, struct bytes key)
{
    struct bytes after;
    int error = key_after(&change->arena, key, &after);

    assert(error == 0); /* a server dies of a failed allocation before it gets here */
    return change_read(change, key, after);
}

struct transaction_range *change_read_shards(struct change *change, struct bytes begin, struct bytes end)
{
    struct bytes_buffer first = {0}, last = {0};
    struct transaction_range *range;
    struct bytes after;
    int error = system_key_key_servers(&first, begin);

    error = error != 0 ? error : system_key_key_servers(&last, end);
    error = error != 0 ? error : key_after(&change->arena, bytes_buffer_bytes(&last), &after);
    assert(error == 0); /* likewise */
    range = change_read(change, bytes_buffer_bytes(&first), after);
    bytes_buffer_done(&first);
    bytes_buffer_done(&last);
    return range;
}

static enum op_result run_read(struct op *op)
{
    struct change *change = change_of(op);
    struct bytes after;
    int error = key_after(&change->arena, KEY_MOVE_KEYS_LOCK, &after);

    assert(error == 0);
    change->read_count = 0;
    gather_init(&change->gather, op, UINT32_MAX);
    transaction_read_version_start(&change->read_version, op, change->txn);
    gather_add(&change->gather, &change->read_version.call.wait);
    start_read(change, &change->lock, KEY_MOVE_KEYS_LOCK, after);
    change->ask(change);
    change->gather.needed = change->gather.total;
    return op_wait(op, DECIDE);
}

static int read_error(const struct change *change)
{
    if (change->read_version.call.error != 0)
        return change->read_version.call.error;
    if (change->lock.call.error != 0)
        return change->lock.call.error;
    for (uint32_t i = 0; i < change->read_count; i++)
        if (change->reads[i].call.error != 0)
            return change->reads[i].call.error;
    return 0;
}

/* ---- deciding ---- */

static bool holds_lock(const struct change *change)
{
    const struct transaction_range *lock = &change->lock;

    return lock->pair_count == 1 && lock->pairs[0].value.len == 8 && get_be64(lock->pairs[0].value.ptr) == change->distributor->id;
}

static int apply(struct change *change)
{
    struct bytes table = bytes_buffer_bytes(&change->writes);
    struct mutation mutation;
    int error = 0;

    while (table.len > 0 && error == 0) {
        error = mutation_next(&table, &mutation);
        assert(error == 0 && (mutation.type == MUTATION_SET || mutation.type == MUTATION_CLEAR_RANGE)); /* our own */
        error = mutation.type == MUTATION_SET ? transaction_set(change->txn, mutation.param1, mutation.param2)
                                              : transaction_clear_range(change->txn, mutation.param1, mutation.param2);
    }
    return error;
}

static enum op_result retry(struct change *change, int error)
{
    transaction_on_error_start(&change->retry, &change->op, change->txn, error);
    return op_wait(&change->op, RETRIED);
}

static enum op_result run_decide(struct op *op)
{
    struct change *change = change_of(op);
    int error = read_error(change);

    if (error != 0)
        return retry(change, error);
    if (!change->taking_lock && !holds_lock(change) && !PLANTED_BUG(TWO_DISTRIBUTORS)) {
        PROBE(op->env, "a distributor finds another's lock");
        return op_finish(op, ERROR_MOVEKEYS_CONFLICT);
    }
    change->writes.len = 0;
    error = change->decide(change);
    if (error == 0)
        error = apply(change);
    if (error != 0)
        return op_finish(op, error);
    if (change->writes.len == 0) {
        change->version = change->read_version.version;
        return op_finish(op, 0);
    }
    transaction_commit_start(&change->commit, op, change->txn);
    return op_wait(op, COMMITTED);
}

static enum op_result run_committed(struct op *op)
{
    struct change *change = change_of(op);
    int error = change->commit.error;

    if (error == 0 && BUGGIFY_ONE_IN(op->env, 8, "a distributor's commit is done, and it does not know"))
        error = ERROR_COMMIT_UNKNOWN_RESULT;
    if (error != 0) {
        PROBE(op->env, "a change of shards is decided once more");
        return retry(change, error);
    }
    change->version = transaction_committed_version(change->txn);
    if (!change->taking_lock)
        TRACE(op->env, SEVERITY_DEBUG, "ShardsChanged", {"Id", trace_id(change->distributor->id)}, {"Version", trace_int(change->version)});
    return op_finish(op, 0);
}

static enum op_result run_retried(struct op *op)
{
    struct change *change = change_of(op);
    int error = change->retry.call.error;

    if (error == 0)
        error = role_transaction_options(change->txn);
    if (error != 0)
        return op_finish(op, error);
    arena_reset(&change->arena);
    return op_move(op, READ);
}

/* ---- life ---- */

static void release(struct change *change)
{
    transaction_destroy(change->txn); /* takes its calls with it */
    change->txn = NULL;
    transaction_range_done(&change->lock);
    for (uint32_t i = 0; i < CHANGE_READS_MAX; i++)
        transaction_range_done(&change->reads[i]);
    arena_done(&change->arena);
    bytes_buffer_done(&change->writes);
}

static void ended(struct op *op)
{
    struct change *change = change_of(op);

    change->error = op->error;
    release(change);
    if (op->error != ERROR_OPERATION_CANCELLED)
        change->done(change);
}

static const struct op_stage stages[STAGES] = {
    [READ] = {"READ", run_read, OP_STAGE(DECIDE)},
    [DECIDE] = {"DECIDE", run_decide, OP_STAGE(COMMITTED) | OP_STAGE(RETRIED)},
    [COMMITTED] = {"COMMITTED", run_committed, OP_STAGE(RETRIED)},
    [RETRIED] = {"RETRIED", run_retried, OP_STAGE(READ)},
};
static const struct op_type type = {"change", stages, STAGES, READY_COMMIT, ended};

void change_start(struct change *change, struct distributor *distributor)
{
    int error;

    assert(!change_under_way(change) && change->txn == NULL);
    change->distributor = distributor;
    change->error = 0;
    change->version = VERSION_NONE;
    error = role_transaction_create(distributor->client, &change->txn);
    assert(error == 0); /* a server dies of a failed allocation before it gets here */
    op_start(&change->op, &type, &distributor->ops);
}

void change_cancel(struct change *change)
{
    if (change_under_way(change))
        op_cancel(&change->op);
}
