/* The keys of \xff\x02/throttledTags/: what operators have set is read, what the ratekeeper does by itself is written down.
 *
 *   READ -> DECIDE -> COMMITTED -> READ
 *     ^        |          |        after a while, or when the signal key changes, or a limit of our own begins or ends
 *     |__ RETRIED <-______|
 *
 * As FoundationDB's does it: one transaction reads all limits, gives those that have no expiry yet one, clears those that have run out,
 * and watches the signal key. Expiries are wall-clock time, for people and for the next ratekeeper; what holds here is a deadline of our own
 * clock, which is set when a value is seen for the first time and never lies further away than the limit's duration. */
#include <assert.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "roles/ratekeeper/ratekeeper_internal.h"
#include "txn/mutation.h"

enum { READ, DECIDE, COMMITTED, RETRIED, STAGES };
enum { FOUND_MAX = 256, PAUSE_US = 10000000, AUTO_DURATION_US = 60000000 };

/* A limit as it stands in the database. */
struct found {
    struct throttle throttle;
    int64_t ends_us;
    bool seen; /* in the present read */
};

struct throttles {
    struct op op;
    struct ratekeeper *ratekeeper; /* borrowed */
    struct transaction *txn;       /* owned */
    struct transaction_range limits, settings;
    struct gather gather;
    struct client_call commit;
    struct transaction_retry retry;
    struct client_watch watch;
    struct wait_timer timer;
    struct found found[FOUND_MAX];
    uint32_t found_count, changes_written;
    uint32_t written, cleared_manual; /* in the present try */
    bool pausing, changed;
};

static struct throttles *throttles_of(struct op *op)
{
    return container_of(op, struct throttles, op);
}

/* ---- reading ---- */

static void wake(struct throttles *self)
{
    self->changed = true;
    if (self->pausing)
        op_resume(&self->op);
}

static void watch_over(struct client_call *call)
{
    wake(container_of(call, struct throttles, watch.call));
}

static void start_range(struct throttles *self, struct transaction_range *range, struct bytes begin, struct bytes end)
{
    static const struct transaction_range_options some = {.limit = FOUND_MAX};

    transaction_range_done(range);
    *range = (struct transaction_range){0};
    transaction_range_start(range, &self->op, self->txn, SELECT_FIRST_AT_OR_AFTER(begin), SELECT_FIRST_AT_OR_AFTER(end), &some);
    gather_add(&self->gather, &range->call.wait);
}

static enum op_result run_read(struct op *op)
{
    struct throttles *self = throttles_of(op);

    self->changed = self->pausing = false;
    client_watch_done(&self->watch);
    if (self->txn == NULL && role_transaction_create(self->ratekeeper->client, &self->txn) != 0)
        return op_finish(op, ERROR_OUT_OF_MEMORY);
    gather_init(&self->gather, op, UINT32_MAX);
    start_range(self, &self->limits, KEY_THROTTLE_PREFIX, KEY_THROTTLE_END);
    start_range(self, &self->settings, KEY_THROTTLE_AUTO_ENABLED, KEY_THROTTLE_SIGNAL); /* and count and limit: they lie between */
    self->gather.needed = self->gather.total;
    return op_wait(op, DECIDE);
}

static const struct client_pair *setting(const struct throttles *self, struct bytes key)
{
    for (uint32_t i = 0; i < self->settings.pair_count; i++)
        if (bytes_equal(self->settings.pairs[i].key, key))
            return &self->settings.pairs[i];
    return NULL;
}

/* ---- what is found ---- */

static bool same_limit(const struct throttle *a, const struct throttle *b)
{
    return a->type == b->type && a->priority == b->priority && tag_equal(&a->tag, &b->tag);
}

static struct found *found_of(struct throttles *self, const struct throttle *throttle)
{
    for (uint32_t i = 0; i < self->found_count; i++)
        if (same_limit(&self->found[i].throttle, throttle))
            return &self->found[i];
    return NULL;
}

static int64_t seconds_us(double seconds)
{
    return seconds > 1e11 ? INT64_C(100000000000000000) : (int64_t)(seconds * 1e6);
}

/* How long it still holds. One without an expiry, or with one that is too far away, gets one: another clock has set it. */
static int64_t left_us(struct throttles *self, struct throttle *throttle, bool *ret_write)
{
    double wall_s = (double)env_wall_us(self->op.env) / 1e6;

    if (throttle->expires_s == 0 || throttle->expires_s > wall_s + throttle->duration_s) {
        throttle->expires_s = wall_s + throttle->duration_s;
        *ret_write = true;
    }
    return throttle->expires_s > wall_s ? seconds_us(throttle->expires_s - wall_s) : 0;
}

static void must(int error)
{
    assert(error == 0); /* a server dies of a failed allocation before it gets here */
}

static void write_limit(struct throttles *self, const struct throttle *throttle)
{
    uint8_t key[THROTTLE_KEY_BYTES_MAX], value[THROTTLE_VALUE_BYTES];
    size_t key_len = throttle_key_write(key, throttle);

    throttle_value_write(value, throttle);
    must(transaction_set(self->txn, bytes_of(key, key_len), bytes_of(value, sizeof(value))));
    self->written++;
}

static void clear_limit(struct throttles *self, struct bytes key, const struct throttle *throttle)
{
    must(transaction_clear(self->txn, key));
    self->written++;
    self->cleared_manual += throttle->type == THROTTLE_MANUAL;
}

/* One of an operator's: takes it down, or clears it when its time is over. */
static void take_manual(struct throttles *self, struct bytes key, struct throttle *throttle, int64_t now_us)
{
    struct found *found = found_of(self, throttle);
    bool write = false, known = found != NULL;
    int64_t left;

    if (known && (found->throttle.rate != throttle->rate || found->throttle.duration_s != throttle->duration_s ||
                  (throttle->expires_s != found->throttle.expires_s)))
        known = false;
    left = left_us(self, throttle, &write);
    if (!known) {
        if (found == NULL && self->found_count < FOUND_MAX)
            found = &self->found[self->found_count++];
        if (found == NULL)
            return;
        *found = (struct found){.throttle = *throttle, .ends_us = now_us + left};
    }
    found->seen = true;
    if (write)
        write_limit(self, throttle);
    if (now_us >= found->ends_us) {
        PROBE(self->op.env, "a limit of a tag runs out");
        clear_limit(self, key, throttle);
        found->seen = false;
    }
}

/* One of a ratekeeper's: kept while it is ours and holds. */
static void take_auto(struct throttles *self, struct bytes key, const struct throttle *throttle)
{
    const struct rate_tags *tags = self->ratekeeper->tags;

    for (unsigned i = 0; i < RATE_TAG_LIMITS_MAX; i++)
        if (tags->limits[i].used && same_limit(&tags->limits[i].throttle, throttle))
            return;
    clear_limit(self, key, throttle);
}

static void take_limits(struct throttles *self)
{
    int64_t now_us = env_now_us(self->op.env);
    uint32_t kept = 0;

    for (uint32_t i = 0; i < self->found_count; i++)
        self->found[i].seen = false;
    for (uint32_t i = 0; i < self->limits.pair_count; i++) {
        const struct client_pair *pair = &self->limits.pairs[i];
        struct throttle throttle = {0};

        if (!throttle_key_parse(pair->key, &throttle) || !throttle_value_parse(pair->value, &throttle)) {
            TRACE(self->op.env, SEVERITY_WARN_ALWAYS, "ThrottleNotUnderstood", {"Bytes", trace_int((int64_t)pair->value.len)});
            continue;
        }
        if (throttle.type == THROTTLE_MANUAL)
            take_manual(self, pair->key, &throttle, now_us);
        else
            take_auto(self, pair->key, &throttle);
    }
    for (uint32_t i = 0; i < self->found_count; i++)
        if (self->found[i].seen)
            self->found[kept++] = self->found[i];
    self->found_count = kept;
}

static bool is_found(const struct throttles *self, const struct throttle *throttle)
{
    for (uint32_t i = 0; i < self->limits.pair_count; i++) {
        struct throttle found = {0};

        if (throttle_key_parse(self->limits.pairs[i].key, &found) && same_limit(&found, throttle))
            return true;
    }
    return false;
}

/* `throttle off auto`: what we had written down is not there any more. */
static void drop_cleared(struct throttles *self)
{
    struct rate_tags *tags = self->ratekeeper->tags;

    for (unsigned i = 0; i < RATE_TAG_LIMITS_MAX; i++) {
        struct rate_tag_limit *limit = &tags->limits[i];

        if (!limit->used || limit->throttle.type != THROTTLE_AUTO || !limit->listed || is_found(self, &limit->throttle))
            continue;
        PROBE(self->op.env, "an operator clears an automatic limit of a tag");
        rate_tags_forget(tags, limit);
    }
    ratekeeper_tell_tag_limits(self->ratekeeper); /* before another takes its place */
}

static void write_autos(struct throttles *self)
{
    struct rate_tags *tags = self->ratekeeper->tags;
    double wall_s = (double)env_wall_us(self->op.env) / 1e6;

    for (unsigned i = 0; i < RATE_TAG_LIMITS_MAX; i++) {
        struct throttle throttle = tags->limits[i].throttle;

        if (!tags->limits[i].used || throttle.type != THROTTLE_AUTO)
            continue;
        tags->limits[i].writing = true;
        throttle.duration_s = AUTO_DURATION_US / 1e6;
        throttle.expires_s = wall_s + throttle.duration_s;
        write_limit(self, &throttle);
    }
}

/* What fdbcli wants to find. */
static void write_settings(struct throttles *self)
{
    const struct client_pair *count = setting(self, KEY_THROTTLE_COUNT);
    uint8_t number[8];

    if (setting(self, KEY_THROTTLE_LIMIT) == NULL) {
        put_le64(number, THROTTLES_DEFAULT);
        must(transaction_set(self->txn, KEY_THROTTLE_LIMIT, bytes_of(number, sizeof(number))));
        self->written++;
    }
    if (setting(self, KEY_THROTTLE_AUTO_ENABLED) == NULL) {
        must(transaction_set(self->txn, KEY_THROTTLE_AUTO_ENABLED, BYTES_LITERAL("1")));
        self->written++;
    }
    if (self->cleared_manual > 0 && count != NULL && count->value.len == 8) {
        uint64_t before = get_le64(count->value.ptr);

        put_le64(number, before > self->cleared_manual ? before - self->cleared_manual : 0);
        must(transaction_set(self->txn, KEY_THROTTLE_COUNT, bytes_of(number, sizeof(number))));
    }
}

static enum op_result retry(struct throttles *self, int error)
{
    transaction_on_error_start(&self->retry, &self->op, self->txn, error);
    return op_wait(&self->op, RETRIED);
}

static enum op_result run_decide(struct op *op)
{
    struct throttles *self = throttles_of(op);
    int error = self->limits.call.error != 0 ? self->limits.call.error : self->settings.call.error;

    if (error != 0)
        return retry(self, error);
    self->written = self->cleared_manual = 0;
    take_limits(self);
    drop_cleared(self);
    write_autos(self);
    write_settings(self);
    self->changes_written = self->ratekeeper->tags->changes;
    self->watch = (struct client_watch){.call.done = watch_over};
    transaction_watch_start(&self->watch, NULL, self->txn, KEY_THROTTLE_SIGNAL);
    transaction_commit_start(&self->commit, op, self->txn);
    return op_wait(op, COMMITTED);
}

/* ---- what holds ---- */

static void apply(struct throttles *self)
{
    struct rate_tags *tags = self->ratekeeper->tags;
    const struct client_pair *enabled = setting(self, KEY_THROTTLE_AUTO_ENABLED);
    struct throttle throttles[FOUND_MAX];
    int64_t now_us = env_now_us(self->op.env), left[FOUND_MAX];

    for (uint32_t i = 0; i < self->found_count; i++) {
        throttles[i] = self->found[i].throttle;
        left[i] = self->found[i].ends_us - now_us;
    }
    rate_tags_set_manual(tags, now_us, throttles, left, self->found_count);
    for (unsigned i = 0; i < RATE_TAG_LIMITS_MAX; i++)
        tags->limits[i].listed |= tags->limits[i].writing;
    tags->auto_enabled = enabled == NULL || !bytes_equal(enabled->value, BYTES_LITERAL("0"));
}

static enum op_result run_committed(struct op *op)
{
    struct throttles *self = throttles_of(op);
    int64_t pause_us = PAUSE_US, now_us = env_now_us(op->env);

    if (self->commit.error != 0)
        return retry(self, self->commit.error);
    apply(self);
    transaction_destroy(self->txn);
    self->txn = NULL;
    for (uint32_t i = 0; i < self->found_count; i++) /* it is cleared when its time is over */
        if (self->found[i].ends_us - now_us < pause_us)
            pause_us = self->found[i].ends_us - now_us;
    if (self->found_count == 0 && self->ratekeeper->tags->auto_count == 0)
        pause_us *= 6; /* nothing to be kept true: the watch tells */
    self->pausing = true;
    if (self->changed || self->changes_written != self->ratekeeper->tags->changes)
        pause_us = 0;
    wait_timer_start(&self->timer, op, pause_us < 100000 ? 100000 : pause_us);
    return op_wait(op, READ);
}

static enum op_result run_retried(struct op *op)
{
    struct throttles *self = throttles_of(op);
    int error = self->retry.call.error;

    if (error == 0)
        error = role_transaction_options(self->txn);
    if (error != 0) { /* not one to retry: once more, anew */
        transaction_destroy(self->txn);
        self->txn = NULL;
        wait_timer_start(&self->timer, op, 1000000);
        return op_wait(op, READ);
    }
    return op_move(op, READ);
}

/* ---- life ---- */

static void ended(struct op *op)
{
    struct throttles *self = throttles_of(op);

    client_watch_done(&self->watch);
    transaction_destroy(self->txn); /* takes its calls with it */
    transaction_range_done(&self->limits);
    transaction_range_done(&self->settings);
    self->ratekeeper->throttles = NULL;
    mem_free(self);
}

static const struct op_stage stages[STAGES] = {
    [READ] = {"READ", run_read, OP_STAGE(DECIDE)},
    [DECIDE] = {"DECIDE", run_decide, OP_STAGE(COMMITTED) | OP_STAGE(RETRIED)},
    [COMMITTED] = {"COMMITTED", run_committed, OP_STAGE(RETRIED) | OP_STAGE(READ)},
    [RETRIED] = {"RETRIED", run_retried, OP_STAGE(READ)},
};
static const struct op_type type = {"throttles", stages, STAGES, READY_READ, ended};

void throttles_start(struct ratekeeper *ratekeeper)
{
    struct throttles *self = mem_zalloc(sizeof(*self));

    assert(self != NULL); /* a server dies of a failed allocation before it gets here */
    self->ratekeeper = ratekeeper;
    ratekeeper->throttles = self;
    op_start(&self->op, &type, &ratekeeper->ops);
}

void throttles_changed(struct ratekeeper *ratekeeper)
{
    if (ratekeeper->throttles != NULL)
        wake(ratekeeper->throttles);
}
