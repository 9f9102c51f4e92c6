/* Coordinators whose quorum changes: who joins, who leaves, and what is refused. */
#include "coordinator_lab.h"

static struct coordinator_member member_at(const struct scene *scene, unsigned node, uint64_t id)
{
    struct address address = scene->nodes[node].process->address;

    return (struct coordinator_member){id, {address.ip, address.port}};
}

/* Joins node as `id`; `count` members (100, 101, ..) may speak to it. */
static int ask_join(struct scene *scene, unsigned node, uint64_t id, unsigned count)
{
    struct message *message;
    struct coordinator_join *m = MESSAGE_NEW(coordinator_join, &message);

    *m = (struct coordinator_join){.cluster_high = 1, .cluster_low = 2, .member = id, .members_count = count};
    m->members = arena_zalloc(&message->arena, count * sizeof(*m->members));
    for (unsigned i = 0; i < count; i++)
        m->members[i] = member_at(scene, i, 100 + i);
    scene_begin_call(scene, node, message);
    scene->call.to.id = ENDPOINT_WORKER;
    cr_assert(sim_world_run_while(scene->world, call_goes_on, scene, scene->world->now_us + 30 * SIM_SECOND_US));
    return scene->call.call.error;
}

static int ask_change(struct scene *scene, unsigned at, bool add, unsigned node, uint64_t id)
{
    struct message *message;
    struct coordinator_change *m = MESSAGE_NEW(coordinator_change, &message);

    m->add = add;
    m->member = member_at(scene, node, id);
    return scene_ask(scene, at, message);
}

/* Until it is done: who asked need not have heard. */
static void change(struct scene *scene, bool add, unsigned node, uint64_t id, uint32_t members_then)
{
    unsigned at;

    do {
        at = scene_leader(scene);
        (void)ask_change(scene, at, add, node, id);
        scene_run(scene, SIM_SECOND_US / 10);
        at = scene_leader(scene);
    } while (scene->nodes[at].member_count != members_then);
}

static const struct get_leader_reply *ask_leader(struct scene *scene, unsigned node)
{
    struct message *message;

    MESSAGE_NEW(get_leader, &message);
    cr_assert_eq(scene_ask(scene, node, message), 0);
    return MESSAGE_BODY(get_leader_reply, scene->call.call.reply);
}

/* `created` members, and nodes without a record behind them. */
static void scene_with_more(struct scene *scene, unsigned created, unsigned more, uint64_t seed)
{
    scene_init(scene, created + more, seed);
    scene->count = created;
    for (unsigned i = 0; i < created; i++)
        cr_assert(scene_create_at(scene, i, 1));
    scene_leader(scene);
    scene->count = created + more;
}

Test(coordinator_members, one_that_joins_takes_part_and_the_first_may_go)
{
    struct scene scene;

    scene_with_more(&scene, 1, 2, 21);
    scene_lock(&scene, 77);
    cr_assert_eq(ask_join(&scene, 1, 501, 1), 0);
    cr_assert_eq(ask_join(&scene, 1, 501, 1), 0, "a repeat is answered again");
    cr_assert_eq(ask_join(&scene, 2, 502, 1), 0);
    change(&scene, true, 1, 501, 2);
    change(&scene, true, 2, 502, 3);
    change(&scene, false, 0, 100, 2);
    sim_process_stop(scene.nodes[0].process, SIM_KILL);
    scene_lock(&scene, 78);
    cr_assert_eq(state_reply(&scene)->state.locked_epoch, 2, "the state is that of the first");
    scene_done(&scene);
}

Test(coordinator_members, one_that_was_removed_names_the_others_and_joins_again_as_another)
{
    struct scene scene;
    const struct get_leader_reply *reply;

    scene_with_more(&scene, 3, 0, 22);
    scene_lock(&scene, 1);
    change(&scene, false, 2, 102, 2);
    scene_run(&scene, SIM_SECOND_US);
    reply = ask_leader(&scene, 2);
    cr_assert_eq(reply->members_count, 2);
    for (uint32_t i = 0; i < reply->members_count; i++)
        cr_assert_neq(reply->members[i].member, 102);
    cr_assert_eq(ask_join(&scene, 0, 500, 2), ERROR_CLIENT_INVALID_OPERATION, "a member is no other");
    cr_assert_eq(ask_join(&scene, 2, 600, 2), 0);
    cr_assert_eq(scene.nodes[2].forgot, 1);
    change(&scene, true, 2, 600, 3);
    sim_process_stop(scene.nodes[0].process, SIM_POWER_OFF);
    scene_lock(&scene, 2);
    cr_assert_eq(state_reply(&scene)->state.locked_epoch, 2);
    sim_process_stop(scene.nodes[2].process, SIM_KILL);
    sim_process_boot(scene.nodes[2].process);
    cr_assert_eq(scene.nodes[2].start_error, 0, "what it joined as is on its disk");
    scene_lock(&scene, 3);
    scene_done(&scene);
}

Test(coordinator_members, a_change_that_can_not_be_is_refused)
{
    struct scene scene;
    unsigned at, other;

    scene_with_more(&scene, 3, 1, 23);
    at = scene_leader(&scene);
    other = (at + 1) % 3;
    cr_assert_eq(ask_change(&scene, other, false, 2, 102), ERROR_OPERATION_OBSOLETE, "it does not lead");
    cr_assert_eq(ask_change(&scene, at, false, 0, 999), ERROR_CLIENT_INVALID_OPERATION, "there is no such member");
    cr_assert_eq(ask_change(&scene, at, true, 3, 0), ERROR_CLIENT_INVALID_OPERATION, "none");
    cr_assert_eq(ask_change(&scene, at, true, 3, 500), ERROR_TIMED_OUT, "it did not join, and does not catch up");
    cr_assert_eq(ask_leader(&scene, scene_leader(&scene))->members_count, 3);
    scene_done(&scene);
}
