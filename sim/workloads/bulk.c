/* Bulk: blind writes of big values and clears of ranges, against a model.
 *
 * Each actor owns its keys, and one more that says which of its transactions was the last: after an unknown result it reads that
 * one, and so always knows exactly what the database must hold. Big values fill the logs' and the storage servers' memory, and
 * their frames on disk are long enough to be torn. Most clears are short, so that most values stay for the check. */
#include "net/mem.h"
#include "sim/workloads/values.h"

enum option { ACTORS, KEYS, PAUSE_MS, VALUE_BYTES };

enum { KEYS_MAX = 200, ACTORS_MAX = 64, CHANGES_MAX = 4 };

struct content {
    uint64_t transaction; /* that wrote it; 0: nothing is there */
    uint32_t bytes;
};

struct owner {
    uint64_t transactions;
    struct content keys[KEYS_MAX];
    struct content next[KEYS_MAX]; /* as it will be when the transaction under way has committed */
};

struct bulk {
    struct owner *owners[ACTORS_MAX]; /* owned */
    uint64_t owner_count, committed, unknown, bytes;
    uint8_t *scratch; /* owned */
};

static void bulk_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct bulk *bulk = run->state;

    (void)actor;
    bulk->owner_count = run->client_count * (uint64_t)run->options[ACTORS];
    if (bulk->owner_count > ACTORS_MAX)
        bulk->owner_count = ACTORS_MAX;
    for (uint64_t i = 0; i < bulk->owner_count; i++)
        bulk->owners[i] = sim_zalloc(sizeof(*bulk->owners[i]));
    bulk->scratch = sim_zalloc((size_t)run->options[VALUE_BYTES]);
}

static const char *prefix_of(struct workload_key *name, uint64_t owner)
{
    snprintf(name->text, sizeof(name->text), "bulk%02llu", (unsigned long long)owner);
    return name->text;
}

static struct bytes last_key(struct workload_key *key, uint64_t owner)
{
    return bytes_of(key->text, (size_t)snprintf(key->text, sizeof(key->text), "bulklast/%02llu", (unsigned long long)owner));
}

static void fill(uint8_t *into, struct content content, uint64_t index)
{
    uint64_t word = content.transaction * UINT64_C(0x9E3779B97F4A7C15) + index;

    for (uint32_t i = 0; i < content.bytes; i++)
        into[i] = (uint8_t)(word >> (i % 57) >> (i / 4096 % 8));
}

static void change_one(struct sim_actor *actor, struct sim_workload_run *run, struct sim_transaction *transaction,
                       uint64_t owner)
{
    struct bulk *bulk = run->state;
    struct owner *self = bulk->owners[owner];
    uint64_t keys = (uint64_t)run->options[KEYS], index = sim_actor_random(actor, keys);
    struct workload_key name, key, other;
    const char *prefix = prefix_of(&name, owner);

    if (sim_actor_random(actor, 4) == 0) {
        uint64_t end = index + 1 + sim_actor_random(actor, sim_actor_random(actor, 8) != 0 && keys - index > 4 ? 4 : keys - index);

        sim_clear_range(transaction, workload_key(&key, prefix, index), workload_key(&other, prefix, end));
        for (; index < end; index++)
            self->next[index] = (struct content){0};
        return;
    }
    self->next[index].transaction = self->transactions;
    self->next[index].bytes = (uint32_t)(sim_actor_random(actor, 2) == 0
                                             ? sim_actor_random(actor, 100)
                                             : 1 + sim_actor_random(actor, (uint64_t)run->options[VALUE_BYTES]));
    fill(bulk->scratch, self->next[index], index);
    sim_set(transaction, workload_key(&key, prefix, index), bytes_of(bulk->scratch, self->next[index].bytes));
    bulk->bytes += self->next[index].bytes;
}

/* Whether the owner's newest transaction is there. */
static bool look_back(struct sim_actor *actor, struct owner *self, uint64_t owner)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct workload_key key;
    struct bytes value;
    uint64_t last = 0;
    bool present = false;
    int error;

    while ((error = sim_get(transaction, last_key(&key, owner), &present, &value)) != 0 && sim_retry(transaction, error))
        ;
    if (error != 0 || (present && !workload_number(value, &last)) || last > self->transactions)
        sim_world_fail(workload_world(actor), "Bulk: the last transaction of %d: %s", (int)owner, error_name(error));
    sim_transaction_destroy(transaction);
    return last == self->transactions;
}

static void bulk_once(struct sim_actor *actor, struct sim_workload_run *run, uint64_t owner)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct bulk *bulk = run->state;
    struct owner *self = bulk->owners[owner];
    bool there = false;
    int error;

    do {
        uint64_t changes = 1 + sim_actor_random(actor, CHANGES_MAX);
        struct workload_key key;
        uint8_t number[8];

        self->transactions++;
        memcpy(self->next, self->keys, sizeof(self->next));
        while (changes-- > 0)
            change_one(actor, run, transaction, owner);
        put_le64(number, self->transactions);
        sim_set(transaction, last_key(&key, owner), bytes_of(number, sizeof(number)));
        error = sim_commit(transaction);
        bulk->unknown += error == ERROR_COMMIT_UNKNOWN_RESULT;
        there = error == 0 || (error == ERROR_COMMIT_UNKNOWN_RESULT && look_back(actor, self, owner));
    } while (!there && sim_retry(transaction, error));
    if (!there)
        sim_world_fail(workload_world(actor), "Bulk: %s", error_name(error));
    memcpy(self->keys, self->next, sizeof(self->keys));
    bulk->committed++;
    sim_transaction_destroy(transaction);
}

static void bulk_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    const struct bulk *bulk = run->state;

    while (actor->index < bulk->owner_count && workload_goes_on(actor, bulk->committed > 0)) {
        bulk_once(actor, run, actor->index);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static void compare(struct sim_actor *actor, struct sim_workload_run *run, uint64_t owner, const struct sim_pair *pairs,
                    size_t count)
{
    struct bulk *bulk = run->state;
    struct workload_key name, key;
    const char *prefix = prefix_of(&name, owner);
    size_t at = 0;

    for (uint64_t index = 0; index < (uint64_t)run->options[KEYS]; index++) {
        struct content content = bulk->owners[owner]->keys[index];
        bool present = at < count && bytes_equal(pairs[at].key, workload_key(&key, prefix, index));

        if (present != (content.transaction != 0)) {
            sim_world_fail(workload_world(actor), "Bulk: key %d of %d is %s", (int)index, (int)owner,
                           present ? "there, but was cleared" : "missing");
            return;
        }
        if (!present)
            continue;
        fill(bulk->scratch, content, index);
        if (!bytes_equal(pairs[at++].value, bytes_of(bulk->scratch, content.bytes)))
            sim_world_fail(workload_world(actor), "Bulk: key %d of %d holds something else", (int)index, (int)owner);
    }
    if (at != count)
        sim_world_fail(workload_world(actor), "Bulk: keys that nobody wrote");
}

static void check_owner(struct sim_actor *actor, struct sim_workload_run *run, uint64_t owner)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    struct workload_key begin, end, name;
    const char *prefix = prefix_of(&name, owner);
    const struct sim_pair *pairs;
    size_t count;
    int error;

    do
        error = sim_get_range(transaction, workload_begin(&begin, prefix), workload_end(&end, prefix), 100, &pairs, &count);
    while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "Bulk: check: %s", error_name(error));
    else
        compare(actor, run, owner, pairs, count);
    sim_transaction_destroy(transaction);
}

static void bulk_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct bulk *bulk = run->state;

    for (uint64_t owner = 0; owner < bulk->owner_count; owner++)
        check_owner(actor, run, owner);
    if (bulk->committed == 0)
        sim_world_fail(workload_world(actor), "Bulk: nothing committed");
    sim_say(workload_world(actor), actor->client->process, "Bulk: %llu committed, %llu unknown, %llu bytes",
            (unsigned long long)bulk->committed, (unsigned long long)bulk->unknown, (unsigned long long)bulk->bytes);
}

static void bulk_done(struct sim_workload_run *run)
{
    struct bulk *bulk = run->state;

    for (uint64_t i = 0; i < bulk->owner_count; i++)
        mem_free(bulk->owners[i]);
    mem_free(bulk->scratch);
}

const struct sim_workload sim_workload_bulk = {
    .name = "Bulk",
    .what = "big values and cleared ranges, written blindly, are exactly what the last transaction left",
    .options = {{"actors", 2, 1, 32}, {"keys", 30, 1, KEYS_MAX}, {"pause-ms", 400, 0, 10000}, {"value-bytes", 100000, 1, 100000}},
    .state_bytes = sizeof(struct bulk),
    .setup = bulk_setup,
    .run = bulk_run,
    .check = bulk_check,
    .done = bulk_done,
};
