/* What parts of the special keys want to know first: the processes, as the controller has them, and keys of the system.
 *
 *   FIND the controller -> ASK it -> TAKE the answer (or from the start, after a while) -> range -> range ..
 *
 * Reads and commits take the same way; each calls again when it is resumed. A cluster that can't be reached is waited for, as for
 * any other read: the transaction's time-out ends that. */
#include "txn/client/client_internal.h"
#include "txn/client/special_keys.h"

static int ask_controller(struct special_fetch *fetch, struct client *client, struct op *op)
{
    struct endpoint to = {client->controller, ENDPOINT_CONTROLLER};
    struct message *message;

    if (MESSAGE_NEW(get_workers, &message) == NULL)
        return ERROR_OUT_OF_MEMORY;
    rpc_call_start(&fetch->rpc, op, client->rpc, &to, message, client->env->knobs.client_request_timeout_us);
    return 0;
}

/* One step; true: it waits. */
static int fetch_workers(struct special_fetch *fetch, struct client *client, struct op *op, bool *ret_waits)
{
    int error = 0;

    *ret_waits = true;
    switch (fetch->step) {
    case SPECIAL_FETCH_FIND:
        client_wait_controller(&fetch->controller, op, client);
        fetch->step = SPECIAL_FETCH_ASK;
        break;
    case SPECIAL_FETCH_ASK:
        error = fetch->controller.error;
        *ret_waits = error == 0;
        if (error == 0 && client->controller.port == 0) { /* it went meanwhile */
            wait_timer_start(&fetch->timer, op, RETRY_DELAY_US_MIN);
            fetch->step = SPECIAL_FETCH_FIND;
        } else if (error == 0) {
            error = ask_controller(fetch, client, op);
            fetch->step = SPECIAL_FETCH_TAKE;
        }
        break;
    case SPECIAL_FETCH_TAKE:
        fetch->step = SPECIAL_FETCH_FIND;
        if (fetch->rpc.error == 0) {
            fetch->workers_known = true;
            *ret_waits = false;
        } else {
            rpc_call_clear(&fetch->rpc);
            wait_timer_start(&fetch->timer, op, RETRY_DELAY_US_MAX);
        }
        break;
    }
    return error;
}

static int fetch_range(struct special_fetch *fetch, struct transaction *txn, uint32_t incarnation, struct bytes begin, struct bytes end,
                       struct op *op)
{
    struct transaction_range *range = &fetch->ranges[fetch->range_count];
    struct transaction_range_options options = {.system = true};

    (void)transaction_range_prepare(range, txn, SELECT_FIRST_AT_OR_AFTER(begin), SELECT_FIRST_AT_OR_AFTER(end), &options);
    if (range->call.error != 0)
        return range->call.error;
    if (range->incarnation != incarnation) /* a reset that is not synced yet; this op can't be ended while it runs */
        return ERROR_TRANSACTION_CANCELLED;
    fetch->range_asked = true;
    transaction_range_submit(range, op);
    return 0;
}

int special_fetch_go(struct special_fetch *fetch, struct transaction *txn, uint32_t incarnation, const struct special_needs *needs,
                     struct op *op, bool *ret_waits)
{
    int error = 0;

    *ret_waits = false;
    if (needs->what & SPECIAL_NEEDS_WORKERS && !fetch->workers_known)
        error = fetch_workers(fetch, txn->client, op, ret_waits);
    if (error != 0 || *ret_waits)
        return error;
    if (fetch->range_asked) {
        fetch->range_asked = false;
        error = fetch->ranges[fetch->range_count].call.error;
        fetch->range_count++;
    }
    if (error != 0 || fetch->range_count == SPECIAL_RANGES_MAX || needs->ranges[fetch->range_count].end.len == 0)
        return error;
    *ret_waits = true;
    return fetch_range(fetch, txn, incarnation, needs->ranges[fetch->range_count].begin, needs->ranges[fetch->range_count].end, op);
}

void special_fetch_next(struct special_fetch *fetch)
{
    fetch->range_count = 0;
    fetch->range_asked = false;
}

void special_fetch_done(struct special_fetch *fetch)
{
    client_call_cancel(&fetch->controller);
    rpc_call_clear(&fetch->rpc);
    for (uint32_t i = 0; i < SPECIAL_RANGES_MAX; i++)
        transaction_range_done(&fetch->ranges[i]);
}

const struct get_workers_reply *special_fetched_workers(const struct special_fetch *fetch)
{
    return !fetch->workers_known || fetch->rpc.reply == NULL ? NULL : MESSAGE_BODY(get_workers_reply, fetch->rpc.reply);
}

bool special_fetched(const struct special_fetch *fetch, struct bytes key, struct bytes *ret_value)
{
    for (uint32_t r = 0; r < fetch->range_count; r++)
        for (uint32_t i = 0; i < fetch->ranges[r].pair_count; i++)
            if (bytes_equal(fetch->ranges[r].pairs[i].key, key)) {
                *ret_value = fetch->ranges[r].pairs[i].value;
                return true;
            }
    return false;
}
