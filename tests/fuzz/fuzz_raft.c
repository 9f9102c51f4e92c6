/* Any events into one member of a Raft group: messages of every kind, persists that finish late, crashes of none. Invariants
 * hold after each step, and what comes out keeps the caller's contract. */
#include <assert.h>

#include "net/error.h"
#include "roles/coordinator/raft/raft.h"
#include "tests/fuzz/feed.h"
#include "tests/fuzz/fuzz_input.h"

enum { EVENTS_MAX = 200, SELF = 1 };

struct raft_play {
    struct raft *raft;
    struct feed feed;
    struct arena arena;
    uint64_t now_us, persisted, handed; /* sequences */
    uint64_t applied;
};

static uint64_t member(struct raft_play *play)
{
    return 1 + feed_below(&play->feed, 4);
}

/* Valid, or what the input holds. */
static struct bytes configuration(struct raft_play *play)
{
    struct raft_configuration c = {.count = 1 + feed_below(&play->feed, 4)};
    uint8_t *out = arena_alloc(&play->arena, RAFT_CONFIGURATION_BYTES_MAX);

    if (feed_byte(&play->feed) >= 0xc0)
        return feed_bytes(&play->feed, feed_below(&play->feed, 40));
    for (uint32_t i = 0; i < c.count; i++)
        c.members[i].id = 1 + i;
    return bytes_of(out, raft_configuration_encode(&c, out));
}

static void add_entries(struct raft_play *play, struct raft_message *m)
{
    uint32_t count = feed_below(&play->feed, 5);
    struct raft_entry *entries = arena_zalloc(&play->arena, 5 * sizeof(*entries));

    for (uint32_t i = 0; i < count; i++) {
        uint8_t how = feed_byte(&play->feed);

        entries[i] = (struct raft_entry){.index = how < 0xf0 ? m->index + 1 + i : feed_number(&play->feed),
                                         .term = how & 1 ? m->term : feed_number(&play->feed),
                                         .type = how < 0xe0 ? 1 + (how >> 1) % 3 : how};
        if (entries[i].type == RAFT_ENTRY_CONFIGURATION)
            entries[i].data = configuration(play);
        else if (entries[i].type != RAFT_ENTRY_NOOP || how >= 0xd0)
            entries[i].data = feed_bytes(&play->feed, feed_below(&play->feed, 8));
    }
    m->entries = entries;
    m->entry_count = count;
}

static void draw_message(struct raft_play *play, struct raft_message *m)
{
    uint8_t flags = feed_byte(&play->feed);

    *m = (struct raft_message){.type = flags < 0xf8 ? 1 + flags % 8u : flags,
                               .reject = flags & 8,
                               .transfer = flags & 16,
                               .from = 2 + feed_below(&play->feed, 3),
                               .to = flags < 0xf0 ? SELF : member(play),
                               .term = feed_number(&play->feed),
                               .index = feed_number(&play->feed),
                               .log_term = feed_number(&play->feed),
                               .commit = feed_number(&play->feed),
                               .hint = feed_number(&play->feed)};
    if (m->type == RAFT_APPEND)
        add_entries(play, m);
    if (m->type == RAFT_SNAPSHOT)
        m->snapshot = (struct raft_snapshot){feed_number(&play->feed), feed_number(&play->feed), configuration(play),
                                             feed_bytes(&play->feed, feed_below(&play->feed, 8))};
}

/* What the caller is promised. */
static void obey(struct raft_play *play, const struct raft_update *update)
{
    if (update->persist.sequence != 0) {
        assert(update->persist.sequence == play->handed + 1);
        play->handed++;
        feed_saw(&play->feed, update->persist.term);
        for (size_t i = 1; i < update->persist.entry_count; i++)
            assert(update->persist.entries[i].index == update->persist.entries[i - 1].index + 1);
    }
    if (update->snapshot_installed != NULL) {
        assert(update->snapshot_installed->index > play->applied);
        play->applied = update->snapshot_installed->index;
    }
    if (update->apply_first <= update->apply_last && update->apply_last != 0) {
        assert(update->apply_first == play->applied + 1);
        for (uint64_t i = update->apply_first; i <= update->apply_last; i++)
            assert(raft_entry(play->raft, i) != NULL && raft_entry(play->raft, i)->index == i);
        play->applied = update->apply_last;
    }
    for (size_t i = 0; i < update->message_count; i++) {
        assert(update->messages[i].from == SELF && update->messages[i].to != SELF);
        feed_saw(&play->feed, update->messages[i].term);
        feed_saw(&play->feed, update->messages[i].index);
    }
}

static void step(struct raft_play *play)
{
    static const uint64_t waits[] = {0, 1000, 20000, 100000, 300000, 700000, 1000000, 5000000};
    uint8_t what = feed_byte(&play->feed);
    struct raft_event event = {.type = what < 0x70 ? RAFT_EVENT_MESSAGE : (enum raft_event_type)(1 + what % 9u)};
    struct raft_member joining = {.id = 1 + feed_below(&play->feed, 9)};
    struct raft_update update = {0};
    struct raft_message message;

    play->now_us += waits[what >> 5];
    event.now_us = play->now_us;
    event.member_id = member(play);
    if (event.type == RAFT_EVENT_MESSAGE) {
        draw_message(play, &message);
        event.message = &message;
    } else if (event.type == RAFT_EVENT_PERSISTED) {
        if (play->persisted == play->handed)
            return;
        play->persisted += 1 + feed_byte(&play->feed) % (play->handed - play->persisted);
        event.sequence = play->persisted;
    } else if (event.type == RAFT_EVENT_PROPOSE) {
        event.data = feed_bytes(&play->feed, feed_below(&play->feed, 8));
    } else if (event.type == RAFT_EVENT_ADD_MEMBER) {
        event.member = &joining;
    } else if (event.type == RAFT_EVENT_COMPACT) {
        if (play->applied == 0)
            return;
        event.index = play->applied - feed_byte(&play->feed) % play->applied;
        event.data = BYTES_LITERAL("state");
    }
    (void)raft_step(play->raft, &event, &update);
    invariant_raft(play->raft);
    obey(play, &update);
    invariant_raft(play->raft);
}

int fuzz_input(const uint8_t *data, size_t size)
{
    struct raft_play play = {.now_us = 1000};
    struct raft_options options = {.id = SELF, .seed = 7};
    struct raft_restored restored = {0};
    struct raft_entry entries[3];
    struct raft_update update;
    int error;

    feed_init(&play.feed, data, size, (struct address){0});
    feed_fixed(&play.feed, 2);
    feed_fixed(&play.feed, RAFT_NUMBER_MAX);
    restored.snapshot.configuration = configuration(&play);
    if (feed_byte(&play.feed) >= 0xc0) { /* from a disk that held anything */
        restored.term = feed_number(&play.feed);
        restored.vote = member(&play);
        restored.snapshot.index = feed_number(&play.feed);
        restored.snapshot.term = feed_number(&play.feed);
        for (int i = 0; i < 3; i++)
            entries[i] = (struct raft_entry){feed_number(&play.feed), feed_number(&play.feed), feed_below(&play.feed, 5),
                                             configuration(&play)};
        restored.entries = entries;
        restored.entry_count = feed_below(&play.feed, 4);
    }
    error = raft_create(&options, &restored, play.now_us, &play.raft);
    assert(error == 0 || error == ERROR_FILE_CORRUPT);
    if (error == 0) {
        play.applied = restored.snapshot.index;
        invariant_raft(play.raft);
        (void)raft_step(play.raft, &(struct raft_event){.type = RAFT_EVENT_TICK, .now_us = play.now_us}, &update);
        obey(&play, &update);
        for (int i = 0; i < EVENTS_MAX && play.feed.left > 0; i++)
            step(&play);
        raft_destroy(play.raft);
    }
    arena_done(&play.arena);
    return 0;
}
