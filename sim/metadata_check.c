/* The metadata that the commit proxies hold against what the database says under \xff.
 *
 * Logs and proxies carry the metadata from epoch to epoch by themselves; storage servers get the same mutations as any others. What a
 * new epoch takes over too much or too little of stays until somebody writes that key again, and nobody need ever read the wrong
 * copy: so the two are compared whole. A difference may pass (a proxy hears of another's change with its next batch); one that
 * stays is a failure. */
#include <assert.h>

#include "net/error.h"
#include "roles/worker/worker.h"
#include "sim/cluster.h"
#include "sim/transaction.h"
#include "txn/kv_map.h"
#include "txn/mutation.h"
#include "txn/system_keys.h"

enum { ATTEMPTS_MAX = 150, PAUSE_US = 200000, PAIRS_A_REQUEST = 1000 };
enum { OPTION_READ_SYSTEM_KEYS = 302, OPTION_READ_LOCK_AWARE = 702 };

struct metadata_check {
    struct sim_actor *actor;
    struct sim_cluster *cluster;
    struct bytes_buffer stored; /* the database's, as a table of SETs */
    unsigned compared;          /* proxies */
    char why[SIM_WHY_MAX];      /* empty: nothing differs */
};

/* ---- reading ---- */

static int read_stored(struct metadata_check *check, struct sim_transaction *transaction)
{
    const struct sim_pair *pairs;
    size_t count;
    int error = sim_get_range(transaction, KEY_SYSTEM_BEGIN, KEY_SYSTEM_END, PAIRS_A_REQUEST, &pairs, &count);

    check->stored.len = 0;
    for (size_t i = 0; i < count && error == 0; i++)
        if (system_key_is_metadata(pairs[i].key))
            error = mutation_append(&check->stored, MUTATION_SET, pairs[i].key, pairs[i].value);
    return error;
}

static int read_database(struct metadata_check *check)
{
    struct sim_transaction *transaction = sim_transaction_create(check->actor);
    int error;

    sim_option(transaction, OPTION_READ_SYSTEM_KEYS);
    sim_option(transaction, OPTION_READ_LOCK_AWARE);
    while ((error = read_stored(check, transaction)) != 0 && sim_retry(transaction, error))
        ;
    sim_transaction_destroy(transaction);
    return error;
}

/* ---- comparing ---- */

/* The first record that is not the same in both; both are sorted by key. */
static void name_difference(struct metadata_check *check, const struct sim_process *process, struct bytes held)
{
    struct bytes stored = bytes_buffer_bytes(&check->stored);
    struct mutation a = {0}, b = {0};
    char key[128];
    int error_a, error_b;

    do {
        error_a = mutation_next(&held, &a);
        error_b = mutation_next(&stored, &b);
    } while (error_a == 0 && error_b == 0 && bytes_equal(a.param1, b.param1) && bytes_equal(a.param2, b.param2));
    if (error_a != 0 || (error_b == 0 && bytes_compare(b.param1, a.param1) < 0))
        a.param1 = b.param1;
    snprintf(check->why, sizeof(check->why), "a commit proxy of %s holds other metadata than the database, first at %s", process->name,
             bytes_print(a.param1, key, sizeof(key)));
}

static void compare_proxy(struct metadata_check *check, const struct sim_process *process, const struct kv_map *metadata)
{
    struct bytes_buffer held = {0};
    int error = kv_map_dump(metadata, &held);

    assert(error == 0);
    check->compared++;
    if (!bytes_equal(bytes_buffer_bytes(&held), bytes_buffer_bytes(&check->stored)))
        name_difference(check, process, bytes_buffer_bytes(&held));
    bytes_buffer_done(&held);
}

/* All proxies of the living epoch, wherever they are: that needs no message. */
static void compare_proxies(struct metadata_check *check)
{
    const struct sim_world *world = check->cluster->world;
    const struct description *description = sim_cluster_description(world);

    check->why[0] = '\0';
    check->compared = 0;
    for (uint32_t i = 0; description != NULL && i < description->roles_count; i++) {
        if (description->roles[i].kind != ROLE_COMMIT_PROXY)
            continue;
        for (size_t p = 0; p < world->process_count; p++) {
            const struct sim_process *process = world->processes[p];
            const struct kv_map *metadata =
                sim_cluster_role_kinds(process) == 0 ? NULL : worker_metadata(process->instance, description->roles[i].endpoint.id);

            if (metadata != NULL)
                compare_proxy(check, process, metadata);
        }
    }
}

void sim_cluster_check_metadata(struct sim_actor *actor, void *arg)
{
    struct metadata_check check = {.actor = actor, .cluster = arg};
    struct sim_world *world = check.cluster->world;
    int error = 0;

    for (int attempt = 0; attempt < ATTEMPTS_MAX && error == 0 && !world->failed; attempt++) {
        if (attempt > 0)
            sim_actor_sleep(actor, PAUSE_US);
        error = read_database(&check);
        if (error == 0)
            compare_proxies(&check);
        if (error == 0 && check.compared > 0 && check.why[0] == '\0')
            break;
    }
    bytes_buffer_done(&check.stored);
    if (error != 0)
        sim_world_fail(world, "the metadata can't be read: %s", error_name(error));
    else if (check.why[0] != '\0')
        sim_world_fail(world, "%s", check.why);
    else if (check.compared == 0)
        sim_world_fail(world, "the metadata check found no commit proxy");
    sim_say(world, actor->client->process, "metadata: %u proxies hold what the database says", check.compared);
}
