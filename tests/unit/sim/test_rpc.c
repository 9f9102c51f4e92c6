/* The rpc in the simulated world: whatever the network does, an answer is the one to its question, calls end, and nothing is
 * left behind. */
#include <criterion/criterion.h>

#include "net/error.h"
#include "net/mem.h"
#include "net/rpc.h"
#include "sim/faults.h"
#include "txn/messages.h"

#define FIELDS_question(F, S, A, L) F(u64, number) F(bytes, payload)
#define FIELDS_answer(F, S, A, L) F(u64, number) F(bytes, payload)
SCHEMA_DECLARE(question)
SCHEMA_DECLARE(answer)
#define SELF struct question
SCHEMA_DEFINE(question, fields_question)
#undef SELF
#define SELF struct answer
SCHEMA_DEFINE(answer, fields_answer)
#undef SELF

static const struct message_type type_answer = {.id = 11, .name = "answer", .schema = &schema_answer, .senders = SENDER_ANY};
static const struct message_type type_question = {
    .id = 10, .name = "question", .schema = &schema_question, .reply = &type_answer, .senders = SENDER_ANY};
/* As a client's commit: nothing in it would tell that it came twice. */
static const struct message_type type_commit = {
    .id = MESSAGE_commit, .name = "commit", .schema = &schema_question, .reply = &type_answer, .senders = SENDER_ANY};
static const struct message_type *const types[] = {[10] = &type_question, [11] = &type_answer, [MESSAGE_commit] = &type_commit};

enum { PEERS = 4, CALLERS = 4, ECHO = 100, TIMEOUT_US = 3000000 };

struct tally {
    struct address addresses[PEERS];
    uint64_t asked[2], heard[2]; /* [1]: commits */
    uint64_t answered, failed, bad_frames;
};

struct peer {
    struct env *env;
    struct rpc *rpc;
    struct op_list ops;
    struct tally *tally;
    struct caller {
        struct op op;
        struct peer *peer;
        struct rpc_call call;
        struct wait_timer pause;
        struct endpoint to;
        uint64_t number;
        uint32_t payload_bytes;
        int64_t asked_us;
    } callers[CALLERS];
};

static void answer_question(void *ctx, struct rpc_request *request)
{
    const struct question *question = request->message->body;
    struct message *reply = message_create(&type_answer);
    struct answer *answer = reply->body;

    ((struct tally *)ctx)->heard[request->message->type == &type_commit]++;
    answer->number = question->number * 3;
    answer->payload = question->payload;
    message_keep(reply, request->message);
    rpc_reply(request, reply);
}

enum stage { ASK, HEAR };

static enum op_result ask(struct op *op)
{
    struct caller *caller = container_of(op, struct caller, op);
    bool commits = env_random(op->env) & 1;
    struct message *message = message_create(commits ? &type_commit : &type_question);
    struct question *question = message->body;
    uint8_t *payload;

    caller->number = env_random(op->env) >> 8;
    caller->payload_bytes = (uint32_t)env_random_below(op->env, env_random_below(op->env, 10) == 0 ? 50000 : 100);
    payload = arena_alloc(&message->arena, caller->payload_bytes + 1);
    memset(payload, (int)(caller->number & 0xff), caller->payload_bytes);
    question->number = caller->number;
    question->payload = bytes_of(payload, caller->payload_bytes);
    caller->to = (struct endpoint){caller->peer->tally->addresses[env_random_below(op->env, PEERS)], ECHO};
    caller->asked_us = op->env->turn_us;
    caller->peer->tally->asked[commits]++;
    rpc_call_start(&caller->call, op, caller->peer->rpc, &caller->to, message, TIMEOUT_US);
    return op_wait(op, HEAR);
}

static void check_answer(struct caller *caller)
{
    const struct answer *answer = caller->call.reply->body;
    bool good = answer->number == caller->number * 3 && answer->payload.len == caller->payload_bytes;

    for (size_t i = 0; good && i < answer->payload.len; i++)
        good = answer->payload.ptr[i] == (uint8_t)caller->number;
    if (!good)
        sim_world_fail(sim_process_of(caller->peer->env)->world, "the answer to another question, or a damaged one");
}

static enum op_result hear(struct op *op)
{
    struct caller *caller = container_of(op, struct caller, op);

    if (caller->call.error == 0)
        check_answer(caller);
    caller->peer->tally->answered += caller->call.error == 0;
    caller->peer->tally->failed += caller->call.error != 0;
    rpc_call_clear(&caller->call);
    wait_timer_start(&caller->pause, op, (int64_t)env_random_below(op->env, 20000));
    return op_wait(op, ASK);
}

static void ended(struct op *op)
{
    rpc_call_clear(&container_of(op, struct caller, op)->call);
}

static const struct op_stage stages[] = {
    [ASK] = {"ASK", ask, OP_STAGE(HEAR)},
    [HEAR] = {"HEAR", hear, OP_STAGE(ASK)},
};
static const struct op_type caller_type = {"caller", stages, 2, READY_READ, ended};

static int peer_start(struct sim_process *process, void *ctx)
{
    struct rpc_options options = {.public_address = process->address, .types = types, .type_count = MESSAGE_commit + 1};
    struct peer *peer = mem_zalloc(sizeof(*peer));
    int error;

    process->instance = peer;
    peer->env = &process->env;
    peer->tally = ctx;
    op_list_init(&peer->ops, peer->env, peer);
    error = rpc_create(peer->env, &options, &peer->rpc);
    if (error == 0)
        error = rpc_listen(peer->rpc);
    rpc_register(peer->rpc, ECHO, answer_question, ctx);
    for (int i = 0; i < CALLERS; i++) {
        peer->callers[i].peer = peer;
        op_start(&peer->callers[i].op, &caller_type, &peer->ops);
    }
    return error;
}

static void peer_kill(struct sim_process *process, void *ctx)
{
    struct peer *peer = process->instance;

    (void)ctx;
    op_cancel_all(&peer->ops);
    peer->tally->bad_frames += rpc_counters(peer->rpc)->bad_frames + rpc_counters(peer->rpc)->bad_hash;
    rpc_unregister(peer->rpc, ECHO);
    rpc_destroy(peer->rpc);
    mem_free(peer);
}

static const struct sim_program peer_program = {peer_start, peer_kill};

struct result {
    struct tally tally;
    uint64_t answered_after_heal, hash;
};

static void boot_peers(struct sim_world *world, struct tally *tally)
{
    for (unsigned i = 0; i < PEERS; i++) {
        char name[16];

        snprintf(name, sizeof(name), "peer%u", i);
        sim_process_create(world, name, i, 4500, &peer_program, tally)->server = true;
        tally->addresses[i] = world->processes[i]->address;
    }
    for (unsigned i = 0; i < PEERS; i++)
        sim_process_boot(world->processes[i]);
}

static struct result traced_run(uint64_t seed, enum sim_switch faults_wanted, FILE *trace)
{
    struct sim_world *world = sim_world_create(seed);
    struct result result = {0};
    struct sim_faults faults;

    if (trace != NULL)
        sim_trace_start(world, trace);
    sim_faults_init(&faults, world);
    for (int class = 0; class < FAULT_CLASSES; class++)
        faults.want[class] = faults_wanted;
    boot_peers(world, &result.tally);
    sim_faults_start(&faults, 60 * SIM_SECOND_US);
    sim_world_run_until(world, 60 * SIM_SECOND_US);
    sim_faults_heal(&faults);
    sim_world_run_until(world, 65 * SIM_SECOND_US);
    result.answered_after_heal = result.tally.answered;
    sim_world_run_until(world, 67 * SIM_SECOND_US);
    result.answered_after_heal = result.tally.answered - result.answered_after_heal;
    cr_assert_not(world->failed, "seed %d at %f s: %s", (int)seed, (double)world->now_us / 1e6, world->why);
    result.hash = world->hash;
    sim_trace_end(world);
    sim_world_destroy(world);
    return result;
}

static struct result rough_run(uint64_t seed, enum sim_switch faults_wanted)
{
    return traced_run(seed, faults_wanted, NULL);
}

Test(rpc, answers_are_right_and_go_on_after_the_heal_whatever_broke)
{
    for (uint64_t seed = 0; seed < 8; seed++) {
        struct result result = rough_run(seed, seed % 2 == 0 ? SWITCH_DRAW : SWITCH_ON);

        cr_assert_gt(result.answered_after_heal, 500, "seed %d: %d", (int)seed, (int)result.answered_after_heal);
    }
}

Test(rpc, flipped_bits_are_detected_and_counted)
{
    uint64_t bad_frames = 0;

    for (uint64_t seed = 0; seed < 4; seed++)
        bad_frames += rough_run(seed, SWITCH_ON).tally.bad_frames;
    cr_assert_gt(bad_frames, 0);
}

Test(rpc, the_same_seed_gives_the_same_hash)
{
    cr_assert_eq(rough_run(5, SWITCH_DRAW).hash, rough_run(5, SWITCH_DRAW).hash);
}

Test(rpc, nothing_fails_in_a_healthy_world)
{
    struct result result = rough_run(1, SWITCH_OFF);

    cr_assert_eq(result.tally.failed, 0);
    cr_assert_gt(result.tally.answered, 50000);
}

/* Also not those that wait for the connection, and leave together with its hello. */
Test(rpc, a_commit_never_comes_twice_and_other_questions_do)
{
    struct sim_world *world = sim_world_create(3);
    struct tally tally = {0};

    world->settings.duplicate_one_in = 1;
    boot_peers(world, &tally);
    sim_world_run_until(world, 2 * SIM_SECOND_US);
    cr_assert_gt(tally.answered, 500);
    cr_assert_gt(tally.heard[0], tally.asked[0]);
    cr_assert_leq(tally.heard[1], tally.asked[1]);
    sim_world_destroy(world);
}

/* Words of the lines of a trace by their numbers: '>' a send, '<' a receipt, and so on. */
enum { TRACE_LINES_MAX = 1000000 };

static size_t read_trace(FILE *in, char *words)
{
    static char line[4096];
    size_t count = 0, sent = 0, copied = 0, arrived = 0;

    rewind(in);
    while (fgets(line, sizeof(line), in) != NULL) {
        unsigned long number, cause;
        char name[32], word;

        cr_assert_eq(sscanf(line, "[%*f] #%lu <%lu%*[,0-9] %31s %c", &number, &cause, name, &word) == 4 ||
                         sscanf(line, "[%*f] #%lu <%lu %31s %c", &number, &cause, name, &word) == 4, true, "%s", line);
        cr_assert_eq(number, ++count);
        cr_assert_lt(cause, number, "%s", line);
        cr_assert_lt(count, TRACE_LINES_MAX);
        words[count] = word;
        /* What arrives was sent; only a copy that a fault made follows from bytes alone. */
        sent += word == '<' && words[cause] == '>';
        copied += word == '<' && words[cause] == 'r';
        arrived += word == '<';
    }
    cr_assert_eq(sent + copied, arrived);
    cr_assert_gt(sent, 9 * copied);
    return count;
}

Test(rpc, a_trace_changes_nothing_and_each_line_follows_from_an_earlier_one)
{
    char *words = mem_zalloc(TRACE_LINES_MAX);
    FILE *trace = tmpfile();

    cr_assert_eq(traced_run(6, SWITCH_ON, trace).hash, rough_run(6, SWITCH_ON).hash);
    cr_assert_gt(read_trace(trace, words), 10000);
    fclose(trace);
    mem_free(words);
}
