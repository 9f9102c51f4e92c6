/* The phases of a run. */
#include "sim/run.h"

#include <assert.h>
#include <inttypes.h>

#include "net/error.h"
#include "net/mem.h"
#include "roles/worker/worker.h"
#include "sim/buggify.h"
#include "sim/cluster.h"
#include "sim/describe.h"
#include "sim/lies/lies.h"
#include "sim/loss.h"
#include "sim/survivors.h"
#include "sim/transaction.h"
#include "sim/workload.h"

/* A start reads each segment of each epoch that has not been drained, and there are many starts and many epochs. */
enum { SEGMENT_BYTES = 1 << 20 };

enum { SETUP_LIMIT_S = 120, CHECK_LIMIT_S = 120, POLL_US = 10000, CALM_US = 1000000, LIE_PATIENCE_S = 40, FAR_US_MAX = 30000, STREAM_FAR = 102 };

struct run {
    const struct scenario *scenario;
    struct sim_world *world;
    struct sim_cluster cluster;
    struct sim_faults faults;
    struct lies lies;
    struct sim_loss loss;
    struct sim_workload_run workloads[SCENARIO_WORKLOADS_MAX];
    struct sim_consistency_part parts[SIM_CONSISTENCY_PARTS];
    struct sim_actor *configures, *excludes; /* the newest that the faults asked for; NULL: none yet */
    int64_t healed_us;
};

/* ---- before the world ---- */

static uint64_t draw_knob(void *ctx)
{
    return sim_random_u64(ctx);
}

static bool decide(struct sim_world *world, enum sim_switch wanted)
{
    bool drawn = sim_random_coin(&world->knobs_random);

    return wanted == SWITCH_DRAW ? drawn : wanted == SWITCH_ON;
}

/* Those that the seed or the scenario set, a line each. */
static void say_knobs(struct sim_world *world)
{
    const char *name, *why;
    int64_t value;

    for (size_t i = 0; (name = knobs_describe(i, &value, &why)) != NULL; i++)
        if (knobs_value(&world->knobs, i) != value)
            sim_say(world, NULL, "knob %s = %" PRId64, name, knobs_value(&world->knobs, i));
}

static void set_knobs(struct run *run)
{
    const struct scenario *scenario = run->scenario;

    run->world->knobs.log_segment_bytes = SEGMENT_BYTES;
    if (decide(run->world, scenario->randomize_knobs))
        knobs_randomize(&run->world->knobs, draw_knob, &run->world->knobs_random);
    for (size_t i = 0; i < scenario->knob_count; i++) {
        int error = knobs_set(&run->world->knobs, bytes_of_string(scenario->knobs[i].name),
                              bytes_of_string(scenario->knobs[i].value));

        assert(error == 0);
    }
    if (scenario->lie.type != NULL)
        run->world->knobs.rpc_encode_local = 2; /* whatever is sent can be lied about */
    say_knobs(run->world);
}

/* Some ways are longer than others, for good: what is sent first on one of them arrives after what follows from it on the rest. */
static void set_far_paths(struct run *run)
{
    struct sim_random random = sim_random_stream(run->world->seed, STREAM_FAR);
    struct sim_settings *settings = &run->world->settings;
    bool drawn = sim_random_coin(&random);
    enum sim_switch wanted = run->scenario->far_paths;

    if (wanted == SWITCH_OFF || (wanted == SWITCH_DRAW && !drawn))
        return;
    settings->far_one_in = (unsigned)sim_random_range(&random, 2, 8);
    settings->far_us = sim_random_range(&random, 1000, FAR_US_MAX);
    settings->far_salt = sim_random_u64(&random);
}

/* Every seed has its own network and disks, healthy but different. */
static void set_world(struct run *run)
{
    struct sim_random *random = &run->world->knobs_random;
    struct sim_settings *settings = &run->world->settings;

    settings->latency_us = sim_random_range(random, 50, 800);
    settings->latency_tail = (unsigned)sim_random_range(random, 100, 2000);
    settings->latency_tail_us = sim_random_range(random, 2000, 50000);
    settings->window_bytes = (size_t)1 << sim_random_range(random, 14, 22);
    settings->sync_us = sim_random_range(random, 80, 3000);
    settings->job_us = sim_random_range(random, 100, 3000);
    settings->restart_us = sim_random_range(random, 100000, 5 * SIM_SECOND_US);
    set_far_paths(run);
}

static void run_init(struct run *run, const struct scenario *scenario, const struct sim_run_options *options)
{
    *run = (struct run){.scenario = scenario, .world = sim_world_create(options->seed)};
    if (options->trace != NULL)
        sim_trace_start(run->world, options->trace);
    run->world->meter.cpu_ns = options->cpu_ns;
    run->world->describe = sim_describe_frame;
    run->world->describe_process = sim_describe_roles;
    set_knobs(run);
    set_world(run);
    sim_world_buggify(run->world);
    run->world->buggify->quiet = !decide(run->world, scenario->buggify);
    run->world->buggify->mute = options->mute;
    sim_faults_init(&run->faults, run->world);
    run->faults.role_kinds = sim_cluster_role_kinds;
    memcpy(run->faults.want, scenario->faults, sizeof(run->faults.want));
    memcpy(run->faults.only, scenario->strikes, sizeof(run->faults.only));
}

static void run_done(struct run *run)
{
    sim_faults_heal(&run->faults);
    lies_done(&run->lies);
    sim_world_destroy(run->world);
    sim_cluster_done(&run->cluster);
    for (size_t i = 0; i < run->scenario->workload_count; i++) {
        struct sim_workload_run *workload = &run->workloads[i];

        if (workload->state != NULL && workload->type->done != NULL)
            workload->type->done(workload);
        mem_free(workload->state);
    }
}

/* ---- phases ---- */

static bool actors_busy(void *ctx)
{
    struct run *run = ctx;

    for (unsigned i = 0; i < run->cluster.client_count; i++)
        if (!sim_client_idle(&run->cluster.clients[i]))
            return true;
    return lies_busy(&run->lies);
}

/* Runs until every actor has returned; `what` names the phase that hangs otherwise. */
static bool wait_for_actors(struct run *run, int64_t limit_us, const char *what)
{
    struct sim_world *world = run->world;
    int64_t began_us = world->now_us;

    if (limit_us > run->scenario->time_limit_us - began_us)
        limit_us = run->scenario->time_limit_us - began_us;
    sim_say(world, NULL, "phase: %s", what);
    sim_world_run_while(world, actors_busy, run, began_us + limit_us);
    sim_set_cause(world, 0);
    if (!world->failed && actors_busy(run))
        sim_world_fail(world, "it hangs: %s took longer than %d s", what, (int)((world->now_us - began_us) / SIM_SECOND_US));
    return !world->failed;
}

static void setup_main(struct sim_actor *actor, void *arg)
{
    struct sim_workload_run *workload = arg;

    workload->type->setup(actor, workload);
}

static void run_main(struct sim_actor *actor, void *arg)
{
    struct sim_workload_run *workload = arg;

    workload->type->run(actor, workload);
}

static void check_main(struct sim_actor *actor, void *arg)
{
    struct sim_workload_run *workload = arg;

    workload->type->check(actor, workload);
}

/* A commit, however long it takes: the scenario's limit says how long that may be. */
static void commit_main(struct sim_actor *actor, void *arg)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    int error;

    (void)arg;
    do {
        sim_set(transaction, BYTES_LITERAL("healed"), BYTES_LITERAL("yes"));
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry_anew(actor, &transaction, error));
    if (error != 0)
        sim_world_fail(actor->client->world, "the commit after the heal failed: %s", error_name(error));
    sim_transaction_destroy(transaction);
}

static bool set_up(struct run *run)
{
    struct sim_client *first = &run->cluster.clients[0];

    sim_actor_start(first, 0, sim_cluster_configure, &run->cluster);
    if (!wait_for_actors(run, SETUP_LIMIT_S * SIM_SECOND_US, "configure new"))
        return false;
    for (size_t i = 0; i < run->scenario->workload_count; i++) {
        struct sim_workload_run *workload = &run->workloads[i];

        workload->type = run->scenario->workloads[i].type;
        workload->options = run->scenario->workloads[i].options;
        workload->client_count = run->cluster.client_count;
        workload->state = sim_zalloc(workload->type->state_bytes + 1);
        sim_actor_start(first, 0, setup_main, workload);
    }
    return wait_for_actors(run, SETUP_LIMIT_S * SIM_SECOND_US, "setting up the workloads");
}

/* For the faults: one change at a time. */
static void reconfigure(void *ctx)
{
    struct run *run = ctx;

    if (run->configures == NULL || run->configures->ended)
        run->configures = sim_actor_start(&run->cluster.clients[0], 0, sim_cluster_reconfigure, &run->cluster);
}

/* For the faults: one server at a time. */
static bool exclude(void *ctx, struct sim_process *process, int64_t lasts_us)
{
    struct run *run = ctx;

    if ((run->excludes != NULL && !run->excludes->ended) || !sim_cluster_may_exclude(&run->cluster, process))
        return false;
    run->cluster.out = process;
    run->cluster.out_us = lasts_us;
    run->excludes = sim_actor_start(&run->cluster.clients[0], 0, sim_cluster_exclude, &run->cluster);
    return true;
}

/* For the faults: one coordinator at a time, whoever else replaces some. */
static bool replace(void *ctx, struct sim_process *process, uint64_t leaves)
{
    struct run *run = ctx;

    if (!sim_cluster_may_join(&run->cluster, process))
        return false;
    sim_replacement_begin(&run->cluster.replacement, &run->cluster, process, leaves % run->cluster.coordinator_count);
    sim_actor_start(&run->cluster.clients[0], 0, sim_cluster_replace_coordinator, &run->cluster);
    return true;
}

static bool others_suffice(const void *ctx, const struct sim_process *process)
{
    return sim_survivors_may_lose(ctx, process);
}

static uint64_t living_log(const void *ctx, const struct sim_process *process)
{
    return sim_survivors_living_log(ctx, process);
}

/* What the faults may take from this cluster. */
static void set_faults(struct run *run)
{
    struct sim_faults *faults = &run->faults;

    run->cluster.faults = faults;
    faults->zones_may_lose = run->cluster.redundancy - 1;
    faults->coordinators_may_lose = (unsigned)(run->cluster.coordinator_count - 1) / 2;
    faults->others_suffice = others_suffice;
    faults->living_log = living_log;
    faults->others_ctx = &run->cluster;
    faults->configure = reconfigure;
    faults->exclude = exclude;
    faults->replace = replace;
    faults->operator_ctx = run;
    for (size_t i = 0; i < run->scenario->workload_count; i++) { /* which check that nobody else does it */
        if (run->scenario->workloads[i].type == &sim_workload_configure)
            faults->configure = NULL;
        if (run->scenario->workloads[i].type == &sim_workload_configure || run->scenario->workloads[i].type == &sim_workload_remove_servers)
            faults->exclude = NULL;
    }
}

static void start_workloads(struct run *run)
{
    for (size_t i = 0; i < run->scenario->workload_count; i++) {
        struct sim_workload_run *workload = &run->workloads[i];

        for (unsigned client = 0; client < run->cluster.client_count; client++)
            for (unsigned actor = 0; actor < workload->options[0]; actor++)
                sim_actor_start(&run->cluster.clients[client], client * (unsigned)workload->options[0] + actor, run_main,
                                workload);
    }
}

/* From the heal on, shards move for a reason only, so that the cluster comes to rest. */
static void calm_distributors(struct sim_world *world)
{
    world->knobs.dd_disturb = 0;
    for (size_t i = 0; i < world->process_count; i++)
        world->processes[i]->env.knobs.dd_disturb = 0;
}

static bool chaos(struct run *run)
{
    struct sim_world *world = run->world;

    sim_say(world, NULL, "phase: chaos");
    sim_faults_start(&run->faults, run->scenario->duration_us);
    start_workloads(run);
    lies_begin(&run->lies);
    sim_loss_plan(&run->loss, &run->cluster, run->scenario);
    if (!sim_world_run_until(world, world->now_us + run->scenario->duration_us))
        return false;
    for (int second = 0; second < LIE_PATIENCE_S && lies_unanswered(&run->lies); second++)
        if (!sim_world_run_until(world, world->now_us + SIM_SECOND_US))
            return false;
    if (decide(world, run->scenario->survivors))
        sim_survivors_draw(&run->cluster);
    lies_heal(&run->lies);
    calm_distributors(run->world);
    sim_faults_heal(&run->faults);
    return !world->failed;
}

/* The workloads are told to stop first: their actors end when what they have under way has ended. */
static bool heal(struct run *run)
{
    struct sim_actor *actor = sim_actor_start(&run->cluster.clients[0], 0, commit_main, NULL);
    struct sim_world *world = run->world;
    int64_t limit_us = world->now_us + run->scenario->recovery_limit_us;

    run->healed_us = world->now_us;
    run->cluster.stopping = true;
    while (!actor->ended && !world->failed && world->now_us < limit_us)
        sim_world_run_until(world, world->now_us + POLL_US);
    sim_set_cause(world, 0);
    if (!actor->ended)
        sim_world_fail(world, "no commit within %d s after the heal", (int)(run->scenario->recovery_limit_us / SIM_SECOND_US));
    return !world->failed;
}

/* Nothing more is asked of the cluster than to be honest about it. */
static void end_in_loss(struct run *run)
{
    struct sim_actor *trying = sim_actor_start(&run->cluster.clients[0], 0, sim_loss_try, &run->loss), *asking;
    struct sim_world *world = run->world;
    int64_t limit_us = world->now_us + run->scenario->recovery_limit_us;

    run->cluster.stopping = true;
    while (!trying->ended && !world->failed && world->now_us < limit_us)
        sim_world_run_until(world, world->now_us + POLL_US);
    asking = sim_actor_start(&run->cluster.clients[0], 0, sim_loss_ask, &run->loss);
    limit_us = world->now_us + run->scenario->quiet_limit_us;
    while (!asking->ended && !world->failed && world->now_us < limit_us)
        sim_world_run_until(world, world->now_us + POLL_US);
    sim_set_cause(world, 0);
    sim_loss_judge(&run->loss);
}

/* And stays so for a moment: who has just been asked for something, more copies say, may not have heard of it yet. */
static bool become_quiet(struct run *run)
{
    struct sim_world *world = run->world;
    int64_t limit_us = run->healed_us + run->scenario->quiet_limit_us, unrest_us;
    const char *why = NULL;

    if (!wait_for_actors(run, limit_us - world->now_us, "ending the workloads"))
        return false;
    unrest_us = world->now_us;
    while (!world->failed && world->now_us < limit_us) {
        why = sim_cluster_unrest(&run->cluster);
        if (why == NULL && world->now_us - unrest_us >= CALM_US)
            break;
        unrest_us = why != NULL ? world->now_us : unrest_us;
        sim_world_run_until(world, world->now_us + POLL_US);
    }
    sim_set_cause(world, 0);
    if (why != NULL)
        sim_world_fail(world, "not quiet within %d s after the heal: %s",
                       (int)(run->scenario->quiet_limit_us / SIM_SECOND_US), why);
    return !world->failed;
}

static bool check(struct run *run)
{
    struct sim_client *first = &run->cluster.clients[0];

    for (size_t i = 0; i < run->scenario->workload_count; i++)
        sim_actor_start(first, 0, check_main, &run->workloads[i]);
    if (!wait_for_actors(run, CHECK_LIMIT_S * SIM_SECOND_US, "the checks of the workloads"))
        return false;
    for (unsigned i = 0; i < SIM_CONSISTENCY_PARTS; i++) {
        run->parts[i] = (struct sim_consistency_part){&run->cluster, i};
        sim_actor_start(first, i, sim_cluster_check_consistency, &run->parts[i]);
    }
    if (!wait_for_actors(run, CHECK_LIMIT_S * SIM_SECOND_US, "the consistency check"))
        return false;
    sim_actor_start(first, 0, sim_cluster_check_shard_map, &run->cluster);
    if (!wait_for_actors(run, CHECK_LIMIT_S * SIM_SECOND_US, "the check of the shard map"))
        return false;
    sim_actor_start(first, 0, sim_cluster_check_metadata, &run->cluster);
    return wait_for_actors(run, CHECK_LIMIT_S * SIM_SECOND_US, "the check of the metadata");
}

static void judge(struct run *run)
{
    if (run->loss.struck && sim_loss_is_beyond(&run->loss)) {
        end_in_loss(run);
        return;
    }
    if (heal(run) && become_quiet(run) && check(run) && run->loss.of != LOSS_OF_NOTHING)
        sim_world_fail(run->world, "a loss beyond the limit was called for, and everything is there");
}

/* "metric PROCESS ROLE NAME VALUE", tabs between. */
static void write_metrics(const char *process, const char *role, const struct metric *metrics, uint32_t count, FILE *out)
{
    for (uint32_t i = 0; i < count; i++)
        fprintf(out, "metric\t%s\t%s\t%.*s\t%" PRId64 "\n", process, role, (int)metrics[i].name.len,
                (const char *)metrics[i].name.ptr, metrics[i].value);
}

/* What every server that lives would tell `status`. */
static void report_metrics(const struct sim_world *world, FILE *out)
{
    for (size_t p = 0; p < world->process_count; p++) {
        struct sim_process *process = world->processes[p];
        struct get_worker_status_reply status = {0};
        struct arena arena = {0};

        if (!process->server || !process->alive || process->exiting || process->instance == NULL)
            continue;
        worker_status(process->instance, &arena, &status);
        write_metrics(process->name, "process", status.metrics, status.metrics_count, out);
        for (uint32_t i = 0; i < status.roles_count; i++)
            write_metrics(process->name, role_kind_name((enum role_kind)status.roles[i].kind), status.roles[i].metrics,
                          status.roles[i].metrics_count, out);
        arena_done(&arena);
    }
}

static void write_report(const struct run *run, bool well, FILE *out)
{
    sim_faults_report(&run->faults, out);
    sim_buggify_report(run->world->buggify, out);
    if (!well)
        report_metrics(run->world, out);
}

void sim_run(const struct scenario *scenario, const struct sim_run_options *options, struct sim_run_result *ret_result)
{
    struct run run;
    struct sim_world *world;
    bool well;

    run_init(&run, scenario, options);
    world = run.world;
    if (options->watch != NULL)
        options->watch(world);
    sim_cluster_start(&run.cluster, world, scenario);
    lies_init(&run.lies, &scenario->lie, &run.cluster);
    set_faults(&run);
    if (set_up(&run) && chaos(&run))
        judge(&run);
    well = lies_judge(&run.lies);
    if (!well && world->trace != NULL) {
        sim_describe_actors(&run.cluster);
        sim_trace_end(world);
    }
    if (options->report != NULL)
        write_report(&run, well, options->report);
    *ret_result = (struct sim_run_result){
        .ok = well,
        .hash = world->hash,
        .simulated_s = (double)world->now_us / 1e6,
        .events = world->events,
        .turns = world->turns,
    };
    memcpy(ret_result->why, world->why, sizeof(ret_result->why));
    memcpy(ret_result->shown, world->shown, sizeof(ret_result->shown));
    memcpy(ret_result->lost, run.loss.statement, sizeof(ret_result->lost));
    sim_faults_print(&run.faults, ret_result->faults, sizeof(ret_result->faults));
    run_done(&run);
    if (options->watch != NULL)
        options->watch(NULL);
}
