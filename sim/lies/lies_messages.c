/* Lies about messages that need no script: what a scenario file says of one message is done to it. */
#include "sim/lies/lies_table.h"

/* Fields get other values; the checksum is that of the lie. */
static void change_frame(struct lies *lies, struct lie_frame *frame)
{
    const struct lie_section *section = lies->section;
    bool changed = false;

    if (!lie_may_strike(lies))
        return;
    for (uint32_t i = 0; i < section->change_count; i++)
        changed |= lie_change_apply(&section->changes[i], frame->type->schema, frame->body, &frame->arena, &lies->world->faults);
    frame->changed |= changed;
    if (changed)
        lie_strikes(lies, "%s of %s to %s", frame->type->name, frame->from->name, frame->to == NULL ? "?" : frame->to->name);
}

/* 1 to 8 bits of the body flip on the way; the checksum stays. */
static void flip_frame(struct lies *lies, struct lie_frame *frame)
{
    if (!lie_may_strike(lies))
        return;
    frame->flips = 1 + (unsigned)lie_random(lies, 8);
    lie_strikes(lies, "%u bits of %s to %s", frame->flips, frame->type->name, frame->to == NULL ? "?" : frame->to->name);
}

/* It comes twice; with changes, the second time with other content. */
static void double_frame(struct lies *lies, struct lie_frame *frame)
{
    int error;

    if (!lie_may_strike(lies))
        return;
    error = bytes_buffer_append(frame->out, frame->whole);
    assert(error == 0);
    for (uint32_t i = 0; i < lies->section->change_count; i++)
        frame->changed |= lie_change_apply(&lies->section->changes[i], frame->type->schema, frame->body, &frame->arena,
                                           &lies->world->faults);
    if (lies->section->change_count > 0 && !frame->changed)
        return;
    if (frame->changed)
        frame->request_id = 0; /* a connection does not take a request's number twice */
    lie_strikes(lies, "%s twice", frame->type->name);
}

static void drop_frame(struct lies *lies, struct lie_frame *frame)
{
    if (!lie_may_strike(lies))
        return;
    frame->dropped = true;
    lie_strikes(lies, "%s to %s is lost", frame->type->name, frame->to == NULL ? "?" : frame->to->name);
}

static void keep_frame(struct lies *lies, struct lie_frame *frame)
{
    lie_keep(lies, frame);
}

/* An old one in front of a new one: the same bytes, long after. */
static void replay_frame(struct lies *lies, struct lie_frame *frame)
{
    const struct lie_kept *kept = lie_kept_of(lies, frame);
    int error;

    if (kept == NULL || kept->from != frame->from || kept->to != frame->to || !lie_may_strike(lies))
        return;
    error = bytes_buffer_append(frame->out, bytes_buffer_bytes(&kept->bytes));
    assert(error == 0);
    lie_strikes(lies, "an old %s to %s", frame->type->name, frame->to == NULL ? "?" : frame->to->name);
}

/* What is old may still be true: then it is no lie. */
static bool says_the_same(const struct message_type *type, const void *one, const void *other)
{
    struct bytes_buffer a = {0}, b = {0};
    int error = message_encode(type->schema, one, &a);
    bool same;

    if (error == 0)
        error = message_encode(type->schema, other, &b);
    assert(error == 0);
    same = bytes_equal(bytes_buffer_bytes(&a), bytes_buffer_bytes(&b));
    bytes_buffer_done(&a);
    bytes_buffer_done(&b);
    return same;
}

/* The content of an old one under the request id of a new one, as if it were its answer. */
static void stale_frame(struct lies *lies, struct lie_frame *frame)
{
    const struct lie_kept *kept = lie_kept_of(lies, frame);
    void *old = kept == NULL ? NULL : lie_kept_body(kept, frame->type, &frame->arena);

    if (old == NULL || says_the_same(frame->type, old, frame->body) || !lie_may_strike(lies))
        return;
    frame->body = old;
    frame->changed = true;
    lie_strikes(lies, "the content of an old %s to %s", frame->type->name, frame->to == NULL ? "?" : frame->to->name);
}

enum { ANSWER_US = 2000000 };

/* What the liar says in somebody's name: the newest such message (or one of an earlier epoch), changed, again and again. */
static void forge(struct lies *lies)
{
    const struct lie_section *section = lies->section;

    while (lie_sleep(lies, section->pause_ms * 1000)) {
        const struct lie_kept *kept = lie_kept_newest(lies);
        struct endpoint to;
        struct message *message, *reply;

        if (!lies->on || kept == NULL || kept->to == NULL || (section->most != 0 && lies->strikes >= (uint64_t)section->most))
            continue;
        message = message_create(section->message);
        message->body = lie_kept_body(kept, section->message, &message->arena);
        for (uint32_t i = 0; i < section->change_count; i++)
            lie_change_apply(&section->changes[i], section->message->schema, message->body, &message->arena,
                             &lies->world->faults);
        to = (struct endpoint){kept->to->address, get_le64(kept->bytes.ptr + 16)};
        lie_strikes(lies, "%s to %s", section->message->name, kept->to->name);
        if (section->message->reply == NULL)
            rpc_send(lies->liar.rpc, &to, message);
        else if (sim_actor_call(lies->actor, &to, message, ANSWER_US, &reply) == 0)
            message_unref(reply);
    }
}

const struct lie_type lie_change = {
    .name = "change", .what = "fields of a message change, its checksum fits", .frame = change_frame};
const struct lie_type lie_flip = {
    .name = "flip", .what = "bits of a message flip, its checksum no longer fits", .frame = flip_frame};
const struct lie_type lie_double = {
    .name = "double", .what = "a message comes twice, with changes the second time", .frame = double_frame};
const struct lie_type lie_drop = {.name = "drop", .what = "a message never comes", .frame = drop_frame};
const struct lie_type lie_replay = {
    .name = "replay", .what = "an old message comes again on its connection", .frame = replay_frame, .observe = keep_frame};
const struct lie_type lie_stale = {
    .name = "stale", .what = "an old answer is given for a new one", .frame = stale_frame, .observe = keep_frame};
const struct lie_type lie_forge = {
    .name = "forge", .what = "the liar sends a message in somebody's name", .run = forge, .observe = keep_frame};
