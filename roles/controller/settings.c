/* What an operator has set, as far as the controller obeys it: the configuration, exclusions, classes.
 *
 * POLL -> ANSWERED -> POLL ..., one op for each commit proxy of the living epoch
 *           \-> PAUSE -/
 *
 * Recovery and adoption read it with the rest of the metadata. A change within an epoch comes from the commit proxies, each of which
 * has every change in its metadata sooner or later: the first that answers is enough, and a later answer with a lower version is old.
 * What follows from a change (better.c) is looked at from a timer, for it may end the epoch and with it these ops. */
#include "net/buggify.h"
#include "net/mem.h"
#include "roles/controller/controller_internal.h"

enum { POLL, ANSWERED, STAGES };
enum { PAUSE_US = 100000 };

struct settings_watch {
    struct op op;
    struct list link; /* controller->settings_watches */
    struct controller *controller;
    struct endpoint proxy;
    struct rpc_call call;
    struct wait_timer pause;
};

/* ---- taking it in ---- */

static bool is_setting(struct bytes key)
{
    return bytes_starts_with(key, KEY_CONF_PREFIX) || bytes_starts_with(key, KEY_PROCESS_CLASS_PREFIX);
}

static void copy_part(const struct kv_map *metadata, struct bytes prefix, struct kv_map *to)
{
    struct bytes key = prefix, at, value;
    struct arena arena = {0};
    int error = 0;

    while (error == 0 && kv_map_at_or_after(metadata, key, &at, &value) && bytes_starts_with(at, prefix)) {
        error = kv_map_set(to, at, value);
        if (error == 0)
            error = key_after(&arena, at, &key);
    }
    assert(error == 0); /* a server dies of a failed allocation before it gets here */
    arena_done(&arena);
}

static bool are_equal(const struct kv_map *a, const struct kv_map *b)
{
    struct bytes_buffer one = {0}, other = {0};
    bool equal;

    equal = kv_map_dump(a, &one) == 0 && kv_map_dump(b, &other) == 0 &&
            bytes_equal(bytes_buffer_bytes(&one), bytes_buffer_bytes(&other));
    bytes_buffer_done(&one);
    bytes_buffer_done(&other);
    return equal;
}

void settings_of_worker(const struct controller *controller, struct worker_info *worker)
{
    const struct exclusion *exclusion = exclusions_find(&controller->exclusions, worker->address);

    worker->excluded = exclusion != NULL;
    worker->failed = exclusion != NULL && exclusion->failed;
    worker->process_class = worker->own_class;
    worker->class_is_set =
        controller->settings != NULL && process_class_read(controller->settings, worker->address, &worker->process_class);
}

bool settings_read(struct controller *controller, const struct kv_map *metadata)
{
    struct kv_map *settings = kv_map_create();
    bool changed;
    int error;

    copy_part(metadata, KEY_CONF_PREFIX, settings);
    copy_part(metadata, KEY_PROCESS_CLASS_PREFIX, settings);
    changed = controller->settings != NULL && !are_equal(settings, controller->settings);
    kv_map_destroy(controller->settings);
    controller->settings = settings;
    arena_done(&controller->settings_arena);
    controller->settings_arena = (struct arena){0};
    error = exclusions_read(settings, &controller->settings_arena, &controller->exclusions);
    assert(error == 0);
    configuration_read(settings, &controller->configuration);
    list_each(node, after, &controller->workers)
        settings_of_worker(controller, list_entry(node, struct worker_info, link));
    if (changed)
        workers_changed(controller);
    return changed;
}

static void take(struct controller *controller, const struct settings *m)
{
    struct kv_map *map;
    struct mutation mutation;
    struct bytes table = m->mutations;
    bool sound = true;

    if (m->version <= controller->settings_version) {
        PROBE(controller->env, "a commit proxy tells what another one has told already");
        return;
    }
    while (table.len > 0 && sound)
        sound = mutation_next(&table, &mutation) == 0 && mutation.type == MUTATION_SET && is_setting(mutation.param1);
    map = kv_map_create();
    if (!sound || kv_map_apply(map, m->mutations) != 0) {
        TRACE(controller->env, SEVERITY_WARN_ALWAYS, "SettingsMalformed", {"Version", trace_int(m->version)});
        kv_map_destroy(map);
        return;
    }
    controller->settings_version = m->version;
    if (settings_read(controller, map)) {
        PROBE(controller->env, "what an operator set is changed while an epoch lives");
        TRACE(controller->env, SEVERITY_INFO, "SettingsChanged", {"Version", trace_int(m->version)},
              {"Excluded", trace_int(controller->exclusions.count)}, {"Logs", trace_int(controller->configuration.logs)},
              {"Replication", trace_int(controller->configuration.replication)});
        better_look_now(controller);
    }
    kv_map_destroy(map);
}

/* ---- the polls ---- */

static enum op_result run_poll(struct op *op)
{
    struct settings_watch *watch = container_of(op, struct settings_watch, op);
    struct message *message;
    struct get_settings *m = MESSAGE_NEW(get_settings, &message);

    m->known_version = watch->controller->settings_version;
    rpc_call_start(&watch->call, op, watch->controller->rpc, &watch->proxy, message, 0);
    return op_wait(op, ANSWERED);
}

static enum op_result run_answered(struct op *op)
{
    struct settings_watch *watch = container_of(op, struct settings_watch, op);

    if (watch->call.error == 0 && BUGGIFY(op->env, "what an operator set is told, and the answer is lost"))
        watch->call.error = ERROR_REQUEST_MAYBE_DELIVERED;
    if (watch->call.error == 0)
        take(watch->controller, MESSAGE_BODY(settings, watch->call.reply));
    if (watch->call.error == 0 && !BUGGIFY(op->env, "a controller pauses before it asks again what is set")) {
        rpc_call_clear(&watch->call);
        return op_move(op, POLL);
    }
    rpc_call_clear(&watch->call);
    wait_timer_start(&watch->pause, op, PAUSE_US);
    return op_wait(op, POLL);
}

static void ended(struct op *op)
{
    struct settings_watch *watch = container_of(op, struct settings_watch, op);

    rpc_call_clear(&watch->call);
    list_remove(&watch->link);
    mem_free(watch);
}

static const struct op_stage stages[STAGES] = {
    [POLL] = {"POLL", run_poll, OP_STAGE(ANSWERED)},
    [ANSWERED] = {"ANSWERED", run_answered, OP_STAGE(POLL)},
};
static const struct op_type type = {"settings_watch", stages, STAGES, READY_COMMIT, ended};

void settings_watch_start(struct controller *controller)
{
    settings_watch_stop(controller);
    controller->settings_version = 0;
    for (uint32_t i = 0; i < controller->state.roles_count; i++) {
        struct settings_watch *watch;

        if (controller->state.roles[i].kind != ROLE_COMMIT_PROXY)
            continue;
        watch = mem_zalloc(sizeof(*watch));
        watch->controller = controller;
        watch->proxy = endpoint_of(&controller->state.roles[i].endpoint);
        list_push_back(&controller->settings_watches, &watch->link);
        op_start(&watch->op, &type, &controller->ops);
    }
}

void settings_watch_stop(struct controller *controller)
{
    while (!list_empty(&controller->settings_watches)) {
        struct settings_watch *watch = list_entry(controller->settings_watches.next, struct settings_watch, link);

        op_cancel(&watch->op);
    }
}
