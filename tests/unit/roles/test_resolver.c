#include "tests/unit/roles/pipeline.h"

enum { A = 71, B = 72 }; /* proxies */
#define V1 FIRST_VERSION

struct judged {
    const char *read, *write, *metadata;
    version_t read_version;
};

static struct bytes point(struct arena *arena, const char *key)
{
    struct bytes_buffer table = {0};
    struct bytes copy = bytes_none();

    if (key != NULL) {
        conflict_range_append_point(&table, bytes_of_string(key));
        arena_copy(arena, bytes_buffer_bytes(&table), &copy);
    }
    bytes_buffer_done(&table);
    return copy;
}

static struct message *resolve_of(uint64_t proxy, version_t prev, version_t version, version_t known,
                                  const struct judged *judged, uint32_t count)
{
    struct message *message;
    struct resolve *body = MESSAGE_NEW(resolve, &message);

    *body = (struct resolve){.epoch = 1, .proxy = proxy, .version = version, .prev_version = prev, .known_version = known};
    body->transactions = arena_zalloc(&message->arena, count * sizeof(*body->transactions));
    body->transactions_count = count;
    for (uint32_t i = 0; i < count; i++) {
        body->transactions[i].read_version = judged[i].read_version;
        body->transactions[i].read_conflicts = point(&message->arena, judged[i].read);
        body->transactions[i].write_conflicts = point(&message->arena, judged[i].write);
        if (judged[i].metadata == NULL)
            continue;
        body->transactions[i].flags = RESOLVE_METADATA;
        body->transactions[i].mutations = bytes_of_string(judged[i].metadata);
    }
    return message;
}

static uint32_t verdict_of(struct pipeline *p, version_t prev, version_t version, struct judged judged)
{
    struct ask ask;
    const struct resolve_reply *reply =
        ask_now(p, &ask, ID_RESOLVER, resolve_of(A, prev, version, RECOVERY_VERSION, &judged, 1));
    uint32_t verdict = reply->verdicts[0];

    cr_assert_eq(reply->verdicts_count, 1);
    ask_clear(&ask);
    return verdict;
}

static void empty(struct pipeline *p, uint64_t proxy, version_t prev, version_t version, version_t known)
{
    struct ask ask;

    ask_now(p, &ask, ID_RESOLVER, resolve_of(proxy, prev, version, known, NULL, 0));
    ask_clear(&ask);
}

Test(resolver, says_who_conflicts)
{
    struct pipeline p;

    pipeline_init(&p, 1, 0, 1, bytes_none());
    cr_assert_eq(verdict_of(&p, RECOVERY_VERSION, V1, (struct judged){.write = "k", .read_version = VERSION_NONE}),
                 VERDICT_COMMITTED);
    cr_assert_eq(verdict_of(&p, V1, V1 + 10, (struct judged){"k", "k", NULL, V1}), VERDICT_COMMITTED);
    cr_assert_eq(verdict_of(&p, V1 + 10, V1 + 20, (struct judged){"k", "k", NULL, V1 + 5}), VERDICT_CONFLICT);
    cr_assert_eq(verdict_of(&p, V1 + 20, V1 + 30, (struct judged){"k", "k", NULL, V1 + 10}), VERDICT_COMMITTED);
    pipeline_done(&p);
}

Test(resolver, reports_conflicts_of_a_batch_in_which_others_read_nothing)
{
    struct judged batch[] = {{.write = "a", .read_version = VERSION_NONE}, {"k", "b", NULL, V1},
                             {.write = "c", .read_version = VERSION_NONE}};
    const struct resolve_reply *reply;
    struct message *message;
    struct pipeline p;
    struct ask ask;

    pipeline_init(&p, 1, 0, 1, bytes_none());
    empty(&p, A, RECOVERY_VERSION, V1, RECOVERY_VERSION);
    verdict_of(&p, V1, V1 + 5, (struct judged){.write = "k", .read_version = VERSION_NONE});
    message = resolve_of(A, V1 + 5, V1 + 10, RECOVERY_VERSION, batch, 3);
    MESSAGE_BODY(resolve, message)->transactions[1].flags = RESOLVE_REPORT_CONFLICTS;
    reply = ask_now(&p, &ask, ID_RESOLVER, message);
    cr_assert(reply->verdicts_count == 3 && reply->verdicts[1] == VERDICT_CONFLICT);
    cr_assert(reply->conflicts_count == 1 && reply->reporters[0] == 1);
    cr_assert(bytes_equal(reply->conflicts[0].read_begin, BYTES_LITERAL("k")));
    cr_assert(bytes_equal(reply->conflicts[0].read_end, BYTES_LITERAL("k\0")));
    ask_clear(&ask);
    pipeline_done(&p);
}

Test(resolver, is_born_with_the_first_version_as_its_oldest)
{
    struct pipeline p;

    pipeline_init(&p, 1, 0, 1, bytes_none());
    empty(&p, A, RECOVERY_VERSION, V1, RECOVERY_VERSION);
    cr_assert_eq(verdict_of(&p, V1, V1 + 1, (struct judged){"k", NULL, NULL, RECOVERY_VERSION}), VERDICT_TOO_OLD);
    cr_assert_eq(verdict_of(&p, V1 + 1, V1 + 2, (struct judged){"k", NULL, NULL, V1 - 1}), VERDICT_TOO_OLD);
    cr_assert_eq(verdict_of(&p, V1 + 2, V1 + 3, (struct judged){"k", NULL, NULL, V1}), VERDICT_COMMITTED);
    cr_assert_eq(verdict_of(&p, V1 + 3, V1 + 4, (struct judged){NULL, "k", NULL, VERSION_NONE}), VERDICT_COMMITTED);
    pipeline_done(&p);
}

Test(resolver, forgets_after_five_seconds_of_versions)
{
    struct pipeline p;
    version_t later = V1 + MAX_WRITE_TRANSACTION_LIFE_VERSIONS;

    pipeline_init(&p, 1, 0, 1, bytes_none());
    empty(&p, A, RECOVERY_VERSION, V1, RECOVERY_VERSION);
    empty(&p, A, V1, later + 1, V1);
    cr_assert_eq(verdict_of(&p, later + 1, later + 2, (struct judged){"k", NULL, NULL, V1}), VERDICT_TOO_OLD);
    cr_assert_eq(verdict_of(&p, later + 2, later + 3, (struct judged){"k", NULL, NULL, V1 + 2}), VERDICT_COMMITTED);
    pipeline_done(&p);
}

Test(resolver, judges_in_the_order_of_versions)
{
    struct pipeline p;
    struct ask later;
    struct judged second = {"k", "k", NULL, V1 - 1};

    pipeline_init(&p, 1, 0, 1, bytes_none());
    empty(&p, A, RECOVERY_VERSION, V1 - 1, RECOVERY_VERSION);
    ask_start(&p, &later, ID_RESOLVER, resolve_of(B, V1, V1 + 1, RECOVERY_VERSION, &second, 1));
    pipeline_run(&p, SIM_SECOND_US);
    cr_assert_not(later.done);
    verdict_of(&p, V1 - 1, V1, (struct judged){NULL, "k", NULL, VERSION_NONE});
    ask_wait(&later);
    cr_assert_eq(MESSAGE_BODY(resolve_reply, later.reply)->verdicts[0], VERDICT_CONFLICT);
    ask_clear(&later);
    pipeline_done(&p);
}

Test(resolver, a_repeat_is_answered_from_memory)
{
    struct pipeline p;
    struct judged judged = {"k", "k", NULL, V1};

    pipeline_init(&p, 1, 0, 1, bytes_none());
    empty(&p, A, RECOVERY_VERSION, V1, RECOVERY_VERSION);
    cr_assert_eq(verdict_of(&p, V1, V1 + 5, judged), VERDICT_COMMITTED);
    cr_assert_eq(verdict_of(&p, V1, V1 + 5, judged), VERDICT_COMMITTED); /* judged again it would conflict with itself */
    cr_assert_eq(p.ended_count, 0);
    pipeline_done(&p);
}

Test(resolver, other_content_at_a_judged_version_ends_it)
{
    struct pipeline p;
    struct judged judged = {"k", "k", NULL, V1};
    struct ask ask;

    pipeline_init(&p, 1, 0, 1, bytes_none());
    p.world->errors_allowed = 1;
    empty(&p, A, RECOVERY_VERSION, V1, RECOVERY_VERSION);
    ask_start(&p, &ask, ID_RESOLVER, resolve_of(A, RECOVERY_VERSION, V1, RECOVERY_VERSION, &judged, 1));
    ask_wait(&ask);
    cr_assert_eq(ask.error, ERROR_OPERATION_FAILED);
    cr_assert(p.ended_count == 1 && p.ended_id == ID_RESOLVER);
    pipeline_done(&p);
}

Test(resolver, a_repeat_that_its_proxy_no_longer_needs_is_forgotten)
{
    struct pipeline p;
    struct ask ask;

    pipeline_init(&p, 1, 0, 1, bytes_none());
    empty(&p, A, RECOVERY_VERSION, V1, RECOVERY_VERSION);
    empty(&p, A, V1, V1 + 1, V1);
    ask_start(&p, &ask, ID_RESOLVER, resolve_of(A, RECOVERY_VERSION, V1, RECOVERY_VERSION, NULL, 0));
    ask_wait(&ask);
    cr_assert_eq(ask.error, ERROR_OPERATION_OBSOLETE);
    cr_assert_eq(p.ended_count, 0);
    pipeline_done(&p);
}

Test(resolver, tells_metadata_to_the_other_proxy_until_it_has_seen_it)
{
    struct pipeline p;
    struct ask ask;
    struct judged own[] = {{NULL, "x", "first", VERSION_NONE}, {"x", "y", "loses", V1}};
    const struct resolve_reply *reply;

    pipeline_init(&p, 1, 0, 1, bytes_none());
    empty(&p, A, RECOVERY_VERSION, V1, RECOVERY_VERSION);
    ask_now(&p, &ask, ID_RESOLVER, resolve_of(A, V1, V1 + 1, V1, own, 2));
    ask_clear(&ask);
    for (int known = 0; known < 2; known++) { /* the second time it says that it knows */
        reply = ask_now(&p, &ask, ID_RESOLVER,
                        resolve_of(B, V1 + 1 + known, V1 + 2 + known, known ? V1 + 1 : RECOVERY_VERSION, NULL, 0));
        cr_assert_eq(reply->metadata_count, known ? 0 : 1);
        if (!known) {
            cr_assert(reply->metadata[0].version == V1 + 1 && reply->metadata[0].transactions_count == 2);
            cr_assert(reply->metadata[0].transactions[0].committed && !reply->metadata[0].transactions[1].committed);
            cr_assert(bytes_equal(reply->metadata[0].transactions[0].mutations, BYTES_LITERAL("first")));
        }
        ask_clear(&ask);
    }
    reply = ask_now(&p, &ask, ID_RESOLVER, resolve_of(A, V1 + 3, V1 + 4, V1, NULL, 0));
    cr_assert_eq(reply->metadata_count, 0); /* a proxy applies its own by itself */
    ask_clear(&ask);
    pipeline_done(&p);
}

static int64_t metric_of(struct pipeline *p, const char *name)
{
    struct role_status status = {0};
    struct arena arena = {0};
    int64_t value = -1;

    resolver_status(p->resolver[0], &status, &arena);
    for (uint32_t i = 0; i < status.metrics_count; i++)
        if (bytes_equal(status.metrics[i].name, bytes_of_string(name)))
            value = status.metrics[i].value;
    arena_done(&arena);
    return value;
}

Test(resolver, keeps_nothing_that_everyone_has_seen)
{
    struct pipeline p;
    version_t prev = RECOVERY_VERSION;
    struct ask ask;
    struct judged metadata = {NULL, "x", "m", VERSION_NONE};

    pipeline_init(&p, 1, 0, 1, bytes_none());
    for (version_t v = V1; v < V1 + 400; v++) {
        ask_now(&p, &ask, ID_RESOLVER, resolve_of(v % 2 ? A : B, prev, v, prev, &metadata, 1));
        ask_clear(&ask);
        prev = v;
    }
    cr_assert_leq(metric_of(&p, "remembered_answers"), 4);
    cr_assert_leq(metric_of(&p, "kept_metadata_bytes"), 4096);
    pipeline_done(&p);
}

Test(resolver, a_destroyed_one_leaves_nobody_waiting)
{
    struct pipeline p;
    struct ask ask;

    pipeline_init(&p, 1, 0, 1, bytes_none());
    ask_start(&p, &ask, ID_RESOLVER, resolve_of(A, V1, V1 + 1, RECOVERY_VERSION, NULL, 0));
    pipeline_run(&p, 1000);
    resolver_destroy(p.resolver[0]);
    p.resolver[0] = NULL;
    ask_wait(&ask);
    cr_assert_eq(ask.error, ERROR_BROKEN_PROMISE);
    pipeline_done(&p);
}
