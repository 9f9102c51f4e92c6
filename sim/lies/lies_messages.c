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

/* The content of an old one under the request id of a new one, as if it were its answer. */
static void stale_frame(struct lies *lies, struct lie_frame *frame)
{
    const struct lie_kept *kept = lie_kept_of(lies, frame);

    if (kept == NULL || !lie_may_strike(lies))
        return;
    frame->body = lie_kept_body(kept, frame);
    frame->changed = true;
    lie_strikes(lies, "the content of an old %s to %s", frame->type->name, frame->to == NULL ? "?" : frame->to->name);
}

const struct lie_type lie_change = {"change", "fields of a message change, its checksum fits", change_frame, NULL, NULL};
const struct lie_type lie_flip = {"flip", "bits of a message flip, its checksum no longer fits", flip_frame, NULL, NULL};
const struct lie_type lie_double = {"double", "a message comes twice, with changes the second time", double_frame, NULL, NULL};
const struct lie_type lie_drop = {"drop", "a message never comes", drop_frame, NULL, NULL};
const struct lie_type lie_replay = {"replay", "an old message comes again", replay_frame, NULL, keep_frame};
const struct lie_type lie_stale = {"stale", "an old answer is given for a new one", stale_frame, NULL, keep_frame};
