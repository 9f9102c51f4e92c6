/* What a storage server says of the sizes and loads of its shards, against what the lab knows. */
#include "tests/unit/roles/storage_lab.h"

/* Shards [, k10), [k10, k30); FETCH of the rest. Keys 0, 2, 4 .. 38 have 10 bytes each. */
static void loads_init(struct lab *lab, uint64_t seed)
{
    struct bytes_buffer table = {0};

    lab_init(lab, seed, seed % 2 == 0 ? ENGINE_LMDB : ENGINE_MEMORY, false);
    lab->world->knobs.storage_sample_unit_bytes = 1;
    lab->world->knobs.storage_check_bytes_max = 0;
    lab->world->knobs.storage_commit_interval_us = 50000;
    sim_process_stop(lab->storage, SIM_KILL);
    sim_process_boot(lab->storage);
    lab_assign(&table, bytes_none(), BYTES_LITERAL("k10"), SERVER_KEYS_OWNED_EMPTY);
    lab_assign(&table, BYTES_LITERAL("k10"), BYTES_LITERAL("k30"), SERVER_KEYS_OWNED_EMPTY);
    lab_assign(&table, BYTES_LITERAL("k30"), BYTES_LITERAL("k99"), SERVER_KEYS_FETCH);
    lab_push(lab, 10, &table);
    for (unsigned key = 0; key < LAB_KEYS; key += 2)
        lab_push_set(lab, 10, key, "1234567");
    lab_commit(lab, lab->newest);
    lab_catch_up(lab);
}

static struct message *ask_loads(struct lab *lab, struct bytes begin, uint32_t limit)
{
    struct message *request, *reply;
    struct get_shard_loads *m = MESSAGE_NEW(get_shard_loads, &request);
    int error;

    *m = (struct get_shard_loads){.begin = begin, .limit = limit};
    reply = lab_ask(lab, request, &error);
    cr_assert_eq(error, 0);
    return reply;
}

static void expect_sizes(struct lab *lab)
{
    struct message *reply = ask_loads(lab, bytes_none(), 0);
    const struct shard_loads *loads = MESSAGE_BODY(shard_loads, reply);

    cr_assert_eq(loads->shards_count, 2, "what is being fetched is not ours yet");
    cr_assert_eq(loads->shards[0].bytes, 5 * 10);
    cr_assert(bytes_equal(loads->shards[0].end, BYTES_LITERAL("k10")));
    cr_assert(bytes_equal(loads->shards[1].begin, BYTES_LITERAL("k10")));
    cr_assert_eq(loads->shards[1].bytes, 10 * 10);
    cr_assert_not(loads->more);
    cr_assert_gt(loads->total_bytes, 0);
    message_unref(reply);
}

Test(loads, sizes_of_shards_also_after_a_restart)
{
    for (uint64_t seed = 0; seed < 2; seed++) {
        struct lab lab;

        loads_init(&lab, seed);
        expect_sizes(&lab);
        for (int i = 0; i < 10; i++) { /* until it is in the engine */
            lab_push_empty(&lab, VERSIONS_PER_SECOND);
            lab_commit(&lab, lab.newest);
            lab_run(&lab, SIM_SECOND_US);
        }
        sim_process_stop(lab.storage, SIM_KILL);
        sim_process_boot(lab.storage);
        lab_run(&lab, SIM_SECOND_US);
        expect_sizes(&lab);
        lab_done(&lab);
    }
}

Test(loads, pages_go_on_where_the_last_one_ended)
{
    struct lab lab;
    struct message *reply;

    loads_init(&lab, 2);
    reply = ask_loads(&lab, bytes_none(), 1);
    cr_assert_eq(MESSAGE_BODY(shard_loads, reply)->shards_count, 1);
    cr_assert(MESSAGE_BODY(shard_loads, reply)->more);
    message_unref(reply);
    reply = ask_loads(&lab, BYTES_LITERAL("k10"), 1);
    cr_assert_eq(MESSAGE_BODY(shard_loads, reply)->shards_count, 1);
    cr_assert_not(MESSAGE_BODY(shard_loads, reply)->more);
    cr_assert_eq(MESSAGE_BODY(shard_loads, reply)->shards[0].bytes, 100);
    message_unref(reply);
    lab_done(&lab);
}

Test(loads, reads_and_writes_count_where_they_happen)
{
    struct lab lab;
    struct lab_state state;
    struct message *reply;
    const struct shard_loads *loads;

    loads_init(&lab, 3);
    for (int i = 0; i < 300; i++) {
        cr_assert_eq(lab_get(&lab, 4, lab.newest, &state), 0);
        lab_push_set(&lab, 10, 12, "1234567");
    }
    lab_catch_up(&lab);
    reply = ask_loads(&lab, bytes_none(), 0);
    loads = MESSAGE_BODY(shard_loads, reply);
    cr_assert(loads->shards[0].read_bytes_per_s > 250 && loads->shards[0].read_bytes_per_s < 350);
    cr_assert(loads->shards[0].reads_per_s > 20 && loads->shards[0].reads_per_s < 40);
    cr_assert_eq(loads->shards[1].read_bytes_per_s, 0);
    cr_assert(loads->shards[1].write_bytes_per_s > 250 && loads->shards[1].write_bytes_per_s < 350);
    cr_assert_lt(loads->shards[0].write_bytes_per_s, 40);
    cr_assert_geq(loads->read_bytes_per_s, loads->shards[0].read_bytes_per_s);
    message_unref(reply);
    lab_done(&lab);
}

static struct message *ask_split(struct lab *lab, struct bytes begin, struct bytes end, uint32_t by, int64_t chunk, int *ret_error)
{
    struct message *request;
    struct get_shard_split *m = MESSAGE_NEW(get_shard_split, &request);

    *m = (struct get_shard_split){.begin = begin, .end = end, .by = by, .chunk = chunk};
    return lab_ask(lab, request, ret_error);
}

Test(loads, a_shard_is_cut_by_bytes_or_at_the_median_of_its_load)
{
    struct lab lab;
    struct lab_state state;
    struct message *reply;
    const struct shard_split *split;
    int error;

    loads_init(&lab, 4);
    reply = ask_split(&lab, BYTES_LITERAL("k10"), BYTES_LITERAL("k30"), SPLIT_BY_BYTES, 30, &error);
    cr_assert_eq(error, 0);
    split = MESSAGE_BODY(shard_split, reply);
    cr_assert_eq(split->keys_count, 2, "the last ten bytes are no piece of their own");
    cr_assert(bytes_equal(split->keys[0].key, BYTES_LITERAL("k16")));
    cr_assert(bytes_equal(split->keys[1].key, BYTES_LITERAL("k22")));
    message_unref(reply);
    for (int i = 0; i < 200; i++)
        cr_assert_eq(lab_get(&lab, i % 4 == 0 ? 24 : 26, lab.newest, &state), 0);
    reply = ask_split(&lab, BYTES_LITERAL("k10"), BYTES_LITERAL("k30"), SPLIT_BY_READS, 0, &error);
    cr_assert_eq(MESSAGE_BODY(shard_split, reply)->keys_count, 1);
    cr_assert(bytes_equal(MESSAGE_BODY(shard_split, reply)->keys[0].key, BYTES_LITERAL("k26")));
    message_unref(reply);
    reply = ask_split(&lab, BYTES_LITERAL("k26"), BYTES_LITERAL("k30"), SPLIT_BY_READS, 0, &error);
    cr_assert_eq(MESSAGE_BODY(shard_split, reply)->keys_count, 0, "one key is all the load");
    message_unref(reply);
    cr_assert_null(ask_split(&lab, BYTES_LITERAL("k10"), BYTES_LITERAL("k40"), SPLIT_BY_BYTES, 30, &error));
    cr_assert_eq(error, ERROR_WRONG_SHARD_SERVER);
    cr_assert_null(ask_split(&lab, BYTES_LITERAL("k10"), BYTES_LITERAL("k20"), SPLIT_BY_BYTES, 0, &error));
    cr_assert_eq(error, ERROR_CLIENT_INVALID_OPERATION);
    lab_done(&lab);
}
