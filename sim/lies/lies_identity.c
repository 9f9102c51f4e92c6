/* Coordinators that are not who they were: a disk from before a vote, and two processes with one identity. */
#include "net/mem.h"
#include "sim/lies/lie_disk.h"
#include "sim/lies/lies_table.h"

enum { POLLS = 80, POLL_US = 100000 };

struct three {
    struct sim_process *leader, *voter, *third;
};

static bool choose(struct lies *lies, struct three *ret)
{
    *ret = (struct three){lie_host(lies, ROLE_CONTROLLER, 0), lie_follower(lies, 0), lie_follower(lies, 1)};
    return ret->leader != NULL && ret->voter != NULL && ret->third != NULL;
}

/* Until one of the two leads a term above `above`. */
static struct sim_process *await_leader(struct lies *lies, const struct three *three, uint64_t above)
{
    for (unsigned i = 0; i < POLLS && lie_sleep(lies, POLL_US); i++) {
        const struct lie_claim *newest = &lies->terms[lies->term_count - 1];

        if (newest->number > above)
            return newest->process == three->leader ? three->leader : three->voter;
    }
    return NULL;
}

/* ---- a vote that was forgotten ----
 *
 * The third is cut off; one of the two others wins the other's vote. Then the voter comes back with its disk from before the vote, and
 * meets the third instead of the winner: it votes in the same term again. */
static void forget_vote(struct lies *lies)
{
    struct lie_files leader_files, voter_files;
    struct sim_process *winner, *loser;
    struct three three;

    if (!choose(lies, &three) || lies->term_count == 0)
        return;
    lie_cut_off(lies, three.third, true);
    (void)lie_sleep(lies, POLL_US);
    lie_files_take_durable(three.leader, "data/coordinator/", &leader_files);
    lie_files_take_durable(three.voter, "data/coordinator/", &voter_files);
    lie_stop(three.leader, SIM_KILL);
    lie_boot(three.leader);
    winner = await_leader(lies, &three, lies->terms[lies->term_count - 1].number);
    if (winner != NULL) {
        loser = winner == three.leader ? three.voter : three.leader;
        lie_stop(loser, SIM_POWER_OFF);
        lie_cut_off(lies, winner, true);
        lie_files_put(loser, "data/coordinator/", loser == three.leader ? &leader_files : &voter_files, NULL, NULL);
        lie_cut_off(lies, three.third, false);
        lie_boot(loser);
        lie_strikes(lies, "%s has forgotten that it voted for %s", loser->name, winner->name);
    }
    lie_files_done(&leader_files);
    lie_files_done(&voter_files);
    while (lie_sleep(lies, POLL_US))
        ;
}

const struct lie_type lie_forgotten_vote = {
    .name = "forgotten-vote", .what = "a coordinator's disk is rolled back to before its vote", .run = forget_vote};

/* ---- two processes, one identity ----
 *
 * A copy of a follower's machine, with its address, which the third coordinator reaches instead of the original. */

static struct sim_process *make_twin(struct lies *lies, struct sim_process *original, const struct sim_process *who_sees_it)
{
    struct sim_world *world = lies->world;
    struct sim_process *twin = sim_process_create(world, "twin", (unsigned)world->process_count, original->address.port,
                                                  original->program, original->ctx);
    struct lie_files files;

    twin->server = true;
    twin->address = original->address;
    for (size_t i = 0; i < original->disk->dir_count; i++)
        lie_dir_make(twin, original->disk->dirs[i]);
    lie_files_take_durable(original, "data/", &files);
    lie_files_put(twin, "data/", &files, NULL, NULL);
    lie_files_done(&files);
    world->net.twin_address = twin->address;
    world->net.twin_machine = twin->machine;
    world->net.twin_seen_by = machines_of(who_sees_it->machine);
    machines_add(&world->net.twin_seen_by, twin->machine);
    sim_process_boot(twin);
    lie_strikes(lies, "%s has a twin, which %s takes for it", original->name, who_sees_it->name);
    return twin;
}

/* The leader and the original on one side, everybody else with the twin on the other. */
static void part(struct lies *lies, const struct three *three)
{
    lies->world->net.twin_seen_by = machines_all();
    machines_remove(&lies->world->net.twin_seen_by, three->leader->machine);
    machines_remove(&lies->world->net.twin_seen_by, three->voter->machine);
    for (size_t i = 0; i < lies->world->process_count; i++) {
        const struct sim_process *other = lies->world->processes[i];

        if (other == three->leader || other == three->voter)
            continue;
        sim_net_block(lies->world, three->leader->machine, other->machine, 1);
        sim_net_block(lies->world, other->machine, three->leader->machine, 1);
        sim_net_block(lies->world, three->voter->machine, other->machine, 1);
        sim_net_block(lies->world, other->machine, three->voter->machine, 1);
    }
}

static void give_up(struct sim_process *process)
{
    process->given_up = true;
    lie_stop(process, SIM_KILL);
}

static void double_identity(struct lies *lies)
{
    struct sim_process *twin;
    struct three three;

    if (!choose(lies, &three))
        return;
    twin = make_twin(lies, three.voter, three.third);
    if (lies->section->all) { /* each half has a majority; then the half that went on is gone, and the other one is back */
        part(lies, &three);
        (void)lie_sleep(lies, lies->section->lasts_us);
        give_up(three.third);
        sim_net_heal(lies->world);
    } else {
        while (lie_sleep(lies, POLL_US))
            ;
    }
    give_up(twin);
    lies->world->net.twin_seen_by = (struct sim_machines){0};
}

const struct lie_type lie_double_identity = {
    .name = "double-identity", .what = "two processes have one coordinator's disk and address", .run = double_identity};
