/* Lines, and the three maps behind their causes: frames by their hash while they wait for the end of the turn, frames
 * by connection and hash while they travel, ops by address while they live. */
#include "sim/sim_trace.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "net/error.h"
#include "net/mem.h"
#include "net/rpc.h"
#include "sim/world.h"

enum { TEXT_MAX = 1200, FRAME_HASH_AT = 4 };

/* Open addressing; a key of 0 is none. */
struct map {
    struct map_slot {
        uint64_t key, value;
    } * slots; /* owned */
    size_t size, count;
};

struct traced_op {
    const struct op *op; /* borrowed while it lives */
    uint64_t id, line;   /* line: of its newest stage */
    int64_t since_us;
    unsigned stage;
    bool fresh; /* started, its first stage has not run */
};

struct sim_trace {
    struct observer observer; /* first */
    struct sim_world *world;
    FILE *out;
    uint64_t lines, also, op_count;
    bool ended; /* what follows is the world being taken down */
    struct map collected, travelling, ops;
    struct address receiving_from;
    uint64_t receiving_side, receiving_line, receiving_also;
};

/* ---- map ---- */

static size_t map_place(const struct map *map, uint64_t key)
{
    size_t at = (size_t)sim_mix(key) & (map->size - 1);

    while (map->slots[at].key != 0 && map->slots[at].key != key)
        at = (at + 1) & (map->size - 1);
    return at;
}

static void map_grow(struct map *map)
{
    struct map old = *map;

    map->size = old.size == 0 ? 256 : old.size * 2;
    map->slots = sim_zalloc(map->size * sizeof(map->slots[0]));
    for (size_t i = 0; i < old.size; i++)
        if (old.slots[i].key != 0)
            map->slots[map_place(map, old.slots[i].key)] = old.slots[i];
    mem_free(old.slots);
}

static void map_put(struct map *map, uint64_t key, uint64_t value)
{
    size_t at;

    if (2 * map->count >= map->size)
        map_grow(map);
    at = map_place(map, key);
    map->count += map->slots[at].key == 0;
    map->slots[at] = (struct map_slot){key, value};
}

/* 0 when there is none. */
static uint64_t map_get(const struct map *map, uint64_t key)
{
    return map->size == 0 ? 0 : map->slots[map_place(map, key)].value;
}

/* What stands behind the gap moves up, so that a search never meets a hole. */
static void map_remove(struct map *map, uint64_t key)
{
    size_t gap, at;

    if (map->size == 0)
        return;
    gap = map_place(map, key);
    if (map->slots[gap].key == 0)
        return;
    map->count--;
    map->slots[gap] = (struct map_slot){0};
    for (at = (gap + 1) & (map->size - 1); map->slots[at].key != 0; at = (at + 1) & (map->size - 1)) {
        struct map_slot moved = map->slots[at];

        map->slots[at] = (struct map_slot){0};
        map->slots[map_place(map, moved.key)] = moved;
    }
}

/* ---- lines ---- */

uint64_t sim_say_va(struct sim_world *world, const struct sim_process *process, const char *format, va_list arguments)
{
    struct sim_trace *trace = world->trace;

    if (trace == NULL || trace->ended)
        return 0;
    fprintf(trace->out, "[%13.6f] #%" PRIu64 " <%" PRIu64, (double)world->now_us / 1e6, ++trace->lines,
            trace->observer.cause);
    if (trace->also != 0)
        fprintf(trace->out, ",%" PRIu64, trace->also);
    trace->also = 0;
    fprintf(trace->out, " %-12s ", process == NULL ? "world" : process->name);
    vfprintf(trace->out, format, arguments);
    fputc('\n', trace->out);
    return trace->lines;
}

uint64_t sim_say(struct sim_world *world, const struct sim_process *process, const char *format, ...)
{
    va_list arguments;
    uint64_t number;

    if (world->trace == NULL)
        return 0;
    va_start(arguments, format);
    number = sim_say_va(world, process, format, arguments);
    va_end(arguments);
    return number;
}

uint64_t sim_cause(const struct sim_world *world)
{
    return world->trace == NULL ? 0 : world->trace->observer.cause;
}

uint64_t sim_set_cause(struct sim_world *world, uint64_t number)
{
    uint64_t outer = sim_cause(world);

    if (world->trace != NULL)
        world->trace->observer.cause = number;
    return outer;
}

void sim_also(struct sim_world *world, uint64_t number)
{
    if (world->trace != NULL)
        world->trace->also = number;
}

/* ---- memory ---- */

/* What the trace allocates is no allocation of the process that is to run out of memory. */
static uint64_t memory_begin(void)
{
    uint64_t armed = mem_armed();

    if (armed != 0)
        mem_fail_nth(0);
    return armed;
}

static void memory_end(uint64_t armed)
{
    if (armed != 0)
        mem_watch_nth(armed);
}

/* ---- messages ---- */

static const char *process_name(const struct sim_world *world, struct address address)
{
    for (size_t i = 0; i < world->process_count; i++)
        if (world->processes[i]->address.ip == address.ip)
            return world->processes[i]->name;
    return "?";
}

static void describe(struct sim_world *world, struct bytes frame, bool with_body, char out[TEXT_MAX])
{
    snprintf(out, TEXT_MAX, "request=%" PRIu64, get_le64(frame.ptr + 24));
    if (world->describe != NULL)
        world->describe(frame, with_body, out, TEXT_MAX);
}

static uint64_t frame_hash(struct bytes frame)
{
    return get_le64(frame.ptr + FRAME_HASH_AT) | 1; /* never the key that is none */
}

static uint64_t travel_key(uint64_t link_side, struct bytes frame)
{
    return sim_mix(frame_hash(frame) + link_side) | 1;
}

static void frame_out(struct observer *observer, struct env *env, struct bytes frame)
{
    struct sim_trace *trace = container_of(observer, struct sim_trace, observer);
    uint64_t armed = memory_begin();

    (void)env;
    map_put(&trace->collected, frame_hash(frame), observer->cause);
    memory_end(armed);
}

static void send_frame(struct sim_trace *trace, const struct sim_process *from, struct address to, uint64_t link_side,
                       struct bytes frame)
{
    char text[TEXT_MAX];
    uint64_t cause = map_get(&trace->collected, frame_hash(frame));

    describe(trace->world, frame, true, text);
    if (cause != 0)
        trace->observer.cause = cause;
    map_remove(&trace->collected, frame_hash(frame));
    map_put(&trace->travelling, travel_key(link_side, frame),
            sim_say(trace->world, from, "> %s %s", process_name(trace->world, to), text));
}

uint64_t sim_trace_send(struct sim_world *world, const struct sim_process *from, struct address to, uint64_t link_side,
                        struct bytes data)
{
    struct sim_trace *trace = world->trace;
    uint64_t outer = sim_cause(world), last = outer, armed = memory_begin();

    while (trace != NULL && data.len >= RPC_FRAME_HEADER_BYTES) {
        uint64_t length = (uint64_t)get_le32(data.ptr) + 4;

        if (length < RPC_FRAME_HEADER_BYTES || length > data.len)
            break;
        send_frame(trace, from, to, link_side, bytes_of(data.ptr, (size_t)length));
        last = trace->lines;
        trace->observer.cause = outer;
        data = bytes_of(data.ptr + length, data.len - (size_t)length);
    }
    memory_end(armed);
    return last;
}

void sim_trace_receiving(struct sim_world *world, struct address from, uint64_t link_side, uint64_t also)
{
    if (world->trace == NULL)
        return;
    world->trace->receiving_from = from;
    world->trace->receiving_side = link_side;
    world->trace->receiving_line = sim_cause(world);
    world->trace->receiving_also = also;
}

static void frame_in(struct observer *observer, struct env *env, struct bytes frame)
{
    struct sim_trace *trace = container_of(observer, struct sim_trace, observer);
    uint64_t key = travel_key(trace->receiving_side, frame), sent = map_get(&trace->travelling, key);
    char text[TEXT_MAX];

    map_remove(&trace->travelling, key);
    describe(trace->world, frame, false, text);
    observer->cause = sent != 0 ? sent : trace->receiving_line;
    trace->also = trace->receiving_also;
    observer->cause =
        sim_say(trace->world, sim_process_of(env), "< %s %s", process_name(trace->world, trace->receiving_from), text);
}

static void handed_over(struct observer *observer, struct env *env, const struct observed_message *message)
{
    struct sim_trace *trace = container_of(observer, struct sim_trace, observer);
    char body[TEXT_MAX] = "";

    if (message->type != NULL)
        message_print(message->type->schema, message->body, body, sizeof(body));
    observer->cause = sim_say(trace->world, sim_process_of(env), "= itself %s%s%s endpoint=%" PRIx64 " %s",
                              message->reply ? "reply " : "", message->type == NULL ? "error " : message->type->name,
                              message->type == NULL ? error_name(message->error) : "", message->endpoint_id, body);
}

/* ---- ops ---- */

static struct traced_op *find_op(const struct sim_trace *trace, const struct op *op)
{
    return (struct traced_op *)(uintptr_t)map_get(&trace->ops, (uintptr_t)op);
}

static struct traced_op *add_op(struct sim_trace *trace, const struct op *op)
{
    uint64_t armed = memory_begin();
    struct traced_op *traced = sim_zalloc(sizeof(*traced));

    *traced = (struct traced_op){.op = op, .id = ++trace->op_count, .fresh = true};
    map_put(&trace->ops, (uintptr_t)op, (uintptr_t)traced);
    memory_end(armed);
    return traced;
}

static void stage_begins(struct sim_trace *trace, struct traced_op *traced)
{
    const struct op *op = traced->op;
    const char *from = op->type->stages[traced->stage].name;

    traced->since_us = trace->world->now_us;
    traced->stage = op->stage;
    if (!traced->fresh) {
        traced->line = sim_say(trace->world, sim_process_of(op->env), "op %s.%" PRIu64 " %s -> %s", op->type->name,
                               traced->id, from, op_stage_name(op));
        trace->observer.cause = traced->line;
    }
    traced->fresh = false;
}

static void observe_op(struct observer *observer, const struct op *op, enum observed_op what)
{
    struct sim_trace *trace = container_of(observer, struct sim_trace, observer);
    struct traced_op *traced = what == OBSERVED_STARTED ? add_op(trace, op) : find_op(trace, op);

    if (traced == NULL) /* it began before the trace */
        return;
    if (what == OBSERVED_STAGE) {
        stage_begins(trace, traced);
        return;
    }
    traced->line = sim_say(trace->world, sim_process_of(op->env), "op %s.%" PRIu64 " %s %s%s%s", op->type->name,
                           traced->id, what == OBSERVED_STARTED ? "starts" : "ends in", op_stage_name(op),
                           what == OBSERVED_STARTED ? "" : ": ",
                           what == OBSERVED_STARTED ? ""
                           : op->error == 0         ? "ok"
                                                    : error_name(op->error));
    observer->cause = traced->line;
    traced->since_us = trace->world->now_us;
    if (what == OBSERVED_STARTED)
        return;
    map_remove(&trace->ops, (uintptr_t)op);
    mem_free(traced);
}

static void print_waits(const struct op *op, char *out, size_t out_size)
{
    size_t used = 0;

    out[0] = '\0';
    list_each (link, after, &op->waits) {
        const struct wait *wait = list_entry(link, struct wait, link);
        char what[200] = "";

        if (wait->type->print != NULL)
            wait->type->print(wait, what, sizeof(what));
        if (used < out_size)
            used +=
                (size_t)snprintf(out + used, out_size - used, "%s%s %s", used == 0 ? "" : "; ", wait->type->name, what);
        if (wait->gather != NULL && used < out_size)
            used += (size_t)snprintf(out + used, out_size - used, " (%u of %u needed came)", wait->gather->ok,
                                     wait->gather->needed);
    }
    if (used == 0)
        snprintf(out, out_size, "%s", op->running ? "nothing: it runs" : "an op of its own, or its role");
}

static int by_id(const void *a, const void *b)
{
    const struct traced_op *const *left = a, *const *right = b;

    return (*left)->id < (*right)->id ? -1 : (*left)->id > (*right)->id;
}

static void say_waiting(struct sim_world *world)
{
    struct sim_trace *trace = world->trace;
    struct traced_op **ops;
    size_t count = 0;
    char waits[TEXT_MAX];

    ops = sim_zalloc((trace->ops.count + 1) * sizeof(struct traced_op *));
    for (size_t i = 0; i < trace->ops.size; i++)
        if (trace->ops.slots[i].key != 0)
            ops[count++] = (struct traced_op *)(uintptr_t)trace->ops.slots[i].value;
    qsort(ops, count, sizeof(ops[0]), by_id); /* never in the order of addresses */
    for (size_t i = 0; i < count; i++) {
        const struct op *op = ops[i]->op;

        print_waits(op, waits, sizeof(waits));
        sim_set_cause(world, ops[i]->line);
        sim_say(world, sim_process_of(op->env), "WAITS op %s.%" PRIu64 " %s since %.6f for %s", op->type->name,
                ops[i]->id, op_stage_name(op), (double)ops[i]->since_us / 1e6, waits);
    }
    mem_free(ops);
}

/* ---- the end ---- */

static void say_process(struct sim_world *world, const struct sim_process *process)
{
    char roles[TEXT_MAX] = "";

    sim_set_cause(world, process->alive ? (process->paused ? process->pause_line : 0) : process->stop_line);
    if (process->alive && world->describe_process != NULL)
        world->describe_process(process, roles, sizeof(roles));
    sim_say(world, process, "STATE %s%s", process->paused ? "paused" : process->alive ? "alive" : "down", roles);
}

static void say_blocks(struct sim_world *world)
{
    for (size_t i = 0; i < world->process_count; i++) {
        for (size_t j = 0; j < world->process_count; j++) {
            unsigned from = world->processes[i]->machine, to = world->processes[j]->machine;

            if (world->net.blocked[from][to] == 0)
                continue;
            sim_set_cause(world, world->net.blocked_by[from][to]);
            sim_say(world, world->processes[i], "STATE nothing of it reaches %s", world->processes[j]->name);
        }
    }
}

void sim_trace_end(struct sim_world *world)
{
    if (world->trace == NULL)
        return;
    for (size_t i = 0; i < world->process_count; i++)
        say_process(world, world->processes[i]);
    say_blocks(world);
    say_waiting(world);
    world->trace->ended = true;
    fflush(world->trace->out);
}

/* ---- life ---- */

void sim_trace_start(struct sim_world *world, FILE *out)
{
    struct sim_trace *trace = sim_zalloc(sizeof(*trace));

    assert(world->trace == NULL && world->process_count == 0);
    trace->observer =
        (struct observer){.op = observe_op, .frame_out = frame_out, .frame_in = frame_in, .handed_over = handed_over};
    trace->world = world;
    trace->out = out;
    world->trace = trace;
    world->agenda.cause = &trace->observer.cause;
}

struct observer *sim_trace_observer(const struct sim_world *world)
{
    return world->trace == NULL ? NULL : &world->trace->observer;
}

void sim_trace_destroy(struct sim_trace *trace)
{
    if (trace == NULL)
        return;
    fflush(trace->out);
    for (size_t i = 0; i < trace->ops.size; i++)
        if (trace->ops.slots[i].key != 0)
            mem_free((void *)(uintptr_t)trace->ops.slots[i].value);
    mem_free(trace->collected.slots);
    mem_free(trace->travelling.slots);
    mem_free(trace->ops.slots);
    mem_free(trace);
}
