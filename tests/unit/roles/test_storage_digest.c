/* What a storage server tells the consistency scan: digests of ranges at a version, and damage. */
#include "tests/unit/roles/storage_lab.h"

#include <stdio.h>

#define USER_END BYTES_LITERAL("\xff")

/* Owns everything; keys 0, 2, 4 .. 38 are 7 bytes long. */
static void digest_init(struct lab *lab, uint64_t seed, enum engine_kind engine)
{
    struct bytes_buffer table = {0};

    lab_init(lab, seed, engine, false);
    lab_assign(&table, bytes_none(), USER_END, SERVER_KEYS_OWNED_EMPTY);
    lab_push(lab, 10, &table);
    for (unsigned key = 0; key < LAB_KEYS; key += 2)
        lab_push_set(lab, 10, key, "1234567");
    lab_commit(lab, lab->newest);
    lab_catch_up(lab);
}

/* NULL: *ret_error. */
static struct message *ask(struct lab *lab, struct get_range_digest question, int *ret_error)
{
    struct message *request;
    struct get_range_digest *m = MESSAGE_NEW(get_range_digest, &request);

    *m = question;
    return lab_ask(lab, request, ret_error);
}

static struct range_digest ask_well(struct lab *lab, struct get_range_digest question)
{
    int error;
    struct message *reply = ask(lab, question, &error);
    struct range_digest answer;

    cr_assert_eq(error, 0, "%s", error_name(error));
    answer = *MESSAGE_BODY(range_digest, reply);
    cr_assert(bytes_compare(question.begin, answer.through) < 0 && bytes_compare(answer.through, question.end) <= 0);
    answer.through = bytes_none();
    message_unref(reply);
    return answer;
}

static int ask_badly(struct lab *lab, struct get_range_digest question)
{
    int error;
    struct message *reply = ask(lab, question, &error);

    message_unref(reply);
    return error;
}

static struct get_range_digest all(version_t version)
{
    return (struct get_range_digest){.end = USER_END, .version = version};
}

static void idle(struct lab *lab, unsigned seconds)
{
    for (unsigned i = 0; i < seconds; i++) {
        lab_push_empty(lab, VERSIONS_PER_SECOND);
        lab_commit(lab, lab->newest);
        lab_run(lab, SIM_SECOND_US);
    }
}

Test(digest, speaks_of_the_version_that_was_asked_for)
{
    struct lab lab;
    struct range_digest before, after, again;

    digest_init(&lab, 1, ENGINE_MEMORY);
    before = ask_well(&lab, all(lab.newest));
    cr_assert_eq(before.pairs, LAB_KEYS / 2);
    lab_push_set(&lab, 10, 0, "another");
    lab_commit(&lab, lab.newest);
    lab_catch_up(&lab);
    after = ask_well(&lab, all(lab.newest));
    again = ask_well(&lab, all(before.version));
    cr_assert_neq(before.digest, after.digest);
    cr_assert_eq(before.bytes, after.bytes);
    cr_assert_eq(before.digest, again.digest);
    lab_done(&lab);
}

Test(digest, is_the_same_in_the_window_and_in_either_engine)
{
    struct lab lmdb, memory;
    struct range_digest window, engine;

    digest_init(&lmdb, 2, ENGINE_LMDB);
    digest_init(&memory, 3, ENGINE_MEMORY);
    window = ask_well(&lmdb, all(lmdb.newest));
    idle(&memory, 12);
    engine = ask_well(&memory, all(memory.newest));
    cr_assert_eq(window.digest, engine.digest);
    cr_assert_eq(window.bytes, engine.bytes);
    lab_done(&lmdb);
    lab_done(&memory);
}

Test(digest, pages_end_at_a_limit_and_say_where)
{
    struct lab lab;
    struct get_range_digest question;
    struct message *reply;
    struct bytes_buffer at = {0};
    uint32_t pairs = 0, pages = 0;
    int error;

    digest_init(&lab, 4, ENGINE_MEMORY);
    question = all(lab.newest);
    question.pairs_limit = 3;
    do {
        reply = ask(&lab, question, &error);
        cr_assert_eq(error, 0);
        cr_assert_leq(MESSAGE_BODY(range_digest, reply)->pairs, 3);
        pairs += MESSAGE_BODY(range_digest, reply)->pairs;
        pages++;
        at.len = 0;
        cr_assert_eq(bytes_buffer_append(&at, MESSAGE_BODY(range_digest, reply)->through), 0);
        question.begin = bytes_buffer_bytes(&at);
        message_unref(reply);
    } while (bytes_compare(question.begin, question.end) < 0);
    cr_assert_eq(pairs, LAB_KEYS / 2);
    cr_assert_eq(pages, 7);
    bytes_buffer_done(&at);
    lab_done(&lab);
}

Test(digest, what_is_not_here_or_not_now_is_refused)
{
    struct lab lab;
    struct get_range_digest question;

    digest_init(&lab, 5, ENGINE_MEMORY);
    question = all(lab.newest);
    question.end = BYTES_LITERAL("\xff/x");
    cr_assert_eq(ask_badly(&lab, question), ERROR_WRONG_SHARD_SERVER);
    question = all(lab.newest + VERSIONS_PER_SECOND);
    cr_assert_eq(ask_badly(&lab, question), ERROR_FUTURE_VERSION);
    question = all(lab.newest);
    question.begin = BYTES_LITERAL("z");
    question.end = BYTES_LITERAL("a");
    cr_assert_eq(ask_badly(&lab, question), ERROR_INVERTED_RANGE);
    idle(&lab, 12);
    cr_assert_eq(ask_badly(&lab, all(10)), ERROR_TRANSACTION_TOO_OLD);
    lab_done(&lab);
}

/* Changes the first byte of key 20's value in LMDB's file. */
static void damage(struct lab *lab)
{
    static uint8_t content[1 << 20];
    char path[600], file[700];
    bool found = false;
    size_t len;
    FILE *data;

    cr_assert_eq(env_real_path(&lab->storage->env, "data/storage-0000000005702a6e/lmdb", path, sizeof(path)), 0);
    snprintf(file, sizeof(file), "%s/data.mdb", path);
    data = fopen(file, "r+b");
    cr_assert_not_null(data);
    len = fread(content, 1, sizeof(content), data);
    for (size_t at = 0; at + 7 <= len; at++) {
        if (memcmp(content + at, "damaged", 7) != 0)
            continue;
        cr_assert_eq(fseek(data, (long)at, SEEK_SET), 0);
        cr_assert_eq(fputc('D', data), 'D');
        found = true;
    }
    fclose(data);
    cr_assert(found);
    lab->storage->damaged = true;
}

static bool says_damaged(struct lab *lab)
{
    struct message *request, *reply;
    int error;
    bool damaged;

    (void)MESSAGE_NEW(get_shard_loads, &request);
    reply = lab_ask(lab, request, &error);
    cr_assert_eq(error, 0);
    damaged = MESSAGE_BODY(shard_loads, reply)->damaged;
    message_unref(reply);
    return damaged;
}

static void damaged_init(struct lab *lab)
{
    digest_init(lab, 6, ENGINE_LMDB);
    lab_push_set(lab, 10, 20, "damaged");
    lab_commit(lab, lab->newest);
    idle(lab, 12);
    damage(lab);
}

Test(digest, of_a_range_with_a_damaged_record_is_none_and_the_server_tells)
{
    struct lab lab;
    struct lab_state state;

    damaged_init(&lab);
    cr_assert_not(says_damaged(&lab), "nobody has read it");
    cr_assert_eq(ask_badly(&lab, all(lab.newest)), ERROR_FILE_CORRUPT);
    cr_assert(says_damaged(&lab));
    cr_assert_eq(lab_get(&lab, 2, lab.newest, &state), 0, "others are served");
    cr_assert_eq(lab.ended, 0);
    lab_done(&lab);
}

Test(digest, damage_behind_a_range_is_not_its_own)
{
    struct lab lab;
    struct get_range_digest question;
    char key[1200];

    damaged_init(&lab);
    question = all(lab.newest);
    question.end = lab_key(20, key);
    cr_assert_eq(ask_well(&lab, question).pairs, 10);
    cr_assert(lab_check_range(&lab, 0, 20, lab.newest, 0, true), "nor before it, read from the end");
    cr_assert_not(says_damaged(&lab));
    question.begin = question.end;
    question.end = USER_END;
    cr_assert_eq(ask_badly(&lab, question), ERROR_FILE_CORRUPT);
    lab_done(&lab);
}

Test(digest, damage_is_forgotten_when_its_range_is_given_up)
{
    struct lab lab;
    struct bytes_buffer table = {0};

    damaged_init(&lab);
    cr_assert_eq(ask_badly(&lab, all(lab.newest)), ERROR_FILE_CORRUPT);
    lab_assign(&table, bytes_none(), USER_END, SERVER_KEYS_NONE);
    lab_assign(&table, bytes_none(), USER_END, SERVER_KEYS_FETCH);
    lab_push(&lab, lab.newest + 10, &table);
    lab_commit(&lab, lab.newest);
    lab_catch_up(&lab);
    cr_assert_not(says_damaged(&lab));
    cr_assert_eq(ask_badly(&lab, all(lab.newest)), ERROR_WRONG_SHARD_SERVER);
    cr_assert_eq(lab.ended, 0);
    lab_done(&lab);
}

Test(digest, a_store_is_checked_as_a_whole_when_that_is_asked_for)
{
    struct lab lab;
    struct get_range_digest question;

    digest_init(&lab, 7, ENGINE_LMDB);
    idle(&lab, 12);
    question = all(lab.newest);
    cr_assert_eq(ask_well(&lab, question).store, STORE_NOT_CHECKED);
    question.check_store = true;
    cr_assert_eq(ask_well(&lab, question).store, STORE_WHOLE);
    lab_server(&lab)->env->knobs.storage_check_bytes_max = 0;
    cr_assert_eq(ask_well(&lab, question).store, STORE_NOT_CHECKED, "it is too large");
    lab_done(&lab);
}
