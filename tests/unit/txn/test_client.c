/* The client against a cluster of fakes in the same process, over real connections. */
#include "tests/unit/draw.h"
#include "tests/unit/txn/client_fakes.h"
#include "txn/client/client_admin.h"
#include "txn/conflict_range.h"

/* ---- what holds ---- */

Test(client, reads_its_writes_commits_and_reads_them_again, .timeout = 20)
{
    struct fakes fakes;
    struct transaction_get read = {0};
    struct transaction *txn;
    uint8_t stamp[10];

    start(&fakes);
    txn = begin(&fakes);
    cr_assert_eq(transaction_set(txn, BYTES_LITERAL("k"), BYTES_LITERAL("v")), 0);
    cr_assert_eq(get(&fakes, txn, "k", &read), 0);
    cr_assert(read.present && read.value.len == 1 && read.value.ptr[0] == 'v');
    cr_assert_eq(fakes.gets, 0);
    cr_assert_eq(commit(&fakes, txn), 0);
    cr_assert_eq(transaction_committed_version(txn), 101);
    cr_assert_eq(transaction_versionstamp(txn, stamp), 0);
    cr_assert(stamp[7] == 101 && stamp[9] == 3);
    cr_assert_eq(get(&fakes, txn, "k", &read), ERROR_USED_DURING_COMMIT);
    transaction_reset(txn);
    cr_assert_eq(get(&fakes, txn, "k", &read), 0);
    cr_assert(read.present && fakes.gets == 1);
    cr_assert_eq(commit(&fakes, txn), 0); /* nothing was written: nobody is asked */
    cr_assert_eq(fakes.commits, 1);
    cr_assert_eq(transaction_committed_version(txn), VERSION_NONE);
    transaction_get_done(&read);
    transaction_destroy(txn);
    stop(&fakes);
}

Test(client, the_gets_of_a_turn_travel_together, .timeout = 20)
{
    enum { GETS = 50 };
    struct transaction_get reads[GETS] = {0};
    struct transaction *txn;
    struct fakes fakes;
    uint8_t keys[GETS];

    start(&fakes);
    txn = begin(&fakes);
    cr_assert_eq(get(&fakes, txn, "warm", &reads[0]), 0);
    fakes.get_messages = fakes.gets = 0;
    for (int i = 0; i < GETS; i++) {
        keys[i] = (uint8_t)('A' + i % 10);
        reads[i].call.done = call_done;
        transaction_get_start(&reads[i], NULL, txn, bytes_of(&keys[i], 1), true);
    }
    for (bool all = false; !all;) {
        await(&fakes, &reads[0].call);
        all = true;
        for (int i = 0; i < GETS; i++)
            all = all && !reads[i].call.under_way;
    }
    cr_assert_eq(fakes.gets, GETS);
    cr_assert_leq(fakes.get_messages, 2); /* one a server */
    cr_assert_eq(fakes.grvs, 1);
    for (int i = 0; i < GETS; i++)
        transaction_get_done(&reads[i]);
    transaction_destroy(txn);
    stop(&fakes);
}

Test(client, a_dead_replica_and_a_moved_shard_are_survived, .timeout = 20)
{
    struct transaction_get read = {0};
    struct transaction *txn;
    struct fakes fakes;

    start(&fakes);
    put(&fakes, "k", "1");
    fakes.storage_a_dead = true;
    fakes.wrong_shard_left = 3;
    txn = begin(&fakes);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(get(&fakes, txn, "k", &read), 0);
        cr_assert(read.present && read.value.ptr[0] == '1');
    }
    transaction_get_done(&read);
    transaction_destroy(txn);
    stop(&fakes);
}

static void read_beside_a_lost_grv_proxy(bool lost_is_first)
{
    struct fakes fakes;

    start(&fakes);
    fakes.another_grv_is_lost = true; /* nobody has asked for the description yet */
    fakes.lost_grv_is_first = lost_is_first;
    for (int i = 0; i < 6; i++) {
        struct transaction *txn = begin(&fakes);
        struct transaction_get one = {0};

        cr_assert_eq(get(&fakes, txn, "a", &one), 0);
        cr_assert_eq(fakes.grvs, i + 1);
        transaction_get_done(&one);
        transaction_destroy(txn);
    }
    stop(&fakes);
}

/* Whichever of them the client would ask first. */
Test(client, each_grv_proxy_has_its_turn_so_that_a_lost_one_stops_nobody, .timeout = 20)
{
    read_beside_a_lost_grv_proxy(false);
    read_beside_a_lost_grv_proxy(true);
}

Test(client, a_lost_commit_is_fenced_before_it_is_reported, .timeout = 20)
{
    struct conflict_range write, read;
    struct transaction *txn;
    struct bytes table;
    struct fakes fakes;

    start(&fakes);
    fakes.lose_commits_left = 3; /* the commit, and two tries of its fence */
    txn = begin(&fakes);
    cr_assert_eq(transaction_set(txn, BYTES_LITERAL("k"), BYTES_LITERAL("v")), 0);
    cr_assert_eq(commit(&fakes, txn), ERROR_COMMIT_UNKNOWN_RESULT);
    cr_assert_eq(fakes.commits, 4);
    cr_assert_eq(kv_map_count(fakes.map), 0u);
    table = bytes_buffer_bytes(&fakes.last_writes);
    cr_assert_eq(conflict_range_next(&table, &write), 0);
    cr_assert(write.is_point && bytes_starts_with(write.begin, KEY_SELF_CONFLICT_BEGIN));
    table = bytes_buffer_bytes(&fakes.last_reads);
    cr_assert_eq(conflict_range_next(&table, &read), ERROR_END_OF_STREAM);
    transaction_destroy(txn);
    stop(&fakes);
}

Test(client, a_locked_database_needs_the_option, .timeout = 20)
{
    struct transaction_get read = {0};
    struct transaction *txn;
    struct fakes fakes;

    start(&fakes);
    fakes.locked = true;
    txn = begin(&fakes);
    cr_assert_eq(get(&fakes, txn, "k", &read), ERROR_DATABASE_LOCKED);
    transaction_reset(txn);
    cr_assert_eq(transaction_set_option(txn, 700, bytes_none()), 0);
    cr_assert_eq(get(&fakes, txn, "k", &read), 0);
    transaction_get_done(&read);
    transaction_destroy(txn);
    stop(&fakes);
}

Test(client, wrong_calls_have_foundationdbs_codes, .timeout = 20)
{
    static uint8_t large[VALUE_BYTES_MAX + 1];
    struct transaction_get read = {0};
    struct transaction *txn;
    struct fakes fakes;

    start(&fakes);
    txn = begin(&fakes);
    cr_assert_eq(transaction_set(txn, bytes_of(large, KEY_BYTES_MAX + 1), bytes_none()), ERROR_KEY_TOO_LARGE);
    cr_assert_eq(commit(&fakes, txn), ERROR_KEY_TOO_LARGE); /* it is not forgotten */
    transaction_reset(txn);
    cr_assert_eq(transaction_set(txn, BYTES_LITERAL("k"), bytes_of(large, sizeof(large))), ERROR_VALUE_TOO_LARGE);
    transaction_reset(txn);
    cr_assert_eq(transaction_clear_range(txn, BYTES_LITERAL("b"), BYTES_LITERAL("a")), ERROR_INVERTED_RANGE);
    transaction_reset(txn);
    cr_assert_eq(transaction_set(txn, BYTES_LITERAL("\xff/x"), bytes_none()), ERROR_KEY_OUTSIDE_LEGAL_RANGE);
    transaction_reset(txn);
    cr_assert_eq(get(&fakes, txn, "\xff/x", &read), ERROR_KEY_OUTSIDE_LEGAL_RANGE);
    cr_assert_eq(transaction_atomic(txn, (enum mutation_type)1, BYTES_LITERAL("k"), bytes_none()), ERROR_INVALID_MUTATION_TYPE);
    transaction_reset(txn);
    for (int i = 0; i < 101; i++) {
        uint8_t key = (uint8_t)i;

        cr_assert_eq(transaction_set(txn, bytes_of(&key, 1), bytes_of(large, VALUE_BYTES_MAX)), 0);
    }
    cr_assert_eq(commit(&fakes, txn), ERROR_TRANSACTION_TOO_LARGE);
    transaction_cancel(txn);
    cr_assert_eq(get(&fakes, txn, "k", &read), ERROR_TRANSACTION_CANCELLED);
    cr_assert_eq(transaction_set_option(txn, 12345, bytes_none()), ERROR_INVALID_OPTION);
    cr_assert_eq(transaction_set_option(txn, 500, BYTES_LITERAL("abc")), ERROR_INVALID_OPTION_VALUE);
    cr_assert_eq(fakes.commits, 0);
    transaction_get_done(&read);
    transaction_destroy(txn);
    stop(&fakes);
}

Test(client, the_protocol_is_what_a_coordinator_says, .timeout = 20)
{
    struct client_protocol protocol = {.call.done = call_done}, other = {.call.done = call_done, .expected = QUOIN_PROTOCOL_VERSION};
    struct transaction_get read = {0};
    struct transaction *txn;
    struct fakes fakes;

    start(&fakes);
    client_protocol_start(&protocol, NULL, fakes.client);
    cr_assert(client_call_under_way(&protocol.call), "nobody has been asked yet");
    cr_assert_eq(await(&fakes, &protocol.call), 0);
    cr_assert_eq(protocol.version, QUOIN_PROTOCOL_VERSION);
    client_protocol_start(&other, NULL, fakes.client);
    txn = begin(&fakes);
    cr_assert_eq(get(&fakes, txn, "k", &read), 0);
    cr_assert(client_call_under_way(&other.call), "that one is expected");
    client_call_cancel(&other.call);
    transaction_get_done(&read);
    transaction_destroy(txn);
    stop(&fakes);
}

static int find_key(struct fakes *fakes, struct transaction *txn, const char *key, int offset, struct transaction_range *read)
{
    read->call.done = call_done;
    transaction_key_start(read, NULL, txn, (struct key_selector){bytes_of_string(key), false, offset}, false);
    return await(fakes, &read->call);
}

Test(client, a_selector_reads_keys_alone_unless_an_own_operation_rests_on_a_value, .timeout = 20)
{
    struct transaction_range read = {0};
    struct conflict_range conflict;
    struct transaction *txn;
    struct bytes table;
    struct fakes fakes;

    start(&fakes);
    for (char key[] = "a"; key[0] < 'k'; key[0]++)
        put(&fakes, key, "value");
    txn = begin(&fakes);
    cr_assert_eq(find_key(&fakes, txn, "b", 6, &read), 0);
    cr_assert(bytes_equal(read.begin, BYTES_LITERAL("g")));
    cr_assert_eq(find_key(&fakes, txn, "g", -3, &read), 0);
    cr_assert(bytes_equal(read.begin, BYTES_LITERAL("c")));
    cr_assert(fakes.ranges >= 4 && fakes.keys_only == fakes.ranges, "%d of %d", fakes.keys_only, fakes.ranges);
    cr_assert_eq(transaction_atomic(txn, MUTATION_COMPARE_AND_CLEAR, BYTES_LITERAL("d"), BYTES_LITERAL("value")), 0);
    fakes.keys_only = 0;
    cr_assert_eq(find_key(&fakes, txn, "b", 6, &read), 0);
    cr_assert(bytes_equal(read.begin, BYTES_LITERAL("h")), "d is not there any more");
    cr_assert_lt(fakes.keys_only, fakes.ranges);
    cr_assert_eq(commit(&fakes, txn), 0);
    table = bytes_buffer_bytes(&fakes.last_reads);
    cr_assert_eq(conflict_range_next(&table, &conflict), 0);
    cr_assert(bytes_equal(conflict.begin, BYTES_LITERAL("b")) && bytes_equal(conflict.end, BYTES_LITERAL("g\0")));
    transaction_range_done(&read);
    transaction_destroy(txn);
    stop(&fakes);
}

/* ---- ranges against a model ---- */

enum { MODEL_KEYS = 30 };

static struct bytes model_key(unsigned i, uint8_t out[2])
{
    out[0] = (uint8_t)('a' + i);
    out[1] = 'x';
    return bytes_of(out, 2);
}

static void write_some(struct transaction *txn, struct kv_map *model, uint64_t *seed)
{
    for (int n = (int)(draw(seed) % 12); n > 0; n--) {
        uint8_t a[2], b[2], number[8] = {0};
        unsigned i = (unsigned)(draw(seed) % 26), k = i + (unsigned)(draw(seed) % (26 - i));
        struct bytes_buffer mutations = {0};

        number[0] = (uint8_t)draw(seed);
        if (draw(seed) % 4 == 0) {
            cr_assert_eq(transaction_clear_range(txn, model_key(i, a), model_key(k, b)), 0);
            kv_map_clear_range(model, model_key(i, a), model_key(k, b));
        } else if (draw(seed) % 3 == 0) {
            cr_assert_eq(transaction_atomic(txn, MUTATION_ADD, model_key(i, a), bytes_of(number, 8)), 0);
            mutation_append(&mutations, MUTATION_ADD, model_key(i, a), bytes_of(number, 8));
            cr_assert_eq(kv_map_apply(model, bytes_buffer_bytes(&mutations)), 0);
        } else {
            cr_assert_eq(transaction_set(txn, model_key(i, a), bytes_of(number, 8)), 0);
            cr_assert_eq(kv_map_set(model, model_key(i, a), bytes_of(number, 8)), 0);
        }
        bytes_buffer_done(&mutations);
    }
}

static void check_range(struct fakes *fakes, struct transaction *txn, struct kv_map *model, struct transaction_range *range,
                        uint64_t *seed)
{
    uint8_t a[2], b[2];
    unsigned i = (unsigned)(draw(seed) % 26), k = i + (unsigned)(draw(seed) % (27 - i));
    struct transaction_range_options options = {.limit = (uint32_t)(draw(seed) % 8), .reverse = draw(seed) % 2 == 0};
    struct bytes low = model_key(i, a), high = model_key(k, b), key, value;
    uint32_t n = 0;

    range->call.done = call_done;
    transaction_range_start(range, NULL, txn, SELECT_FIRST_AT_OR_AFTER(low), SELECT_FIRST_AT_OR_AFTER(high), &options);
    cr_assert_eq(await(fakes, &range->call), 0);
    for (bool there = options.reverse ? kv_map_before(model, high, &key, &value) : kv_map_at_or_after(model, low, &key, &value);
         there && (options.reverse ? bytes_compare(key, low) >= 0 : bytes_compare(key, high) < 0) &&
         (options.limit == 0 || n < options.limit);
         n++) {
        uint8_t after[3] = {key.ptr[0], key.ptr[1], 0};

        cr_assert_lt(n, range->pair_count);
        cr_assert(bytes_equal(range->pairs[n].key, key));
        cr_assert(bytes_equal(range->pairs[n].value, value));
        there = options.reverse ? kv_map_before(model, key, &key, &value) : kv_map_at_or_after(model, bytes_of(after, 3), &key, &value);
    }
    cr_assert_eq(n, range->pair_count);
    cr_assert_eq(range->more, options.limit != 0 && n == options.limit);
}

/* Key selectors: the n-th key from a place, or the ends of the key space. */
static void check_selector(struct fakes *fakes, struct transaction *txn, struct kv_map *model, struct transaction_range *range,
                           uint64_t *seed)
{
    uint8_t at[2];
    struct key_selector selector = {model_key((unsigned)(draw(seed) % 26), at), draw(seed) % 2 == 0, (int)(draw(seed) % 9) - 4};
    struct transaction_range_options options = {0};
    struct bytes key = selector.key, value, found;
    uint8_t after[4] = {at[0], at[1], 0};
    bool there;

    if (selector.or_equal)
        key = bytes_of(after, 3);
    there = selector.offset >= 1 ? kv_map_at_or_after(model, key, &found, &value) : kv_map_before(model, key, &found, &value);
    for (int n = selector.offset; there && n != 1 && n != 0; n += n > 1 ? -1 : 1) {
        uint8_t next[3] = {found.ptr[0], found.ptr[1], 0};

        there = n > 1 ? kv_map_at_or_after(model, bytes_of(next, 3), &found, &value) : kv_map_before(model, found, &found, &value);
    }
    range->call.done = call_done;
    transaction_range_start(range, NULL, txn, selector, SELECT_FIRST_AT_OR_AFTER(BYTES_LITERAL("\xff")), &options);
    cr_assert_eq(await(fakes, &range->call), 0);
    if (there)
        cr_assert(range->pair_count > 0 && bytes_equal(range->pairs[0].key, found));
    else if (selector.offset >= 1)
        cr_assert_eq(range->pair_count, 0u);
    else
        cr_assert_eq(range->pair_count, kv_map_count(model));
}

Test(client, ranges_merge_what_is_there_with_what_was_written, .timeout = 60)
{
    struct transaction_range range = {0};
    uint64_t seed = 4711;
    struct fakes fakes;

    start(&fakes);
    for (int round = 0; round < 60; round++) {
        struct transaction *txn = begin(&fakes);
        struct kv_map *model = kv_map_create();
        uint8_t key[2];

        kv_map_clear_range(fakes.map, bytes_none(), BYTES_LITERAL("\xff"));
        for (unsigned i = 0; i < 26; i++)
            if (draw(&seed) % 2 == 0) {
                kv_map_set(fakes.map, model_key(i, key), BYTES_LITERAL("12345678"));
                kv_map_set(model, model_key(i, key), BYTES_LITERAL("12345678"));
            }
        for (int n = 0; n < 10; n++) {
            write_some(txn, model, &seed);
            check_range(&fakes, txn, model, &range, &seed);
            check_selector(&fakes, txn, model, &range, &seed);
        }
        kv_map_destroy(model);
        transaction_destroy(txn);
    }
    transaction_range_done(&range);
    stop(&fakes);
}

Test(client, a_timeout_ends_what_waits, .timeout = 20)
{
    struct transaction_get read = {0};
    struct transaction *txn;
    struct fakes fakes;
    uint8_t ms[8];

    start(&fakes);
    rpc_unregister(fakes.server, GRV);
    txn = begin(&fakes);
    put_le64(ms, 50);
    cr_assert_eq(transaction_set_option(txn, 500, bytes_of(ms, 8)), 0);
    transaction_sync(txn);
    cr_assert_eq(get(&fakes, txn, "k", &read), ERROR_TRANSACTION_TIMED_OUT);
    cr_assert_eq(get(&fakes, txn, "k", &read), ERROR_TRANSACTION_TIMED_OUT);
    transaction_get_done(&read);
    transaction_destroy(txn);
    stop(&fakes);
}

/* The halves of calls that another thread makes: the env's thread hears of the first only after the reset. */
Test(client, a_commit_made_before_a_reset_is_not_the_next_ones, .timeout = 20)
{
    struct client_call first = {.done = call_done}, second = {.done = call_done};
    struct transaction *txn;
    struct fakes fakes;

    start(&fakes);
    txn = begin(&fakes);
    cr_assert_eq(transaction_set(txn, BYTES_LITERAL("a"), BYTES_LITERAL("1")), 0);
    cr_assert_not(transaction_commit_prepare(&first, txn));
    transaction_reset_mark(txn);
    cr_assert_eq(transaction_set(txn, BYTES_LITERAL("b"), BYTES_LITERAL("2")), 0);
    cr_assert_not(transaction_commit_prepare(&second, txn));
    transaction_commit_submit(&first, NULL, txn);
    cr_assert_eq(await(&fakes, &first), ERROR_TRANSACTION_CANCELLED);
    transaction_commit_submit(&second, NULL, txn);
    cr_assert_eq(await(&fakes, &second), 0);
    cr_assert_eq(fakes.commits, 1);
    cr_assert_eq(kv_map_count(fakes.map), 1u);
    transaction_destroy(txn);
    stop(&fakes);
}

Test(client, reads_made_before_a_reset_end_with_it_also_without_a_cluster, .timeout = 20)
{
    struct transaction_version version = {.call.done = call_done};
    struct transaction_get read = {.call.done = call_done};
    struct transaction_range range = {.call.done = call_done};
    struct transaction_range_options options = {0};
    struct transaction *txn;
    struct fakes fakes;

    start(&fakes);
    rpc_unregister(fakes.server, GRV);
    txn = begin(&fakes);
    transaction_read_version_prepare(&version, txn);
    cr_assert_not(transaction_get_prepare(&read, txn, BYTES_LITERAL("k"), false));
    cr_assert_not(transaction_range_prepare(&range, txn, SELECT_FIRST_AT_OR_AFTER(BYTES_LITERAL("a")),
                                            SELECT_FIRST_AT_OR_AFTER(BYTES_LITERAL("b")), &options));
    transaction_reset_mark(txn);
    transaction_sync(txn); /* somebody else's call has told already */
    transaction_read_version_submit(&version, NULL);
    cr_assert_eq(await(&fakes, &version.call), ERROR_TRANSACTION_CANCELLED);
    transaction_get_submit(&read, NULL);
    cr_assert_eq(await(&fakes, &read.call), ERROR_TRANSACTION_CANCELLED);
    transaction_range_submit(&range, NULL);
    cr_assert_eq(await(&fakes, &range.call), ERROR_TRANSACTION_CANCELLED);
    transaction_get_done(&read);
    transaction_range_done(&range);
    transaction_destroy(txn);
    stop(&fakes);
}

static void must_not_be_done(struct client_call *call)
{
    cr_assert_null(call, "done() after its transaction was destroyed");
}

static void unheard(struct client_call *call)
{
    (void)call;
}

Test(client, a_destroyed_transaction_is_silent_and_the_ctx_is_the_callers, .timeout = 20)
{
    struct client_call commit_call = {.done = must_not_be_done, .ctx = &commit_call}, read_only = {.done = must_not_be_done};
    struct transaction_get read = {.call.done = must_not_be_done}, ready = {.call.done = must_not_be_done};
    struct transaction_range range = {.call.done = must_not_be_done};
    struct transaction_range_options options = {0};
    struct transaction *txn, *other;
    struct fakes fakes;

    start(&fakes);
    txn = begin(&fakes);
    other = begin(&fakes);
    transaction_set(txn, BYTES_LITERAL("k"), BYTES_LITERAL("v"));
    transaction_get_start(&read, NULL, txn, BYTES_LITERAL("z"), false);
    transaction_get_start(&ready, NULL, txn, BYTES_LITERAL("k"), false);
    transaction_range_start(&range, NULL, txn, SELECT_FIRST_AFTER(BYTES_LITERAL("a")),
                            SELECT_LAST_BEFORE(BYTES_LITERAL("b")), &options);
    transaction_commit_start(&commit_call, NULL, txn);
    cr_assert_eq(commit_call.ctx, &commit_call);
    transaction_destroy(txn);
    transaction_commit_start(&read_only, NULL, other);
    transaction_destroy(other);
    for (int i = 0; i < 20; i++) { /* another one's reads go on */
        struct transaction_get later = {0};

        txn = begin(&fakes);
        cr_assert_eq(get(&fakes, txn, "later", &later), 0);
        cr_assert_not(later.call.under_way);
        transaction_get_done(&later);
        transaction_destroy(txn);
    }
    cr_assert_eq(fakes.commits, 0);
    transaction_get_done(&read);
    transaction_get_done(&ready);
    transaction_range_done(&range);
    stop(&fakes);
}

Test(client, a_failed_read_fails_the_commit_and_a_cancelled_one_does_not, .timeout = 20)
{
    struct transaction_get read = {.call.done = unheard};
    struct transaction *txn;
    struct fakes fakes;

    start(&fakes);
    txn = begin(&fakes);
    cr_assert_eq(transaction_set(txn, BYTES_LITERAL("k"), BYTES_LITERAL("v")), 0);
    fakes.get_error = ERROR_TRANSACTION_TOO_OLD;
    transaction_get_start(&read, NULL, txn, BYTES_LITERAL("z"), true); /* nobody looks at it */
    cr_assert_eq(commit(&fakes, txn), ERROR_TRANSACTION_TOO_OLD);
    cr_assert_eq(fakes.commits, 0);
    transaction_reset(txn);
    fakes.get_error = 0;
    cr_assert_eq(transaction_set(txn, BYTES_LITERAL("k"), BYTES_LITERAL("v")), 0);
    transaction_get_done(&read);
    read = (struct transaction_get){.call.done = unheard};
    transaction_get_start(&read, NULL, txn, BYTES_LITERAL("z"), true);
    client_call_cancel(&read.call);
    cr_assert_eq(commit(&fakes, txn), 0);
    cr_assert_eq(fakes.commits, 1);
    transaction_get_done(&read);
    transaction_destroy(txn);
    stop(&fakes);
}

/* How many of 300 reads went to A. */
static int reads_of_a(struct fakes *fakes, struct transaction *txn)
{
    struct transaction_get read = {0};
    int before = fakes->gets_of_a;

    for (int i = 0; i < 300; i++)
        cr_assert_eq(get(fakes, txn, "k", &read), 0);
    transaction_get_done(&read);
    return fakes->gets_of_a - before;
}

Test(client, replicas_share_the_reads_until_one_is_slow, .timeout = 20)
{
    struct transaction *txn;
    struct fakes fakes;
    int of_a;

    start(&fakes);
    hold_the_clock(&fakes);
    txn = begin(&fakes);
    of_a = reads_of_a(&fakes, txn);
    cr_assert(of_a > 75 && of_a < 225, "%d of 300", of_a);
    fakes.a_takes_us = 50000;
    of_a = reads_of_a(&fakes, txn);
    cr_assert(of_a > 0 && of_a < 75, "%d of 300, though they take long", of_a);
    transaction_destroy(txn);
    stop(&fakes);
}

/* ---- coordinators of several clusters ---- */

/* A coordinator of cluster (9, 9), which would lead its clients astray; at a port of its own. */
struct stray {
    struct rpc *rpc;
    struct address address;
};

static void stray_coordinator(void *ctx, struct rpc_request *request)
{
    struct stray *stray = ctx;
    struct message *message;
    struct get_leader_reply *reply = MESSAGE_NEW(get_leader_reply, &message);

    *reply = (struct get_leader_reply){9, 9, 5, 77, {stray->address.ip, stray->address.port}, NULL, 0};
    rpc_reply(request, message);
}

static void stray_start(struct stray *stray, struct fakes *fakes)
{
    struct rpc_options options = {.types = message_types, .type_count = MESSAGE_ID_END};

    for (uint32_t port = fakes->address.port + 1;; port++) {
        stray->address = options.public_address = (struct address){0x7f000001, port};
        cr_assert_eq(rpc_create(fakes->env, &options, &stray->rpc), 0);
        if (rpc_listen(stray->rpc) == 0)
            break;
        rpc_destroy(stray->rpc);
    }
    rpc_register(stray->rpc, ENDPOINT_COORDINATOR, stray_coordinator, stray);
}

static void meet(struct fakes *fakes, const struct address *coordinators, uint32_t count)
{
    struct client_options options = {.coordinators = coordinators, .coordinator_count = count};

    client_destroy(fakes->client);
    cr_assert_eq(client_create(fakes->env, &options, &fakes->client), 0);
}

Test(client, divided_coordinators_are_refused, .timeout = 20)
{
    struct client_call ready = {.done = call_done};
    struct transaction_get read = {0};
    struct transaction *txn;
    struct stray stray;
    struct fakes fakes;
    char why[256];

    start(&fakes);
    stray_start(&stray, &fakes);
    meet(&fakes, (struct address[]){fakes.address, stray.address}, 2);
    client_wait_ready(&ready, NULL, fakes.client);
    cr_assert_eq(await(&fakes, &ready), ERROR_INVALID_CLUSTER_ID);
    txn = begin(&fakes);
    cr_assert_eq(get(&fakes, txn, "k", &read), ERROR_INVALID_CLUSTER_ID);
    cr_assert(strstr(client_explain(fakes.client, why, sizeof(why)), "belong to different clusters") != NULL, "%s", why);
    cr_assert_eq(client_controller(fakes.client).port, 0);
    cr_assert_eq(fakes.grvs, 0);
    transaction_get_done(&read);
    transaction_destroy(txn);
    rpc_destroy(stray.rpc);
    stop(&fakes);
}

Test(client, a_stray_coordinator_is_not_followed_whatever_answers_first, .timeout = 20)
{
    struct client_coordinator seen = {0};
    struct stray stray;
    struct fakes fakes;

    start(&fakes);
    stray_start(&stray, &fakes);
    for (int first = 0; first < 3; first++) {
        struct address coordinators[3] = {fakes.address, fakes.address, fakes.address};
        struct client_call ready = {.done = call_done};

        coordinators[first] = stray.address;
        meet(&fakes, coordinators, 3);
        client_wait_ready(&ready, NULL, fakes.client);
        cr_assert_eq(await(&fakes, &ready), 0);
        cr_assert(address_equal(client_controller(fakes.client), fakes.address));
        client_coordinator(fakes.client, (uint32_t)first, &seen);
        cr_assert(!seen.asked || seen.error == ERROR_INVALID_CLUSTER_ID);
    }
    rpc_destroy(stray.rpc);
    stop(&fakes);
}
