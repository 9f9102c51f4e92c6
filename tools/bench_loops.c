/* Transaction loops on callbacks: each slot has one transaction in flight, and its callbacks run on the network thread.
 *
 *   begin -> read version -> reads -> commit -> ended -> begin ...
 *                 ^            |         |
 *                 +--- on_error+---------+
 *
 * A slot that ends begins again at once. With --rate it parks instead, and the starter thread begins it when the next transaction
 * is due; when none is parked by then, the transaction is late, and its latency counts from when it was due (of an open loop it does not
 * begin at all). A slot whose transaction
 * was given up parks too, so that an error that comes at once can't turn into a loop without an end.
 *
 * Callbacks of one slot follow one another but for the reads of a transaction, whose first failure and number are atomic: the
 * thread that asks for them may still be at it when the first answer arrives. */
#include <stdio.h>
#include <stdlib.h>

#include "net/mem.h"
#include "tools/bench.h"

/* An open loop begins what is due a tick at a time: a wake-up for each would cost the client as much as the transactions. */
enum { PARKED_TICK_US = 10000, OPEN_TICK_US = 1000, END_WAIT_US = 5000000 };

struct slot {
    struct bench_loops *loops;
    struct quoin_transaction *transaction; /* owned */
    struct bench_plan plan;
    struct bench_sample sample;
    struct read *reads; /* owned; of the reads under way */
    atomic_int reads_left;
    atomic_int failed;      /* the first error of the reads */
    struct slot *next;      /* while parked */
};

/* So that a callback knows which of the reads it is. */
struct read {
    struct slot *slot;
    int index;
};

struct bench_loops {
    struct bench_run *run;
    struct slot *slots; /* owned */
    int slot_count;
    pthread_t starter;
    pthread_mutex_t lock;
    struct slot *parked;
};

static void try_again(struct slot *slot);

/* ---- the ends of a transaction ---- */

static void park(struct slot *slot)
{
    struct bench_loops *loops = slot->loops;

    pthread_mutex_lock(&loops->lock);
    slot->next = loops->parked;
    loops->parked = slot;
    pthread_mutex_unlock(&loops->lock);
    atomic_fetch_sub(&loops->run->in_flight, 1);
}

static void begin(struct slot *slot, int64_t due_us)
{
    bench_sample_begin(&slot->sample, due_us);
    bench_plan_draw(&slot->plan, &slot->loops->run->space);
    try_again(slot);
}

static void ended(struct slot *slot, quoin_error error)
{
    struct bench_run *run = slot->loops->run;

    bench_run_ended(run, &run->stats, &slot->plan, &slot->sample, error);
    quoin_transaction_reset(slot->transaction);
    if (error != 0 || run->options->rate > 0 || atomic_load_explicit(&run->phase, memory_order_relaxed) == BENCH_STOPPING)
        park(slot);
    else
        begin(slot, bench_now_us());
}

static void on_error_done(struct quoin_future *future, void *context)
{
    struct slot *slot = context;
    quoin_error error = quoin_future_get_error(future);

    quoin_future_destroy(future);
    if (error != 0)
        ended(slot, error);
    else
        try_again(slot);
}

/* Waits for `future`, which may be NULL for want of memory. */
static void wait_for(struct quoin_future *future, quoin_callback *callback, void *context)
{
    if (future == NULL || quoin_future_set_callback(future, callback, context) != 0) {
        fprintf(stderr, "quoin-bench: out of memory\n");
        abort();
    }
}

static void fail(struct slot *slot, quoin_error error)
{
    if (slot->loops->run->options->open && bench_is_refusal(error)) {
        ended(slot, error);
        return;
    }
    bench_sample_failed(&slot->sample, error);
    wait_for(quoin_transaction_on_error(slot->transaction, error), on_error_done, slot);
}

/* ---- commit ---- */

static void commit_done(struct quoin_future *future, void *context)
{
    struct slot *slot = context;
    quoin_error error = quoin_future_get_error(future);
    int64_t now_us = bench_now_us();

    quoin_future_destroy(future);
    if (error != 0) {
        fail(slot, error);
        return;
    }
    slot->sample.commit_took_us = (uint64_t)(now_us - slot->sample.commit_begun_us);
    bench_run_acknowledged(slot->loops->run, slot->sample.try_begun_us, now_us);
    ended(slot, 0);
}

static void write_and_commit(struct slot *slot)
{
    const struct bench_options *options = slot->loops->run->options;
    uint8_t key[BENCH_KEY_BYTES_MAX];
    quoin_error error;

    if (!bench_plan_writes(&slot->plan)) {
        ended(slot, 0);
        return;
    }
    bench_key(options, slot->plan.write, key);
    error = quoin_transaction_set(slot->transaction, key, options->key_bytes, bench_value(&slot->loops->run->space, &slot->plan),
                                  options->value_bytes);
    if (error != 0) {
        fail(slot, error);
        return;
    }
    slot->sample.commit_begun_us = bench_now_us();
    wait_for(quoin_transaction_commit(slot->transaction), commit_done, slot);
}

/* ---- reads ---- */

static void one_read_less(struct slot *slot)
{
    quoin_error error;

    if (atomic_fetch_sub(&slot->reads_left, 1) != 1)
        return;
    error = atomic_load(&slot->failed);
    if (error != 0)
        fail(slot, error);
    else
        write_and_commit(slot);
}

static void read_done(struct quoin_future *future, void *context)
{
    struct read *read = context;
    struct slot *slot = read->slot;
    quoin_error error = bench_sample_read(&slot->sample, &slot->plan, read->index, future);
    int none = 0;

    quoin_future_destroy(future);
    if (error != 0)
        atomic_compare_exchange_strong(&slot->failed, &none, error);
    one_read_less(slot);
}

static void ask(struct slot *slot, int index)
{
    const struct bench_options *options = slot->loops->run->options;
    uint8_t key[BENCH_KEY_BYTES_MAX];
    struct quoin_range_options range = {.limit = slot->plan.scan_keys, .mode = QUOIN_MODE_EXACT};
    struct quoin_future *future;

    bench_key(options, slot->plan.reads[index], key);
    if (slot->plan.kind == BENCH_SCAN)
        future = quoin_transaction_get_range(slot->transaction, QUOIN_FIRST_AT_OR_AFTER(key, options->key_bytes),
                                             QUOIN_FIRST_AT_OR_AFTER("\xff", 1), range);
    else
        future = quoin_transaction_get(slot->transaction, key, options->key_bytes, false);
    wait_for(future, read_done, &slot->reads[index]);
}

static void version_done(struct quoin_future *future, void *context)
{
    struct slot *slot = context;
    quoin_error error = quoin_future_get_error(future);
    int count = slot->plan.read_count;

    quoin_future_destroy(future);
    if (error != 0) {
        fail(slot, error);
        return;
    }
    slot->sample.reads_begun_us = bench_now_us();
    slot->sample.read_version_took_us = (uint64_t)(slot->sample.reads_begun_us - slot->sample.try_begun_us);
    atomic_store(&slot->failed, 0);
    atomic_store(&slot->reads_left, count + 1);
    for (int i = 0; i < count; i++)
        ask(slot, i);
    one_read_less(slot); /* only now may the last answer go on: all have been asked for */
}

static void try_again(struct slot *slot)
{
    slot->sample.ops = bench_plan_ops(&slot->plan);
    slot->sample.missing = 0;
    slot->sample.try_begun_us = bench_now_us();
    bench_run_options(slot->loops->run, slot->transaction);
    wait_for(quoin_transaction_get_read_version(slot->transaction), version_done, slot);
}

/* ---- the starter ---- */

static struct slot *unpark(struct bench_loops *loops)
{
    struct slot *slot;

    pthread_mutex_lock(&loops->lock);
    slot = loops->parked;
    if (slot != NULL)
        loops->parked = slot->next;
    pthread_mutex_unlock(&loops->lock);
    if (slot != NULL)
        atomic_fetch_add(&loops->run->in_flight, 1);
    return slot;
}

static void *start_parked(void *argument)
{
    struct bench_loops *loops = argument;
    struct bench_run *run = loops->run;
    double rate = run->options->rate, every_us = rate > 0 ? 1e6 * bench_plan_mean_ops(run->options) / rate : 0;
    double due_us = (double)bench_now_us();

    while (atomic_load(&run->phase) != BENCH_STOPPING) {
        struct slot *slot;
        int64_t now_us = bench_now_us();

        if (rate > 0 && due_us > (double)now_us) {
            int64_t wait_us = (int64_t)due_us - now_us + 1;

            if (run->options->open && wait_us < OPEN_TICK_US)
                wait_us = OPEN_TICK_US;
            bench_sleep_us(wait_us < PARKED_TICK_US ? wait_us : PARKED_TICK_US);
            continue;
        }
        slot = unpark(loops);
        if (slot == NULL && run->options->open) {
            if (atomic_load_explicit(&run->phase, memory_order_relaxed) == BENCH_MEASURING)
                atomic_fetch_add(&run->unbegun, 1);
            due_us += every_us;
            continue;
        }
        if (slot == NULL) {
            bench_sleep_us(rate > 0 ? 50 : PARKED_TICK_US);
            continue;
        }
        begin(slot, rate > 0 ? (int64_t)due_us : now_us);
        due_us += every_us;
    }
    return NULL;
}

/* ---- start and end ---- */

static void slot_init(struct slot *slot, struct bench_loops *loops, uint64_t seed)
{
    size_t reads = (size_t)loops->run->options->reads;

    slot->loops = loops;
    bench_plan_init(&slot->plan, &loops->run->space, seed);
    slot->sample.reads_took_us = mem_zalloc(reads * sizeof(uint64_t));
    slot->reads = mem_zalloc(reads * sizeof(*slot->reads));
    for (size_t i = 0; i < reads; i++)
        slot->reads[i] = (struct read){slot, (int)i};
    if (quoin_transaction_create(loops->run->db, &slot->transaction) != 0)
        abort(); /* out of memory */
}

struct bench_loops *bench_loops_start(struct bench_run *run)
{
    struct bench_loops *loops = mem_zalloc(sizeof(*loops));

    loops->run = run;
    loops->slot_count = run->options->clients * run->options->depth;
    loops->slots = mem_zalloc((size_t)loops->slot_count * sizeof(*loops->slots));
    pthread_mutex_init(&loops->lock, NULL);
    for (int i = 0; i < loops->slot_count; i++) {
        slot_init(&loops->slots[i], loops, (uint64_t)i);
        loops->slots[i].next = loops->parked;
        loops->parked = &loops->slots[i];
    }
    if (pthread_create(&loops->starter, NULL, start_parked, loops) != 0) {
        fprintf(stderr, "quoin-bench: can't start a thread\n");
        exit(1);
    }
    return loops;
}

static bool wait_for_all(struct bench_run *run)
{
    for (int64_t waited_us = 0; atomic_load(&run->in_flight) > 0; waited_us += 1000) {
        if (waited_us > END_WAIT_US)
            return false;
        bench_sleep_us(1000);
    }
    return true;
}

void bench_loops_end(struct bench_loops *loops)
{
    struct bench_run *run = loops->run;

    pthread_join(loops->starter, NULL);
    if (!wait_for_all(run)) {
        for (int i = 0; i < loops->slot_count; i++)
            quoin_transaction_cancel(loops->slots[i].transaction);
        if (!wait_for_all(run)) {
            fprintf(stderr, "quoin-bench: %d transactions do not end\n", atomic_load(&run->in_flight));
            exit(1);
        }
    }
    for (int i = 0; i < loops->slot_count; i++) {
        quoin_transaction_destroy(loops->slots[i].transaction);
        bench_plan_done(&loops->slots[i].plan);
        mem_free(loops->slots[i].sample.reads_took_us);
        mem_free(loops->slots[i].reads);
    }
    pthread_mutex_destroy(&loops->lock);
    mem_free(loops->slots);
    mem_free(loops);
}
