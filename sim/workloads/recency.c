/* Recency: a transaction sees every commit acknowledged, and everything that another has read, before it began.
 *
 * Each actor is the only writer of its key, blindly and in increasing numbers; the other actors, in other processes, read all of
 * the keys. All clients live in one program, so "before" is exact. A read version given by an epoch that has ended, or by
 * one that does not know all commits, shows here.
 *
 * A part of the reads takes its version from the client's cache (use_grv_cache). They must see what was known CACHE_US ago, and all
 * that their own client has been told. */
#include "sim/workloads/values.h"

enum option { ACTORS, PAUSE_MS, CACHED_PERCENT };

enum { KEYS_MAX = 64, CLIENTS_MAX = 16, OPTION_USE_GRV_CACHE = 1101 };
enum { CACHE_US = 150000 }; /* versions in the cache serve for 100 ms; a turn may last */

struct recency {
    uint64_t next[KEYS_MAX];  /* the number tried last */
    uint64_t known[KEYS_MAX]; /* acknowledged, or seen by a read that has ended */
    uint64_t told[CLIENTS_MAX][KEYS_MAX];         /* of that, what each client was told */
    uint64_t noted[KEYS_MAX], aged[KEYS_MAX];     /* known, as it was at noted_us, and at least CACHE_US before that */
    int64_t noted_us;
    uint64_t key_count, reads, cached, writes;
};

static const char prefix[] = "recency";

static void recency_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct recency *recency = run->state;

    (void)actor;
    recency->key_count = run->client_count * (uint64_t)run->options[ACTORS];
    if (recency->key_count > KEYS_MAX)
        recency->key_count = KEYS_MAX;
}

/* What `index` had at least at the given moment, by all and by the client. */
static void learn(struct recency *recency, unsigned client, uint64_t index, uint64_t number)
{
    if (recency->known[index] < number)
        recency->known[index] = number;
    if (client < CLIENTS_MAX && recency->told[client][index] < number)
        recency->told[client][index] = number;
}

/* What a read that begins now must see at least. */
static void least(struct sim_actor *actor, struct recency *recency, bool cached, uint64_t ret_numbers[KEYS_MAX])
{
    int64_t now_us = workload_world(actor)->now_us;
    unsigned client = actor->client->index;

    if (now_us - recency->noted_us >= CACHE_US) {
        memcpy(recency->aged, recency->noted, sizeof(recency->aged));
        memcpy(recency->noted, recency->known, sizeof(recency->noted));
        recency->noted_us = now_us;
    }
    memcpy(ret_numbers, cached ? recency->aged : recency->known, sizeof(recency->known));
    for (uint64_t i = 0; cached && client < CLIENTS_MAX && i < recency->key_count; i++)
        if (ret_numbers[i] < recency->told[client][i])
            ret_numbers[i] = recency->told[client][i];
}

static void write_next(struct sim_actor *actor, struct recency *recency, uint64_t index)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    uint64_t number = ++recency->next[index];
    struct workload_key key;
    uint8_t value[8];
    int error;

    put_le64(value, number);
    do {
        sim_set(transaction, workload_key(&key, prefix, index), bytes_of(value, sizeof(value)));
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "Recency: %s", error_name(error));
    learn(recency, actor->client->index, index, number);
    recency->writes++;
    sim_transaction_destroy(transaction);
}

static int read_key(struct sim_actor *actor, struct sim_transaction *transaction, struct recency *recency, uint64_t index,
                    uint64_t known, uint64_t *ret_number)
{
    struct workload_key key;
    struct bytes value;
    bool present;
    int error = sim_get(transaction, workload_key(&key, prefix, index), &present, &value);

    if (error != 0)
        return error;
    *ret_number = 0;
    if (present && !workload_number(value, ret_number))
        sim_world_fail(workload_world(actor), "Recency: key %d is damaged", (int)index);
    if (*ret_number < known)
        sim_world_fail(workload_world(actor), "Recency: key %d reads %llu, but %llu was known before", (int)index,
                       (unsigned long long)*ret_number, (unsigned long long)known);
    if (*ret_number > recency->next[index])
        sim_world_fail(workload_world(actor), "Recency: key %d reads %llu, which nobody wrote", (int)index,
                       (unsigned long long)*ret_number);
    return 0;
}

/* What is known is noted before the read version is asked for: the first read of each attempt does that. */
static int read_some(struct sim_actor *actor, struct sim_transaction *transaction, struct recency *recency, bool cached)
{
    uint64_t known[KEYS_MAX], numbers[KEYS_MAX], first = sim_actor_random(actor, recency->key_count);
    uint64_t count = recency->key_count < 3 ? recency->key_count : 3;
    int error = 0;

    least(actor, recency, cached, known);
    for (uint64_t i = 0; i < count && error == 0; i++) {
        uint64_t index = (first + i) % recency->key_count;

        error = read_key(actor, transaction, recency, index, known[index], &numbers[i]);
    }
    for (uint64_t i = 0; i < count && error == 0; i++)
        learn(recency, actor->client->index, (first + i) % recency->key_count, numbers[i]);
    return error;
}

static void read_once(struct sim_actor *actor, struct recency *recency, int64_t cached_percent)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    bool cached = (int64_t)sim_actor_random(actor, 100) < cached_percent;
    int error;

    if (cached)
        sim_option(transaction, OPTION_USE_GRV_CACHE);
    recency->cached += cached;
    while ((error = read_some(actor, transaction, recency, cached)) != 0 && sim_retry(transaction, error))
        ;
    if (error != 0)
        sim_world_fail(workload_world(actor), "Recency: %s", error_name(error));
    recency->reads++;
    sim_transaction_destroy(transaction);
}

static void recency_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct recency *recency = run->state;

    while (workload_goes_on(actor, recency->writes > 0)) {
        if (actor->index < recency->key_count && sim_actor_random(actor, 3) == 0)
            write_next(actor, recency, actor->index);
        else
            read_once(actor, recency, run->options[CACHED_PERCENT]);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

static void recency_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct recency *recency = run->state;

    for (uint64_t i = 0; i < recency->key_count; i++)
        read_once(actor, recency, 0);
    if (recency->writes == 0)
        sim_world_fail(workload_world(actor), "Recency: nothing committed");
    sim_say(workload_world(actor), actor->client->process, "Recency: %llu writes, %llu reads, %llu of them by versions in the cache",
            (unsigned long long)recency->writes, (unsigned long long)recency->reads, (unsigned long long)recency->cached);
}

const struct sim_workload sim_workload_recency = {
    .name = "Recency",
    .what = "strict serializability: what is acknowledged or was read is seen by whoever begins afterwards",
    .options = {{"actors", 2, 1, 100}, {"pause-ms", 100, 0, 10000}, {"cached-percent", 30, 0, 100}},
    .state_bytes = sizeof(struct recency),
    .setup = recency_setup,
    .run = recency_run,
    .check = recency_check,
};
