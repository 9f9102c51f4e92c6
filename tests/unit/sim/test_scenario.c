/* Scenario files: what they say is what runs, and what they get wrong is named with its line. */
#include <criterion/criterion.h>

#include "sim/lies/lies.h"
#include "sim/scenario.h"
#include "sim/workload.h"
#include "txn/messages.h"

/* A workload of the test's own, in place of the list of the simulator. */
static const struct sim_workload toy = {.name = "Toy", .options = {{"actors", 2, 1, 10}, {"size", 7, 1, 100}}};

const struct sim_workload *sim_workload_find(const char *name)
{
    return strcmp(name, "Toy") == 0 ? &toy : NULL;
}

static const struct lie_type toy_lie = {.name = "toy"};

const struct lie_type *lie_find(const char *name)
{
    return strcmp(name, "toy") == 0 ? &toy_lie : NULL;
}

static void expect_error(const char *text, int line, const char *why)
{
    struct scenario scenario;
    char said[256] = "";

    cr_assert_eq(scenario_parse(text, &scenario, said, sizeof(said)), line, "%s", said);
    cr_assert(strstr(said, why) != NULL, "it said: %s", said);
}

Test(scenario, every_kind_of_key_arrives)
{
    struct scenario scenario;
    char why[256];
    int line = scenario_parse("[test]\ntitle = all of it\nworkloads = Toy\nduration = 12\nbuggify = on\nsurvivors = off\nseed = 17\n"
                              "[topology]\nkind = one\nstorage = draw\nlogs = 4\nredundancy = triple\nengine = lmdb\n"
                              "[faults]\nall = off\nkill = on\nslow-disk = draw\n"
                              "[knobs]\nrandomize = off\ncommit_slots = 3\n"
                              "[Toy]\nsize = 99\n",
                              &scenario, why, sizeof(why));

    cr_assert_eq(line, 0, "%s", why);
    cr_assert_eq(scenario.duration_us, 12 * SIM_SECOND_US);
    cr_assert_eq(scenario.buggify, SWITCH_ON);
    cr_assert_eq(scenario.survivors, SWITCH_OFF);
    cr_assert_eq(scenario.seed, 17);
    cr_assert_eq(scenario.topology, TOPOLOGY_ONE);
    cr_assert(scenario.storage == SCENARIO_DRAW && scenario.logs == 4 && scenario.redundancy == 3);
    cr_assert_eq(scenario.engine, ENGINE_LMDB);
    cr_assert_eq(scenario.faults[FAULT_KILL], SWITCH_ON);
    cr_assert_eq(scenario.faults[FAULT_CLOG], SWITCH_OFF);
    cr_assert_eq(scenario.faults[FAULT_SLOW_DISK], SWITCH_DRAW);
    cr_assert_eq(scenario.randomize_knobs, SWITCH_OFF);
    cr_assert_eq(scenario.knob_count, 1);
    cr_assert(scenario.workload_count == 1 && scenario.workloads[0].options[0] == 2 && scenario.workloads[0].options[1] == 99);
}

Test(scenario, an_unknown_key_is_an_error_with_its_line)
{
    expect_error("[test]\nworkloads = Toy\ncolour = red\n", 3, "colour");
    expect_error("[test]\nworkloads = Toy\n[topology]\nkinds = one\n", 4, "kinds");
    expect_error("[test]\nworkloads = Toy\n[faults]\nkil = on\n", 4, "kil");
    expect_error("[test]\nworkloads = Toy\n[knobs]\nno_such_knob = 1\n", 4, "no_such_knob");
    expect_error("[test]\nworkloads = Toy\n[Toy]\nweight = 1\n", 4, "weight");
    expect_error("[test]\nworkloads = Toy\n[Other]\nweight = 1\n", 4, "Other");
}

Test(scenario, a_bad_value_is_an_error_with_its_line)
{
    expect_error("[test]\nworkloads = Toi\n", 2, "Toi");
    expect_error("[test]\nworkloads = Toy\nduration = soon\n", 3, "soon");
    expect_error("[test]\nworkloads = Toy\n[topology]\nredundancy = ?\n", 4, "?");
    expect_error("[test]\nworkloads = Toy\n[topology]\nengine = leather\n", 4, "leather");
    expect_error("[test]\nworkloads = Toy\n[topology]\nlogs = 99\n", 4, "99");
    expect_error("[test]\nworkloads = Toy\n[faults]\nkill = maybe\n", 4, "maybe");
    expect_error("[test]\nworkloads = Toy\n[Toy]\nsize = 101\n", 4, "101");
    expect_error("[test]\nnonsense\n", 2, "neither");
    expect_error("", 1, "no workloads");
}

Test(scenario, a_lie_names_a_message_its_fields_and_what_must_come_of_it)
{
    struct scenario scenario;
    char why[256];
    int line = scenario_parse("[test]\nworkloads = Toy\n[lie]\nlie = toy\nmessage = push\nif = sections# > 0\n"
                              "change = sections[0].tags[*] +1\nafter = 3\nexpect-trace = LogEnded tlog_failed\n"
                              "expect-count = repeats >= 2\nexpect-failure = the ring\n",
                              &scenario, why, sizeof(why));

    cr_assert_eq(line, 0, "%s", why);
    cr_assert_eq(scenario.lie.type, &toy_lie);
    cr_assert_eq(scenario.lie.message, &message_type_push);
    cr_assert_eq(scenario.lie.test_count, 1);
    cr_assert_eq(scenario.lie.changes[0].number, 1);
    cr_assert_eq(scenario.lie.after_us, 3000000);
    cr_assert_str_eq(scenario.lie.expects[0].name, "LogEnded");
    cr_assert_str_eq(scenario.lie.expects[0].text, "tlog_failed");
    cr_assert_eq(scenario.lie.expects[1].least, 2);
    cr_assert_str_eq(scenario.lie.failure, "the ring");
}

Test(scenario, what_a_lie_gets_wrong_is_named)
{
    expect_error("[test]\nworkloads = Toy\n[lie]\nlie = none\n", 4, "no such lie");
    expect_error("[test]\nworkloads = Toy\n[lie]\nmessage = push\n", 4, "name the lie first");
    expect_error("[test]\nworkloads = Toy\n[lie]\nlie = toy\nchange = version +1\n", 5, "name the message first");
    expect_error("[test]\nworkloads = Toy\n[lie]\nlie = toy\nmessage = push\nchange = versio +1\n", 6, "no change of a field");
    expect_error("[test]\nworkloads = Toy\n[lie]\nlie = toy\nmessage = push\nchange = version[0] +1\n", 6, "no change of a field");
    expect_error("[test]\nworkloads = Toy\n[lie]\nlie = toy\nexpect-count = a > 1\n", 5, "not a value");
}
