#include "sim/ballot.h"

#include <inttypes.h>
#include <stdlib.h>

/* The number behind `name`, in this base; false when the line has no such field. */
static bool number_of(struct bytes line, const char *name, int base, uint64_t *ret_number)
{
    const char *at = memmem(line.ptr, line.len, name, strlen(name));
    char digits[32];
    size_t left, length;

    if (at == NULL)
        return false;
    at += strlen(name);
    left = line.len - (size_t)(at - (const char *)line.ptr);
    length = left < sizeof(digits) - 1 ? left : sizeof(digits) - 1;
    memcpy(digits, at, length);
    digits[length] = '\0';
    *ret_number = strtoull(digits, NULL, base);
    return true;
}

static bool is_of_type(struct bytes line, const char *type)
{
    return memmem(line.ptr, line.len, type, strlen(type)) != NULL;
}

static struct sim_ballot *ballot_of(struct sim_world *world, uint64_t member)
{
    for (size_t i = 0; i < world->ballot_count; i++)
        if (world->ballots[i].member == member)
            return &world->ballots[i];
    if (world->ballot_count == SIM_BALLOTS_MAX)
        return NULL;
    world->ballots[world->ballot_count] = (struct sim_ballot){.member = member};
    return &world->ballots[world->ballot_count++];
}

static void restored(struct sim_world *world, const struct sim_process *process, struct sim_ballot *ballot, uint64_t term,
                     uint64_t vote, uint64_t last_index)
{
    if (!process->damaged && (term < ballot->term || (term == ballot->term && vote != ballot->vote)))
        sim_world_fail(world,
                       "%s voted for %016" PRIx64 " in term %" PRIu64 ", and came back in term %" PRIu64
                       " with a vote for %016" PRIx64,
                       process->name, ballot->vote, ballot->term, term, vote);
    if (!process->damaged && last_index < ballot->vouched)
        sim_world_fail(world, "%s vouched for its log through entry %" PRIu64 ", and came back with one that ends at %" PRIu64,
                       process->name, ballot->vouched, last_index);
    ballot->term = term;
    ballot->vote = vote;
    ballot->vouched = last_index < ballot->vouched ? last_index : ballot->vouched;
}

static void voted(struct sim_world *world, const struct sim_process *process, struct sim_ballot *ballot, uint64_t term, uint64_t vote)
{
    if (!process->damaged && term == ballot->term && ballot->vote != 0 && vote != ballot->vote)
        sim_world_fail(world, "%s votes twice in term %" PRIu64 ": for %016" PRIx64 " and %016" PRIx64, process->name, term,
                       ballot->vote, vote);
    if (term < ballot->term)
        return;
    ballot->term = term;
    ballot->vote = vote;
}

void sim_ballot_look(struct sim_world *world, const struct sim_process *process, struct bytes line)
{
    bool of_raft = is_of_type(line, "\"Type\":\"Raft");
    uint64_t member, term = 0, vote = 0, index = 0;
    struct sim_ballot *ballot;

    if (!of_raft || !number_of(line, "\"Member\":\"", 16, &member))
        return;
    ballot = ballot_of(world, member);
    if (ballot == NULL)
        return;
    (void)(number_of(line, "\"Term\":", 10, &term) && number_of(line, "\"Vote\":\"", 16, &vote));
    (void)number_of(line, "\"Index\":", 10, &index);
    if (is_of_type(line, "\"Type\":\"RaftRestored\""))
        restored(world, process, ballot, term, vote, index);
    else if (is_of_type(line, "\"Type\":\"RaftVoted\""))
        voted(world, process, ballot, term, vote);
    else if (is_of_type(line, "\"Type\":\"RaftVouched\"") && index > ballot->vouched)
        ballot->vouched = index;
    else if (is_of_type(line, "\"Type\":\"RaftTruncated\"") && index <= ballot->vouched)
        ballot->vouched = index - 1;
}
