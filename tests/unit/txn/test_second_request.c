/* A replica that is silent: reads keep their latency, and nobody is asked more than the budget allows. */
#include "tests/unit/txn/client_fakes.h"
#include "txn/client/client_internal.h"

enum { READS = 50, MANY = 400, SOON_US = 4000000 }; /* the time-out of a read is 5 s */

/* Both replicas have answered some: their latency is known. */
static struct transaction *begin_warm(struct fakes *fakes)
{
    struct transaction_get read = {0};
    struct transaction *txn;

    start(fakes);
    put(fakes, "k", "1");
    txn = begin(fakes);
    for (int i = 0; i < READS; i++)
        cr_assert_eq(get(fakes, txn, "k", &read), 0);
    transaction_get_done(&read);
    cr_assert(fakes->gets_of_a > 0 && fakes->gets_of_b > 0);
    fakes->gets_of_a = fakes->gets_of_b = fakes->asked = 0;
    return txn;
}

static void end(struct fakes *fakes, struct transaction *txn)
{
    transaction_destroy(txn);
    stop(fakes);
}

static struct env *pausing;

static void pause_over(struct env_timer *timer)
{
    (void)timer;
    env_posix_stop(pausing);
}

static void run_for(struct fakes *fakes, int64_t us)
{
    struct env_timer timer = {.fire = pause_over};

    pausing = fakes->env;
    env_timer_start(fakes->env, &timer, env_now_us(fakes->env) + us);
    while (timer.heap_index_plus_1 != 0)
        env_posix_run(fakes->env);
}

static int waiting(const struct transaction_get *reads, int count)
{
    int left = 0;

    for (int i = 0; i < count; i++)
        left += reads[i].call.under_way;
    return left;
}

static void run_until_over(struct fakes *fakes, const struct transaction_get *reads, int count)
{
    while (waiting(reads, count) > 0)
        run_for(fakes, 2000);
}

static void run_until_asked(struct fakes *fakes, int gets)
{
    while (fakes->asked < gets)
        run_for(fakes, 2000);
}

static int read_range(struct fakes *fakes, struct transaction *txn, struct transaction_range *read)
{
    struct transaction_range_options options = {.snapshot = true};

    read->call.done = call_done;
    transaction_range_start(read, NULL, txn, SELECT_FIRST_AT_OR_AFTER(BYTES_LITERAL("a")),
                            SELECT_FIRST_AT_OR_AFTER(BYTES_LITERAL("l")), &options);
    return await(fakes, &read->call);
}

static int read_key(struct fakes *fakes, struct transaction *txn, struct transaction_range *read)
{
    read->call.done = call_done;
    transaction_key_start(read, NULL, txn, (struct key_selector){BYTES_LITERAL("z"), false, 0}, true);
    return await(fakes, &read->call);
}

Test(second_request, gets_of_a_silent_replica_are_answered_by_another, .timeout = 20)
{
    struct transaction_get read = {0};
    struct fakes fakes;
    struct transaction *txn = begin_warm(&fakes);

    fakes.hold_a = true;
    while (fakes.gets_of_a == 0) {
        int64_t began_us = env_now_us(fakes.env);

        cr_assert_eq(get(&fakes, txn, "k", &read), 0);
        cr_assert(read.present && read.value.ptr[0] == '1');
        cr_assert_lt(env_now_us(fakes.env) - began_us, SOON_US);
    }
    fakes_release(&fakes); /* the loser's answer */
    run_for(&fakes, 20000);
    cr_assert(read.present && read.value.ptr[0] == '1');
    cr_assert_eq(get(&fakes, txn, "k", &read), 0);
    transaction_get_done(&read);
    end(&fakes, txn);
}

Test(second_request, a_late_replica_is_avoided_for_a_while, .timeout = 20)
{
    struct transaction_get read = {0};
    struct fakes fakes;
    struct transaction *txn = begin_warm(&fakes);

    fakes.hold_a = true;
    while (fakes.gets_of_a == 0)
        cr_assert_eq(get(&fakes, txn, "k", &read), 0);
    hold_the_clock(&fakes); /* as long as it takes */
    for (int i = 0; i < READS; i++)
        cr_assert_eq(get(&fakes, txn, "k", &read), 0);
    cr_assert_eq(fakes.gets_of_a, 1);
    transaction_get_done(&read);
    end(&fakes, txn);
}

Test(second_request, ranges_and_selectors_are_answered_by_another, .timeout = 20)
{
    struct transaction_range read = {0};
    struct fakes fakes;
    struct transaction *txn = begin_warm(&fakes);

    for (char key[] = "b"; key[0] < 'h'; key[0]++)
        put(&fakes, key, "2");
    fakes.hold_a = true;
    for (int i = 0; i < READS / 2; i++) {
        int64_t began_us = env_now_us(fakes.env);

        cr_assert_eq(read_range(&fakes, txn, &read), 0);
        cr_assert_eq(read.pair_count, 7u);
        cr_assert_eq(read_key(&fakes, txn, &read), 0);
        cr_assert(bytes_equal(read.begin, BYTES_LITERAL("k")));
        cr_assert_lt(env_now_us(fakes.env) - began_us, SOON_US);
    }
    cr_assert_gt(fakes.gets_of_a, 0);
    transaction_range_done(&read);
    end(&fakes, txn);
}

Test(second_request, a_range_is_looked_up_anew_when_the_second_replica_lost_it, .timeout = 40)
{
    for (int i = 0; i < 8; i++) { /* whoever is asked first */
        struct transaction_range read = {0};
        struct fakes fakes;
        struct transaction *txn = begin_warm(&fakes);
        int64_t began_us = env_now_us(fakes.env);

        fakes.hold_a = true;
        fakes.wrong_shard_left = 1;
        cr_assert_eq(read_range(&fakes, txn, &read), 0);
        cr_assert_eq(read.pair_count, 1u);
        cr_assert_lt(env_now_us(fakes.env) - began_us, SOON_US, "the first one is silent");
        cr_assert_eq(fakes.wrong_shard_left, 0);
        transaction_range_done(&read);
        end(&fakes, txn);
    }
}

static void start_gets(struct transaction *txn, struct transaction_get *reads, int count)
{
    for (int i = 0; i < count; i++) {
        reads[i].call.done = call_done;
        transaction_get_start(&reads[i], NULL, txn, BYTES_LITERAL("k"), true);
    }
}

Test(second_request, when_all_are_silent_nobody_is_asked_again_and_again, .timeout = 20)
{
    struct transaction_get reads[READS] = {0};
    struct fakes fakes;
    struct transaction *txn = begin_warm(&fakes);

    fakes.hold_a = fakes.hold_b = true;
    start_gets(txn, reads, READS);
    run_for(&fakes, 500000);
    cr_assert_eq(waiting(reads, READS), READS);
    cr_assert_leq(fakes.asked, 2 * READS, "each of them twice at most: %d", fakes.asked);
    fakes_release(&fakes);
    run_until_over(&fakes, reads, READS);
    for (int i = 0; i < READS; i++) {
        cr_assert(reads[i].call.error == 0 && reads[i].present);
        transaction_get_done(&reads[i]);
    }
    end(&fakes, txn);
}

Test(second_request, they_are_a_small_part_of_all_reads, .timeout = 20)
{
    struct transaction_get reads[MANY] = {0};
    struct fakes fakes;
    struct transaction *txn = begin_warm(&fakes);
    int64_t began_us = env_now_us(fakes.env);
    int allowed;

    fakes.client->second_budget = 0;
    fakes.client->second_earned_us = began_us;
    fakes.hold_a = true;
    start_gets(txn, reads, MANY);
    run_until_asked(&fakes, MANY + 1);
    run_for(&fakes, 50000);
    allowed = MANY / 10 + (int)((env_now_us(fakes.env) - began_us) / 10000) + 1;
    cr_assert_leq(fakes.asked, MANY + allowed, "%d of %d", fakes.asked - MANY, allowed);
    for (int i = 0; i < MANY; i++)
        transaction_get_done(&reads[i]); /* also those that wait at two replicas */
    end(&fakes, txn);
}

Test(second_request, a_second_replica_that_fails_leaves_the_first_to_answer, .timeout = 20)
{
    struct transaction_get reads[1] = {0};
    struct fakes fakes;
    struct transaction *txn = begin_warm(&fakes);

    fakes.hold_a = fakes.hold_b = true;
    start_gets(txn, reads, 1);
    run_until_asked(&fakes, 2);
    fakes.hold_a = fakes.hold_b = false;
    fakes.get_error = ERROR_FUTURE_VERSION;
    cr_assert_eq(waiting(reads, 1), 1);
    {
        struct rpc_request *later = list_entry(list_pop_front(&fakes.held), struct rpc_request, link);

        fakes_release(&fakes);
        run_for(&fakes, 20000);
        cr_assert_eq(waiting(reads, 1), 1);
        fakes.get_error = 0;
        list_push_back(&fakes.held, &later->link);
        fakes_release(&fakes);
    }
    run_until_over(&fakes, reads, 1);
    cr_assert(reads[0].call.error == 0 && reads[0].present);
    transaction_get_done(&reads[0]);
    end(&fakes, txn);
}

Test(second_request, none_without_a_share_of_the_reads, .timeout = 20)
{
    struct transaction_get reads[READS] = {0};
    struct fakes fakes;
    struct transaction *txn = begin_warm(&fakes);

    fakes.env->knobs.client_second_percent = 0;
    fakes.hold_a = fakes.hold_b = true;
    start_gets(txn, reads, READS);
    run_for(&fakes, 200000);
    cr_assert_eq(fakes.asked, READS);
    for (int i = 0; i < READS; i++)
        transaction_get_done(&reads[i]);
    end(&fakes, txn);
}
