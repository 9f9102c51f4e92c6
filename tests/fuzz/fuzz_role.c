/* A stateful target a role: FUZZ_ROLE names it. See stage.h. */
#include "net/mem.h"
#include "roles/commit_proxy/commit_proxy.h"
#include "roles/controller/controller.h"
#include "roles/coordinator/coordinator.h"
#include "roles/distributor/distributor.h"
#include "roles/grv_proxy/grv_proxy.h"
#include "roles/log/log.h"
#include "roles/ratekeeper/ratekeeper.h"
#include "roles/resolver/resolver.h"
#include "roles/sequencer/sequencer.h"
#include "roles/storage/storage.h"
#include "roles/worker/worker.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/stage.h"
#include "txn/log_system.h"

#define ROLE_sequencer 1
#define ROLE_grv_proxy 2
#define ROLE_commit_proxy 3
#define ROLE_resolver 4
#define ROLE_log 5
#define ROLE_storage 6
#define ROLE_coordinator 7
#define ROLE_controller 8
#define ROLE_worker 9
#define ROLE_distributor 10
#define ROLE_ratekeeper 11
#define PASTE(a, b) a##b
#define NUMBER(name) PASTE(ROLE_, name)
#define IS(number) (NUMBER(FUZZ_ROLE) == (number))

/* The shapes that all recruited roles share. */
#define RECRUITED(name, type)                                                                                     \
    static int create(const struct role_context *context, struct rpc_request *request, void **ret_role)          \
    {                                                                                                             \
        struct type *role = NULL;                                                                                 \
        int error = name##_create(context, request, &role);                                                      \
                                                                                                                  \
        *ret_role = role;                                                                                         \
        return error;                                                                                             \
    }                                                                                                             \
    static void stop(struct stage *stage)                                                                         \
    {                                                                                                             \
        name##_destroy(stage->role);                                                                              \
    }                                                                                                             \
    static void status(struct stage *stage, struct role_status *out, struct arena *arena)                         \
    {                                                                                                             \
        name##_status(stage->role, out, arena);                                                                   \
    }

#define extra NULL
#define OWN_RPC false
#define ENDPOINT STAGE_ROLE

#if IS(1)
#define KIND ROLE_SEQUENCER
RECRUITED(sequencer, sequencer)
static const uint16_t types[] = {MESSAGE_get_commit_version, MESSAGE_report_committed, MESSAGE_get_committed};

static void start(struct stage *stage)
{
    struct message *message;
    struct init_sequencer *init = MESSAGE_NEW(init_sequencer, &message);

    *init = (struct init_sequencer){.epoch = 1, .role_id = STAGE_ROLE, .recovery_version = STAGE_VERSION};
    stage_recruit(stage, message, create);
}

#elif IS(2)
#define KIND ROLE_GRV_PROXY
RECRUITED(grv_proxy, grv_proxy)
static const uint16_t types[] = {MESSAGE_get_read_version};

static void start(struct stage *stage)
{
    struct message *message;
    struct init_grv_proxy *init = MESSAGE_NEW(init_grv_proxy, &message);

    *init = (struct init_grv_proxy){.epoch = 1, .role_id = STAGE_ROLE, .sequencer = stage_at(STAGE_PEER + 2), .logs = stage_generation(stage)};
    stage_recruit(stage, message, create);
}

#elif IS(3)
#define KIND ROLE_COMMIT_PROXY
RECRUITED(commit_proxy, commit_proxy)
static const uint16_t types[] = {MESSAGE_commit, MESSAGE_commit, MESSAGE_get_key_locations, MESSAGE_get_settings};

static void start(struct stage *stage)
{
    struct role_ref resolvers[2] = {{.kind = ROLE_RESOLVER, .endpoint = stage_at(STAGE_PEER + 3)},
                                    {.kind = ROLE_RESOLVER, .endpoint = stage_at(STAGE_PEER + 4), .begin = BYTES_LITERAL("k")}};
    struct message *message;
    struct init_commit_proxy *init = MESSAGE_NEW(init_commit_proxy, &message);

    *init = (struct init_commit_proxy){.epoch = 1, .role_id = STAGE_ROLE, .sequencer = stage_at(STAGE_PEER + 2),
                                       .resolvers = resolvers, .resolvers_count = 1 + feed_below(&stage->feed, 2),
                                       .logs = stage_generation(stage), .recovery_version = STAGE_VERSION, .proxy_count = 1,
                                       .metadata = stage_metadata(stage)};
    if (feed_byte(&stage->feed) >= 0x80)
        init->metadata = feed_mutations(&stage->feed, &stage->arena);
    stage_recruit(stage, message, create);
}

#elif IS(4)
#define KIND ROLE_RESOLVER
RECRUITED(resolver, resolver)
static const uint16_t types[] = {MESSAGE_resolve};

static void start(struct stage *stage)
{
    struct message *message;
    struct init_resolver *init = MESSAGE_NEW(init_resolver, &message);

    *init = (struct init_resolver){.epoch = 1, .role_id = STAGE_ROLE, .recovery_version = STAGE_VERSION, .proxy_count = 2};
    stage_recruit(stage, message, create);
}

#elif IS(5)
#define KIND ROLE_LOG
RECRUITED(log_server, log_server)
static const uint16_t types[] = {MESSAGE_push, MESSAGE_push, MESSAGE_peek, MESSAGE_pop, MESSAGE_lock_log, MESSAGE_get_metadata,
                                 MESSAGE_confirm_epoch, MESSAGE_push};

static void start(struct stage *stage)
{
    struct message *message;
    struct init_log *init = MESSAGE_NEW(init_log, &message);
    struct log_ref self = {stage_at(STAGE_ROLE), BYTES_LITERAL("a")};

    *init = (struct init_log){.epoch = 1, .role_id = STAGE_ROLE, .begin = STAGE_VERSION};
    init->generation = (struct generation){1, STAGE_VERSION, VERSION_MAX, 1, &self, 1};
    stage_recruit(stage, message, create);
}

#elif IS(6)
#define KIND ROLE_STORAGE
RECRUITED(storage_server, storage_server)
static const uint16_t types[] = {MESSAGE_get_values, MESSAGE_get_range, MESSAGE_watch, MESSAGE_get_range_metrics,
                                 MESSAGE_fetch_range, MESSAGE_get_shard_progress, MESSAGE_get_shard_loads, MESSAGE_get_shard_split,
                                 MESSAGE_get_range_digest};

static void start(struct stage *stage)
{
    struct message *message;
    struct init_storage *init = MESSAGE_NEW(init_storage, &message);

    *init = (struct init_storage){.server_id = STAGE_ROLE, .tag = 1, .engine = ENGINE_MEMORY, .version = STAGE_VERSION};
    stage_recruit(stage, message, create);
}

static void describe(struct stage *stage)
{
    struct description d;

    stage_description(stage, &d);
    if (feed_byte(&stage->feed) >= 0x60)
        feed_body(&stage->feed, &schema_description, &stage->arena, &d);
    if (!log_system_description_is_sound(&d))
        return; /* the worker refuses it */
    storage_server_described(stage->role, &d);
}
#undef extra
#define extra describe

#elif IS(7)
#define KIND ROLE_COORDINATOR
#undef ENDPOINT
#define ENDPOINT ENDPOINT_COORDINATOR
static const uint16_t types[] = {MESSAGE_raft_wire, MESSAGE_coordinator_create, MESSAGE_coordinator_change, MESSAGE_get_leader,
                                 MESSAGE_read_state, MESSAGE_lock_state, MESSAGE_write_state, MESSAGE_raft_wire};

static void leading(void *host, uint64_t term)
{
    ((struct stage *)host)->term = term;
    feed_saw(&((struct stage *)host)->feed, term);
}

static void lost(void *host)
{
    (void)host;
}

static void cluster_known(void *host, struct uid cluster)
{
    struct stage *stage = host;

    feed_saw(&stage->feed, cluster.high);
    feed_saw(&stage->feed, cluster.low);
    rpc_set_cluster_id(stage->rpc, cluster);
}

static void members_changed(void *host, const struct coordinator_member *members, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        feed_saw(&((struct stage *)host)->feed, members[i].member);
}

static const struct coordinator_callbacks callbacks = {leading, lost, cluster_known, members_changed};

static void found(struct stage *stage)
{
    struct coordinator_member members[3];
    struct message *message;
    struct coordinator_create *m = MESSAGE_NEW(coordinator_create, &message);
    struct endpoint to = {stage_address(), ENDPOINT_COORDINATOR};

    for (uint32_t i = 0; i < 3; i++)
        members[i] = (struct coordinator_member){100 + i, {stage_address().ip + i, stage_address().port}};
    *m = (struct coordinator_create){1, 2, members, feed_below(&stage->feed, 2) == 0 ? 1 : 3};
    struct message *seen = NULL;

    assert(message_copy_body(message->type->schema, m, &message->arena, m) == 0);
    seen = message;
    rpc_send(stage->rpc, &to, seen);
    fuzz_env_run(stage->fuzz, 4, 1000);
}

static void start(struct stage *stage)
{
    struct coordinator *coordinator = NULL;

    (void)coordinator_create(&stage->context, &callbacks, &coordinator);
    stage->role = coordinator;
    if (coordinator != NULL && feed_byte(&stage->feed) < 0xc0)
        found(stage);
}

/* It goes and comes back. */
static void restart(struct stage *stage)
{
    struct coordinator *coordinator = NULL;

    coordinator_destroy(stage->role);
    fuzz_env_run(stage->fuzz, 3, 10);
    assert(coordinator_create(&stage->context, &callbacks, &coordinator) == 0);
    stage->role = coordinator;
}

static void stop(struct stage *stage)
{
    coordinator_destroy(stage->role);
}

static void status(struct stage *stage, struct role_status *out, struct arena *arena)
{
    coordinator_status(stage->role, out, arena);
}
#undef extra
#define extra restart

#elif IS(8)
#define KIND ROLE_CONTROLLER
#undef ENDPOINT
#define ENDPOINT ENDPOINT_CONTROLLER
static const uint16_t types[] = {MESSAGE_register_worker, MESSAGE_register_worker, MESSAGE_get_description,
                                 MESSAGE_create_database, MESSAGE_get_status, MESSAGE_storage_durable, MESSAGE_get_workers,
                                 MESSAGE_storage_servers};

static void start(struct stage *stage)
{
    struct controller *controller = NULL;

    if (feed_byte(&stage->feed) >= 0xa0)
        feed_body(&stage->feed, &schema_coordinated_state, &stage->arena, &stage->state);
    else if (feed_byte(&stage->feed) >= 0x80)
        stage->state = (struct coordinated_state){.cluster_high = 1, .cluster_low = 2}; /* no database yet */
    (void)controller_create(&stage->context, 1, &controller);
    stage->role = controller;
}

static void stop(struct stage *stage)
{
    controller_destroy(stage->role);
}

static void status(struct stage *stage, struct role_status *out, struct arena *arena)
{
    controller_status(stage->role, out, arena);
}

/* A worker that can host all. */
static void worker_comes(struct stage *stage)
{
    struct endpoint to = {stage_address(), ENDPOINT_CONTROLLER};
    struct message *message;
    struct register_worker *m = MESSAGE_NEW(register_worker, &message);
    struct hosted_role roles[2] = {{.kind = ROLE_LOG, .id = STAGE_PEER, .epoch = 1, .locked = true},
                                   {.kind = ROLE_STORAGE, .id = STAGE_PEER, .tag = 1, .version = STAGE_VERSION}};
    uint64_t draw = feed_raw(&stage->feed, 1);
    struct message *seen = NULL;

    *m = (struct register_worker){.address = {stage_address().ip, stage_address().port}, .worker_id = 1 + draw % 3,
                                  .zone = BYTES_LITERAL("a"), .machine = BYTES_LITERAL("a"), .roles = roles,
                                  .roles_count = (uint32_t)(draw >> 4) % 3, .sequence = ++stage->next_request};
    assert(message_copy_body(message->type->schema, m, &message->arena, m) == 0);
    seen = message;
    rpc_send(stage->rpc, &to, seen);
}
#undef extra
#define extra worker_comes

#elif IS(9)
#define KIND ROLE_NONE
#undef ENDPOINT
#define ENDPOINT 0
#undef OWN_RPC
#define OWN_RPC true
static const uint16_t types[] = {
    MESSAGE_init_sequencer, MESSAGE_init_grv_proxy, MESSAGE_init_commit_proxy, MESSAGE_init_resolver, MESSAGE_init_log,
    MESSAGE_init_storage, MESSAGE_get_worker_status, MESSAGE_reboot_process, MESSAGE_coordinator_create, MESSAGE_get_leader,
    MESSAGE_read_state, MESSAGE_lock_state, MESSAGE_write_state, MESSAGE_register_worker, MESSAGE_get_description,
    MESSAGE_create_database, MESSAGE_get_status, MESSAGE_raft_wire, MESSAGE_push, MESSAGE_commit, MESSAGE_get_values,
    MESSAGE_get_read_version, MESSAGE_resolve, MESSAGE_get_commit_version, MESSAGE_get_range, MESSAGE_watch,
    MESSAGE_get_range_metrics, MESSAGE_get_workers, MESSAGE_get_key_locations, MESSAGE_peek, MESSAGE_pop, MESSAGE_lock_log,
    MESSAGE_get_metadata, MESSAGE_confirm_epoch, MESSAGE_report_committed, MESSAGE_get_committed, MESSAGE_storage_durable,
    MESSAGE_init_data_distributor, MESSAGE_init_ratekeeper, MESSAGE_coordinator_join, MESSAGE_storage_servers,
    MESSAGE_get_settings, MESSAGE_fetch_range,
    MESSAGE_get_shard_progress, MESSAGE_get_shard_loads, MESSAGE_get_shard_split, MESSAGE_storage_load, MESSAGE_log_load,
    MESSAGE_proxy_load, MESSAGE_get_range_digest};

/* It is a coordinator, or there is one elsewhere. */
static void start(struct stage *stage)
{
    struct address coordinators[2] = {stage_address(), {stage_address().ip + 1, stage_address().port}};
    unsigned which = feed_below(&stage->feed, 2);
    struct worker_options options = {.data_directory = "data", .public_address = stage_address(),
                                     .coordinators = &coordinators[which], .coordinator_count = 1,
                                     .machine = BYTES_LITERAL("m"), .command_line = BYTES_LITERAL("c"), .pid = 1};
    struct endpoint to = {stage_address(), ENDPOINT_COORDINATOR};
    struct coordinator_member member = {100, {stage_address().ip, stage_address().port}};
    struct message *message, *seen = NULL;
    struct coordinator_create *m;
    struct worker *worker = NULL;
    char why[200];

    assert(worker_create(stage->env, &options, &worker, why, sizeof(why)) == 0);
    stage->role = worker;
    if (which != 0 || feed_below(&stage->feed, 2) != 0)
        return;
    m = MESSAGE_NEW(coordinator_create, &message);
    *m = (struct coordinator_create){1, 2, &member, 1};
    assert(message_copy_body(message->type->schema, m, &message->arena, m) == 0);
    seen = message;
    rpc_send(worker_rpc(worker), &to, seen);
    fuzz_env_run(stage->fuzz, 30, 50000);
}

static void stop(struct stage *stage)
{
    worker_destroy(stage->role);
}

static void status(struct stage *stage, struct role_status *out, struct arena *arena)
{
    (void)stage;
    (void)out;
    (void)arena;
}

#else
/* They live beside the epoch, and follow its descriptions. */
#if IS(10)
#define KIND ROLE_DATA_DISTRIBUTOR
RECRUITED(distributor, distributor)
#define DESCRIBED distributor_described
#define NEW_INIT(ret_message) MESSAGE_NEW(init_data_distributor, ret_message)
static const uint16_t types[] = {MESSAGE_get_shard_loads}; /* it serves nothing yet: it is refused */
#else
#define KIND ROLE_RATEKEEPER
RECRUITED(ratekeeper, ratekeeper)
#define DESCRIBED ratekeeper_described
#define NEW_INIT(ret_message) ((struct init_data_distributor *)(void *)MESSAGE_NEW(init_ratekeeper, ret_message))
static const uint16_t types[] = {MESSAGE_storage_load, MESSAGE_log_load, MESSAGE_proxy_load, MESSAGE_get_shard_loads};
#endif

static void start(struct stage *stage)
{
    struct message *message;
    struct init_data_distributor *init = NEW_INIT(&message); /* the two have the same fields */

    init->role_id = STAGE_ROLE;
    stage_description(stage, &init->description);
    stage_recruit(stage, message, create);
}

static void describe(struct stage *stage)
{
    struct description d;

    stage_description(stage, &d);
    if (feed_byte(&stage->feed) >= 0x60)
        feed_body(&stage->feed, &schema_description, &stage->arena, &d);
    else
        d.number = ++stage->described;
    if (log_system_description_is_sound(&d))
        DESCRIBED(stage->role, &d);
}
#undef extra
#define extra describe
#endif

static const struct act act = {KIND, types, sizeof(types) / sizeof(types[0]), ENDPOINT, OWN_RPC, start, stop, status, extra};

int fuzz_input(const uint8_t *data, size_t size)
{
    stage_run(&act, data, size);
    return 0;
}
