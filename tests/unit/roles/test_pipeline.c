/* The stateless roles together under BUGGIFY: late stages, lost answers, batches of one, messages encoded or handed over.
 *
 * Clients increment counters, each in a transaction that read the counter at its read version; some of them change metadata
 * too. What the logs hold is the truth: at the end every counter is the number of acknowledged increments, each log has the
 * same versions in one chain, and at no time did anybody hear of a commit that a read version did not cover. */
#include "sim/buggify.h"
#include "sim/faults.h"
#include "tests/unit/roles/pipeline.h"

enum { CLIENTS = 12, KEYS = 5, ROUNDS = 40 };

struct client {
    struct op op;
    struct world *world;
    struct rpc_call call;
    struct wait_timer pause;
    unsigned number, rounds, key;
    version_t read_version;
};

struct world {
    struct pipeline p;
    struct client clients[CLIENTS];
    unsigned acknowledged[KEYS], unknown[KEYS]; /* unknown: the answer was lost */
    unsigned running, conflicts, old;
    version_t newest_acknowledged;
};

/* The counter's value in log `log` at `version`: the test's storage server. */
static unsigned counter_at(const struct fake_log *log, unsigned key, version_t version)
{
    unsigned value = 0;

    for (unsigned i = 0; i < log->push_count; i++) {
        const struct push *push = log->pushes[i]->body;

        for (uint32_t s = 0; s < push->sections_count && push->version <= version; s++) {
            struct bytes cursor = push->sections[s].mutations;
            struct mutation mutation;

            while (mutation_next(&cursor, &mutation) == 0)
                if (mutation.type == MUTATION_SET && mutation.param1.len == 1 && mutation.param1.ptr[0] == 'c' + 4 * key)
                    value = get_le32(mutation.param2.ptr);
        }
    }
    return value;
}

/* keys c, g, k, o, s: in all resolvers' parts and both shards. Tag 1 is on logs 1 and 0, tag 2 on 2 and 0. */
static struct message *increment(struct client *client, unsigned value)
{
    struct bytes_buffer table = {0};
    uint8_t packed[4];
    char key[2] = {(char)('c' + 4 * client->key), 0};
    unsigned flags = 0;
    struct message *message;

    put_le32(packed, value);
    mutation_append(&table, MUTATION_SET, bytes_of_string(key), bytes_of(packed, 4));
    if (client->rounds % 7 == 0) { /* a shard that comes and goes, always with a server that holds it */
        static const uint64_t both[] = {1, 2};

        put_shard(&table, client->rounds % 2 ? "e" : "q", 2, both);
        flags = COMMIT_ACCESS_SYSTEM;
    }
    message = commit_of(client->read_version, flags, bytes_buffer_bytes(&table), key, key);
    bytes_buffer_done(&table);
    return message;
}

enum { GET_READ_VERSION, READ_AND_COMMIT, HEAR };

static void call(struct client *client, uint64_t endpoint, struct message *message)
{
    struct endpoint to = pipeline_endpoint(&client->world->p, endpoint);

    rpc_call_start(&client->call, &client->op, client->world->p.rpc, &to, message, 0);
}

static enum op_result get_read_version(struct op *op)
{
    struct client *client = container_of(op, struct client, op);
    struct message *message;

    if (client->rounds == ROUNDS)
        return op_finish(op, 0);
    client->key = (unsigned)env_random_below(op->env, KEYS);
    MESSAGE_NEW(get_read_version, &message);
    client->read_version = client->world->newest_acknowledged; /* of before the request */
    call(client, ID_GRV, message);
    return op_wait(op, READ_AND_COMMIT);
}

static bool is_lost(int error)
{
    return error == ERROR_CONNECTION_FAILED || error == ERROR_REQUEST_MAYBE_DELIVERED;
}

static enum op_result read_and_commit(struct op *op)
{
    struct client *client = container_of(op, struct client, op);
    const struct get_read_version_reply *reply;

    if (client->call.error != 0) {
        cr_assert(is_lost(client->call.error) || client->call.error == ERROR_GRV_PROXY_MEMORY_LIMIT_EXCEEDED, "%d",
                  client->call.error);
        wait_timer_start(&client->pause, op, 10000);
        return op_wait(op, GET_READ_VERSION);
    }
    reply = MESSAGE_BODY(get_read_version_reply, client->call.reply);
    cr_assert_geq(reply->version, client->read_version); /* covers all that was acknowledged before */
    client->read_version = reply->version;
    call(client, ID_PROXY + env_random_below(op->env, client->world->p.proxies),
         increment(client, counter_at(&client->world->p.logs[0], client->key, client->read_version) + 1));
    return op_wait(op, HEAR);
}

static enum op_result hear(struct op *op)
{
    struct client *client = container_of(op, struct client, op);
    struct world *world = client->world;

    if (client->call.error == 0) {
        version_t version = MESSAGE_BODY(commit_reply, client->call.reply)->version;

        world->acknowledged[client->key]++;
        client->rounds++;
        world->newest_acknowledged = version > world->newest_acknowledged ? version : world->newest_acknowledged;
    } else if (is_lost(client->call.error)) {
        world->unknown[client->key] += client->call.error == ERROR_REQUEST_MAYBE_DELIVERED;
    } else if (client->call.error != ERROR_COMMIT_PROXY_MEMORY_LIMIT_EXCEEDED) {
        cr_assert(client->call.error == ERROR_NOT_COMMITTED || client->call.error == ERROR_TRANSACTION_TOO_OLD, "%d",
                  client->call.error);
        world->conflicts += client->call.error == ERROR_NOT_COMMITTED;
        world->old += client->call.error == ERROR_TRANSACTION_TOO_OLD;
    }
    wait_timer_start(&client->pause, op, (int64_t)env_random_below(op->env, client->world->p.spread ? 600000 : 3000));
    return op_wait(op, GET_READ_VERSION);
}

static void client_ended(struct op *op)
{
    struct client *client = container_of(op, struct client, op);

    rpc_call_clear(&client->call);
    client->world->running--;
}

static const struct op_stage stages[] = {
    [GET_READ_VERSION] = {"GET_READ_VERSION", get_read_version, OP_STAGE(READ_AND_COMMIT)},
    [READ_AND_COMMIT] = {"READ_AND_COMMIT", read_and_commit, OP_STAGE(HEAR) | OP_STAGE(GET_READ_VERSION)},
    [HEAR] = {"HEAR", hear, OP_STAGE(GET_READ_VERSION)},
};
static const struct op_type client_type = {"client", stages, 3, READY_COMMIT, client_ended};

static bool someone_runs(void *ctx)
{
    return ((struct world *)ctx)->running > 0;
}

/* All logs have the same versions (each checked its own chain), and the sections of a tag are equal on its logs. */
static void check_logs(struct world *world)
{
    struct pipeline *p = &world->p;

    for (unsigned i = 1; i < LOGS; i++)
        cr_assert_eq(p->logs[i].end, p->logs[0].end);
    for (unsigned n = 0; n < p->logs[0].push_count; n++) {
        version_t version = MESSAGE_BODY(push, p->logs[0].pushes[n])->version;

        for (tag_t tag = 1; tag <= 2; tag++) {
            struct bytes_buffer one = fake_log_of_tag(&p->logs[0], version, tag);
            struct bytes_buffer other = fake_log_of_tag(&p->logs[tag], version, tag);

            cr_assert(bytes_equal(bytes_buffer_bytes(&one), bytes_buffer_bytes(&other)));
            bytes_buffer_done(&one);
            bytes_buffer_done(&other);
        }
    }
}

static void first_commit(struct world *world)
{
    struct ask ask;

    world->newest_acknowledged = ((const struct commit_reply *)ask_now(&world->p, &ask, ID_PROXY, commit_set("x", "")))->version;
    ask_clear(&ask);
}

static void start_clients(struct world *world)
{
    first_commit(world);
    for (unsigned i = 0; i < CLIENTS; i++) {
        world->clients[i].world = world;
        world->clients[i].number = i;
        world->running++;
        op_start(&world->clients[i].op, &client_type, &world->p.ops);
    }
}

static void check_counters(struct world *world, uint64_t seed)
{
    unsigned total = 0;

    cr_assert_eq(world->running, 0, "seed %d: it hangs", (int)seed);
    cr_assert_eq(world->p.ended_count, 0, "seed %d: a role ended: %d", (int)seed, world->p.ended_error);
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned value = counter_at(&world->p.logs[0], i, VERSION_MAX);

        cr_assert_geq(value, world->acknowledged[i], "seed %d", (int)seed);
        cr_assert_leq(value, world->acknowledged[i] + world->unknown[i], "seed %d", (int)seed);
        total += world->acknowledged[i];
    }
    cr_assert_eq(total, CLIENTS * ROUNDS);
}

/* The number of the newest partition of the key space among the resolvers. */
static unsigned newest_partition(const struct sequencer *sequencer)
{
    struct role_status status = {0};
    struct arena arena = {0};
    unsigned number = 0;

    sequencer_status(sequencer, &status, &arena);
    for (uint32_t i = 0; i < status.metrics_count; i++)
        if (bytes_equal(status.metrics[i].name, BYTES_LITERAL("resolver_partition")))
            number = (unsigned)status.metrics[i].value;
    arena_done(&arena);
    return number;
}

/* How often BUGGIFY fired. `moving`: the resolvers' ranges change all the time, and *ret_partition says how often. */
static uint64_t run(uint64_t seed, bool encoded, bool moving, unsigned *ret_partition)
{
    struct world *world = mem_zalloc(sizeof(*world));
    struct bytes_buffer metadata = two_servers();
    uint64_t fired;

    pipeline_init(&world->p, seed, 1 + seed % 3, 1 + seed / 3 % 3, bytes_buffer_bytes(&metadata));
    bytes_buffer_done(&metadata);
    world->p.env->knobs.rpc_encode_local = encoded;
    if (moving) {
        world->p.env->knobs.resolver_balance_interval_us = 5000;
        world->p.env->knobs.resolver_balance_disturb = 1;
    }
    sim_world_buggify(world->p.world);
    world->p.world->buggify->face.spares_lives = true;
    world->p.env->buggify = &world->p.world->buggify->face; /* the process was there before */
    start_clients(world);
    sim_world_run_while(world->p.world, someone_runs, world, 600 * SIM_SECOND_US);
    cr_assert_not(world->p.world->failed, "seed %d: %s", (int)seed, world->p.world->why);
    check_counters(world, seed);
    pipeline_run(&world->p, 5 * SIM_SECOND_US);
    check_logs(world);
    fired = sim_buggify_fired(world->p.world->buggify);
    *ret_partition = newest_partition(world->p.sequencer);
    pipeline_done(&world->p);
    mem_free(world);
    return fired;
}

/* Four processes, and everything that a network and slow machines do short of killing one. How many answers were lost. */
static unsigned run_spread(uint64_t seed)
{
    static const enum sim_fault_class classes[] = {FAULT_CLOG, FAULT_SWIZZLE, FAULT_PARTITION, FAULT_DROP, FAULT_PAUSE,
                                                   FAULT_SLOW_CPU, FAULT_LATENCY, FAULT_BIT_FLIP, FAULT_CLOCK};
    struct world *world = mem_zalloc(sizeof(*world));
    struct bytes_buffer metadata = two_servers();
    struct sim_faults faults;
    unsigned unknown = 0;

    pipeline_init_spread(&world->p, seed, 1 + seed % 3, 1 + seed / 3 % 3, bytes_buffer_bytes(&metadata));
    bytes_buffer_done(&metadata);
    sim_faults_init(&faults, world->p.world);
    for (int class = 0; class < FAULT_CLASSES; class++)
        faults.want[class] = SWITCH_OFF;
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        faults.want[classes[i]] = SWITCH_DRAW;
    faults.want[FAULT_DROP] = SWITCH_ON;
    sim_world_buggify(world->p.world);
    world->p.world->buggify->face.spares_lives = true;
    for (int i = 0; i < NODES; i++) {
        world->p.nodes[i].process->server = true;
        if (seed % 2 == 1)
            world->p.nodes[i].process->env.buggify = &world->p.world->buggify->face;
    }
    start_clients(world);
    sim_faults_start(&faults, 20 * SIM_SECOND_US);
    sim_world_run_until(world->p.world, world->p.world->now_us + 20 * SIM_SECOND_US);
    sim_faults_heal(&faults);
    sim_world_run_while(world->p.world, someone_runs, world, world->p.world->now_us + 60 * SIM_SECOND_US);
    cr_assert_not(world->p.world->failed, "seed %d: %s", (int)seed, world->p.world->why);
    check_counters(world, seed);
    pipeline_run(&world->p, 5 * SIM_SECOND_US);
    check_logs(world);
    pipeline_done(&world->p);
    for (int i = 0; i < KEYS; i++)
        unknown += world->unknown[i];
    mem_free(world);
    return unknown;
}

Test(pipeline, increments_are_exact_whatever_comes_late)
{
    uint64_t fired = 0;
    unsigned partition;

    for (uint64_t seed = 0; seed < 30; seed++)
        fired += run(seed, false, false, &partition);
    cr_assert_gt(fired, 1000);
}

Test(pipeline, increments_are_exact_when_messages_are_encoded)
{
    uint64_t fired = 0;
    unsigned partition;

    for (uint64_t seed = 30; seed < 45; seed++)
        fired += run(seed, true, false, &partition);
    cr_assert_gt(fired, 1000);
}

Test(pipeline, increments_are_exact_while_the_ranges_of_resolvers_change)
{
    unsigned changes = 0, partition;

    for (uint64_t seed = 3; seed < 33; seed++) {
        run(seed, seed % 2 == 0, true, &partition);
        changes += partition - 1;
        cr_assert(seed / 3 % 3 > 0 || partition == 1); /* one resolver keeps what it has */
    }
    cr_assert_gt(changes, 50);
}

Test(pipeline, no_connection_that_breaks_loses_or_repeats_a_commit)
{
    unsigned unknown = 0;

    for (uint64_t seed = 0; seed < 20; seed++)
        unknown += run_spread(seed);
    cr_assert_gt(unknown, 20);
}
