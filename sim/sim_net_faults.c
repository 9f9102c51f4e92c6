/* What breaks connections: blocks, drops, flipped bits. */
#include <assert.h>
#include <inttypes.h>

#include "net/error.h"
#include "sim/sim_net_internal.h"

uint64_t net_flip_bits(struct sim_world *world, struct bytes_buffer *data)
{
    int64_t count = sim_random_range(&world->faults, 1, 32);

    for (int64_t i = 0; i < count; i++) {
        uint64_t bit = sim_random_below(&world->faults, data->len * 8);

        data->ptr[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    world->net.flips++;
    return sim_note_as(world, NULL, "flip", (uint64_t)count, "flip %" PRId64 " bits of what is just sent", count);
}

/* ---- blocks ---- */

static void pipe_release(struct sim_link *link, struct pipe *pipe)
{
    if (!pipe->held || is_blocked(pipe))
        return;
    pipe->held = false;
    if (!list_empty(&pipe->chunks))
        sim_event_in(world_of(link), &pipe->event, sim_random_range(&world_of(link)->schedule, 10, 500));
}

static void release_all(struct sim_world *world)
{
    list_each(node, after, &world->net.links) {
        struct sim_link *link = list_entry(node, struct sim_link, link);

        pipe_release(link, &link->pipes[0]);
        pipe_release(link, &link->pipes[1]);
    }
}

static void block(struct sim_world *world, unsigned from, unsigned to, int change)
{
    uint8_t *count = &world->net.blocked[from][to];

    assert(from < SIM_MACHINES_MAX && to < SIM_MACHINES_MAX);
    if (from == to)
        return;
    if (change > 0)
        world->net.blocked_by[from][to] = sim_cause(world);
    assert(change > 0 ? *count < UINT8_MAX : *count > 0);
    *count = (uint8_t)(*count + change);
}

void sim_net_block(struct sim_world *world, unsigned from, unsigned to, int change)
{
    block(world, from, to, change);
    if (change < 0)
        release_all(world);
}

void sim_net_block_many(struct sim_world *world, const struct sim_machines *blocks, int change)
{
    for (unsigned from = 0; from < SIM_MACHINES_MAX; from++)
        for (unsigned to = 0; !machines_empty(&blocks[from]) && to < SIM_MACHINES_MAX; to++)
            if (machines_has(&blocks[from], to))
                block(world, from, to, change);
    if (change < 0)
        release_all(world);
}

void sim_net_heal(struct sim_world *world)
{
    memset(world->net.blocked, 0, sizeof(world->net.blocked));
    release_all(world);
}

void sim_net_drop(struct sim_world *world, size_t nth, enum sim_drop how)
{
    size_t count = 0;
    uint64_t outer;
    unsigned aware;
    struct sim_link *link = NULL;

    list_each(node, after, &world->net.links)
        count++;
    if (count == 0)
        return;
    nth %= count;
    list_each(node, after, &world->net.links) {
        link = list_entry(node, struct sim_link, link);
        if (nth-- == 0)
            break;
    }
    outer = sim_set_cause(world, sim_note_as(world, NULL, "drop", link->id, "drop connection %" PRIx64 " of %s to %s",
                                             link->id, link->processes[0]->name,
                                             link->processes[1] == NULL ? "?" : link->processes[1]->name));
    world->net.drops++;
    aware = (unsigned)sim_random_below(&world->faults, 2);
    for (unsigned side = 0; side < 2; side++) {
        struct pipe *pipe = &link->pipes[side];

        if (how == SIM_DROP_BOTH || (how == SIM_DROP_ONE && side == aware))
            pipe_append_fin(pipe, ERROR_CONNECTION_FAILED, 0);
        else
            pipe_drop_all(pipe);
        pipe->swallowed = true;
    }
    sim_set_cause(world, outer);
}
