/* One event queue for everything that happens, kept as plain arrays and searched: clusters are small.
 *
 * Disks apply frames whole and in order. A crash keeps a prefix of the frames under way, as a disk that wrote them
 * without having said so. */
#include "tests/unit/roles/raft_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/error.h"
#include "net/mem.h"

#define check(world, condition)                                                                                        \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "seed %llu at %llu us: %s (%s:%d)\n", (unsigned long long)(world)->seed,                   \
                    (unsigned long long)(world)->now_us, #condition, __FILE__, __LINE__);                              \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

uint64_t world_random(struct world *world, uint64_t below)
{
    uint64_t z = world->random_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return below == 0 ? 0 : (z ^ z >> 31) % below;
}

void world_say(struct world *world, const char *format, ...)
{
    va_list args;

    if (!world->trace_on)
        return;
    check(world, WORLD_TRACE_MAX - world->trace_len > 512);
    world->trace_len += (size_t)sprintf(world->trace + world->trace_len, "[%4llu] ",
                                        (unsigned long long)(world->now_us / 1000));
    va_start(args, format);
    world->trace_len += (size_t)vsnprintf(world->trace + world->trace_len, 400, format, args);
    va_end(args);
    world->trace[world->trace_len++] = '\n';
    world->trace[world->trace_len] = 0;
}

static const char *const type_names[] = {"?",      "pre-vote",     "pre-vote-reply", "vote",       "vote-reply",
                                         "append", "append-reply", "snapshot",       "timeout-now"};

static void say_message(struct world *world, const struct raft_message *m)
{
    char text[256];
    int n = snprintf(text, sizeof(text), "m%llu > m%llu %s term=%llu", (unsigned long long)m->from,
                     (unsigned long long)m->to, type_names[m->type], (unsigned long long)m->term);

#define ADD(condition, format, value)                                                                                  \
    if (condition)                                                                                                     \
        n += snprintf(text + n, sizeof(text) - (size_t)n, format, (unsigned long long)(value))
    ADD(m->type == RAFT_SNAPSHOT, " index=%llu", m->snapshot.index);
    ADD(m->type == RAFT_SNAPSHOT, "/%llu", m->snapshot.term);
    ADD(m->type != RAFT_SNAPSHOT && (m->index != 0 || m->type >= RAFT_APPEND), " index=%llu", m->index);
    ADD(m->log_term != 0, "/%llu", m->log_term);
    ADD(m->type == RAFT_APPEND, " commit=%llu", m->commit);
    ADD(m->entry_count != 0, " entries=%llu", m->entry_count);
    ADD(m->transfer, " transfer%.0llu", 0);
    ADD(m->reject, " reject%.0llu", 0);
    ADD(m->reject && m->type == RAFT_APPEND_REPLY, " hint=%llu", m->hint);
#undef ADD
    world_say(world, "%s", text);
}

/* --- creation --- */

static void disk_init(struct world *world, struct world_disk *disk, int voters, bool member)
{
    struct raft_configuration first = {.count = (uint32_t)voters};

    disk->entries = mem_zalloc(WORLD_LOG_MAX * sizeof(*disk->entries));
    check(world, disk->entries != NULL);
    for (int i = 0; i < voters; i++)
        first.members[i].id = (uint64_t)i + 1;
    if (member)
        disk->snapshot.configuration_len = raft_configuration_encode(&first, disk->snapshot.configuration);
}

struct world *world_create(uint64_t seed, int voters, int nodes)
{
    struct world *world = mem_zalloc(sizeof(*world));

    if (world == NULL)
        abort();
    world->seed = world->random_state = seed;
    world->node_count = nodes;
    world->latency_us = 1000;
    world->net = mem_zalloc(WORLD_NET_MAX * sizeof(*world->net));
    world->chain = mem_zalloc((WORLD_LOG_MAX + 1) * sizeof(uint64_t));
    world->seen_term = mem_zalloc((WORLD_LOG_MAX + 1) * sizeof(uint64_t));
    world->trace = mem_zalloc(WORLD_TRACE_MAX);
    check(world, world->net != NULL && world->chain != NULL && world->seen_term != NULL && world->trace != NULL);
    for (int i = 0; i < nodes; i++) {
        struct world_node *node = &world->nodes[i];

        node->id = (uint64_t)i + 1;
        node->disk_us = 1000;
        node->frames = mem_zalloc(WORLD_FRAMES_MAX * sizeof(*node->frames));
        check(world, node->frames != NULL);
        disk_init(world, &node->disk, voters, i < voters);
    }
    return world;
}

static void drop_frames(struct world_node *node)
{
    for (size_t i = 0; i < node->frame_count; i++)
        mem_free(node->frames[i].entries);
    node->frame_count = 0;
}

void world_destroy(struct world *world)
{
    for (int i = 0; i < world->node_count; i++) {
        raft_destroy(world->nodes[i].raft);
        drop_frames(&world->nodes[i]);
        mem_free(world->nodes[i].frames);
        mem_free(world->nodes[i].disk.entries);
    }
    for (size_t i = 0; i < world->net_count; i++)
        mem_free(world->net[i].entries);
    mem_free(world->net);
    mem_free(world->chain);
    mem_free(world->seen_term);
    mem_free(world->trace);
    mem_free(world);
}

/* --- copies --- */

static struct world_entry *copy_entries(struct world *world, const struct raft_entry *entries, size_t count)
{
    struct world_entry *copies = count == 0 ? NULL : mem_zalloc(count * sizeof(*copies));

    for (size_t i = 0; i < count; i++) {
        check(world, entries[i].data.len <= WORLD_ENTRY_BYTES_MAX);
        copies[i] = (struct world_entry){.index = entries[i].index,
                                         .term = entries[i].term,
                                         .type = entries[i].type,
                                         .len = (uint8_t)entries[i].data.len};
        if (entries[i].data.len != 0)
            memcpy(copies[i].bytes, entries[i].data.ptr, entries[i].data.len);
    }
    return copies;
}

static struct raft_entry borrow_entry(const struct world_entry *entry)
{
    return (struct raft_entry){.index = entry->index,
                               .term = entry->term,
                               .type = entry->type,
                               .data = bytes_of(entry->bytes, entry->len)};
}

static struct world_snapshot copy_snapshot(struct world *world, const struct raft_snapshot *snapshot)
{
    struct world_snapshot copy = {.index = snapshot->index, .term = snapshot->term};

    copy.configuration_len = snapshot->configuration.len;
    if (snapshot->configuration.len != 0)
        memcpy(copy.configuration, snapshot->configuration.ptr, snapshot->configuration.len);
    check(world, snapshot->data.len == (snapshot->index == 0 ? 0 : sizeof(copy.state)));
    if (snapshot->data.len != 0)
        memcpy(&copy.state, snapshot->data.ptr, sizeof(copy.state));
    return copy;
}

static struct raft_snapshot borrow_snapshot(const struct world_snapshot *snapshot)
{
    return (struct raft_snapshot){
        .index = snapshot->index,
        .term = snapshot->term,
        .configuration = bytes_of(snapshot->configuration, snapshot->configuration_len),
        .data = snapshot->index == 0 ? bytes_none() : bytes_of(&snapshot->state, sizeof(snapshot->state))};
}

/* --- disks --- */

static void disk_apply(struct world *world, struct world_disk *disk, const struct world_frame *frame)
{
    disk->term = frame->term;
    disk->vote = frame->vote;
    if (frame->has_snapshot) {
        size_t drop = frame->snapshot_keeps_log ? frame->snapshot.index - disk->snapshot.index : disk->entry_count;

        check(world, drop <= disk->entry_count);
        disk->entry_count -= drop;
        memmove(disk->entries, disk->entries + drop, disk->entry_count * sizeof(*disk->entries));
        disk->snapshot = frame->snapshot;
    }
    if (frame->truncate_from != 0) {
        check(world, frame->truncate_from > disk->snapshot.index);
        check(world, frame->truncate_from <= disk->snapshot.index + disk->entry_count);
        disk->entry_count = frame->truncate_from - disk->snapshot.index - 1;
    }
    for (size_t i = 0; i < frame->entry_count; i++) {
        check(world, frame->entries[i].index == disk->snapshot.index + disk->entry_count + 1);
        check(world, disk->entry_count < WORLD_LOG_MAX);
        disk->entries[disk->entry_count++] = frame->entries[i];
    }
}

static void disk_submit(struct world *world, struct world_node *node, const struct raft_persist *persist)
{
    struct world_frame *frame = &node->frames[node->frame_count];
    uint64_t start = world->now_us;

    if (persist->sequence == 0)
        return;
    check(world, node->frame_count < WORLD_FRAMES_MAX);
    if (node->frame_count != 0) {
        check(world, persist->sequence == frame[-1].sequence + 1);
        start = frame[-1].done_us;
    }
    *frame = (struct world_frame){.sequence = persist->sequence,
                                  .done_us = start + node->disk_us,
                                  .term = persist->term,
                                  .vote = persist->vote,
                                  .truncate_from = persist->truncate_from,
                                  .entry_count = persist->entry_count};
    if (persist->snapshot != NULL) {
        frame->has_snapshot = true;
        frame->snapshot_keeps_log = persist->snapshot_keeps_log;
        frame->snapshot = copy_snapshot(world, persist->snapshot);
    }
    frame->entries = copy_entries(world, persist->entries, persist->entry_count);
    node->frame_count++;
}

static uint64_t disk_finish_oldest(struct world *world, struct world_node *node)
{
    struct world_frame frame = node->frames[0];

    disk_apply(world, &node->disk, &frame);
    mem_free(frame.entries);
    node->frame_count--;
    memmove(node->frames, node->frames + 1, node->frame_count * sizeof(frame));
    return frame.sequence;
}

/* --- the network --- */

static bool reachable(const struct world *world, uint64_t from, uint64_t to)
{
    return !world->cut[from - 1][to - 1];
}

static void net_put(struct world *world, const struct raft_message *message)
{
    struct world_packet *packet = &world->net[world->net_count];

    if (world->net_count == WORLD_NET_MAX)
        return; /* one more way to be lost */
    *packet = (struct world_packet){.at_us = world->now_us + world->latency_us + world_random(world, world->jitter_us),
                                    .message = *message};
    packet->entries = copy_entries(world, message->entries, message->entry_count);
    packet->message.entries = NULL;
    if (message->type == RAFT_SNAPSHOT)
        packet->snapshot = copy_snapshot(world, &message->snapshot);
    world->net_count++;
}

static void net_send(struct world *world, const struct raft_message *message)
{
    check(world, message->to >= 1 && message->to <= (uint64_t)world->node_count);
    say_message(world, message);
    if (!reachable(world, message->from, message->to) || world->mute[message->type])
        return;
    if (world_random(world, 100) >= world->drop_percent)
        net_put(world, message);
    if (world_random(world, 100) < world->duplicate_percent)
        net_put(world, message);
}

/* --- checks of what comes out of a step --- */

static uint64_t chain_next(uint64_t hash, const struct raft_entry *entry)
{
    hash = (hash ^ entry->term) * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ entry->type ^ hash >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    for (size_t i = 0; i < entry->data.len; i++)
        hash = (hash ^ entry->data.ptr[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}

/* State machine safety [paper 5.4.3]: all members apply the same at each index. */
static void apply(struct world *world, struct world_node *node, const struct raft_entry *entry, uint64_t term)
{
    check(world, entry != NULL);
    check(world, entry->index == node->state.index + 1);
    check(world, entry->index <= WORLD_LOG_MAX);
    node->state.index++;
    node->state.hash = chain_next(node->state.hash, entry);
    if (entry->index > world->applied_max) {
        world->applied_max = entry->index;
        world->chain[entry->index] = node->state.hash;
        world->seen_term[entry->index] = term;
    }
    check(world, world->chain[entry->index] == node->state.hash);
}

/* Election safety [paper 5.2], leader completeness [paper 5.4]. */
static void check_new_leader(struct world *world, struct world_node *node, const struct raft_status *status)
{
    struct world_state state = node->state;

    check(world, status->term < WORLD_TERMS_MAX);
    check(world, world->leader_of_term[status->term] == 0);
    world->leader_of_term[status->term] = node->id;
    while (state.index < world->applied_max && world->seen_term[state.index + 1] < status->term) {
        const struct raft_entry *entry = raft_entry(node->raft, ++state.index);

        check(world, entry != NULL);
        state.hash = chain_next(state.hash, entry);
        check(world, state.hash == world->chain[state.index]);
    }
}

/* Leader append-only [paper 5.3]. */
static void check_leader(struct world *world, struct world_node *node, const struct raft_update *update,
                         const struct raft_status *status)
{
    bool leads = status->role == RAFT_LEADER;

    if (node->led_term != 0 && leads && node->led_term == status->term) {
        check(world, update->persist.truncate_from == 0);
        check(world, update->snapshot_installed == NULL);
        check(world, status->last_index >= node->led_last);
    }
    check(world, update->lost_leadership == (node->led_term != 0 && (!leads || node->led_term != status->term)));
    node->led_term = leads ? status->term : 0;
    node->led_last = status->last_index;
}

/* Log matching [paper 5.3]: below an entry that two logs agree about, they are the same. */
static void check_pair(const struct world *world, const struct raft *a, const struct raft *b)
{
    struct raft_status sa, sb;
    uint64_t index, least;
    bool agree = false;

    raft_status(a, &sa);
    raft_status(b, &sb);
    index = sa.last_index < sb.last_index ? sa.last_index : sb.last_index;
    least = sa.first_index > sb.first_index ? sa.first_index : sb.first_index;
    for (; index >= least; index--) {
        const struct raft_entry *ea = raft_entry(a, index), *eb = raft_entry(b, index);

        check(world, !agree || ea->term == eb->term);
        if (ea->term != eb->term)
            continue;
        agree = true;
        check(world, ea->type == eb->type && bytes_equal(ea->data, eb->data));
    }
}

void world_check_log_matching(const struct world *world)
{
    for (int i = 0; i < world->node_count; i++) {
        for (int j = 0; j < i; j++) {
            if (world->nodes[i].raft != NULL && world->nodes[j].raft != NULL)
                check_pair(world, world->nodes[i].raft, world->nodes[j].raft);
        }
    }
}

static void install(struct world *world, struct world_node *node, const struct raft_snapshot *snapshot)
{
    struct world_snapshot copy = copy_snapshot(world, snapshot);

    check(world, copy.index <= world->applied_max && copy.index > node->state.index);
    check(world, copy.state.index == copy.index && copy.state.hash == world->chain[copy.index]);
    node->state = copy.state;
    world_say(world, "m%llu installs snapshot index=%llu", (unsigned long long)node->id,
              (unsigned long long)copy.index);
}

static void say_update(struct world *world, const struct world_node *node, const struct raft_update *update,
                       const struct raft_status *status)
{
    unsigned long long id = node->id, term = status->term;

    if (update->persist.sequence != 0 && update->persist.truncate_from != 0)
        world_say(world, "m%llu truncates from=%llu", id, (unsigned long long)update->persist.truncate_from);
    if (update->became_leader)
        world_say(world, "m%llu leads term=%llu", id, term);
    if (update->lost_leadership)
        world_say(world, "m%llu leads no more term=%llu", id, term);
    if (update->leader_ready)
        world_say(world, "m%llu is ready term=%llu", id, term);
    if (update->configuration_changed)
        world_say(world, "m%llu has a configuration of %u", id, raft_configuration(node->raft)->count);
    if (update->change != RAFT_CHANGE_NONE)
        world_say(world, "m%llu change %s", id, update->change == RAFT_CHANGE_COMMITTED ? "committed" : "aborted");
    if (update->apply_last >= update->apply_first)
        world_say(world, "m%llu applies %llu..%llu", id, (unsigned long long)update->apply_first,
                  (unsigned long long)update->apply_last);
}

static void obey(struct world *world, struct world_node *node, const struct raft_update *update)
{
    struct raft_status status;

    invariant_raft(node->raft);
    raft_status(node->raft, &status);
    say_update(world, node, update, &status);
    check_leader(world, node, update, &status);
    if (update->became_leader)
        check_new_leader(world, node, &status);
    node->ready = status.ready;
    if (update->change != RAFT_CHANGE_NONE)
        node->change = update->change;
    disk_submit(world, node, &update->persist);
    for (size_t i = 0; i < update->message_count; i++)
        net_send(world, &update->messages[i]);
    if (update->snapshot_installed != NULL)
        install(world, node, update->snapshot_installed);
    for (uint64_t i = update->apply_first; i <= update->apply_last; i++)
        apply(world, node, raft_entry(node->raft, i), status.term);
    check(world, update->timeout_us > world->now_us);
    node->timeout_us = update->timeout_us;
}

int world_event(struct world *world, int index, struct raft_event event)
{
    struct world_node *node = &world->nodes[index];
    struct raft_update update;
    struct raft_status status;
    int error;

    check(world, node->raft != NULL);
    event.now_us = world->now_us;
    error = raft_step(node->raft, &event, &update);
    obey(world, node, &update);
    raft_status(node->raft, &status);
    if (world->compact_every != 0 && node->state.index >= status.snapshot_index + world->compact_every) {
        int compacted = raft_compact(node->raft, world->now_us, node->state.index,
                                     bytes_of(&node->state, sizeof(node->state)), &update);

        check(world, compacted == 0 || (compacted == ERROR_OPERATION_FAILED && node->disk.snapshot.index == 0));
        obey(world, node, &update);
    }
    return error;
}

int world_propose(struct world *world, int node)
{
    uint8_t data[8];

    put_le64(data, ++world->proposals);
    return world_event(world, node, (struct raft_event){.type = RAFT_EVENT_PROPOSE, .data = bytes_of(data, 8)});
}

/* --- life and death --- */

void world_start(struct world *world, int index)
{
    struct world_node *node = &world->nodes[index];
    struct raft_options options = world->options;
    struct raft_entry *entries = mem_zalloc((node->disk.entry_count + 1) * sizeof(*entries));
    struct raft_restored restored = {.term = node->disk.term,
                                     .vote = node->disk.vote,
                                     .snapshot = borrow_snapshot(&node->disk.snapshot),
                                     .entries = entries,
                                     .entry_count = node->disk.entry_count};
    int error;

    check(world, node->raft == NULL && entries != NULL);
    for (size_t i = 0; i < node->disk.entry_count; i++)
        entries[i] = borrow_entry(&node->disk.entries[i]);
    options.id = node->id;
    options.seed = world->seed * 1000 + node->id * 100 + ++node->incarnation;
    error = raft_create(&options, &restored, world->now_us, &node->raft);
    check(world, error == 0);
    mem_free(entries);
    node->state = node->disk.snapshot.state;
    node->led_term = 0;
    node->ready = false;
    node->change = RAFT_CHANGE_NONE;
    memset(node->closed, 0, sizeof(node->closed));
    world_event(world, index, (struct raft_event){.type = RAFT_EVENT_TICK});
}

void world_start_all(struct world *world)
{
    for (int i = 0; i < world->node_count; i++) {
        if (world->nodes[i].raft == NULL)
            world_start(world, i);
    }
}

void world_crash(struct world *world, int index, size_t frames_kept)
{
    struct world_node *node = &world->nodes[index];

    check(world, node->raft != NULL);
    world_say(world, "m%llu crashes", (unsigned long long)node->id);
    while (frames_kept-- > 0 && node->frame_count > 0)
        disk_finish_oldest(world, node);
    drop_frames(node);
    raft_destroy(node->raft);
    node->raft = NULL;
    for (int i = 0; i < world->node_count; i++) {
        if (i != index && reachable(world, node->id, world->nodes[i].id))
            world->nodes[i].closed[index] = world->now_us + world->latency_us;
    }
}

void world_partition(struct world *world, uint32_t side_mask)
{
    for (int i = 0; i < world->node_count; i++) {
        for (int j = 0; j < world->node_count; j++)
            world->cut[i][j] = (side_mask >> i & 1) != (side_mask >> j & 1);
    }
}

void world_heal(struct world *world)
{
    memset(world->cut, 0, sizeof(world->cut));
    memset(world->mute, 0, sizeof(world->mute));
}

/* --- time --- */

static void deliver(struct world *world, size_t at)
{
    struct world_packet packet = world->net[at];
    struct raft_entry entries[RAFT_BATCH_ENTRIES_MAX];
    int to = (int)packet.message.to - 1;

    world->net[at] = world->net[--world->net_count];
    for (uint32_t i = 0; i < packet.message.entry_count; i++)
        entries[i] = borrow_entry(&packet.entries[i]);
    packet.message.entries = entries;
    if (packet.message.type == RAFT_SNAPSHOT)
        packet.message.snapshot = borrow_snapshot(&packet.snapshot);
    if (world->nodes[to].raft != NULL)
        world_event(world, to, (struct raft_event){.type = RAFT_EVENT_MESSAGE, .message = &packet.message});
    mem_free(packet.entries);
}

enum happening { NOTHING, DELIVERY, DISK, CLOSED, TIMEOUT };

struct next {
    enum happening what;
    uint64_t at_us;
    size_t which, other;
};

static void consider(struct next *next, enum happening what, uint64_t at_us, size_t which, size_t other)
{
    if (at_us < next->at_us)
        *next = (struct next){what, at_us, which, other};
}

static struct next find_next(const struct world *world)
{
    struct next next = {NOTHING, RAFT_NEVER, 0, 0};

    for (size_t i = 0; i < world->net_count; i++)
        consider(&next, DELIVERY, world->net[i].at_us, i, 0);
    for (size_t i = 0; i < (size_t)world->node_count; i++) {
        const struct world_node *node = &world->nodes[i];

        if (node->raft == NULL)
            continue;
        if (node->frame_count != 0 && !node->disk_stuck)
            consider(&next, DISK, node->frames[0].done_us, i, 0);
        for (size_t j = 0; j < (size_t)world->node_count; j++) {
            if (node->closed[j] != 0)
                consider(&next, CLOSED, node->closed[j], i, j);
        }
        consider(&next, TIMEOUT, node->timeout_us, i, 0);
    }
    return next;
}

bool world_step(struct world *world, uint64_t until_us)
{
    struct next next = find_next(world);
    struct raft_event event = {.type = RAFT_EVENT_TICK};

    if (next.what == NOTHING || next.at_us > until_us)
        return false;
    if (next.at_us > world->now_us)
        world->now_us = next.at_us;
    if (next.what == DELIVERY) {
        deliver(world, next.which);
        return true;
    }
    if (next.what == DISK) {
        event.type = RAFT_EVENT_PERSISTED;
        event.sequence = disk_finish_oldest(world, &world->nodes[next.which]);
    }
    if (next.what == CLOSED) {
        event.type = RAFT_EVENT_PEER_CLOSED;
        event.member_id = next.other + 1;
        world->nodes[next.which].closed[next.other] = 0;
    }
    world_event(world, (int)next.which, event);
    return true;
}

void world_run(struct world *world, uint64_t duration_us)
{
    uint64_t until = world->now_us + duration_us;

    while (world_step(world, until))
        ;
    world->now_us = until;
}

int world_leader(const struct world *world)
{
    int leader = -1;

    for (int i = 0; i < world->node_count; i++) {
        const struct world_node *node = &world->nodes[i];

        if (node->raft != NULL && node->led_term != 0 &&
            (leader < 0 || node->led_term > world->nodes[leader].led_term))
            leader = i;
    }
    return leader;
}

int world_run_until_leader(struct world *world, int wanted)
{
    uint64_t until = world->now_us + 30 * 1000 * 1000;

    for (;;) {
        int leader = world_leader(world);

        if (leader >= 0 && world->nodes[leader].ready && (wanted < 0 || leader == wanted))
            return leader;
        check(world, world_step(world, until));
    }
}

struct raft_status world_status(const struct world *world, int node)
{
    struct raft_status status;

    check(world, world->nodes[node].raft != NULL);
    raft_status(world->nodes[node].raft, &status);
    return status;
}
