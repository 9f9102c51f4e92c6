/* Who should be a coordinator, and which shards an exclusion would lose; what suffices: tests/unit/tools/test_cli_processes.c. */
#include <criterion/criterion.h>

#include "txn/key_servers.h"
#include "txn/operator_processes.h"

static struct address at(uint16_t n)
{
    return (struct address){0x0a000001, (uint16_t)(4500 + n)};
}

#define PROCESSES(name, replication_, ...)                                            \
    struct operator_process list[] = {__VA_ARGS__};                                   \
    struct operator_processes name = {.list = list, .count = sizeof(list) / sizeof(list[0]), .replication = (replication_)}
#define PROCESS(n, class, zone_, ...) {.address = at(n), .process_class = (class), .zone = (zone_), __VA_ARGS__}

Test(operator_processes, present_coordinators_stay_and_each_zone_has_one)
{
    PROCESSES(p, 2, PROCESS(0, CLASS_LOG, "a", .excluded = false), PROCESS(1, CLASS_COORDINATOR, "a", .excluded = false),
              PROCESS(2, CLASS_STORAGE, "b", .excluded = false), PROCESS(3, CLASS_LOG, "c", .excluded = false),
              PROCESS(4, CLASS_LOG, "d", .excluded = true));
    struct address chosen[OPERATOR_COORDINATORS_MAX], present = at(3);

    cr_assert_eq(operator_processes_coordinators(&p, &present, 1, chosen), 3);
    cr_assert(address_equal(chosen[0], at(3)));
    cr_assert(address_equal(chosen[1], at(1)), "one of class coordinator before others");
    cr_assert(address_equal(chosen[2], at(2)), "none of zone a any more");
}

Test(operator_processes, an_even_number_of_coordinators_is_one_less)
{
    PROCESSES(p, 3, PROCESS(0, CLASS_LOG, "a", .excluded = false), PROCESS(1, CLASS_LOG, "b", .excluded = false));
    struct address chosen[OPERATOR_COORDINATORS_MAX];

    cr_assert_eq(operator_processes_coordinators(&p, NULL, 0, chosen), 1);
    list[0].excluded = list[1].excluded = true;
    cr_assert_eq(operator_processes_coordinators(&p, NULL, 0, chosen), 0);
}

Test(operator_processes, the_last_living_copy_is_missed)
{
    struct operator_server servers[] = {{1, at(1), true, true}, {2, at(2), true, false}, {3, at(3), false, false}};
    uint64_t both[] = {1, 2}, lost[] = {1, 3}, foreign[] = {9};
    struct key_servers_value shard = {.source = both, .source_count = 2};

    cr_assert_not(operator_loses_last_copy(servers, 3, &shard));
    shard.source = lost;
    cr_assert(operator_loses_last_copy(servers, 3, &shard), "the other copy is dead");
    shard.source = foreign;
    shard.source_count = 1;
    cr_assert_not(operator_loses_last_copy(servers, 3, &shard), "nobody who goes has it");
    cr_assert_null(operator_server_of(servers, 3, 9));
}
