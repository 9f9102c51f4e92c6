/* The consistency scan's repair of the shard under examination; what goes before is in scan.c.
 *
 * Mended is a replica that names its own damage by a move of the shard to another server, if there is one: it stays a copy until then
 * (move_away). Else, and where the majority is against a silent one (whose copy nobody may fetch from any more), the repair is one
 * transaction (move_keys_refetch: the bad server leaves the source, hears NONE and then FETCH) and an ordinary move to the same team. From the
 * transaction on the database knows that a move is under way, so whoever plans next carries it on. */
#include "net/buggify.h"
#include "net/trace.h"
#include "roles/distributor/move_keys.h"
#include "roles/distributor/scan_internal.h"

static void ask_repair(struct change *change)
{
    struct scan *scan = change->parent;

    scan->stored = change_read_shards(change, bytes_buffer_bytes(&scan->begin), bytes_buffer_bytes(&scan->end));
}

static bool is_team(const struct scan *scan, const uint64_t *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        bool found = false;

        for (uint32_t k = 0; k < scan->count && !found; k++)
            found = scan->ids[k] == ids[i];
        if (!found)
            return false;
    }
    return count == scan->count;
}

/* Only the very team that was examined: another has other copies, of which nothing is proven. */
static int decide_repair(struct change *change)
{
    struct scan *scan = change->parent;
    struct shard_record records[2];
    struct shard_now shard;
    int error;

    for (uint32_t i = 0; i < scan->stored->pair_count && i < 2; i++)
        records[i] = (struct shard_record){scan->stored->pairs[i].key, scan->stored->pairs[i].value};
    error = scan->stored->pair_count == 2 ? move_keys_read(records, 2, bytes_buffer_bytes(&scan->begin), bytes_buffer_bytes(&scan->end),
                                                           &change->arena, &shard)
                                          : ERROR_OPERATION_OBSOLETE;
    if (error == 0 && shard.destination_count == 0 && !is_team(scan, shard.source, shard.source_count))
        error = ERROR_OPERATION_OBSOLETE;
    return error != 0 ? error : move_keys_refetch(&shard, scan->repairing, &change->writes);
}

/* NULL: it has changed since it was examined, or something is at work on it. */
static struct picture_shard *shard_to_repair(const struct scan *scan, int64_t *ret_at)
{
    struct picture *picture = scan->distributor->picture;
    int64_t at = picture_find_shard(picture, bytes_buffer_bytes(&scan->begin));
    const struct team *team;
    uint64_t ids[TEAM_SERVERS_MAX];

    *ret_at = at;
    if (at < 0 || picture->shards[at]->busy || picture->shards[at]->destination != TEAM_NONE ||
        !bytes_equal(picture_shard_end(picture, (size_t)at), bytes_buffer_bytes(&scan->end)))
        return NULL;
    team = teams_at(&picture->teams, picture->shards[at]->source);
    for (uint32_t i = 0; i < team->count; i++)
        ids[i] = picture->servers[team->servers[i]].id;
    return is_team(scan, ids, team->count) && scan_is_whole_team(scan, team) ? picture->shards[at] : NULL;
}

/* A server that may be given the shard in place of the one that is repaired, in a zone of its own; UINT32_MAX: there is none. */
static uint32_t spare_for(const struct scan *scan)
{
    const struct picture *picture = scan->distributor->picture;
    uint32_t found = UINT32_MAX;

    for (uint32_t i = 0; i < picture->server_count; i++) {
        const struct picture_server *server = &picture->servers[i];
        bool fits = server->known && server->may_take;

        for (uint32_t k = 0; k < scan->count && fits; k++) {
            uint32_t slot = picture_find_server(picture, scan->ids[k]);

            fits = slot != i && (scan->ids[k] == scan->repairing || slot == UINT32_MAX || picture->servers[slot].zone != server->zone);
        }
        if (fits && (found == UINT32_MAX || server->bytes < picture->servers[found].bytes))
            found = i;
    }
    return found;
}

/* A replica that names its damage itself gives none of it away (each record has its checksum): so it may stay a copy, and be read from,
 * until another server has the shard. No word that is false, its own or a forged one, then makes the copies fewer. */
static enum op_result move_away(struct scan *scan, size_t at, uint32_t spare)
{
    struct picture *picture = scan->distributor->picture;
    struct plan_action action = {.kind = PLAN_MOVE, .reason = PLAN_REPAIR, .shard = at};

    PROBE(scan->op.env, "a shard moves away from a damaged replica");
    for (uint32_t i = 0; i < scan->count; i++)
        action.team[action.team_count++] = scan->ids[i] == scan->repairing ? spare : picture_server(picture, scan->ids[i]);
    TRACE(scan->op.env, SEVERITY_WARN_ALWAYS, "ShardLeavesDamagedReplica", {"Shard", trace_bytes(bytes_buffer_bytes(&scan->begin))},
          {"Server", trace_id(scan->repairing)}, {"To", trace_id(picture->servers[spare].id)});
    scan->finding->away = true;
    scan->finding->bad = UINT32_C(1) << (uint32_t)__builtin_ctz(scan->finding->bad);
    scan_outcome(scan, scan->finding, SCAN_REPAIRING);
    move_start(scan->distributor, &action);
    scan_leave(scan);
    return op_move(&scan->op, LOOK);
}

enum op_result scan_run_repair(struct op *op)
{
    struct scan *scan = scan_of_op(op);
    int64_t at;
    struct picture_shard *shard = shard_to_repair(scan, &at);
    uint32_t spare;

    assert(scan->finding != NULL && scan->finding->bad != 0);
    if (shard == NULL || scan->distributor->settings.off) {
        PROBE(op->env, "a damaged replica can't be mended now");
        scan_skip(scan);
        return op_move(op, LOOK);
    }
    scan->repairing = scan->ids[__builtin_ctz(scan->finding->bad)]; /* others in their turn */
    if (BUGGIFY_DEATH(op->env, 2, "the distributor dies between a finding and its repair")) {
        distributor_end(scan->distributor, ERROR_PLEASE_REBOOT);
        return op_finish(op, ERROR_PLEASE_REBOOT);
    }
    spare = scan->finding->content ? UINT32_MAX : spare_for(scan);
    if (spare != UINT32_MAX)
        return move_away(scan, (size_t)at, spare);
    shard->busy = true;
    return scan_change(scan, ask_repair, decide_repair, REPAIRED);
}

/* The move that follows is like any other: the source is the good ones, and the destination the team that it was. */
static void start_move(struct scan *scan, size_t at)
{
    struct picture *picture = scan->distributor->picture;
    struct plan_action action = {.kind = PLAN_MOVE, .reason = PLAN_REPAIR, .shard = at};
    uint32_t source[TEAM_SERVERS_MAX], source_count = 0;

    for (uint32_t i = 0; i < scan->count; i++) {
        uint32_t slot = picture_server(picture, scan->ids[i]);

        action.team[action.team_count++] = slot;
        if (scan->ids[i] != scan->repairing)
            source[source_count++] = slot;
    }
    picture_set_shard(picture, bytes_buffer_bytes(&scan->begin), source, source_count, action.team, action.team_count,
                      scan->change.version);
    move_start(scan->distributor, &action);
}

enum op_result scan_run_repaired(struct op *op)
{
    struct scan *scan = scan_of_op(op);
    int64_t at = picture_find_shard(scan->distributor->picture, bytes_buffer_bytes(&scan->begin));
    int error = scan->change.error;

    assert(at >= 0); /* it was busy */
    scan->distributor->picture->shards[at]->busy = false;
    if (!scan_may_go_on(scan, error))
        return op_finish(op, error);
    if (error != 0) {
        scan_skip(scan);
        return op_move(op, LOOK);
    }
    PROBE(op->env, "a bad replica fetches its shard again");
    scan_outcome(scan, scan->finding, SCAN_REPAIRING);
    start_move(scan, (size_t)at);
    scan_leave(scan);
    return op_move(op, LOOK);
}
