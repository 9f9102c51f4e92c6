/* The consistency check: all living replicas of each shard, compared pair by pair at one version.
 *
 * It asks the cluster directly and trusts no client library: the controller for the description, a commit proxy for the
 * shards, every storage server of a team for the same range at the same version. */
#include <assert.h>

#include "net/error.h"
#include "net/mem.h"
#include "sim/cluster.h"
#include "txn/keys.h"
#include "txn/messages.h"

enum { ASK_TIMEOUT_US = 5000000, PAUSE_US = 200000, SHARD_ATTEMPTS_MAX = 200, LOCATIONS_AT_ONCE = 100 };

struct check {
    struct sim_actor *actor;
    struct bytes end; /* of what it looks at */
    struct sim_cluster *cluster;
    struct endpoint commit_proxy, grv_proxy;
    size_t shards, pairs, replicas;
    int attempts; /* at one shard */
    bool in_passing; /* what can't be read now is not compared */
};

static struct endpoint endpoint_of_wire(const struct wire_endpoint *wire)
{
    return (struct endpoint){{wire->address.ip, wire->address.port}, wire->id};
}

static void use_description(struct check *check, const struct description *description)
{
    for (uint32_t i = 0; i < description->roles_count; i++) {
        const struct role_ref *role = &description->roles[i];

        if (role->kind == ROLE_COMMIT_PROXY)
            check->commit_proxy = endpoint_of_wire(&role->endpoint);
        if (role->kind == ROLE_GRV_PROXY)
            check->grv_proxy = endpoint_of_wire(&role->endpoint);
    }
}

/* The proxies of the present epoch; waits until there are some. */
static void find_proxies(struct check *check)
{
    check->commit_proxy.id = check->grv_proxy.id = 0;
    for (size_t i = 0; check->commit_proxy.id == 0 || check->grv_proxy.id == 0; i++) {
        struct address leader;
        struct message *message, *reply;

        if (i > 0)
            sim_actor_sleep(check->actor, PAUSE_US);
        if (!sim_find_leader(check->actor, i % check->cluster->coordinator_count, &leader))
            continue;
        MESSAGE_NEW(get_description, &message);
        if (sim_actor_call(check->actor, &(struct endpoint){leader, ENDPOINT_CONTROLLER}, message, ASK_TIMEOUT_US, &reply) != 0)
            continue;
        use_description(check, MESSAGE_BODY(description, reply));
        message_unref(reply);
    }
}

static version_t read_version(struct check *check)
{
    for (;;) {
        struct message *message, *reply;
        struct get_read_version *get = MESSAGE_NEW(get_read_version, &message);

        get->count = 1;
        get->flags = GRV_PRIORITY_IMMEDIATE;
        if (sim_actor_call(check->actor, &check->grv_proxy, message, ASK_TIMEOUT_US, &reply) == 0) {
            version_t version = MESSAGE_BODY(get_read_version_reply, reply)->version;

            message_unref(reply);
            return version;
        }
        find_proxies(check);
    }
}

/* Some pairs of [begin, end) of one replica. */
static int ask_replica(struct check *check, const struct wire_endpoint *server, struct bytes begin, struct bytes end,
                       version_t version, struct message **ret_reply)
{
    struct endpoint to = endpoint_of_wire(server);
    struct message *message;
    struct get_range *get = MESSAGE_NEW(get_range, &message);

    arena_copy(&message->arena, begin, &get->begin);
    arena_copy(&message->arena, end, &get->end);
    get->version = version;
    get->limit = 1000;
    return sim_actor_call(check->actor, &to, message, ASK_TIMEOUT_US, ret_reply);
}

/* All pairs of [begin, end) of one replica, as it sends them. */
static int read_replica(struct check *check, const struct wire_endpoint *server, const struct location *shard,
                        version_t version, struct bytes_buffer *pairs, size_t *ret_count)
{
    struct bytes_buffer begin = {0};
    bool more = true;
    int error = bytes_buffer_append(&begin, shard->begin);

    *ret_count = 0;
    while (error == 0 && more) {
        struct message *reply;
        const struct get_range_reply *answer;
        struct bytes last = {0};

        error = ask_replica(check, server, bytes_buffer_bytes(&begin), shard->end, version, &reply);
        if (error != 0)
            break;
        answer = MESSAGE_BODY(get_range_reply, reply);
        more = answer->more && answer->count != 0;
        *ret_count += answer->count;
        for (size_t at = 0; at + 8 <= answer->pairs.len;) {
            last = bytes_of(answer->pairs.ptr + at + 8, get_le32(answer->pairs.ptr + at));
            at += 8 + last.len + get_le32(answer->pairs.ptr + at + 4);
            assert(at <= answer->pairs.len);
        }
        error = bytes_buffer_append(pairs, answer->pairs);
        begin.len = 0;
        if (error == 0 && more)
            error = bytes_buffer_append(&begin, last);
        if (error == 0 && more) /* just behind the last one */
            error = bytes_buffer_append(&begin, BYTES_LITERAL("\0"));
        message_unref(reply);
    }
    bytes_buffer_done(&begin);
    return error;
}

static void name_difference(struct check *check, const struct location *shard, uint32_t replica, size_t count, size_t other)
{
    char begin[128], end[128];

    sim_world_fail(check->cluster->world, "replicas 0 and %u of the shard [%s, %s) differ: %zu and %zu pairs", replica,
                   bytes_print(shard->begin, begin, sizeof(begin)), bytes_print(shard->end, end, sizeof(end)), count, other);
}

/* NULL for an address of no process. */
static const struct sim_process *process_of(const struct check *check, const struct wire_endpoint *server)
{
    const struct sim_world *world = check->cluster->world;
    struct address address = endpoint_of_wire(server).address;

    for (size_t i = 0; i < world->process_count; i++)
        if (address_equal(world->processes[i]->address, address))
            return world->processes[i];
    return NULL;
}

static int compare_replicas(struct check *check, const struct location *shard)
{
    struct bytes_buffer first = {0};
    size_t first_count = 0;
    uint32_t compared = 0;
    version_t version = read_version(check);
    int error = 0, excused = 0;

    for (uint32_t i = 0; i < shard->servers_count && error == 0 && !check->cluster->world->failed; i++) {
        const struct sim_process *process = process_of(check, &shard->servers[i]);
        struct bytes_buffer other = {0};
        size_t count;

        if (process != NULL && process->given_up)
            continue;
        error = read_replica(check, &shard->servers[i], shard, version, compared == 0 ? &first : &other, &count);
        if (error != 0 && process != NULL && process->damaged) { /* lost, and it says so; what it does say must be right */
            first.len = compared == 0 ? 0 : first.len;
            bytes_buffer_done(&other);
            excused = error;
            error = 0;
            continue;
        }
        if (compared++ == 0)
            first_count = count;
        else if (error == 0 && !bytes_equal(bytes_buffer_bytes(&first), bytes_buffer_bytes(&other)))
            name_difference(check, shard, i, first_count, count);
        bytes_buffer_done(&other);
    }
    bytes_buffer_done(&first);
    if (error != 0)
        return error;
    if (compared == 0) /* where it was a moment ago */
        return excused != 0 ? excused : ERROR_ALL_ALTERNATIVES_FAILED;
    check->shards++;
    check->pairs += first_count;
    check->replicas += compared;
    return 0;
}

/* What takes a zone away must not take two replicas. A swap of disks carries servers into each other's zones: nobody placed them there. */
static void check_zones(struct check *check, const struct location *shard)
{
    struct sim_world *world = check->cluster->world;

    for (uint32_t i = 0; i < shard->servers_count; i++)
        for (uint32_t j = 0; j < i; j++) {
            const struct sim_process *a = process_of(check, &shard->servers[i]), *b = process_of(check, &shard->servers[j]);

            if (a != NULL && b != NULL && !a->damaged && !b->damaged && sim_cluster_zone_of(a) == sim_cluster_zone_of(b))
                sim_world_fail(world, "two replicas of a shard are in one zone: %s and %s", b->name, a->name);
        }
}

/* A replica that is gone or damaged is named beside the others until another server has the shard. */
static bool some_are_lost(const struct check *check, const struct location *shard)
{
    for (uint32_t i = 0; i < shard->servers_count; i++) {
        const struct sim_process *process = process_of(check, &shard->servers[i]);

        if (process == NULL || process->given_up || process->damaged)
            return true;
    }
    return false;
}

/* Fewer than are asked for where fewer zones are left: the one damaged copy that the others had no room for was given up. */
static uint32_t replicas_wanted(const struct check *check)
{
    const struct sim_world *world = check->cluster->world;
    uint32_t wanted = check->cluster->redundancy;
    struct sim_machines zones = {0};

    for (size_t i = 0; i < world->process_count; i++) {
        const struct sim_process *process = world->processes[i];

        if (process->server && !process->given_up && !process->damaged &&
            (sim_cluster_class_of(process) == CLASS_STORAGE || sim_cluster_class_of(process) == CLASS_UNSET))
            machines_add(&zones, sim_cluster_zone_of(process));
    }
    return machines_count(&zones) < wanted ? machines_count(&zones) : wanted;
}

/* False: it may have moved, or been split; its location is asked for again. */
static bool check_shard(struct check *check, const struct location *shard)
{
    struct sim_world *world = check->cluster->world;
    bool many;
    int error;

    check_zones(check, shard);
    if (bytes_compare(shard->begin, KEY_SYSTEM_BEGIN) < 0 && bytes_compare(shard->end, KEY_SYSTEM_BEGIN) > 0)
        sim_world_fail(world, "a shard holds keys of users and of the system");
    if (shard->servers_count < replicas_wanted(check))
        sim_world_fail(world, "a shard has %u replicas of %u", shard->servers_count, replicas_wanted(check));
    error = compare_replicas(check, shard);
    many = shard->servers_count > check->cluster->redundancy && !some_are_lost(check, shard);
    if ((error == 0 && !many) || check->in_passing) {
        check->attempts = 0;
        return true;
    }
    if (++check->attempts > SHARD_ATTEMPTS_MAX)
        sim_world_fail(world, error != 0 ? "a shard could not be read from all its replicas: %s" : "a shard keeps more replicas than are asked for%s",
                       error != 0 ? error_name(error) : "");
    sim_actor_sleep(check->actor, PAUSE_US);
    return false;
}

/* Shards from `from` on; puts the end of the last one that was compared into `from`. */
static bool check_some_shards(struct check *check, struct bytes_buffer *from)
{
    struct message *message, *reply;
    const struct get_key_locations_reply *answer;
    struct get_key_locations *get = MESSAGE_NEW(get_key_locations, &message);
    uint32_t done = 0;
    bool whole;

    arena_copy(&message->arena, bytes_buffer_bytes(from), &get->begin);
    get->end = check->end;
    get->limit = LOCATIONS_AT_ONCE;
    if (sim_actor_call(check->actor, &check->commit_proxy, message, ASK_TIMEOUT_US, &reply) != 0) {
        sim_actor_sleep(check->actor, PAUSE_US);
        find_proxies(check);
        return true;
    }
    answer = MESSAGE_BODY(get_key_locations_reply, reply);
    while (done < answer->locations_count && !check->cluster->world->failed && check_shard(check, &answer->locations[done]))
        done++;
    if (done > 0) {
        from->len = 0;
        if (bytes_buffer_append(from, answer->locations[done - 1].end) != 0)
            assert(false);
    }
    whole = done == answer->locations_count;
    message_unref(reply);
    if (check->cluster->world->failed)
        return false; /* whoever waits now is never resumed, and leaks */
    if (!whole) {
        find_proxies(check); /* the proxy may be of an epoch that has ended */
        return true;
    }
    return from->len != 0 && bytes_compare(bytes_buffer_bytes(from), check->end) < 0;
}

/* The last one is the end of all. */
static struct bytes begin_of_part(unsigned part)
{
    static const struct bytes begins[SIM_CONSISTENCY_PARTS + 1] = {
        BYTES_LITERAL(""), BYTES_LITERAL("\x40"), BYTES_LITERAL("\x80"), BYTES_LITERAL("\xc0"), BYTES_LITERAL("\xff\xff")};

    return begins[part];
}

void sim_cluster_check_consistency(struct sim_actor *actor, void *arg)
{
    const struct sim_consistency_part *part = arg;
    struct check check = {.actor = actor, .cluster = part->cluster, .end = begin_of_part(part->part + 1)};
    struct bytes_buffer from = {0};

    if (bytes_buffer_append(&from, begin_of_part(part->part)) != 0)
        assert(false);
    find_proxies(&check);
    while (!check.cluster->world->failed && check_some_shards(&check, &from))
        ;
    bytes_buffer_done(&from);
    if (check.shards == 0)
        sim_world_fail(check.cluster->world, "the consistency check found no shard");
    sim_say(check.cluster->world, actor->client->process, "consistency: %zu shards, %zu replicas, %zu pairs", check.shards,
            check.replicas, check.pairs);
}

size_t sim_cluster_compare_replicas(struct sim_actor *actor, struct sim_cluster *cluster)
{
    struct check check = {.actor = actor, .cluster = cluster, .end = begin_of_part(SIM_CONSISTENCY_PARTS), .in_passing = true};
    struct bytes_buffer from = {0};

    find_proxies(&check);
    while (!cluster->world->failed && !sim_actor_stopping(actor) && check_some_shards(&check, &from))
        ;
    bytes_buffer_done(&from);
    return check.replicas;
}
