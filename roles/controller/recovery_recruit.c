/* Recruitment of a new epoch: whom to ask, and for what.
 *
 * The controller draws every role's id, so that all of them can be told of each other at once. Two rounds: what proxies talk to
 * comes first. */
#include <stdio.h>

#include "net/buggify.h"
#include "roles/controller/recovery.h"

enum { INIT_TIMEOUT_US = 5000000 };

struct recruit *recovery_find(struct recovery *recovery, enum role_kind kind, uint32_t nth)
{
    for (uint32_t i = 0; i < recovery->recruit_count; i++)
        if (recovery->recruits[i].kind == kind && nth-- == 0)
            return &recovery->recruits[i];
    return NULL;
}

static uint32_t count_of(struct recovery *recovery, enum role_kind kind)
{
    uint32_t count = 0;

    while (recovery_find(recovery, kind, count) != NULL)
        count++;
    return count;
}

static struct wire_endpoint role_endpoint(const struct recruit *recruit)
{
    return (struct wire_endpoint){{recruit->address.ip, recruit->address.port}, recruit->role_id};
}

static struct recruit *add(struct recovery *recovery, enum role_kind kind, const struct worker_info *worker)
{
    struct recruit *recruit;
    int error;

    assert(recovery->recruit_count < RECRUITS_MAX);
    recruit = &recovery->recruits[recovery->recruit_count++];
    *recruit = (struct recruit){.kind = kind, .address = worker->address, .worker_id = worker->worker_id};
    do
        recruit->role_id = env_random(recovery->controller->env);
    while (recruit->role_id < 100); /* well-known ids */
    error = arena_copy(&recovery->arena, worker->zone, &recruit->zone);
    if (error == 0)
        error = arena_copy(&recovery->arena, worker->rack, &recruit->rack);
    if (error == 0)
        error = arena_copy(&recovery->arena, worker->hall, &recruit->hall);
    if (error == 0)
        error = arena_copy(&recovery->arena, worker->data_center, &recruit->data_center);
    assert(error == 0);
    return recruit;
}

static void ask(struct recovery *recovery, struct recruit *recruit, struct message *message)
{
    struct controller *controller = recovery->controller;

    call_child_start(&recruit->child, &controller->ops, &recovery->op, controller->rpc,
                     (struct endpoint){recruit->address, ENDPOINT_WORKER}, message, INIT_TIMEOUT_US, false);
}

/* Resolver i holds the keys from its begin on; equal parts of the first byte until the sequencer moves them by load. */
static struct role_ref *resolver_refs(struct recovery *recovery, struct arena *arena, uint32_t *ret_count)
{
    uint32_t count = count_of(recovery, ROLE_RESOLVER);
    struct role_ref *refs = arena_zalloc(arena, count * sizeof(*refs));

    for (uint32_t i = 0; i < count; i++) {
        uint8_t first = (uint8_t)(256 * i / count);

        refs[i].kind = ROLE_RESOLVER;
        refs[i].endpoint = role_endpoint(recovery_find(recovery, ROLE_RESOLVER, i));
        if (i > 0)
            (void)arena_copy(arena, bytes_of(&first, 1), &refs[i].begin);
    }
    *ret_count = count;
    return refs;
}

/* We have locked the state: what was recruited for an epoch between the one that it holds and ours will never be written there. */
static uint64_t failed_from(const struct recovery *recovery)
{
    return recovery->state.written_epoch + 1;
}

static void ask_sequencer(struct recovery *recovery, struct recruit *recruit, uint32_t proxies)
{
    struct message *message;
    struct init_sequencer *m = MESSAGE_NEW(init_sequencer, &message);
    struct bytes value;

    m->epoch = recovery->epoch;
    m->failed_from = failed_from(recovery);
    m->role_id = recruit->role_id;
    m->recovery_version = recovery->recovery_version;
    m->locked = kv_map_get(recovery->metadata, KEY_DB_LOCKED, &value);
    if (kv_map_get(recovery->metadata, KEY_METADATA_VERSION, &value))
        (void)arena_copy(&message->arena, value, &m->metadata_version);
    m->resolvers = resolver_refs(recovery, &message->arena, &m->resolvers_count);
    m->proxy_count = proxies;
    ask(recovery, recruit, message);
}

static void ask_resolver(struct recovery *recovery, struct recruit *recruit, uint32_t proxies)
{
    struct message *message;
    struct init_resolver *m = MESSAGE_NEW(init_resolver, &message);

    m->epoch = recovery->epoch;
    m->failed_from = failed_from(recovery);
    m->role_id = recruit->role_id;
    m->recovery_version = recovery->recovery_version;
    m->proxy_count = proxies;
    ask(recovery, recruit, message);
}

static void copy_generation(struct recovery *recovery, struct message *message, struct generation *ret)
{
    int error = message_copy_body(&schema_generation, &recovery->generation, &message->arena, ret);

    assert(error == 0);
}

static void ask_log(struct recovery *recovery, struct recruit *recruit)
{
    struct message *message;
    struct init_log *m = MESSAGE_NEW(init_log, &message);

    m->epoch = recovery->epoch;
    m->failed_from = failed_from(recovery);
    m->role_id = recruit->role_id;
    m->begin = recovery->recovery_version;
    (void)arena_copy(&message->arena, recovery->metadata_dump, &m->metadata);
    copy_generation(recovery, message, &m->generation);
    ask(recovery, recruit, message);
}

static void ask_storage(struct recovery *recovery, struct recruit *recruit, tag_t tag)
{
    struct message *message;
    struct init_storage *m = MESSAGE_NEW(init_storage, &message);

    recruit->tag = tag;
    m->server_id = recruit->role_id;
    m->tag = tag;
    m->engine = recovery->controller->configuration.engine;
    m->version = recovery->recovery_version;
    m->epoch = recovery->epoch;
    m->failed_from = failed_from(recovery);
    ask(recovery, recruit, message);
}

/* As configured; the simulator wants less now and then. */
static struct configuration wanted_of(struct controller *controller)
{
    struct configuration wanted = controller->configuration;

    if (BUGGIFY(controller->env, "an epoch gets no more logs than its replication"))
        wanted.logs = wanted.replication;
    if (BUGGIFY(controller->env, "an epoch gets one commit proxy"))
        wanted.commit_proxies = 1;
    if (BUGGIFY(controller->env, "an epoch gets one GRV proxy"))
        wanted.grv_proxies = 1;
    if (BUGGIFY(controller->env, "an epoch gets one resolver"))
        wanted.resolvers = 1;
    return wanted;
}

static void add_part(struct recovery *recovery, enum role_kind kind, const struct plan_part *part)
{
    for (uint32_t i = 0; i < part->count; i++)
        add(recovery, kind, part->workers[i]);
}

static uint32_t excluded_count(const struct controller *controller)
{
    uint32_t count = 0;

    list_each(node, after, &controller->workers)
        count += list_entry(node, struct worker_info, link)->excluded;
    return count;
}

static void say_too_few(struct controller *controller, uint32_t log_zones, bool storage_too)
{
    uint32_t excluded = excluded_count(controller);
    char text[80] = "";

    if (excluded > 0)
        snprintf(text, sizeof(text), "; %u processes that are excluded don't count", excluded);
    snprintf(controller->waiting_for, sizeof(controller->waiting_for),
             "needs processes for logs in %u zones (has %u)%s; start more of class log, storage or unset%s",
             controller->configuration.replication, log_zones, storage_too ? " and for storage servers in as many" : "", text);
}

static bool choose(struct recovery *recovery)
{
    struct controller *controller = recovery->controller;
    const struct configuration wanted = wanted_of(controller);
    struct worker_info *storage[STORAGE_RECRUITS_MAX];
    uint32_t storage_zones = 0, storage_count = 0;
    struct recruitment_plan plan;
    bool enough = recruitment_plan(controller, &wanted, &plan);

    if (recovery->creating)
        storage_count = recruitment_stateful(controller, ROLE_STORAGE, STORAGE_RECRUITS_MAX, wanted.replication, storage,
                                             &storage_zones);
    if (!enough || (recovery->creating && storage_count == 0)) {
        say_too_few(controller, plan.log_zones, recovery->creating && storage_count == 0);
        return false;
    }
    add_part(recovery, ROLE_SEQUENCER, &plan.sequencers);
    add_part(recovery, ROLE_COMMIT_PROXY, &plan.commit_proxies);
    add_part(recovery, ROLE_GRV_PROXY, &plan.grv_proxies);
    add_part(recovery, ROLE_RESOLVER, &plan.resolvers);
    add_part(recovery, ROLE_LOG, &plan.logs);
    for (uint32_t i = 0; i < storage_count; i++)
        add(recovery, ROLE_STORAGE, storage[i]);
    return true;
}

static void fill_generation(struct recovery *recovery)
{
    struct generation *generation = &recovery->generation;
    uint32_t count = count_of(recovery, ROLE_LOG);

    *generation = (struct generation){.epoch = recovery->epoch,
                                      .begin = recovery->recovery_version,
                                      .end = VERSION_MAX,
                                      .replication = recovery->controller->configuration.replication,
                                      .logs = arena_zalloc(&recovery->arena, count * sizeof(struct log_ref)),
                                      .logs_count = count};
    for (uint32_t i = 0; i < count; i++) {
        struct recruit *recruit = recovery_find(recovery, ROLE_LOG, i);

        generation->logs[i] = (struct log_ref){.endpoint = role_endpoint(recruit), .zone = recruit->zone};
    }
}

/* A young controller, or one that has just heard of a new process, gives the others a moment to register. */
static bool must_wait_for_more(struct recovery *recovery)
{
    struct controller *controller = recovery->controller;
    struct worker_info *logs[LOGS_MAX];
    uint32_t zones, wanted = controller->configuration.logs;
    int64_t age = env_now_us(controller->env) - controller->newest_worker_us;

    if (age >= controller->env->knobs.controller_recruit_wait_us)
        return BUGGIFY(controller->env, "recruitment waits although nobody else will come");
    return recovery->creating ||
           recruitment_stateful(controller, ROLE_LOG, wanted > LOGS_MAX ? LOGS_MAX : wanted,
                                controller->configuration.replication, logs, &zones) < wanted;
}

/* The first of the tags of a new database. A creation that failed leaves storage servers behind, which pull and pop their tags
 * for ever: each attempt, and so each locked epoch, has tags of its own. */
static tag_t first_tag(const struct recovery *recovery)
{
    return (tag_t)((recovery->epoch - 1) * STORAGE_RECRUITS_MAX);
}

bool recovery_recruit_first(struct recovery *recovery)
{
    struct bytes_buffer dump = {0};
    tag_t tag = first_tag(recovery);
    uint32_t proxies;
    int error;

    recovery->recruit_count = 0;
    recruitment_refresh(recovery->controller, env_now_us(recovery->controller->env));
    if (must_wait_for_more(recovery) || !choose(recovery))
        return false;
    error = kv_map_dump(recovery->metadata, &dump);
    assert(error == 0);
    error = arena_copy(&recovery->arena, bytes_buffer_bytes(&dump), &recovery->metadata_dump);
    assert(error == 0);
    bytes_buffer_done(&dump);
    fill_generation(recovery);
    proxies = count_of(recovery, ROLE_COMMIT_PROXY);
    for (uint32_t i = 0; i < recovery->recruit_count; i++) {
        struct recruit *recruit = &recovery->recruits[i];

        if (recruit->kind == ROLE_SEQUENCER)
            ask_sequencer(recovery, recruit, proxies);
        else if (recruit->kind == ROLE_RESOLVER)
            ask_resolver(recovery, recruit, proxies);
        else if (recruit->kind == ROLE_LOG)
            ask_log(recovery, recruit);
        else if (recruit->kind == ROLE_STORAGE)
            ask_storage(recovery, recruit, tag++);
    }
    return true;
}

static void ask_commit_proxy(struct recovery *recovery, struct recruit *recruit, uint32_t proxies)
{
    struct message *message;
    struct init_commit_proxy *m = MESSAGE_NEW(init_commit_proxy, &message);

    m->epoch = recovery->epoch;
    m->failed_from = failed_from(recovery);
    m->role_id = recruit->role_id;
    m->sequencer = role_endpoint(recovery_find(recovery, ROLE_SEQUENCER, 0));
    m->resolvers = resolver_refs(recovery, &message->arena, &m->resolvers_count);
    copy_generation(recovery, message, &m->logs);
    m->recovery_version = recovery->recovery_version;
    (void)arena_copy(&message->arena, recovery->metadata_dump, &m->metadata);
    m->proxy_count = proxies;
    ask(recovery, recruit, message);
}

static void ask_grv_proxy(struct recovery *recovery, struct recruit *recruit)
{
    struct message *message;
    struct init_grv_proxy *m = MESSAGE_NEW(init_grv_proxy, &message);

    m->epoch = recovery->epoch;
    m->failed_from = failed_from(recovery);
    m->role_id = recruit->role_id;
    m->sequencer = role_endpoint(recovery_find(recovery, ROLE_SEQUENCER, 0));
    copy_generation(recovery, message, &m->logs);
    ask(recovery, recruit, message);
}

void recovery_recruit_proxies(struct recovery *recovery)
{
    uint32_t proxies = count_of(recovery, ROLE_COMMIT_PROXY);

    for (uint32_t i = 0; i < recovery->recruit_count; i++) {
        if (recovery->recruits[i].kind == ROLE_COMMIT_PROXY)
            ask_commit_proxy(recovery, &recovery->recruits[i], proxies);
        else if (recovery->recruits[i].kind == ROLE_GRV_PROXY)
            ask_grv_proxy(recovery, &recovery->recruits[i]);
    }
}
