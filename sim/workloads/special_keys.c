/* SpecialKeys: what the client library says of a transaction at \xff\xff, against what the transaction did.
 *
 * Half of the keys are hot: actors write them. The others are cold: nobody does, after the setup. A transaction that conflicts and asked
 * for a report (option 712) must be told ranges of its own reads, each with a key that somebody else may have written after its read
 * version. The sets of its read and write conflicts equal what it read and wrote. Status is JSON; what may not be written or read is
 * refused, with the right error.
 *
 * Several resolvers may let a read conflict with a write that did not commit: of a transaction that another of them refused (its client
 * hears of that before its batch is over), or of a request that came twice. So a write counts as done below version v only when a
 * commit that began after it was over, and after what may still be on its way, was acknowledged at v. */
#include <jansson.h>

#include "sim/workloads/spans.h"
#include "sim/workloads/values.h"

enum option { ACTORS, KEYS, PAUSE_MS };

enum { KEYS_MAX = 400, OPERATIONS_MAX = 6, WIDTH_MAX = 4, THINK_US = 400000, PERCENT = 100 };
enum { ON_ITS_WAY_US = 500000, LOST_ON_ITS_WAY_US = 30000000 };
enum { OPTION_REPORT_CONFLICTING_KEYS = 712, OPTION_SPECIAL_KEY_SPACE_RELAXED = 713, OPTION_SPECIAL_KEY_SPACE_ENABLE_WRITES = 714 };

struct special {
    uint64_t keys;
    uint32_t under_way[KEYS_MAX]; /* commits that write the key */
    version_t newest[KEYS_MAX];   /* those that are over were judged at or below it */
    int64_t settles_us[KEYS_MAX]; /* a commit from then on has a version above the last one; -1: newest says it */
    uint64_t commits, conflicts, spans, statuses, refused, sets;
};

/* One attempt: what it should say of itself. */
struct attempt {
    struct sim_actor *actor;
    struct special *special;
    struct sim_transaction *transaction;
    struct spans *reads, *writes; /* its conflict ranges */
    bool written[KEYS_MAX];       /* read again, these add nothing */
    bool wrote;
};

/* Thirds of the numbers, far from each other: several resolvers share them. */
static const char *prefix_of(const struct special *special, uint64_t number)
{
    static const char *const prefixes[] = {"\x20special", "special", "\xe0special"};

    return prefixes[number * 3 / special->keys];
}

static struct bytes key_of(const struct special *special, struct workload_key *key, uint64_t number)
{
    return workload_key(key, prefix_of(special, number), number);
}

/* Behind the last number of the third. */
static uint64_t third_end(const struct special *special, uint64_t number)
{
    while (number < special->keys && number * 3 / special->keys == (number + 1) * 3 / special->keys)
        number++;
    return number + 1;
}

/* Numbers take turns: even ones are hot. */
static uint64_t draw_hot(struct sim_actor *actor, const struct special *special)
{
    return sim_actor_random(actor, special->keys / 2) * 2;
}

/* ---- what an attempt does ---- */

static struct attempt *new_attempt(struct sim_actor *actor, struct special *special, struct sim_transaction *transaction)
{
    struct attempt *attempt = arena_zalloc(sim_transaction_arena(transaction), sizeof(*attempt));

    attempt->actor = actor;
    attempt->special = special;
    attempt->transaction = transaction;
    attempt->reads = spans_create(transaction);
    attempt->writes = spans_create(transaction);
    return attempt;
}

static int do_get(struct attempt *attempt)
{
    uint64_t number = sim_actor_random(attempt->actor, attempt->special->keys);
    bool snapshot = sim_actor_random(attempt->actor, 5) == 0, present;
    struct workload_key key;
    struct bytes name = key_of(attempt->special, &key, number), value;

    if (!snapshot && !attempt->written[number])
        spans_add_key(attempt->reads, name);
    return snapshot ? sim_get_snapshot(attempt->transaction, name, &present, &value)
                    : sim_get(attempt->transaction, name, &present, &value);
}

/* Of an attempt that has written nothing yet: what it reads of its own conflicts with nobody. */
static int do_range(struct attempt *attempt)
{
    const struct special *special = attempt->special;
    uint64_t from = sim_actor_random(attempt->actor, special->keys), to = from + 1 + sim_actor_random(attempt->actor, WIDTH_MAX);
    uint64_t most = third_end(special, from);
    struct workload_key low, high;
    struct bytes begin = key_of(special, &low, from), end = workload_key(&high, prefix_of(special, from), to < most ? to : most);
    struct sim_range range = {.limit = (uint32_t)sim_actor_random(attempt->actor, WIDTH_MAX)};
    int error;

    range.reverse = sim_actor_random(attempt->actor, 2) != 0;
    error = sim_read_range(attempt->transaction, begin, end, &range);
    if (error != 0)
        return error;
    if (range.more && range.count > 0) {
        struct bytes last = range.pairs[range.count - 1].key;

        spans_add_key(attempt->reads, last);
        if (range.reverse)
            begin = last;
        else
            end = last;
    }
    spans_add(attempt->reads, begin, end);
    return 0;
}

static void do_write(struct attempt *attempt)
{
    uint64_t number = draw_hot(attempt->actor, attempt->special);
    struct workload_key key;
    struct bytes name = key_of(attempt->special, &key, number);
    uint8_t value[8];

    put_le64(value, sim_actor_random(attempt->actor, UINT64_MAX));
    sim_set(attempt->transaction, name, bytes_of(value, sizeof(value)));
    spans_add_key(attempt->writes, name);
    attempt->written[number] = attempt->wrote = true;
}

/* What is read so nobody writes, and what is written so nobody reads. */
static void do_explicit(struct attempt *attempt)
{
    bool write = sim_actor_random(attempt->actor, 2) != 0;
    const char *where = write ? "special-written" : "special-read";
    struct workload_key low, high;
    struct bytes begin = workload_key(&low, where, sim_actor_random(attempt->actor, attempt->special->keys));
    struct bytes end = workload_key(&high, where, attempt->special->keys + sim_actor_random(attempt->actor, WIDTH_MAX));

    sim_conflict_range(attempt->transaction, write, begin, end);
    spans_add(write ? attempt->writes : attempt->reads, begin, end);
}

static int do_some(struct attempt *attempt)
{
    uint64_t count = 1 + sim_actor_random(attempt->actor, OPERATIONS_MAX);
    int error = 0;

    for (uint64_t i = 0; i < count && error == 0; i++) {
        uint64_t kind = sim_actor_random(attempt->actor, PERCENT);

        if (kind < 45)
            error = do_get(attempt);
        else if (kind < 70 && !attempt->wrote)
            error = do_range(attempt);
        else if (kind < 75)
            do_explicit(attempt);
        else
            do_write(attempt);
    }
    return error;
}

/* ---- what it says of itself ---- */

static void fail(struct attempt *attempt, const char *why)
{
    sim_world_fail(workload_world(attempt->actor), "SpecialKeys: %s", why);
}

/* Before the commit: the sets of its conflicts, and no conflict yet. */
static int check_sets(struct attempt *attempt)
{
    struct spans *said = spans_create(attempt->transaction);
    bool well, same;
    int error = spans_read(attempt->transaction, READ_CONFLICT_RANGES, said, &well);

    if (error != 0)
        return error;
    spans_join(attempt->reads);
    spans_join(attempt->writes);
    same = well && spans_equal(said, attempt->reads);
    error = spans_read(attempt->transaction, WRITE_CONFLICT_RANGES, said, &well);
    if (error != 0)
        return error;
    if (!same)
        fail(attempt, "the read conflict ranges are not what was read");
    if (!well || !spans_equal(said, attempt->writes))
        fail(attempt, "the write conflict ranges are not what was written");
    error = spans_read(attempt->transaction, CONFLICTING_KEYS, said, &well);
    if (error == 0 && (!well || said->count > 0))
        fail(attempt, "a transaction that has not committed yet has conflicting keys");
    attempt->special->sets++;
    return error;
}

/* Has somebody else written a key of the range after the read version, or may have? */
static bool may_be_written(const struct attempt *attempt, const struct span *span, version_t read_version)
{
    const struct special *special = attempt->special;
    struct workload_key key;

    for (uint64_t i = 0; i < special->keys; i += 2) {
        struct bytes name = key_of(special, &key, i);

        if (bytes_compare(name, span->begin) < 0 || bytes_compare(name, span->end) >= 0)
            continue;
        if (special->newest[i] > read_version || special->under_way[i] > (attempt->written[i] ? 1 : 0) ||
            special->settles_us[i] >= 0)
            return true;
    }
    return false;
}

static void check_conflicts(struct attempt *attempt, version_t read_version)
{
    struct spans *said = spans_create(attempt->transaction);
    bool well;

    if (spans_read(attempt->transaction, CONFLICTING_KEYS, said, &well) != 0 || !well) {
        fail(attempt, "the conflicting keys can't be read, or are no set of ranges");
        return;
    }
    if (said->count == 0)
        fail(attempt, "a transaction that conflicts, and asked with what, has no conflicting keys");
    for (size_t i = 0; i < said->count; i++) {
        if (!spans_cover(attempt->reads, said->at[i].begin, said->at[i].end))
            fail(attempt, "conflicting keys that the transaction has not read");
        else if (!may_be_written(attempt, &said->at[i], read_version))
            fail(attempt, "conflicting keys that nobody wrote since the read version");
    }
    attempt->special->conflicts++;
    attempt->special->spans += said->count;
}

/* A commit that began at began_us has this version: what was over by then was judged below it. */
static void settle(struct special *special, int64_t began_us, version_t version)
{
    for (uint64_t i = 0; i < special->keys; i++) {
        if (special->settles_us[i] < 0 || special->settles_us[i] > began_us)
            continue;
        special->settles_us[i] = -1;
        if (special->newest[i] < version)
            special->newest[i] = version;
    }
}

static void written(struct attempt *attempt, int error)
{
    int64_t now_us = workload_world(attempt->actor)->now_us;
    struct special *special = attempt->special;

    for (uint64_t i = 0; i < special->keys; i++) {
        int64_t settles_us = now_us + (error == ERROR_COMMIT_UNKNOWN_RESULT ? LOST_ON_ITS_WAY_US : ON_ITS_WAY_US);

        if (!attempt->written[i])
            continue;
        special->under_way[i]--;
        if (special->settles_us[i] < settles_us)
            special->settles_us[i] = settles_us;
    }
}

static int commit(struct attempt *attempt, version_t read_version)
{
    int64_t began_us = workload_world(attempt->actor)->now_us;
    struct special *special = attempt->special;
    int error;

    for (uint64_t i = 0; i < special->keys; i++)
        special->under_way[i] += attempt->written[i];
    error = sim_commit(attempt->transaction);
    if (error == 0)
        settle(special, began_us, sim_committed_version(attempt->transaction));
    else if (error == ERROR_NOT_COMMITTED)
        check_conflicts(attempt, read_version);
    written(attempt, error);
    special->commits += error == 0;
    return error;
}

static int conflict_once(struct sim_actor *actor, struct special *special, struct sim_transaction *transaction)
{
    struct attempt *attempt = new_attempt(actor, special, transaction);
    version_t version;
    int error = sim_read_version(transaction, &version);

    if (error == 0)
        error = do_some(attempt);
    if (error == 0)
        error = check_sets(attempt);
    if (error != 0 || attempt->writes->count == 0)
        return error;
    if (sim_actor_random(actor, 2) != 0)
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, THINK_US));
    return commit(attempt, version);
}

/* ---- status, and what is refused ---- */

static void expect(struct sim_actor *actor, struct special *special, const char *what, int error, int expected)
{
    special->refused += error == expected;
    if (error != expected)
        sim_world_fail(workload_world(actor), "SpecialKeys: %s: %d, and it should be %d", what, error, expected);
}

/* What status promises to those who parse it: JSON, with both of its halves. */
static bool is_status(struct bytes text)
{
    json_t *status = json_loadb((const char *)text.ptr, text.len, 0, NULL);
    bool is = json_is_object(json_object_get(status, "client")) && json_is_object(json_object_get(status, "cluster"));

    json_decref(status);
    return is;
}

static int read_status(struct sim_actor *actor, struct special *special, struct sim_transaction *transaction)
{
    static const char key[] = "\xff\xff/status/json"; /* the zero behind it is the next key's */
    struct sim_range range = {0};
    int error = sim_read_special(transaction, bytes_of(key, sizeof(key) - 1), bytes_of(key, sizeof(key)), &range);

    if (error != 0)
        return error;
    if (range.count != 1 || !is_status(range.pairs[0].value))
        sim_world_fail(workload_world(actor), "SpecialKeys: status is no JSON with a client and a cluster");
    special->statuses++;
    return 0;
}

static int read_between(struct sim_transaction *transaction, const char *begin, const char *end)
{
    struct sim_range range = {0};

    return sim_read_special(transaction, bytes_of_string(begin), bytes_of_string(end), &range);
}

/* Reads that leave their module, or meet none, whatever the cluster does meanwhile. */
static void refuse_reads(struct sim_actor *actor, struct special *special, struct sim_transaction *transaction)
{
    expect(actor, special, "a read over two modules", read_between(transaction, "\xff\xff/tracing/", "\xff\xff/transaction/x"),
           ERROR_SPECIAL_KEYS_CROSS_MODULE_READ);
    expect(actor, special, "a read of no module", read_between(transaction, "\xff\xff/nothing/", "\xff\xff/nothing0"),
           ERROR_SPECIAL_KEYS_NO_MODULE_FOUND);
    sim_option(transaction, OPTION_SPECIAL_KEY_SPACE_RELAXED);
    expect(actor, special, "a relaxed read over two modules", read_between(transaction, "\xff\xff/tracing/", "\xff\xff/transaction/x"), 0);
}

/* A write that may not be fails the commit, which then leaves nothing. */
static int refused_write(struct sim_actor *actor, bool allowed, const char *begin, const char *end)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    int error;

    if (allowed)
        sim_option(transaction, OPTION_SPECIAL_KEY_SPACE_ENABLE_WRITES);
    if (end == NULL)
        sim_set(transaction, bytes_of_string(begin), BYTES_LITERAL("x"));
    else
        sim_clear_range(transaction, bytes_of_string(begin), bytes_of_string(end));
    error = sim_commit(transaction);
    sim_transaction_destroy(transaction);
    return error;
}

static void refuse_writes(struct sim_actor *actor, struct special *special)
{
    static const char name[] = CONFLICTING_KEYS "x", locked[] = "\xff\xff/management/db_locked";

    expect(actor, special, "a write without the option", refused_write(actor, false, locked, NULL), ERROR_SPECIAL_KEYS_WRITE_DISABLED);
    expect(actor, special, "a clear without the option", refused_write(actor, false, locked, name), ERROR_SPECIAL_KEYS_WRITE_DISABLED);
    expect(actor, special, "a write where nothing is written", refused_write(actor, true, name, NULL),
           ERROR_SPECIAL_KEYS_NO_WRITE_MODULE_FOUND);
    expect(actor, special, "a clear over two modules", refused_write(actor, true, "\xff\xff/management/excluded/", "\xff\xff/management/failed0"),
           ERROR_SPECIAL_KEYS_CROSS_MODULE_CLEAR);
}

/* ---- the workload ---- */

static void special_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct special *special = run->state;
    struct sim_transaction *transaction = sim_transaction_create(actor);
    int error;

    special->keys = (uint64_t)run->options[KEYS];
    for (uint64_t i = 0; i < special->keys; i++) {
        special->newest[i] = VERSION_NONE;
        special->settles_us[i] = -1;
    }
    do {
        for (uint64_t i = 0; i < special->keys; i++) {
            struct workload_key key;

            sim_set(transaction, key_of(special, &key, i), BYTES_LITERAL("as it was"));
        }
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "SpecialKeys: %s", error_name(error));
    sim_transaction_destroy(transaction);
}

static int once(struct sim_actor *actor, struct special *special, struct sim_transaction *transaction, uint64_t kind)
{
    if (kind >= 6)
        return conflict_once(actor, special, transaction);
    if (kind >= 4)
        return read_status(actor, special, transaction);
    if (kind >= 2)
        refuse_reads(actor, special, transaction);
    else
        refuse_writes(actor, special);
    return 0;
}

static void special_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    const struct special *special = run->state;

    while (workload_goes_on(actor, special->commits > 0)) {
        struct sim_transaction *transaction = sim_transaction_create(actor);
        uint64_t kind = sim_actor_random(actor, PERCENT);
        int error;

        if (kind >= 6)
            sim_option(transaction, OPTION_REPORT_CONFLICTING_KEYS);
        while ((error = once(actor, run->state, transaction, kind)) != 0 && sim_retry(transaction, error))
            ;
        if (error != 0)
            sim_world_fail(workload_world(actor), "SpecialKeys: %s", error_name(error));
        sim_transaction_destroy(transaction);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static void special_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct special *special = run->state;
    struct sim_transaction *transaction = sim_transaction_create(actor);
    int error;

    while ((error = read_status(actor, special, transaction)) != 0 && sim_retry(transaction, error))
        ;
    if (error != 0)
        sim_world_fail(workload_world(actor), "SpecialKeys: %s", error_name(error));
    if (special->commits == 0)
        sim_world_fail(workload_world(actor), "SpecialKeys: nothing committed");
    refuse_reads(actor, special, transaction);
    refuse_writes(actor, special);
    sim_say(workload_world(actor), actor->client->process,
            "SpecialKeys: %llu commits, %llu conflicts with %llu ranges, %llu sets, %llu times status, %llu refused",
            (unsigned long long)special->commits, (unsigned long long)special->conflicts, (unsigned long long)special->spans,
            (unsigned long long)special->sets, (unsigned long long)special->statuses, (unsigned long long)special->refused);
    sim_transaction_destroy(transaction);
}

const struct sim_workload sim_workload_special_keys = {
    .name = "SpecialKeys",
    .what = "special keys: conflicts reported as they were, conflict ranges as they are, status in JSON, what is refused",
    .options = {{"actors", 4, 1, 100}, {"keys", 60, 10, KEYS_MAX}, {"pause-ms", 150, 0, 10000}},
    .state_bytes = sizeof(struct special),
    .setup = special_setup,
    .run = special_run,
    .check = special_check,
};
