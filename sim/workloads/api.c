/* ApiCorrectness: everything that a client can ask, against a model that the actor keeps. FuzzApi: everything that it must not ask.
 *
 * Each actor of ApiCorrectness owns a part of the key space, and one key more that says which of its transactions was the last: after
 * an unknown result it looks there, so its model always says what the database holds. */
#include "net/mem.h"
#include "sim/workloads/values.h"

enum option { ACTORS, KEYS, PAUSE_MS, OPERATIONS };

enum { KEYS_MAX = 100, OWNERS_MAX = 64, TEXT = 16 };

struct owner {
    uint64_t transactions;
    uint64_t now[KEYS_MAX];  /* the number that a key holds; 0: it is not there */
    uint64_t next[KEYS_MAX]; /* as the transaction under way sees it */
};

struct api {
    struct owner *owners[OWNERS_MAX]; /* owned */
    uint64_t owner_count, committed, unknown, reads, values;
};

struct caller {
    struct sim_actor *actor;
    struct sim_workload_run *run;
    struct api *api;
    struct owner *self;
    struct sim_transaction *transaction;
    char prefix[TEXT];
    uint64_t keys;
};

static void api_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct api *api = run->state;

    (void)actor;
    api->owner_count = run->client_count * (uint64_t)run->options[ACTORS];
    if (api->owner_count > OWNERS_MAX)
        api->owner_count = OWNERS_MAX;
    for (uint64_t i = 0; i < api->owner_count; i++)
        api->owners[i] = sim_zalloc(sizeof(*api->owners[i]));
}

static void wrong(struct caller *caller, const char *call, uint64_t index)
{
    sim_world_fail(workload_world(caller->actor), "ApiCorrectness: %s of %s/%d: not what the model says", call, caller->prefix,
                   (int)index);
}

static uint64_t draw(struct caller *caller, uint64_t below)
{
    return sim_actor_random(caller->actor, below);
}

/* ---- writes ---- */

static void do_set(struct caller *caller)
{
    uint64_t index = draw(caller, caller->keys);
    struct workload_key key;
    uint8_t number[8];

    caller->self->next[index] = ++caller->api->values;
    put_le64(number, caller->self->next[index]);
    sim_set(caller->transaction, workload_key(&key, caller->prefix, index), bytes_of(number, sizeof(number)));
}

static void do_add(struct caller *caller)
{
    uint64_t index = draw(caller, caller->keys), more = 1 + draw(caller, 5);
    struct workload_key key;

    caller->self->next[index] += more; /* a missing one is zero */
    sim_add(caller->transaction, workload_key(&key, caller->prefix, index), more);
}

static void do_clear(struct caller *caller)
{
    uint64_t index = draw(caller, caller->keys), end = index + 1 + draw(caller, caller->keys - index);
    struct workload_key key, last;

    sim_clear_range(caller->transaction, workload_key(&key, caller->prefix, index), workload_key(&last, caller->prefix, end));
    for (; index < end; index++)
        caller->self->next[index] = 0;
}

/* ---- reads ---- */

static int do_get(struct caller *caller)
{
    uint64_t index = draw(caller, caller->keys), number = 0;
    struct workload_key key;
    struct bytes value;
    bool present;
    int error = draw(caller, 3) == 0
                    ? sim_get_snapshot(caller->transaction, workload_key(&key, caller->prefix, index), &present, &value)
                    : sim_get(caller->transaction, workload_key(&key, caller->prefix, index), &present, &value);

    if (error == 0 && (present != (caller->self->next[index] != 0) ||
                       (present && (!workload_number(value, &number) || number != caller->self->next[index]))))
        wrong(caller, "get", index);
    return error;
}

/* The next key that is there, in the direction, from `index` on inside of [low, high); high when there is none. */
static uint64_t next_present(const struct caller *caller, uint64_t low, uint64_t high, uint64_t skip, bool reverse)
{
    for (uint64_t i = low; i < high; i++) {
        uint64_t index = reverse ? high - 1 - (i - low) : i;

        if (caller->self->next[index] != 0 && skip-- == 0)
            return index;
    }
    return high;
}

static int do_range(struct caller *caller)
{
    uint64_t low = draw(caller, caller->keys), high = low + 1 + draw(caller, caller->keys - low);
    bool limited = draw(caller, 2) != 0;
    struct sim_range range = {.limit = limited ? (uint32_t)(1 + draw(caller, 10)) : 0};
    struct workload_key begin, end, key;
    int error;

    range.reverse = draw(caller, 2) != 0;
    range.snapshot = draw(caller, 3) == 0;
    error = sim_read_range(caller->transaction, workload_key(&begin, caller->prefix, low),
                           workload_key(&end, caller->prefix, high), &range);
    for (size_t i = 0; error == 0 && i < range.count; i++) {
        uint64_t index = next_present(caller, low, high, i, range.reverse), number = 0;

        if (index == high || !bytes_equal(range.pairs[i].key, workload_key(&key, caller->prefix, index)) ||
            !workload_number(range.pairs[i].value, &number) || number != caller->self->next[index])
            wrong(caller, "range", low);
    }
    if (error == 0 && !range.more && next_present(caller, low, high, range.count, range.reverse) != high)
        wrong(caller, "the end of a range", low);
    if (error == 0 && range.limit != 0 && range.count > range.limit)
        wrong(caller, "the limit of a range", low);
    return error;
}

static int do_operation(struct caller *caller)
{
    caller->api->reads++;
    switch (draw(caller, 6)) {
    case 0:
        do_set(caller);
        return 0;
    case 1:
        do_clear(caller);
        return 0;
    case 2:
        do_add(caller);
        return 0;
    case 3:
    case 4:
        return do_get(caller);
    default:
        return do_range(caller);
    }
}

/* ---- transactions ---- */

static struct bytes last_key(struct workload_key *key, const char *prefix)
{
    return bytes_of(key->text, (size_t)snprintf(key->text, sizeof(key->text), "apilast/%s", prefix));
}

/* Whether the newest transaction is there. */
static bool look_back(struct caller *caller)
{
    struct sim_transaction *transaction = sim_transaction_create(caller->actor);
    struct workload_key key;
    struct bytes value;
    uint64_t last = 0;
    bool present = false;
    int error;

    while ((error = sim_get(transaction, last_key(&key, caller->prefix), &present, &value)) != 0 && sim_retry(transaction, error))
        ;
    if (error != 0 || (present && !workload_number(value, &last)) || last > caller->self->transactions)
        sim_world_fail(workload_world(caller->actor), "ApiCorrectness: the last transaction of %s: %s", caller->prefix,
                       error_name(error));
    sim_transaction_destroy(transaction);
    return last == caller->self->transactions;
}

static int attempt(struct caller *caller)
{
    uint64_t operations = 1 + draw(caller, (uint64_t)caller->run->options[OPERATIONS]);
    struct workload_key key;
    uint8_t number[8];
    int error = 0;

    caller->self->transactions++;
    memcpy(caller->self->next, caller->self->now, sizeof(caller->self->next));
    for (; operations > 0 && error == 0; operations--)
        error = do_operation(caller);
    if (error != 0)
        return error;
    put_le64(number, caller->self->transactions);
    sim_set(caller->transaction, last_key(&key, caller->prefix), bytes_of(number, sizeof(number)));
    return sim_commit(caller->transaction);
}

static void api_once(struct caller *caller)
{
    bool there;
    int error;

    caller->transaction = sim_transaction_create(caller->actor);
    do {
        error = attempt(caller);
        caller->api->unknown += error == ERROR_COMMIT_UNKNOWN_RESULT;
        there = error == 0 || (error == ERROR_COMMIT_UNKNOWN_RESULT && look_back(caller));
    } while (!there && sim_retry(caller->transaction, error));
    if (!there)
        sim_world_fail(workload_world(caller->actor), "ApiCorrectness: %s", error_name(error));
    memcpy(caller->self->now, caller->self->next, sizeof(caller->self->now));
    caller->api->committed++;
    sim_transaction_destroy(caller->transaction);
}

static void api_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct api *api = run->state;
    struct caller caller = {.actor = actor, .run = run, .api = api, .keys = (uint64_t)run->options[KEYS]};

    if (actor->index >= api->owner_count)
        return;
    caller.self = api->owners[actor->index];
    snprintf(caller.prefix, sizeof(caller.prefix), "api%02u", actor->index);
    while (!sim_actor_stopping(actor)) {
        api_once(&caller);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

/* A last transaction of each owner, after everything. */
static void api_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct api *api = run->state;

    for (uint64_t i = 0; i < api->owner_count; i++) {
        struct caller caller = {.actor = actor, .run = run, .api = api, .self = api->owners[i], .keys = (uint64_t)run->options[KEYS]};

        snprintf(caller.prefix, sizeof(caller.prefix), "api%02u", (unsigned)i);
        for (int times = 0; times < 5; times++)
            api_once(&caller);
    }
    sim_say(workload_world(actor), actor->client->process, "ApiCorrectness: %llu committed, %llu unknown, %llu operations",
            (unsigned long long)api->committed, (unsigned long long)api->unknown, (unsigned long long)api->reads);
}

static void api_done(struct sim_workload_run *run)
{
    struct api *api = run->state;

    for (uint64_t i = 0; i < api->owner_count; i++)
        mem_free(api->owners[i]);
}

const struct sim_workload sim_workload_api_correctness = {
    .name = "ApiCorrectness",
    .what = "sets, clears, additions, gets and range reads of all kinds, against a model",
    .options = {{"actors", 2, 1, 32}, {"keys", 30, 4, KEYS_MAX}, {"pause-ms", 200, 0, 10000}, {"operations", 12, 1, 1000}},
    .state_bytes = sizeof(struct api),
    .setup = api_setup,
    .run = api_run,
    .check = api_check,
    .done = api_done,
};
