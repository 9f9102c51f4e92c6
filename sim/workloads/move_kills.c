/* MoveKills: one kind of process dies each time that a move of a shard has come to one stage. Which two, the seed says.
 *
 * Stages and victims are a table; seed N takes its cell (N - 1) mod the number of cells, so seeds 1, 2, .. enumerate it, and go through
 * it again in other clusters. The moves are the data distributor's own (knob dd_disturb: for no reason). What it and the storage servers
 * trace says where a move is; in the same instant, outside of any turn, the victim is killed, its machine loses power, or it
 * stays away until it is given up. Then the cluster gets time to go on with that move, and another one is struck.
 *
 * The other workloads, the comparison of replicas, the check of the shard map and the quiet cluster (no shard moves or lacks a copy)
 * say whether it was survived. The check here: something was struck at all. */
#include "roles/worker/worker.h"
#include "sim/cluster.h"
#include "sim/faults_internal.h"
#include "sim/workloads/values.h"
#include "txn/key_servers.h"

enum option { ACTORS, STAGE, VICTIM, PAUSE_MS, HOW };

enum stage {
    START_DECIDED,  /* the distributor is about to commit START_MOVE */
    STARTED,        /* it knows that it is committed */
    FETCH_BEGUN,    /* a destination asks for the first chunk */
    HALF_FETCHED,   /* a chunk has come in, and there is more */
    ALL_FETCHED,    /* the last one has */
    DURABLE,        /* a destination says that all of it is on its disk */
    FINISH_DECIDED, /* the distributor is about to commit FINISH_MOVE */
    FINISHED,       /* it knows that it is committed */
    READY_APPLIED,  /* a destination hears that it is the team's */
    NONE_APPLIED,   /* a source hears that it gives the shard up */
    SWEPT,          /* a source begins to clear a slice of what it gave up */
    STAGES,
};
static const char *const stage_names[STAGES] = {
    "START_MOVE is decided", "START_MOVE is committed",  "a fetch begins",           "half is fetched", "all is fetched",
    "all is durable",        "FINISH_MOVE is decided",   "FINISH_MOVE is committed", "READY is heard",  "NONE is heard",
    "a slice is cleared",
};

enum victim { SOURCE, DESTINATION, DISTRIBUTOR, COMMIT_PROXY, GRV_PROXY, SEQUENCER, LOG, VICTIMS };
static const char *const victim_names[VICTIMS] = {"source", "destination", "distributor", "commit proxy", "GRV proxy", "sequencer", "log"};

enum how { HOW_KILL, HOW_POWER_OFF, HOW_AWAY, HOWS };
enum { MOVES_MAX = 64, BEGIN_MAX = 128, AWAY_MIN_US = 12000000, AWAY_MAX_US = 20000000, VALUE_BYTES = 150 };

/* A move that is under way, as the distributor told of it. */
struct seen_move {
    char begin[BEGIN_MAX];
    uint64_t from, to;
    bool finishing; /* FINISH_MOVE may be committed */
};

struct move_kills {
    struct sim_listener listener; /* first */
    struct sim_event strike;      /* the hit, outside of any turn */
    struct sim_faults *faults;
    enum stage stage;
    enum victim victim;
    int64_t how; /* 0: drawn each time; else enum how + 1 */
    bool armed, stopped;
    struct sim_process *process;  /* to be struck */
    struct seen_move moves[MOVES_MAX];
    unsigned next_move;
    char fetching[SIM_MACHINES_MAX][BEGIN_MAX]; /* by process: the newest piece that it was told to fetch */
    uint64_t reached, strikes[HOWS];
};

/* ---- what is known of moves ---- */

static void copy_begin(char out[BEGIN_MAX], struct bytes line)
{
    struct bytes begin = sim_line_text(line, "Begin");

    snprintf(out, BEGIN_MAX, "%.*s", (int)begin.len, (const char *)begin.ptr);
}

static struct seen_move *move_at(struct move_kills *kills, struct bytes line)
{
    char begin[BEGIN_MAX];

    copy_begin(begin, line);
    for (unsigned i = 0; i < MOVES_MAX; i++)
        if (kills->moves[i].to != 0 && strcmp(kills->moves[i].begin, begin) == 0)
            return &kills->moves[i];
    return NULL;
}

static struct seen_move *note_move(struct move_kills *kills, struct bytes line)
{
    struct seen_move *move = move_at(kills, line);
    uint64_t from = 0, to = 0;

    (void)(sim_line_number(line, "From", 16, &from) && sim_line_number(line, "To", 16, &to));
    if (move == NULL)
        move = &kills->moves[kills->next_move++ % MOVES_MAX];
    *move = (struct seen_move){.from = from, .to = to};
    copy_begin(move->begin, line);
    return move;
}

static struct sim_process *host_of(const struct move_kills *kills, uint64_t storage_id)
{
    struct sim_world *world = kills->faults->world;

    for (size_t i = 0; i < world->process_count; i++)
        if ((sim_cluster_role_kinds(world->processes[i]) >> ROLE_STORAGE & 1) != 0 && storage_id != 0 &&
            worker_hosts(world->processes[i]->instance, ROLE_STORAGE, storage_id))
            return world->processes[i];
    return NULL;
}

/* ---- the stage ---- */

/* The stage that this line tells of, and the move's two ends; STAGES: none. */
static enum stage distributor_stage(struct move_kills *kills, struct bytes line, uint64_t *ret_from, uint64_t *ret_to)
{
    static const struct {
        const char *name;
        enum stage stage;
    } told[] = {{"start_decided", START_DECIDED}, {"started", STARTED}, {"finish_decided", FINISH_DECIDED}, {"finished", FINISHED}};
    struct bytes name = sim_line_text(line, "Stage");
    struct seen_move *move = note_move(kills, line);

    *ret_from = move->from;
    *ret_to = move->to;
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++)
        if (bytes_equal(name, bytes_of_string(told[i].name))) {
            move->finishing = told[i].stage >= FINISH_DECIDED;
            return told[i].stage;
        }
    return STAGES;
}

static enum stage chunk_stage(struct move_kills *kills, const struct sim_process *process, struct bytes line, uint64_t *ret_from,
                              uint64_t *ret_to)
{
    char begin[BEGIN_MAX];
    uint64_t last = 0;

    if (!sim_line_number(line, "Source", 16, ret_from) || !sim_line_number(line, "Id", 16, ret_to))
        return STAGES;
    if (sim_line_is(line, "StorageChunkEntered"))
        return sim_line_number(line, "Last", 10, &last) && last != 0 ? ALL_FETCHED : HALF_FETCHED;
    copy_begin(begin, line);
    return strcmp(begin, kills->fetching[process->id]) == 0 ? FETCH_BEGUN : STAGES;
}

/* What a server hears in its own stream, or says of a shard. */
static enum stage shard_stage(struct move_kills *kills, const struct sim_process *process, struct bytes line, uint64_t *ret_from,
                              uint64_t *ret_to)
{
    const struct seen_move *move = move_at(kills, line);
    uint64_t state = UINT64_MAX, id = 0;

    (void)sim_line_number(line, "Id", 16, &id);
    if (move != NULL) {
        *ret_from = move->from;
        *ret_to = move->to;
    }
    if (sim_line_is(line, "StorageShardWhole"))
        return move != NULL && move->to == id ? DURABLE : STAGES;
    (void)sim_line_number(line, "State", 10, &state);
    if (state == SERVER_KEYS_FETCH)
        copy_begin(kills->fetching[process->id], line);
    if (move == NULL || !move->finishing)
        return STAGES;
    if (state == SERVER_KEYS_READY)
        return move->to == id ? READY_APPLIED : STAGES;
    return state == SERVER_KEYS_NONE && move->from == id ? NONE_APPLIED : STAGES;
}

/* A slice says where it begins, and not of which shard: its destination is that of the newest move away from there. */
static enum stage slice_stage(const struct move_kills *kills, struct bytes line, uint64_t *ret_from, uint64_t *ret_to)
{
    if (!sim_line_number(line, "Id", 16, ret_from))
        return STAGES;
    for (unsigned i = 1; i <= MOVES_MAX && *ret_to == 0; i++) {
        const struct seen_move *move = &kills->moves[(kills->next_move + MOVES_MAX - i) % MOVES_MAX];

        *ret_to = move->from == *ret_from ? move->to : 0;
    }
    return SWEPT;
}

static struct sim_process *victim_of(const struct move_kills *kills, uint64_t from, uint64_t to)
{
    static const enum role_kind kinds[VICTIMS] = {[DISTRIBUTOR] = ROLE_DATA_DISTRIBUTOR, [COMMIT_PROXY] = ROLE_COMMIT_PROXY,
                                                  [GRV_PROXY] = ROLE_GRV_PROXY, [SEQUENCER] = ROLE_SEQUENCER, [LOG] = ROLE_LOG};

    if (kills->victim == SOURCE || kills->victim == DESTINATION)
        return host_of(kills, kills->victim == SOURCE ? from : to);
    return fault_host(kills->faults, KIND(kinds[kills->victim]));
}

static void heard(struct sim_listener *listener, struct sim_process *process, struct bytes line)
{
    struct move_kills *kills = container_of(listener, struct move_kills, listener);
    enum stage stage = STAGES;
    uint64_t from = 0, to = 0;

    if (kills->stopped || process->dying)
        return;
    if (sim_line_is(line, "ShardMoveStage"))
        stage = distributor_stage(kills, line, &from, &to);
    else if (sim_line_is(line, "StorageChunkAsked") || sim_line_is(line, "StorageChunkEntered"))
        stage = chunk_stage(kills, process, line, &from, &to);
    else if (sim_line_is(line, "StorageShard") || sim_line_is(line, "StorageShardWhole"))
        stage = shard_stage(kills, process, line, &from, &to);
    else if (sim_line_is(line, "StorageSweeps"))
        stage = slice_stage(kills, line, &from, &to);
    if (stage != kills->stage)
        return;
    kills->reached++;
    if (!kills->armed || sim_event_waiting(&kills->strike))
        return;
    kills->process = victim_of(kills, from, to);
    if (kills->process == NULL || !kills->process->alive)
        return;
    kills->armed = false;
    sim_event_in(kills->faults->world, &kills->strike, 0);
}

/* ---- the hit ---- */

static void strike_fire(struct sim_event *event)
{
    struct move_kills *kills = container_of(event, struct move_kills, strike);
    struct sim_faults *faults = kills->faults;
    enum how how = kills->how != 0 ? (enum how)(kills->how - 1) : (enum how)fault_range(faults, 0, HOWS - 1);

    if (kills->stopped || !kills->process->alive)
        return;
    if (how == HOW_AWAY && !fault_can_spare(faults, kills->process))
        how = HOW_KILL;
    kills->strikes[how]++;
    sim_note_as(faults->world, kills->process, "move-kill", kills->stage, "is struck when %s", stage_names[kills->stage]);
    if (how == HOW_AWAY)
        (void)fault_keep_down(faults, kills->process, SIM_KILL, fault_range(faults, AWAY_MIN_US, AWAY_MAX_US));
    else
        sim_process_stop(kills->process, how == HOW_KILL ? SIM_KILL : SIM_POWER_OFF);
}

/* ---- the workload ---- */

/* A key for each first byte: an empty shard has nothing to be fetched, and leaves nothing to be cleared. Of VALUE_BYTES, so that any two make
 * more than one chunk of the scenario: else the shard map's shard alone was ever half fetched, which may not move when it should. */
static void fill(struct sim_actor *actor)
{
    static const uint8_t value[VALUE_BYTES];
    struct sim_transaction *transaction = sim_transaction_create(actor);
    int error;

    do {
        for (unsigned first = 0; first < 0xff; first++) {
            uint8_t key[] = {(uint8_t)first, 'k', 'i', 'l', 'l'};

            sim_set(transaction, bytes_of(key, sizeof(key)), bytes_of(value, sizeof(value)));
        }
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "MoveKills: setup: %s", error_name(error));
    sim_transaction_destroy(transaction);
}

static void move_kills_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct move_kills *kills = run->state;
    struct sim_world *world = workload_world(actor);
    uint64_t cell = (world->seed - 1) % (STAGES * VICTIMS);

    kills->faults = actor->client->cluster->faults;
    kills->stage = run->options[STAGE] != 0 ? (enum stage)(run->options[STAGE] - 1) : (enum stage)(cell / VICTIMS);
    kills->victim = run->options[VICTIM] != 0 ? (enum victim)(run->options[VICTIM] - 1) : (enum victim)(cell % VICTIMS);
    kills->how = run->options[HOW];
    kills->strike.fire = strike_fire;
    kills->listener.heard = heard;
    list_push_back(&world->listeners, &kills->listener.link);
    fill(actor);
    sim_world_show(world, "when %s, the %s dies", stage_names[kills->stage], victim_names[kills->victim]);
}

static void move_kills_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct move_kills *kills = run->state;

    while (actor->index == 0 && !sim_actor_stopping(actor)) {
        kills->armed = true; /* at once: most shards may move in the first second */
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
    if (actor->index == 0)
        kills->stopped = true;
}

static void move_kills_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    const struct move_kills *kills = run->state;
    struct sim_world *world = workload_world(actor);
    uint64_t strikes = 0;

    for (unsigned how = 0; how < HOWS; how++)
        strikes += kills->strikes[how];
    if (strikes == 0)
        sim_world_fail(world, "MoveKills: no %s was struck when %s, which happened %llu times", victim_names[kills->victim],
                       stage_names[kills->stage], (unsigned long long)kills->reached);
    else
        sim_world_show(world, "when %s, the %s dies: killed %llu times, without power %llu times, away for long %llu times",
                       stage_names[kills->stage], victim_names[kills->victim], (unsigned long long)kills->strikes[HOW_KILL],
                       (unsigned long long)kills->strikes[HOW_POWER_OFF], (unsigned long long)kills->strikes[HOW_AWAY]);
}

const struct sim_workload sim_workload_move_kills = {
    .name = "MoveKills",
    .what = "each of source, destination, distributor, proxies, sequencer, logs dies at each stage of a move",
    .options = {{"actors", 1, 1, 1}, {"stage", 0, 0, STAGES}, {"victim", 0, 0, VICTIMS}, {"pause-ms", 5000, 0, 100000},
                {"how", 0, 0, HOWS}},
    .state_bytes = sizeof(struct move_kills),
    .setup = move_kills_setup,
    .run = move_kills_run,
    .check = move_kills_check,
};
