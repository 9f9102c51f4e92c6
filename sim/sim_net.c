/* Connections as pairs of pipes.
 *
 * A link is one connection; ends[i] is what process i holds of it (NULL: not yet, or no more), pipes[i] flows towards end i.
 * A pipe carries chunks in order: SYN and OPEN establish, DATA, FIN ends it. Its event is the world's: a chunk that has
 * arrived is in the receiver's kernel, whatever the process does. From there `readable`, an event of the process, hands it
 * over. Bytes count against the window until the program has taken them; what does not fit waits as unsent and is lost when
 * its sender goes.
 *
 *   sender: conn_send -> [unsent] -> chunks on the way -> end->arrived -> received()
 */
#include "sim/sim_net_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <xxhash.h>

#include "net/error.h"
#include "net/mem.h"

static void arrive_fire(struct sim_event *event);
static void resume_fire(struct sim_event *event);
static void readable_fire(struct sim_event *event);
static void drained_fire(struct sim_event *event);
static void accepted_fire(struct sim_event *event);

/* ---- chunks ---- */

struct chunk *chunk_take(struct sim_world *world, enum chunk_kind kind)
{
    struct list *spare = list_pop_front(&world->net.spare_chunks);
    struct chunk *chunk = spare != NULL ? list_entry(spare, struct chunk, link) : sim_zalloc(sizeof(*chunk));

    *chunk = (struct chunk){.kind = kind, .cause = sim_cause(world)};
    return chunk;
}

void chunk_free(struct sim_world *world, struct chunk *chunk)
{
    list_remove(&chunk->link);
    bytes_buffer_done(&chunk->data);
    list_push_front(&world->net.spare_chunks, &chunk->link);
}

static void chunks_free(struct sim_world *world, struct list *chunks)
{
    while (!list_empty(chunks))
        chunk_free(world, list_entry(chunks->next, struct chunk, link));
}

struct chunk *chunk_first(struct list *chunks)
{
    return list_empty(chunks) ? NULL : list_entry(chunks->next, struct chunk, link);
}

static size_t chunk_left(const struct chunk *chunk)
{
    return chunk->data.len - chunk->start;
}


/* ---- pipes ---- */

bool is_blocked(const struct pipe *pipe)
{
    const struct sim_link *link = pipe->owner;

    return world_of(link)->net.blocked[link->machines[1 - pipe->to]][link->machines[pipe->to]] != 0;
}

/* What one way between two machines takes longer than others, all the run long. */
static int64_t far_us(const struct pipe *pipe)
{
    const struct sim_settings *settings = &world_of(pipe->owner)->settings;
    unsigned from = pipe->owner->machines[1 - pipe->to], to = pipe->owner->machines[pipe->to];
    uint64_t drawn;

    if (settings->far_one_in == 0 || from == to)
        return 0;
    drawn = sim_mix((from * UINT64_C(64) + to) ^ settings->far_salt);
    return drawn % settings->far_one_in != 0 ? 0 : (int64_t)((drawn >> 32) % (uint64_t)settings->far_us);
}

/* A thousand bytes a microsecond, and never before what was sent earlier. */
static int64_t arrival_us(struct pipe *pipe, size_t len, int64_t extra_us)
{
    struct sim_world *world = world_of(pipe->owner);
    const struct sim_settings *settings = &world->settings;
    int64_t at_us = world->now_us + extra_us + (int64_t)(len / 1000);

    if (pipe->owner->machines[0] == pipe->owner->machines[1])
        at_us += sim_random_range(&world->schedule, 5, 40);
    else
        at_us += sim_draw_us(&world->schedule, settings->latency_us, settings->latency_tail, settings->latency_tail_us);
    at_us += far_us(pipe);
    if (settings->skew_us != 0)
        at_us += (int64_t)(sim_mix((pipe->owner->id * 2 + pipe->to) ^ settings->skew_salt) % (uint64_t)settings->skew_us);
    if (at_us < pipe->last_at_us)
        at_us = pipe->last_at_us;
    pipe->last_at_us = at_us;
    return at_us;
}

void pipe_append(struct pipe *pipe, struct chunk *chunk, int64_t extra_us)
{
    struct sim_world *world = world_of(pipe->owner);
    bool was_empty = list_empty(&pipe->chunks);

    if (pipe->fin || pipe->swallowed) {
        chunk_free(world, chunk);
        return;
    }
    pipe->fin = chunk->kind == CHUNK_FIN;
    chunk->at_us = arrival_us(pipe, chunk->data.len, extra_us);
    list_push_back(&pipe->chunks, &chunk->link);
    if (was_empty && !pipe->held)
        sim_agenda_put(&world->agenda, &pipe->event, chunk->at_us);
}

void pipe_append_data(struct pipe *pipe, struct chunk *chunk)
{
    struct sim_world *world = world_of(pipe->owner);
    const struct sim_settings *settings = &world->settings;
    struct chunk *rest;
    size_t keep;

    world->net.chunks++;
    world->net.bytes += chunk->data.len;
    if (settings->flip_one_in != 0 && sim_random_one_in(&world->faults, settings->flip_one_in))
        chunk->also = net_flip_bits(world, &chunk->data);
    if (settings->split_one_in == 0 || chunk->data.len < 2 || !sim_random_one_in(&world->schedule, settings->split_one_in)) {
        pipe_append(pipe, chunk, 0);
        return;
    }
    keep = 1 + sim_random_below(&world->schedule, chunk->data.len - 1);
    rest = chunk_take(world, CHUNK_DATA);
    rest->cause = chunk->cause;
    rest->also = chunk->also;
    if (bytes_buffer_append(&rest->data, bytes_of(chunk->data.ptr + keep, chunk->data.len - keep)) != 0)
        assert(false);
    chunk->data.len = keep;
    pipe_append(pipe, chunk, 0);
    pipe_append(pipe, rest, 0);
}

void pipe_append_fin(struct pipe *pipe, int error, int64_t extra_us)
{
    struct chunk *chunk = chunk_take(world_of(pipe->owner), CHUNK_FIN);

    chunk->error = error;
    pipe_append(pipe, chunk, extra_us);
}

void pipe_drop_all(struct pipe *pipe)
{
    struct sim_world *world = world_of(pipe->owner);

    sim_agenda_remove(&world->agenda, &pipe->event);
    sim_agenda_remove(&world->agenda, &pipe->resume);
    chunks_free(world, &pipe->chunks);
    chunks_free(world, &pipe->unsent);
    pipe->unsent_bytes = 0;
}

/* ---- links and ends ---- */

static unsigned machine_of(const struct sim_world *world, unsigned from, struct address to)
{
    if (machines_has(&world->net.twin_seen_by, from) && address_equal(world->net.twin_address, to))
        return world->net.twin_machine;
    return (to.ip - 0x0a000001u) % SIM_MACHINES_MAX;
}

struct sim_link *link_create(struct sim_process *process, struct address to)
{
    struct sim_world *world = process->world;
    struct sim_link *link = sim_zalloc(sizeof(*link));

    link->to = to;
    link->processes[0] = process;
    link->machines[0] = process->machine;
    link->machines[1] = machine_of(world, process->machine, to);
    link->id = ++world->net.link_count;
    link->from = (struct address){process->address.ip, 40000 + (uint32_t)(link->id % 20000)};
    for (unsigned side = 0; side < 2; side++) {
        struct pipe *pipe = &link->pipes[side];

        pipe->owner = link;
        pipe->to = side;
        pipe->event.fire = arrive_fire;
        pipe->resume.fire = resume_fire;
        list_init(&pipe->chunks);
        list_init(&pipe->unsent);
    }
    list_push_back(&world->net.links, &link->link);
    return link;
}

void link_free(struct sim_link *link)
{
    struct sim_world *world = world_of(link);

    for (unsigned side = 0; side < 2; side++)
        pipe_drop_all(&link->pipes[side]);
    sim_agenda_remove(&world->agenda, &link->late_fin);
    bytes_buffer_done(&link->hello);
    list_remove(&link->link);
    mem_free(link);
}

static struct env_conn *conn_create(struct sim_link *link, unsigned side, struct sim_process *process)
{
    struct env_conn *conn = sim_zalloc(sizeof(*conn));

    conn->link = link;
    conn->side = side;
    conn->process = process;
    conn->readable = (struct sim_event){.fire = readable_fire, .process = process};
    conn->drained = (struct sim_event){.fire = drained_fire, .process = process};
    conn->accepted = (struct sim_event){.fire = accepted_fire, .process = process};
    list_init(&conn->arrived);
    list_push_back(&process->conns, &conn->process_link);
    link->ends[side] = conn;
    link->processes[side] = process;
    return conn;
}

static struct pipe *pipe_out(struct env_conn *conn)
{
    return &conn->link->pipes[1 - conn->side];
}

static struct pipe *pipe_in(struct env_conn *conn)
{
    return &conn->link->pipes[conn->side];
}

static void conn_free_if_idle(struct env_conn *conn)
{
    if (conn->gone && conn->holds == 0)
        mem_free(conn);
}

/* The end lets go of the link; what was on its way to it is dropped. */
static void conn_detach(struct env_conn *conn)
{
    struct sim_link *link = conn->link;
    struct sim_world *world = world_of(link);

    assert(!conn->gone);
    conn->gone = true;
    sim_agenda_remove(&world->agenda, &conn->readable);
    sim_agenda_remove(&world->agenda, &conn->drained);
    sim_agenda_remove(&world->agenda, &conn->accepted);
    chunks_free(world, &conn->arrived);
    list_remove(&conn->process_link);
    link->ends[conn->side] = NULL;
    if (link->ends[1 - conn->side] == NULL)
        link_free(link);
    conn->link = NULL;
}

static void late_fin_fire(struct sim_event *event)
{
    struct sim_link *link = container_of(event, struct sim_link, late_fin);

    pipe_append_fin(&link->pipes[link->late_fin_to], ERROR_CONNECTION_FAILED, 0);
}

static void close_late(struct sim_link *link, unsigned to, int64_t delay_us)
{
    link->late_fin.fire = late_fin_fire;
    link->late_fin_to = to;
    sim_event_in(world_of(link), &link->late_fin, delay_us);
}

/* What the other side hears when this one goes. */
static void tell_other_side(struct env_conn *conn)
{
    struct sim_process *process = conn->process;
    struct sim_random *random = &process->world->schedule;
    struct pipe *pipe = pipe_out(conn);

    chunks_free(process->world, &pipe->unsent);
    pipe->unsent_bytes = 0;
    if (!process->dying) {
        pipe_append_fin(pipe, ERROR_CONNECTION_FAILED, 0);
    } else if (process->stopped_by != SIM_POWER_OFF) {
        pipe_append_fin(pipe, ERROR_CONNECTION_FAILED, sim_random_range(random, 0, 3000));
    } else {
        pipe_drop_all(pipe); /* nothing more leaves the machine */
        if (sim_random_coin(random))
            close_late(conn->link, pipe->to, sim_random_range(random, 1000, 2 * SIM_SECOND_US));
    }
}

static void close_end(struct env_conn *conn)
{
    if (conn->link->ends[1 - conn->side] != NULL)
        tell_other_side(conn);
    conn_detach(conn);
}

void sim_conn_close(struct env_conn *conn)
{
    close_end(conn);
    conn_free_if_idle(conn);
}

/* ---- arriving ---- */

static void notify(struct env_conn *conn)
{
    struct sim_event *event = conn->listener != NULL ? &conn->accepted : &conn->readable;

    if (!sim_event_waiting(event) && (conn->listener != NULL || !conn->paused))
        sim_dispatch(conn->process->world, event);
}

static struct env_listener *find_listener(struct sim_world *world, struct address at, unsigned machine)
{
    for (size_t i = 0; i < world->process_count; i++) {
        struct sim_process *process = world->processes[i];

        list_each(link, after, &process->listeners) {
            struct env_listener *listener = list_entry(link, struct env_listener, link);

            if (process->machine == machine && address_equal(listener->at, at))
                return listener;
        }
    }
    return NULL;
}

/* Nothing answers at all at an address whose machine is without power. */
static bool answers(struct sim_world *world, struct address at)
{
    for (size_t i = 0; i < world->process_count; i++) {
        const struct sim_process *process = world->processes[i];

        if (process->address.ip == at.ip && (process->alive || process->stopped_by != SIM_POWER_OFF))
            return true;
    }
    return false;
}

static void syn_arrives(struct sim_link *link)
{
    struct sim_world *world = world_of(link);
    struct env_listener *listener = find_listener(world, link->to, link->machines[1]);

    if (listener != NULL) {
        struct env_conn *conn = conn_create(link, 1, listener->process);

        conn->listener = listener;
        pipe_append(&link->pipes[0], chunk_take(world, CHUNK_OPEN), 0);
    } else if (answers(world, link->to)) {
        pipe_append_fin(&link->pipes[0], ERROR_CONNECTION_FAILED, 0);
    } else {
        link->pipes[1].swallowed = true;
        close_late(link, 0, sim_random_range(&world->schedule, 30 * SIM_SECOND_US, 130 * SIM_SECOND_US));
    }
}

/* Bytes for an end that is no more: a living machine answers with a reset. */
static void reset(struct pipe *pipe)
{
    struct sim_link *link = pipe->owner;
    const struct sim_process *gone = link->processes[pipe->to];

    if (gone != NULL && !gone->alive && gone->stopped_by == SIM_POWER_OFF)
        return;
    world_of(link)->net.resets++;
    pipe_append_fin(&link->pipes[1 - pipe->to], ERROR_CONNECTION_FAILED, 0);
}

static void take_in(struct pipe *pipe, struct chunk *chunk)
{
    struct sim_link *link = pipe->owner;
    struct env_conn *end;

    list_remove(&chunk->link);
    sim_set_cause(world_of(link), chunk->cause);
    if (chunk->also == 0)
        chunk->also = pipe->held_line;
    if (chunk->kind == CHUNK_SYN) {
        chunk_free(world_of(link), chunk);
        syn_arrives(link);
        return;
    }
    end = link->ends[pipe->to];
    if (end != NULL) {
        list_push_back(&end->arrived, &chunk->link);
        return;
    }
    if (chunk->kind == CHUNK_DATA && !link->ghost)
        reset(pipe);
    chunk_free(world_of(link), chunk);
}

/* A copy's connection that nobody has at either end any more. True when it has gone. */
static bool ghost_ends(struct pipe *pipe)
{
    struct sim_link *link = pipe->owner;

    if (!link->ghost || link->ends[1] != NULL || pipe->to != 0 || !list_empty(&pipe->chunks) || !pipe->fin)
        return false;
    link_free(link);
    return true;
}

static void hold(struct pipe *pipe)
{
    struct sim_link *link = pipe->owner;
    struct sim_world *world = world_of(link);
    const struct chunk *first = chunk_first(&pipe->chunks);
    const struct sim_process *from = link->processes[1 - pipe->to], *to = link->processes[pipe->to];

    pipe->held = true;
    if (first == NULL)
        return;
    sim_set_cause(world, first->cause);
    sim_also(world, world->net.blocked_by[link->machines[1 - pipe->to]][link->machines[pipe->to]]);
    pipe->held_line = sim_say(world, from, "held: what is on its way to %s", to == NULL ? "its machine" : to->name);
}

static void arrive_fire(struct sim_event *event)
{
    struct pipe *pipe = container_of(event, struct pipe, event);
    struct sim_world *world = world_of(pipe->owner);
    struct chunk *chunk;
    struct env_conn *end;

    if (is_blocked(pipe)) {
        hold(pipe);
        return;
    }
    while ((chunk = chunk_first(&pipe->chunks)) != NULL && chunk->at_us <= world->now_us)
        take_in(pipe, chunk);
    pipe->held_line = 0;
    if (chunk != NULL)
        sim_agenda_put(&world->agenda, event, chunk->at_us);
    if (ghost_ends(pipe))
        return;
    end = pipe->owner->ends[pipe->to];
    /* Last: it may run a turn that frees the link. */
    if (end != NULL && (end->listener != NULL || !list_empty(&end->arrived)))
        notify(end);
}

static void accepted_fire(struct sim_event *event)
{
    struct env_conn *conn = container_of(event, struct env_conn, accepted);
    struct env_listener *listener = conn->listener;

    conn->listener = NULL;
    conn->holds++;
    sim_set_cause(conn->process->world, sim_note(conn->process->world, conn->process, "accept", conn->link->id));
    listener->events->accepted(listener->ctx, conn, conn->link->from);
    conn->holds--;
    assert(conn->gone || conn->events != NULL);
    if (!conn->gone && !list_empty(&conn->arrived))
        notify(conn);
    conn_free_if_idle(conn);
}

/* What waits goes on its way as far as the window lets it; whoever sent it hears when all of it has. */
static void send_unsent(struct pipe *pipe)
{
    struct sim_link *link = pipe->owner;
    struct sim_world *world = world_of(link);
    struct env_conn *sender = link->ends[1 - pipe->to];
    struct chunk *chunk;

    if (list_empty(&pipe->unsent) || sim_event_waiting(&pipe->resume))
        return;
    while ((chunk = chunk_first(&pipe->unsent)) != NULL &&
           (pipe->window_used == 0 || pipe->window_used + chunk->data.len <= world->settings.window_bytes)) {
        list_remove(&chunk->link);
        pipe->unsent_bytes -= chunk->data.len;
        pipe->window_used += chunk->data.len;
        pipe_append_data(pipe, chunk);
    }
    if (list_empty(&pipe->unsent) && sender != NULL && !sim_event_waiting(&sender->drained))
        sim_event_in(world, &sender->drained, world->settings.latency_us);
}

static void resume_fire(struct sim_event *event)
{
    send_unsent(container_of(event, struct pipe, resume));
}

/* The program has taken `len` bytes: the window moves. */
static void consumed(struct env_conn *conn, size_t len)
{
    struct pipe *pipe = pipe_in(conn);

    assert(pipe->window_used >= len);
    pipe->window_used -= len;
    send_unsent(pipe);
}

static void drained_fire(struct sim_event *event)
{
    struct env_conn *conn = container_of(event, struct env_conn, drained);

    if (pipe_out(conn)->unsent_bytes != 0 || conn->events == NULL || conn->events->drained == NULL)
        return;
    conn->holds++;
    conn->events->drained(conn->ctx);
    conn->holds--;
    conn_free_if_idle(conn);
}

static void merge_next(struct env_conn *conn, struct chunk *chunk)
{
    struct sim_world *world = world_of(conn->link);
    struct chunk *next = chunk_first(&conn->arrived);

    if (next == NULL || next->kind != CHUNK_DATA || world->settings.merge_one_in == 0 ||
        !sim_random_one_in(&world->schedule, world->settings.merge_one_in))
        return;
    if (bytes_buffer_append(&chunk->data, bytes_buffer_bytes(&next->data)) != 0)
        assert(false);
    chunk_free(world, next);
}

static struct address other_address(const struct env_conn *conn)
{
    return conn->side == 0 ? conn->link->to : conn->link->from;
}

/* Names the connection and the side that sends, for the trace. */
static uint64_t link_side(const struct env_conn *conn, unsigned sender)
{
    return conn->link->id * 2 + sender;
}

/* What happens next follows from the chunk; also from the end of a pause that it waited for. */
static void chunk_is_cause(const struct env_conn *conn, struct chunk *chunk)
{
    const struct sim_process *process = conn->process;

    if (chunk->also == 0 && chunk->at_us < process->resumed_us)
        chunk->also = process->resume_line;
    sim_set_cause(process->world, chunk->cause);
    sim_also(process->world, chunk->also);
}

static void hand_over(struct env_conn *conn, struct chunk *chunk)
{
    struct sim_world *world = world_of(conn->link);
    struct bytes data;

    merge_next(conn, chunk);
    data = bytes_of(chunk->data.ptr + chunk->start, chunk_left(chunk));
    consumed(conn, data.len);
    chunk_is_cause(conn, chunk);
    sim_set_cause(world, sim_note(world, conn->process, "receive", XXH3_64bits_withSeed(data.ptr, data.len, conn->link->id)));
    sim_trace_receiving(world, other_address(conn), link_side(conn, 1 - conn->side), chunk->also);
    conn->events->received(conn->ctx, data);
}

static void readable_fire(struct sim_event *event)
{
    struct env_conn *conn = container_of(event, struct env_conn, readable);
    struct sim_world *world = conn->process->world;
    struct chunk *chunk;

    conn->holds++;
    while (!conn->gone && !conn->paused && (chunk = chunk_first(&conn->arrived)) != NULL) {
        list_remove(&chunk->link);
        if (chunk->kind == CHUNK_DATA) {
            hand_over(conn, chunk);
            if (!conn->gone && conn->process->read_pause_us != 0) {
                sim_event_in(world, &conn->readable, conn->process->read_pause_us);
                chunk_free(world, chunk);
                break;
            }
        } else if (chunk->kind == CHUNK_OPEN) {
            chunk_is_cause(conn, chunk);
            sim_set_cause(world, sim_note(world, conn->process, "open", conn->link->id));
            if (conn->events->opened != NULL)
                conn->events->opened(conn->ctx);
        } else {
            int error = chunk->error;

            chunk_is_cause(conn, chunk);
            sim_set_cause(world, sim_note(world, conn->process, "closed", conn->link->id));
            conn_detach(conn);
            conn->events->closed(conn->ctx, error);
        }
        chunk_free(world, chunk);
    }
    conn->holds--;
    conn_free_if_idle(conn);
}

/* ---- the seam ---- */

int sim_listen(struct env *env, struct address at, const struct env_listener_events *events, void *ctx,
               struct env_listener **ret_listener)
{
    struct sim_process *process = sim_process_of(env);
    struct env_listener *listener;

    if (at.ip == 0)
        at.ip = process->address.ip;
    if (at.ip != process->address.ip)
        return ERROR_BIND_FAILED;
    if (find_listener(process->world, at, process->machine) != NULL)
        return ERROR_ADDRESS_IN_USE;
    listener = sim_zalloc(sizeof(*listener));
    *listener = (struct env_listener){.process = process, .at = at, .events = events, .ctx = ctx};
    list_push_back(&process->listeners, &listener->link);
    *ret_listener = listener;
    return 0;
}

void sim_listener_close(struct env_listener *listener)
{
    list_each(link, after, &listener->process->conns) {
        struct env_conn *conn = list_entry(link, struct env_conn, process_link);

        if (conn->listener == listener)
            sim_conn_close(conn);
    }
    list_remove(&listener->link);
    mem_free(listener);
}

int sim_connect(struct env *env, struct address to, const struct env_conn_events *events, void *ctx,
                struct env_conn **ret_conn)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_link *link;
    struct env_conn *conn;

    if (sim_process_cut_off(process) || to.port == 0)
        return ERROR_CONNECTION_FAILED;
    link = link_create(process, to);
    conn = conn_create(link, 0, process);
    conn->events = events;
    conn->ctx = ctx;
    pipe_append(&link->pipes[1], chunk_take(process->world, CHUNK_SYN), 0);
    *ret_conn = conn;
    return 0;
}

void sim_conn_adopt(struct env_conn *conn, const struct env_conn_events *events, void *ctx)
{
    assert(conn->events == NULL && !conn->gone);
    conn->events = events;
    conn->ctx = ctx;
}

/* A kernel that takes a part now and the rest later. */
static void take_part(struct pipe *pipe, struct chunk *chunk)
{
    struct sim_world *world = world_of(pipe->owner);
    const struct sim_settings *settings = &world->settings;
    struct chunk *rest;
    size_t keep;

    if (settings->partial_one_in == 0 || chunk->data.len < 2 || !sim_random_one_in(&world->faults, settings->partial_one_in))
        return;
    keep = 1 + sim_random_below(&world->faults, chunk->data.len - 1);
    rest = chunk_take(world, CHUNK_DATA);
    if (bytes_buffer_append(&rest->data, bytes_of(chunk->data.ptr + keep, chunk->data.len - keep)) != 0)
        assert(false);
    chunk->data.len = keep;
    pipe->unsent_bytes += rest->data.len;
    list_push_back(&pipe->unsent, &rest->link);
    sim_event_in(world, &pipe->resume, sim_random_range(&world->faults, 0, settings->partial_us));
}

void sim_conn_send(struct env_conn *conn, struct bytes_buffer *data)
{
    struct sim_world *world = conn->process->world;
    struct pipe *pipe = pipe_out(conn);
    struct chunk *chunk;

    assert(!conn->gone);
    if (data->len == 0 || sim_process_cut_off(conn->process)) {
        bytes_buffer_done(data);
        return;
    }
    if (world->tamper != NULL)
        world->tamper(world, conn->process, other_address(conn), data);
    if (data->len == 0) {
        bytes_buffer_done(data);
        return;
    }
    if (conn->process->newer)
        net_speak_newer(data);
    if (conn->process->foreign)
        net_speak_foreign(data);
    chunk = chunk_take(world, CHUNK_DATA);
    chunk->cause = sim_trace_send(world, conn->process, other_address(conn), link_side(conn, conn->side),
                                  bytes_buffer_bytes(data));
    net_sent(conn->link, pipe->to, bytes_buffer_bytes(data));
    chunk->data = *data;
    *data = (struct bytes_buffer){0};
    if (!list_empty(&pipe->unsent) ||
        (pipe->window_used != 0 && pipe->window_used + chunk->data.len > world->settings.window_bytes)) {
        pipe->unsent_bytes += chunk->data.len;
        list_push_back(&pipe->unsent, &chunk->link);
        return;
    }
    take_part(pipe, chunk);
    pipe->window_used += chunk->data.len;
    pipe_append_data(pipe, chunk);
}

size_t sim_conn_unsent_bytes(struct env_conn *conn)
{
    return pipe_out(conn)->unsent_bytes;
}

void sim_conn_pause(struct env_conn *conn, bool paused)
{
    conn->paused = paused;
    if (!paused && !list_empty(&conn->arrived) && conn->events != NULL && !sim_event_waiting(&conn->readable))
        sim_event_in(conn->process->world, &conn->readable, 0);
}

size_t sim_net_sweep(struct sim_process *process)
{
    size_t left = 0;

    for (; !list_empty(&process->listeners); left++)
        sim_listener_close(list_entry(process->listeners.next, struct env_listener, link));
    for (; !list_empty(&process->conns); left++)
        sim_conn_close(list_entry(process->conns.next, struct env_conn, process_link));
    return left;
}

/* ---- the network ---- */

void sim_net_init(struct sim_net *net)
{
    list_init(&net->links);
    list_init(&net->spare_chunks);
}

void sim_net_done(struct sim_world *world)
{
    list_each(node, after, &world->net.links) {
        assert(list_entry(node, struct sim_link, link)->ghost);
        link_free(list_entry(node, struct sim_link, link));
    }
    net_recorder_done(world);
    while (!list_empty(&world->net.spare_chunks)) {
        struct chunk *chunk = chunk_first(&world->net.spare_chunks);

        list_remove(&chunk->link);
        mem_free(chunk);
    }
}
