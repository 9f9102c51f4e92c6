/* Lies about Raft that need more than another value of a field. */
#include "roles/coordinator/raft/raft.h"
#include "sim/lies/lies_table.h"

/* ---- a voter that is counted twice ----
 *
 * Of all who grant a candidate its term, one alone is heard, three times. With five members nobody may win while that lasts. */

enum { TERM, CANDIDATE, VOTER };

static void hear_one_voter(struct lies *lies, struct lie_frame *frame)
{
    const struct raft_wire *wire = frame->body;
    int64_t *state = lies->state;
    int error = 0;

    if (wire->type != RAFT_VOTE_REPLY || wire->reject)
        return;
    if (state[TERM] != (int64_t)wire->term || state[CANDIDATE] != (int64_t)wire->to) {
        state[TERM] = (int64_t)wire->term;
        state[CANDIDATE] = (int64_t)wire->to;
        state[VOTER] = (int64_t)wire->from;
    }
    frame->dropped = state[VOTER] != (int64_t)wire->from;
    for (int i = 0; !frame->dropped && i < 2 && error == 0; i++)
        error = bytes_buffer_append(frame->out, frame->whole);
    assert(error == 0);
    lie_strikes(lies, frame->dropped ? "a vote is lost" : "a vote comes three times");
}

static void nobody_may_lead(struct lies *lies, struct sim_process *process, struct bytes line)
{
    if (lies->on && lie_is_event(line, "CoordinatorLeads"))
        sim_world_fail(lies->world, "%s leads with the vote of one other member of five", process->name);
}

const struct lie_type lie_one_voter_twice = {.name = "one-voter-twice",
                                             .what = "a vote comes three times, and no other",
                                             .frame = hear_one_voter,
                                             .traced = nobody_may_lead};

/* ---- a configuration that nobody proposed ---- */

/* The no-op that a new leader writes becomes a configuration of one member. */
static void forge_configuration(struct lies *lies, struct lie_frame *frame)
{
    struct raft_wire *wire = frame->body;

    if (wire->type != RAFT_APPEND || !lie_may_strike(lies))
        return;
    for (uint32_t i = 0; i < wire->entries_count; i++) {
        struct raft_configuration forged = {.count = 1};
        uint8_t *bytes = arena_alloc(&frame->arena, RAFT_CONFIGURATION_BYTES_MAX);

        if (wire->entries[i].type != RAFT_ENTRY_NOOP)
            continue;
        forged.members[0] = (struct raft_member){.id = wire->to};
        wire->entries[i].type = RAFT_ENTRY_CONFIGURATION;
        wire->entries[i].data = bytes_of(bytes, raft_configuration_encode(&forged, bytes));
        frame->changed = true;
    }
    if (frame->changed)
        lie_strikes(lies, "%s is told that it is the only member", frame->to == NULL ? "?" : frame->to->name);
}

const struct lie_type lie_forged_configuration = {.name = "forged-configuration",
                                                  .what = "an entry that makes its receiver the only member",
                                                  .frame = forge_configuration};

/* ---- a hello of another cluster ---- */

static void say_hello(struct lies *lies)
{
    struct uid other = {.high = lie_random(lies, UINT64_MAX)};

    other.low = 1 + lie_random(lies, UINT64_MAX - 1);
    rpc_set_cluster_id(lies->liar.rpc, other);
    for (size_t i = 0; i < lies->world->process_count && lie_sleep(lies, 100000); i++) {
        struct endpoint to = {lies->world->processes[i]->address, ENDPOINT_WORKER};
        struct message *message;

        if (!lies->world->processes[i]->server)
            continue;
        MESSAGE_NEW(reboot_process, &message);
        rpc_send(lies->liar.rpc, &to, message);
        lie_strikes(lies, "hello to %s", lies->world->processes[i]->name);
    }
}

const struct lie_type lie_wrong_hello = {.name = "wrong-hello", .what = "a process of another cluster gives orders", .run = say_hello};
