/* A log server against a naive one, at random: pushes in any order, repeats, peeks, pops, kills that tear, locks, restarts.
 *
 * The content of a version is a function of the version and the seed, so the naive log is a list of versions and the highest
 * ones that were acknowledged, known committed and popped. */
#include "tests/unit/roles/log_bench.h"

enum { TAGS = 4, VERSIONS_MAX = 1200, IN_FLIGHT_MAX = 24, EPISODES = 160, STEPS = 1500, DATA_MAX = 300 };

struct in_flight {
    struct asked *asked; /* NULL: free */
    size_t index;
};

struct model {
    struct bench bench;
    uint64_t random, salt;
    version_t versions[VERSIONS_MAX]; /* [0] is BEGIN */
    size_t made;      /* versions[0 .. made) exist; pushed in any order */
    size_t acknowledged; /* index of the newest */
    version_t known_committed;
    version_t read[TAGS], popped[TAGS]; /* the storage servers of tags 0 .. */
    struct asked *peeks[TAGS];
    struct in_flight flying[IN_FLIGHT_MAX];
    bool locked;
    version_t end; /* once locked */
    uint64_t peeked, steps;
};

static struct bytes data_of(const struct model *model, size_t index, tag_t tag, uint8_t out[DATA_MAX])
{
    uint64_t random = model->salt + (uint64_t)index * 1000 + tag;

    if (draw_below(&random, 3) != 0)
        return bytes_none();
    return draw_bytes(&random, out, 1 + draw_below(&random, DATA_MAX - 1));
}

/* A few keys that are set and cleared, and one that counts: an order or a number that is wrong shows. */
static void metadata_of(const struct model *model, size_t index, struct bytes_buffer *out)
{
    uint64_t random = model->salt ^ (uint64_t)index << 20;
    uint8_t key[1] = {(uint8_t)('a' + draw_below(&random, 8))}, number[8] = {(uint8_t)draw(&random), 1};
    static const uint8_t sum[1] = {'z'};

    if (draw_below(&random, 4) != 0)
        return;
    if (draw_below(&random, 3) == 0)
        cr_assert_eq(mutation_append(out, MUTATION_CLEAR_RANGE, bytes_of(key, 1), bytes_of(sum, 1)), 0);
    else
        cr_assert_eq(mutation_append(out, MUTATION_SET, bytes_of(key, 1), bytes_of(number, 8)), 0);
    cr_assert_eq(mutation_append(out, MUTATION_ADD, bytes_of(sum, 1), bytes_of(number, 8)), 0);
}

static struct message *message_of(const struct model *model, size_t index)
{
    struct bytes_buffer metadata = {0};
    uint8_t data[DATA_MAX];
    struct message *message;

    metadata_of(model, index, &metadata);
    message = push_message(model->versions[index], model->versions[index - 1], 0, 0, bytes_none(),
                           bytes_buffer_bytes(&metadata));
    /* Whatever is known now: it may differ when the push comes again. */
    if (model->known_committed < model->versions[index])
        ((struct push *)message->body)->known_committed = model->known_committed;
    for (tag_t tag = 0; tag < TAGS; tag++) {
        struct bytes bytes = data_of(model, index, tag, data);

        if (bytes.len > 0)
            push_add(message, &tag, 1, bytes);
    }
    bytes_buffer_done(&metadata);
    return message;
}

/* ---- what comes back ---- */

static void note_acknowledged(struct model *model)
{
    for (int i = 0; i < IN_FLIGHT_MAX; i++) {
        struct in_flight *flying = &model->flying[i];

        if (flying->asked == NULL || !flying->asked->ended)
            continue;
        if (flying->asked->error == 0) {
            cr_assert_not(model->locked);
            if (flying->index > model->acknowledged)
                model->acknowledged = flying->index;
        } else {
            cr_assert(log_server_is_locked(model->bench.log));
            cr_assert_eq(flying->asked->error, ERROR_TLOG_STOPPED);
        }
        asked_free(flying->asked);
        flying->asked = NULL;
    }
}

/* Every version above what the server had, through `through`, that has data for the tag, and nothing else. */
static void check_reply(struct model *model, tag_t tag, const struct peek_reply *reply)
{
    version_t from = model->read[tag];
    uint32_t at = 0;

    cr_assert_geq(reply->through, from);
    cr_assert_leq(reply->through, reply->end);
    cr_assert_leq(reply->popped, model->popped[tag]);
    cr_assert(reply->through > from || reply->end <= from || reply->known_committed > 0);
    for (size_t i = 1; i < model->made && model->versions[i] <= reply->through; i++) {
        uint8_t data[DATA_MAX];
        struct bytes bytes = data_of(model, i, tag, data);

        if (model->versions[i] <= from || bytes.len == 0)
            continue;
        cr_assert_lt(at, reply->versions_count);
        cr_assert_eq(reply->versions[at].version, model->versions[i]);
        cr_assert(bytes_equal(reply->versions[at].mutations, bytes));
        at++;
    }
    cr_assert_eq(at, reply->versions_count);
    model->read[tag] = reply->through;
    model->peeked += at;
}

static void note_peeks(struct model *model)
{
    for (tag_t tag = 0; tag < TAGS; tag++) {
        struct asked *asked = model->peeks[tag];

        if (asked == NULL || !asked->ended)
            continue;
        cr_assert_eq(asked->error, 0);
        check_reply(model, tag, MESSAGE_BODY(peek_reply, asked->reply));
        asked_free(asked);
        model->peeks[tag] = NULL;
    }
}

/* ---- steps ---- */

static void fly(struct model *model, size_t index)
{
    for (int i = 0; i < IN_FLIGHT_MAX; i++) {
        if (model->flying[i].asked != NULL)
            continue;
        model->flying[i] = (struct in_flight){ask(&model->bench, message_of(model, index)), index};
        return;
    }
}

/* A few more versions, pushed in a drawn order. */
static void step_push(struct model *model)
{
    size_t first = model->made, count = 1 + draw_below(&model->random, 5);
    size_t order[5] = {0};
    unsigned flying = 0;

    for (int i = 0; i < IN_FLIGHT_MAX; i++)
        flying += model->flying[i].asked != NULL;
    if (first + count > VERSIONS_MAX || flying + count > IN_FLIGHT_MAX)
        return;
    for (size_t i = 0; i < count; i++) {
        size_t j = draw_below(&model->random, i + 1);

        model->versions[model->made] = model->versions[model->made - 1] + 1 + (version_t)draw_below(&model->random, 20);
        model->made++;
        order[i] = order[j];
        order[j] = first + i;
    }
    for (size_t i = 0; i < count; i++)
        fly(model, order[i]);
}

static void step_committed(struct model *model)
{
    version_t to = model->versions[draw_below(&model->random, model->acknowledged + 1)];

    if (to > model->known_committed)
        model->known_committed = to;
    if (!model->locked && draw_below(&model->random, 2) == 0)
        say_committed(&model->bench, model->known_committed);
}

static void step_peek(struct model *model)
{
    tag_t tag = (tag_t)draw_below(&model->random, TAGS);

    if (model->peeks[tag] == NULL)
        model->peeks[tag] = ask(&model->bench, peek_message(tag, model->read[tag], model->known_committed));
}

static void step_pop(struct model *model)
{
    tag_t tag = (tag_t)draw_below(&model->random, TAGS);
    version_t limit = model->read[tag] < model->known_committed ? model->read[tag] : model->known_committed;

    if (limit <= model->popped[tag])
        return;
    model->popped[tag] += 1 + (version_t)draw_below(&model->random, (uint64_t)(limit - model->popped[tag]));
    pop(&model->bench, tag, model->popped[tag]);
}

static struct message *ask_now(struct model *model, struct message *message)
{
    struct message *reply;

    cr_assert_eq(answer_of(&model->bench, ask(&model->bench, message), &reply), 0);
    note_acknowledged(model);
    note_peeks(model);
    return reply;
}

static void lock(struct model *model, uint64_t epoch)
{
    struct message *reply;
    const struct lock_log_reply *answer;
    bool first = !model->locked;

    reply = ask_now(model, lock_message(epoch));
    model->locked = true;
    answer = MESSAGE_BODY(lock_log_reply, reply);
    cr_assert_geq(answer->end, model->versions[model->acknowledged]);
    cr_assert_leq(answer->end, model->versions[model->made - 1]);
    cr_assert_leq(answer->known_committed, model->versions[model->acknowledged]);
    cr_assert_eq(answer->begin, BEGIN);
    if (first)
        model->end = answer->end;
    cr_assert_eq(answer->end, model->end);
    if (answer->known_committed > model->known_committed)
        model->known_committed = answer->known_committed;
    message_unref(reply);
}

/* As of `version`, against the mutations applied one by one. */
static void check_metadata(struct model *model, version_t version)
{
    struct kv_map *ours = kv_map_create(), *theirs = kv_map_create();
    struct bytes_buffer dump = {0}, dumped = {0};
    struct message *message, *reply;

    for (size_t i = 1; i < model->made && model->versions[i] <= version; i++) {
        struct bytes_buffer table = {0};

        metadata_of(model, i, &table);
        cr_assert_eq(kv_map_apply(ours, bytes_buffer_bytes(&table)), 0);
        bytes_buffer_done(&table);
    }
    MESSAGE_NEW(get_metadata, &message)->version = version;
    reply = ask_now(model, message);
    cr_assert_eq(kv_map_apply(theirs, MESSAGE_BODY(get_metadata_reply, reply)->mutations), 0);
    cr_assert_eq(kv_map_dump(ours, &dump), 0);
    cr_assert_eq(kv_map_dump(theirs, &dumped), 0);
    cr_assert(bytes_equal(bytes_buffer_bytes(&dump), bytes_buffer_bytes(&dumped)));
    message_unref(reply);
    bytes_buffer_done(&dump);
    bytes_buffer_done(&dumped);
    kv_map_destroy(ours);
    kv_map_destroy(theirs);
}

static void check_metadata_somewhere(struct model *model)
{
    for (int i = 0; i < 3; i++) {
        version_t version = model->known_committed +
                            (version_t)draw_below(&model->random, (uint64_t)(model->end - model->known_committed) + 1);

        check_metadata(model, version);
    }
    check_metadata(model, model->end);
}

static void forget_what_was_asked(struct model *model)
{
    for (int i = 0; i < IN_FLIGHT_MAX; i++)
        if (model->flying[i].asked != NULL)
            asked_free(model->flying[i].asked);
    for (tag_t tag = 0; tag < TAGS; tag++)
        if (model->peeks[tag] != NULL)
            asked_free(model->peeks[tag]);
    memset(model->flying, 0, sizeof(model->flying));
    memset(model->peeks, 0, sizeof(model->peeks));
}

/* The end may be lower than before only if it was never locked, and never below what was acknowledged. */
static void crash(struct model *model)
{
    enum fake_crash how = draw_below(&model->random, 4) == 0 ? FAKE_KEEP_NOTHING : FAKE_KEEP_SOME;

    note_acknowledged(model);
    note_peeks(model);
    forget_what_was_asked(model);
    cr_assert_eq(restart(&model->bench, how, &model->random), 0);
    lock(model, EPOCH + 2 + draw_below(&model->random, 3));
    for (tag_t tag = 0; tag < TAGS; tag++) /* storage drops what is above the end; it had it in memory only */
        if (model->read[tag] > model->end)
            model->read[tag] = model->end;
    for (tag_t tag = 0; tag < TAGS; tag++) { /* a server may come back as well, with what it popped */
        if (draw_below(&model->random, 2) == 0)
            model->read[tag] = model->popped[tag];
    }
    check_metadata_somewhere(model);
}

static void step(struct model *model)
{
    uint64_t what = draw_below(&model->random, 100);

    model->steps++;
    if (what < 20 && !model->locked)
        step_push(model);
    else if (what < 24 && !model->locked && model->made > 1) /* again, or early, but never other content */
        fly(model, 1 + draw_below(&model->random, model->made - 1));
    else if (what < 32)
        step_committed(model);
    else if (what < 52)
        step_peek(model);
    else if (what < 60)
        step_pop(model);
    else
        fake_disk_run(model->bench.disk, 1, draw_below(&model->random, 2) == 0);
    note_acknowledged(model);
    note_peeks(model);
}

/* Every tag is read to the end. */
static void drain(struct model *model)
{
    for (tag_t tag = 0; tag < TAGS; tag++) {
        for (int peeks = 0; model->read[tag] < model->end; peeks++) {
            cr_assert_lt(peeks, 2 * VERSIONS_MAX);
            if (model->peeks[tag] == NULL)
                model->peeks[tag] = ask(&model->bench, peek_message(tag, model->read[tag], model->known_committed));
            fake_disk_run(model->bench.disk, 2, true);
            note_peeks(model);
        }
    }
}

static void draw_knobs(struct model *model)
{
    struct knobs *knobs = &model->bench.disk->env.knobs;

    knobs->log_segment_bytes = 8192 << draw_below(&model->random, 3);
    knobs->log_memory_bytes_max = draw_below(&model->random, 2) == 0 ? 3000 : 1 << 20;
    knobs->log_peek_bytes_max = draw_below(&model->random, 2) == 0 ? 200 : 1 << 20;
    knobs->rpc_encode_local = (int64_t)draw_below(&model->random, 2);
}

static void episode(struct model *model)
{
    unsigned lives = (unsigned)draw_below(&model->random, 4);

    model->salt = draw(&model->random);
    model->versions[0] = model->known_committed = BEGIN;
    model->made = 1;
    for (tag_t tag = 0; tag < TAGS; tag++)
        model->read[tag] = model->popped[tag] = BEGIN;
    draw_knobs(model);
    cr_assert_eq(recruit(&model->bench, bytes_none()), 0);
    for (unsigned i = 0; i < STEPS; i++)
        step(model);
    if (lives % 2 == 1)
        lock(model, EPOCH + 1);
    for (unsigned life = 0; life < lives; life++) {
        crash(model);
        for (unsigned i = 0; i < 200; i++)
            step(model);
    }
    if (!model->locked)
        lock(model, EPOCH + 1);
    drain(model);
    check_metadata_somewhere(model);
    cr_assert_eq(model->bench.ended, 0);
    forget_what_was_asked(model);
}

static void run_model(uint64_t seed, unsigned episodes)
{
    struct model *model = mem_zalloc(sizeof(*model));
    uint64_t random = seed, steps = 0, peeked = 0;

    for (unsigned i = 0; i < episodes; i++) {
        *model = (struct model){.random = draw(&random)};
        bench_init(&model->bench);
        episode(model);
        bench_done(&model->bench);
        steps += model->steps;
        peeked += model->peeked;
    }
    cr_assert_gt(steps, (uint64_t)episodes * STEPS);
    cr_assert_gt(peeked, (uint64_t)episodes * 100);
    mem_free(model);
}

Test(log_model, agrees_with_a_naive_log_1)
{
    run_model(1, EPISODES / 2);
}

Test(log_model, agrees_with_a_naive_log_2)
{
    run_model(2, EPISODES / 2);
}
