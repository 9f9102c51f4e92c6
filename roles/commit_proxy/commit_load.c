/* What a commit proxy tells the ratekeeper, and what it does when a disk is nearly full.
 *
 * A GRV proxy can't know what a transaction will write, a commit proxy does: so it is here that transactions which set anything are held
 * back while those that only clear go on, which is how room is made. They are refused with 1042, which every client and
 * layer retries with a back-off: nothing piles up here, and the client's time-out stays in charge. Why is in status. The
 * system's own keys may always be written, or nobody could move or configure anything on a full disk.
 *
 * What it tells of its queue is the least that the oldest commit of a batch has waited since the last report, not the most: a queue that
 * empties between two reports is none, however long a sync or a busy processor held one batch up, and fewer starts would not shorten
 * that. Only what stands there all the time is too much load (CoDel's measure: Nichols and Jacobson, "Controlling Queue Delay", 2012). */
#include "net/buggify.h"
#include "roles/commit_proxy/commit_proxy_impl.h"
#include "txn/system_keys.h"

/* A hold lapses with its lease, and a while after: below it lies the reserve, at which logs stop by themselves. */
enum { HOLD_KEEP_US = 2000000, LEASE_US_MAX = 60000000 };

void commit_load_taken(struct commit_proxy *proxy, const struct rpc_request *oldest)
{
    int64_t waited_us = env_now_us(proxy->context.env) - (int64_t)(intptr_t)oldest->owner_data;

    if (proxy->waited_us < 0 || waited_us < proxy->waited_us)
        proxy->waited_us = waited_us;
}

static bool sets_users_keys(struct bytes table)
{
    struct mutation mutation;

    while (mutation_next(&table, &mutation) == 0)
        if (mutation.type != MUTATION_CLEAR_RANGE && mutation.type != MUTATION_COMPARE_AND_CLEAR &&
            bytes_compare(mutation.param1, KEY_SYSTEM_BEGIN) < 0)
            return true;
    return false;
}

bool commit_is_held_back(struct commit_proxy *proxy, const struct rpc_request *request)
{
    const struct commit *body = MESSAGE_BODY(commit, request->message);

    if (proxy->hold_sets_until_us == 0 || (body->flags & COMMIT_RECOVERY) != 0)
        return false;
    if (env_now_us(proxy->context.env) > proxy->hold_sets_until_us) {
        proxy->hold_sets_until_us = 0;
        return false;
    }
    if (!sets_users_keys(body->mutations))
        return false;
    PROBE(proxy->context.env, "a transaction that sets is held back: a disk is nearly full");
    proxy->held_back++;
    return true;
}

static struct message *make_report(void *ctx, bool *ret_busy)
{
    struct commit_proxy *proxy = ctx;
    int64_t now_us = env_now_us(proxy->context.env);
    struct message *message;
    struct proxy_load *load = MESSAGE_NEW(proxy_load, &message);

    /* No batch since the last report: then what stands there has waited for at least so long. */
    if (proxy->waited_us < 0 && !list_empty(&proxy->queue))
        commit_load_taken(proxy, list_entry(proxy->queue.next, struct rpc_request, link));
    load->id = proxy->id;
    load->kind = ROLE_COMMIT_PROXY;
    load->started = (int64_t)proxy->commits_in;
    load->done = (int64_t)(proxy->commits_in - proxy->queued_count);
    load->wait_us = proxy->waited_us < 0 ? 0 : proxy->waited_us;
    tag_counter_decay(&proxy->tag_writes, now_us);
    load->writes_count = tag_counter_report(&proxy->tag_writes, &message->arena, &load->writes);
    *ret_busy = proxy->commits_in != proxy->reported_commits || proxy->hold_sets_until_us > now_us;
    proxy->reported_commits = proxy->commits_in;
    proxy->waited_us = -1;
    return message;
}

static void take_lease(void *ctx, const struct rate_lease *lease)
{
    struct commit_proxy *proxy = ctx;

    int64_t lease_us = lease->lease_us < 0 ? 0 : lease->lease_us < LEASE_US_MAX ? lease->lease_us : LEASE_US_MAX;

    proxy->hold_sets_until_us = lease->hold_sets ? env_now_us(proxy->context.env) + lease_us + HOLD_KEEP_US : 0;
}

void commit_load_start(struct commit_proxy *proxy)
{
    proxy->waited_us = -1;
    proxy->reporter = (struct rate_reporter){.rpc = proxy->context.rpc, .make = make_report, .take = take_lease, .ctx = proxy};
    rate_reporter_start(&proxy->reporter, &proxy->ops);
}

void commit_proxy_described(struct commit_proxy *proxy, const struct description *description)
{
    rate_reporter_described(&proxy->reporter, description);
}
