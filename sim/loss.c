#include "sim/loss.h"

#include "sim/faults_internal.h"
#include "sim/transaction.h"

enum { ASK_TIMEOUT_US = 1000000, ASK_ROUNDS = 4 };

static const char *const words[] = {"nothing", "logs", "storage servers", "coordinators"};

/* ---- losing ---- */

/* One that is down is asked by its disk: it comes back with what lies there. */
static bool holds(const struct sim_loss *loss, const struct sim_process *process)
{
    uint32_t kinds = sim_cluster_role_kinds(process);

    if (loss->of == LOSS_OF_COORDINATORS)
        return process->coordinator;
    if (!process->alive)
        return sim_disk_has(process->disk, loss->of == LOSS_OF_LOGS ? "data/log-" : "data/storage-");
    return (kinds >> (loss->of == LOSS_OF_LOGS ? ROLE_LOG : ROLE_STORAGE) & 1) != 0;
}

/* All of a zone goes, or a part of it would be left. */
static void lose(struct sim_loss *loss, struct sim_process *process)
{
    if (process->alive)
        sim_process_stop(process, SIM_POWER_OFF);
    else
        sim_disk_power_off(process->disk, &process->world->schedule);
    process->damaged = true;
    sim_disk_erase(process);
    loss->disks++;
}

/* An epoch that lives needs no coordinators; it is the next one that can't be. */
static void end_epoch(const struct sim_loss *loss)
{
    struct sim_world *world = loss->cluster->world;

    for (size_t i = 0; i < world->process_count && loss->of == LOSS_OF_COORDINATORS; i++)
        if ((sim_cluster_role_kinds(world->processes[i]) >> ROLE_SEQUENCER & 1) != 0)
            sim_process_stop(world->processes[i], SIM_KILL);
}

static void strike(struct sim_event *event)
{
    struct sim_loss *loss = container_of(event, struct sim_loss, event);
    struct sim_world *world = loss->cluster->world;
    struct sim_machines zones = {0};

    for (size_t i = 0; i < world->process_count; i++) {
        struct sim_process *process = world->processes[i];
        unsigned zone;

        if (!process->server || !holds(loss, process))
            continue;
        zone = sim_cluster_zone_of(process);
        if (!machines_has(&zones, zone) && loss->zones_max != 0 && machines_count(&zones) >= loss->zones_max)
            continue;
        machines_add(&zones, zone);
        lose(loss, process);
    }
    end_epoch(loss);
    loss->zones = machines_count(&zones);
    loss->struck = loss->disks > 0;
}

void sim_loss_plan(struct sim_loss *loss, struct sim_cluster *cluster, const struct scenario *scenario)
{
    *loss = (struct sim_loss){.event = {.fire = strike}, .cluster = cluster, .of = (enum sim_loss_of)scenario->lose,
                              .zones_max = scenario->lose_zones};
    loss->limit = loss->of == LOSS_OF_COORDINATORS ? cluster->faults->coordinators_may_lose : cluster->faults->zones_may_lose;
    if (loss->of != LOSS_OF_NOTHING)
        sim_event_in(cluster->world, &loss->event, scenario->duration_us / 2);
}

bool sim_loss_is_beyond(const struct sim_loss *loss)
{
    return (loss->of == LOSS_OF_COORDINATORS ? loss->disks : loss->zones) > loss->limit;
}

/* ---- what the cluster does then ---- */

void sim_loss_try(struct sim_actor *actor, void *arg)
{
    struct sim_transaction *transaction = sim_transaction_create(actor);
    const struct sim_pair *pairs;
    struct sim_loss *loss = arg;
    size_t count;
    int error;

    do {
        if (loss->of == LOSS_OF_STORAGE) {
            error = sim_get_range(transaction, BYTES_LITERAL(""), BYTES_LITERAL("\xff"), 1000, &pairs, &count);
        } else {
            sim_set(transaction, BYTES_LITERAL("lost"), BYTES_LITERAL("and gone on"));
            error = sim_commit(transaction);
        }
    } while (error != 0 && sim_retry(transaction, error));
    loss->served = error == 0;
    sim_transaction_destroy(transaction);
}

/* The part of the status that admits it. */
static void keep_status(struct sim_loss *loss, struct bytes json)
{
    const char *what = loss->of == LOSS_OF_LOGS ? "\"missing_logs\":" : "\"min_replicas_remaining\":0}";
    const char *at = memmem(json.ptr, json.len, what, strlen(what));
    size_t left = at == NULL ? 0 : json.len - (size_t)(at - (const char *)json.ptr);
    const char *end = at == NULL ? NULL : memchr(at, '}', left);

    if (end != NULL)
        snprintf(loss->status, sizeof(loss->status), "%.*s", (int)(end - at), at);
}

void sim_loss_ask(struct sim_actor *actor, void *arg)
{
    struct sim_loss *loss = arg;
    bool led = false;

    for (size_t i = 0; i < ASK_ROUNDS * loss->cluster->coordinator_count && loss->status[0] == '\0'; i++) {
        struct message *message, *reply;
        struct address leader;

        if (!sim_find_leader(actor, i % loss->cluster->coordinator_count, &leader))
            continue;
        led = true;
        MESSAGE_NEW(get_status, &message);
        if (sim_actor_call(actor, &(struct endpoint){leader, ENDPOINT_CONTROLLER}, message, ASK_TIMEOUT_US, &reply) != 0)
            continue;
        keep_status(loss, MESSAGE_BODY(get_status_reply, reply)->json);
        message_unref(reply);
    }
    if (!led && loss->of == LOSS_OF_COORDINATORS)
        snprintf(loss->status, sizeof(loss->status), "no coordinator names a leader");
}

void sim_loss_judge(struct sim_loss *loss)
{
    struct sim_world *world = loss->cluster->world;

    snprintf(loss->statement, sizeof(loss->statement), "the disks of all that %u zones had of the %s (%u processes), where %u %s may be lost",
             loss->zones, words[loss->of], loss->disks, loss->limit, loss->of == LOSS_OF_COORDINATORS ? "of them" : "zones");
    if (loss->served) {
        sim_world_fail(world, "%s goes on although lost are %s", loss->of == LOSS_OF_STORAGE ? "reading" : "committing", loss->statement);
    } else if (loss->status[0] == '\0') {
        sim_world_fail(world, "the cluster does not say what it lacks; lost are %s", loss->statement);
    } else {
        size_t len = strlen(loss->statement);

        snprintf(loss->statement + len, sizeof(loss->statement) - len, "; nothing is %s, and the cluster says: %s",
                 loss->of == LOSS_OF_STORAGE ? "read" : "committed", loss->status);
    }
}
