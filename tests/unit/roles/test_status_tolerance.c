/* How many zones may still fail, for clusters that are made up: "CLASS ZONE" a process, with a coordinator (C), a log (L), a storage server (S). */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>

#include "roles/controller/controller_internal.h"
#include "roles/controller/status.h"

enum { PROCESSES = 16 };

struct cluster {
    struct controller controller;
    struct status_input input;
    struct status_process processes[PROCESSES];
    struct hosted_role roles[PROCESSES][2];
    char zones[PROCESSES][2];
    struct coordinator_member members[PROCESSES];
    struct get_leader_reply coordinators;
    struct generation generation;
    struct log_ref logs[PROCESSES];
    struct known_server servers[PROCESSES];
};

static void add_role(struct cluster *c, uint32_t at, enum role_kind kind)
{
    c->roles[at][c->processes[at].role_count++] = (struct hosted_role){.kind = kind, .id = 100 + at};
}

/* "za CL": zone a, hosts a coordinator and a log. A '-' in front: all of that is not there. */
static void add(struct cluster *c, const char *text)
{
    uint32_t at = c->input.process_count;
    bool gone = text[0] == '-';
    const char *what = text + gone;
    struct status_process *process = &c->processes[at];

    c->zones[at][0] = what[0];
    *process = (struct status_process){.address = {1, (uint16_t)(at + 1)}, .zone = bytes_of_string(c->zones[at]), .roles = c->roles[at],
                                       .process_class = strchr(what, 'L') != NULL   ? CLASS_LOG
                                                        : strchr(what, 'S') != NULL ? CLASS_STORAGE
                                                                                    : CLASS_COORDINATOR};
    if (strchr(what, 'C') != NULL)
        c->members[c->coordinators.members_count++] = (struct coordinator_member){at, {1, (uint16_t)(at + 1)}};
    if (strchr(what, 'L') != NULL) {
        c->logs[c->generation.logs_count++] = (struct log_ref){{{1, (uint16_t)(at + 1)}, 100 + at}, bytes_of_string(c->zones[at])};
        add_role(c, at, ROLE_LOG);
    }
    if (strchr(what, 'S') != NULL) {
        c->controller.servers[c->controller.server_count++] = (struct known_server){.id = 100 + at};
        add_role(c, at, ROLE_STORAGE);
    }
    if (gone) {
        process->address.port = 0; /* nobody is there */
        process->role_count = 0;
        process->excluded = true;
    }
    c->input.process_count++;
}

static struct cluster *made(uint32_t replication, const char *text)
{
    struct cluster *c = calloc(1, sizeof(*c));
    char copy[256], *word, *rest = copy;

    c->input = (struct status_input){.controller = &c->controller, .processes = c->processes, .coordinators = &c->coordinators};
    c->coordinators.members = c->members;
    c->controller.servers = c->servers;
    c->generation = (struct generation){.epoch = 1, .replication = replication, .logs = c->logs};
    c->controller.state.generations = &c->generation;
    c->controller.state.generations_count = 1;
    c->controller.configuration.replication = replication;
    snprintf(copy, sizeof(copy), "%s", text);
    while ((word = strsep(&rest, " ")) != NULL)
        add(c, word);
    return c;
}

static void expect(uint32_t replication, const char *text, int64_t data, int64_t availability)
{
    struct cluster *c = made(replication, text);
    json_t *tolerance = status_fault_tolerance(&c->input);

    cr_assert_eq(json_integer_value(json_object_get(tolerance, "max_zone_failures_without_losing_data")), data, "data: %s", text);
    cr_assert_eq(json_integer_value(json_object_get(tolerance, "max_zone_failures_without_losing_availability")), availability,
                 "availability: %s", text);
    json_decref(tolerance);
    free(c);
}

Test(status_tolerance, coordinators_of_one_zone_fail_together)
{
    expect(3, "aC bC cC dC eC fL gL hL iL jL kS lS mS", 2, 2);
    expect(3, "aC aC bC bC cC fL gL hL iL jL kS lS mS", 1, 1); /* a and b: four of five */
    expect(2, "aC aC bC fL gL hL iL kS lS", 0, 0);             /* a: two of three */
    expect(2, "aC aC aC fL gL hL iL kS lS", 0, 0);
    expect(2, "aC bC cC fL gL hL kS lS", 1, 1);
}

Test(status_tolerance, coordinators_that_are_not_there_are_lost_already)
{
    expect(2, "aC bC -cC fL gL hL kS lS", 0, 0);
    expect(2, "aC -bC -cC fL gL hL kS lS", -1, -1);
    expect(3, "aC bC cC dC -eC fL gL hL iL jL kS lS mS", 1, 1);
    expect(3, "aC aC cC dC -eC fL gL hL iL jL kS lS mS", 0, 0); /* a: two of the four */
}

Test(status_tolerance, logs_and_copies_are_counted_by_what_is_missing)
{
    expect(2, "aC bC cC -fL gL hL kS lS", 0, 0);
    expect(2, "aC bC cC -fL -gL hL kS lS", -1, -1);
    expect(2, "aC bC cC fL gL hL -kS lS", 0, 0);
    expect(1, "aC bC cC fL gL kS", 0, 0);
}

Test(status_tolerance, an_epoch_needs_zones_for_its_logs)
{
    expect(2, "aC bC cC fL gL", 1, 0); /* one zone less and no two are left */
    expect(2, "aC bC cC fL fL gL", 1, 0);
    expect(2, "aC bC cC fL gL hL", 1, 1);
}

Test(status_tolerance, a_living_generation_of_fewer_copies_counts)
{
    struct cluster *c = made(3, "aC bC cC dC eC fL gL hL iL jL kS lS mS");
    json_t *tolerance;

    c->generation.replication = 2; /* `configure triple' has not come to its epoch yet */
    tolerance = status_fault_tolerance(&c->input);
    cr_assert_eq(json_integer_value(json_object_get(tolerance, "max_zone_failures_without_losing_data")), 1);
    json_decref(tolerance);
    free(c);
}

static int64_t no_time(struct env *env)
{
    (void)env;
    return 0;
}

/* Keys of layers have zeros in them, and many who read JSON take none. */
Test(status_tolerance, a_key_with_a_zero_does_not_spoil_the_status)
{
    static const char shown[] = "\"begin\":\"a\\\\x00b\"";
    struct cluster *c = made(2, "aC bC cC fL gL kS lS");
    struct role_status role = {.kind = ROLE_RESOLVER, .id = 7, .has_range = true, .range_begin = BYTES_LITERAL("a\0b")};
    struct get_worker_status_reply reply = {.roles = &role, .roles_count = 1};
    struct env_ops ops = {.wall_us = no_time, .now_us = no_time};
    struct status_rates rates = {0};
    struct env env = {.ops = &ops};
    struct arena arena = {0};
    struct bytes text;
    json_t *status;

    c->processes[0].worker_id = 1;
    c->processes[0].reply = &reply;
    c->processes[0].machine = BYTES_LITERAL("m\0");
    c->input.rates = &rates;
    c->controller.env = &env;
    text = status_json(&c->input, &arena);
    status = json_loadb((const char *)text.ptr, text.len, 0, NULL);
    cr_assert_not_null(status);
    cr_assert_not_null(memmem(text.ptr, text.len, shown, sizeof(shown) - 1), "%.*s", (int)text.len, (const char *)text.ptr);
    json_decref(status);
    arena_done(&arena);
    free(c);
}
