/* Lies about the commit pipeline that need more than another value of a field. */
#include "sim/lies/lies_table.h"

/* ---- one version for two ---- */

enum { VERSION, PREV_VERSION, PROXY, GIVEN };
enum { GIVEN_MIN = 3 };

/* What the last proxy got, a proxy on another machine gets as well. Not in an epoch's first moments, when it may end before anybody
 * comes to the second batch: its first version is a jump ahead. */
static void give_twice(struct lies *lies, struct lie_frame *frame)
{
    struct get_commit_version_reply *reply = frame->body;
    int64_t *state = lies->state;

    if (frame->to == NULL)
        return;
    if (reply->version < state[VERSION] || reply->version - state[VERSION] >= VERSIONS_IN_FLIGHT_MAX / 2)
        state[GIVEN] = 0;
    if (state[GIVEN]++ >= GIVEN_MIN && state[PROXY] != (int64_t)frame->to->id && lie_may_strike(lies)) {
        reply->version = state[VERSION];
        reply->prev_version = state[PREV_VERSION];
        frame->changed = true;
        lie_strikes(lies, "%s gets a version that another proxy has", frame->to->name);
        return;
    }
    state[VERSION] = reply->version;
    state[PREV_VERSION] = reply->prev_version;
    state[PROXY] = frame->to->id;
}

const struct lie_type lie_one_version_twice = {
    .name = "one-version-twice", .what = "the sequencer gives one version to two proxies", .frame = give_twice};

/* ---- a batch that its resolver does not know ---- */

/* The request never comes, and is answered in the resolver's name: as if it had judged it and then lost its memory. */
static void forget_batch(struct lies *lies, struct lie_frame *frame)
{
    const struct resolve *batch = frame->body;
    struct resolve_reply reply = {
        .verdicts_count = batch->transactions_count, .version = batch->version, .resolver = frame->endpoint_id};

    if (frame->to == NULL || !lie_may_strike(lies))
        return;
    reply.verdicts = arena_zalloc(&frame->arena, (batch->transactions_count + 1) * sizeof(*reply.verdicts));
    frame->dropped = true;
    lie_reply(lies, frame, &message_type_resolve_reply, &reply);
    lie_strikes(lies, "%s has forgotten a batch that it judged", frame->to->name);
}

const struct lie_type lie_forgotten_batch = {
    .name = "forgotten-batch", .what = "a resolver knows nothing of a batch that was answered in its name", .frame = forget_batch};
