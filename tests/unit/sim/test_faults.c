/* Faults: a rough night of every class, and everything mended in the morning. */
#include <criterion/criterion.h>

#include "sim/faults.h"
#include "tests/unit/sim/echo.h"

enum { SERVERS = 5, CLIENTS = 3 };

struct night {
    struct sim_world *world;
    struct sim_faults faults;
    struct echo_client_stats stats[CLIENTS];
};

static void night_init(struct night *night, uint64_t seed)
{
    char name[16];

    *night = (struct night){.world = sim_world_create(seed)};
    sim_faults_init(&night->faults, night->world);
    for (unsigned i = 0; i < SERVERS; i++) {
        snprintf(name, sizeof(name), "server%u", i);
        sim_process_create(night->world, name, i, 4500, &echo_server, NULL)->server = true;
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        snprintf(name, sizeof(name), "client%u", i);
        night->stats[i] = (struct echo_client_stats){.server = night->world->processes[i]->address, .reconnect_us = 20000};
        sim_process_create(night->world, name, SERVERS + i, 4500, &echo_client, &night->stats[i]);
    }
    for (size_t i = 0; i < night->world->process_count; i++)
        sim_process_boot(night->world->processes[i]);
}

static uint64_t night_run(struct night *night)
{
    sim_faults_start(&night->faults, 60 * SIM_SECOND_US);
    cr_assert(sim_world_run_until(night->world, 60 * SIM_SECOND_US), "%s", night->world->why);
    sim_faults_heal(&night->faults);
    cr_assert(sim_world_run_until(night->world, 65 * SIM_SECOND_US), "%s", night->world->why);
    return night->world->hash;
}

static void all_classes_but_flips(struct night *night)
{
    for (int class = 0; class < FAULT_CLASSES; class++)
        night->faults.want[class] = class == FAULT_BIT_FLIP ? SWITCH_OFF : SWITCH_ON;
}

Test(faults, after_the_heal_everything_runs)
{
    for (uint64_t seed = 0; seed < 5; seed++) {
        struct night night;
        uint64_t received[CLIENTS];

        night_init(&night, seed);
        all_classes_but_flips(&night);
        night_run(&night);
        for (size_t i = 0; i < night.world->process_count; i++)
            cr_assert(night.world->processes[i]->alive && !night.world->processes[i]->paused);
        for (int i = 0; i < CLIENTS; i++)
            received[i] = night.stats[i].received;
        cr_assert(sim_world_run_until(night.world, 66 * SIM_SECOND_US));
        for (int i = 0; i < CLIENTS; i++)
            cr_assert_gt(night.stats[i].received, received[i] + 500);
        sim_world_destroy(night.world);
    }
}

/* What needs roles, a configuration, data on disks or frames has nothing to strike among echoes; what is rare may not come. */
static bool may_miss(int class)
{
    switch (class) {
    case FAULT_BIT_FLIP:
    case FAULT_POWER_OFF:
    case FAULT_PAUSE_ROLE:
    case FAULT_LEADER_ISOLATED:
    case FAULT_REPLAY:
    case FAULT_LATENT_CORRUPTION:
    case FAULT_MISDIRECTED_WRITE:
    case FAULT_DISK_SWAPPED:
    case FAULT_DISK_ROLLED_BACK:
    case FAULT_DISK_DELETED:
    case FAULT_VERSION_JUMP:
    case FAULT_CONFIGURATION:
    case FAULT_EXCLUSION:
    case FAULT_COORDINATORS:
    case FAULT_RERECRUITMENT:
        return true;
    default:
        return false;
    }
}

Test(faults, every_class_strikes_and_the_same_seed_strikes_the_same)
{
    uint64_t strikes[FAULT_CLASSES] = {0};

    for (uint64_t seed = 42; seed < 45; seed++) {
        struct night first, second;

        night_init(&first, seed);
        all_classes_but_flips(&first);
        night_init(&second, seed);
        all_classes_but_flips(&second);
        cr_assert_eq(night_run(&first), night_run(&second));
        for (int class = 0; class < FAULT_CLASSES; class++)
            strikes[class] += first.faults.strikes[class];
        sim_world_destroy(first.world);
        sim_world_destroy(second.world);
    }
    for (int class = 0; class < FAULT_CLASSES; class++)
        cr_assert(strikes[class] != 0 || may_miss(class), "%s never struck", sim_fault_key((enum sim_fault_class)class));
}

Test(faults, each_class_is_on_in_about_half_of_the_seeds)
{
    unsigned on[FAULT_CLASSES] = {0};

    for (uint64_t seed = 0; seed < 100; seed++) {
        struct night night;

        night_init(&night, seed);
        sim_faults_start(&night.faults, SIM_SECOND_US);
        for (int class = 0; class < FAULT_CLASSES; class++)
            on[class] += night.faults.on[class];
        sim_faults_heal(&night.faults);
        sim_world_destroy(night.world);
    }
    for (int class = 0; class < FAULT_CLASSES; class++)
        cr_assert(on[class] > 25 && on[class] < 75, "class %d: %u of 100", class, on[class]);
}

Test(faults, a_key_names_a_class)
{
    cr_assert_eq(sim_fault_class_of("slow-disk"), FAULT_SLOW_DISK);
    cr_assert_eq(sim_fault_class_of("slow"), FAULT_CLASSES);
}

Test(faults, strikes_are_listed_by_number)
{
    struct sim_strikes strikes = {0};

    cr_assert(sim_strikes_has(&strikes, 7));
    cr_assert(sim_strikes_parse("2 5-7 900", &strikes));
    for (uint64_t number = 1; number <= SIM_STRIKES_MAX + 1; number++)
        cr_assert_eq(sim_strikes_has(&strikes, number), number == 2 || (number >= 5 && number <= 7) || number == 900);
    cr_assert(!sim_strikes_parse("", &strikes) && !sim_strikes_parse("0", &strikes) && !sim_strikes_parse("1-", &strikes));
    cr_assert(!sim_strikes_parse("3,4", &strikes) && !sim_strikes_parse("1024", &strikes) && !sim_strikes_parse("on", &strikes));
}

Test(faults, a_strike_that_is_left_out_changes_no_other)
{
    struct night all, some;

    night_init(&all, 42);
    night_init(&some, 42);
    all.faults.want[FAULT_CLOCK] = some.faults.want[FAULT_CLOCK] = SWITCH_ON;
    for (int class = 0; class < FAULT_CLASSES; class++)
        if (class != FAULT_CLOCK)
            all.faults.want[class] = some.faults.want[class] = SWITCH_OFF;
    cr_assert(sim_strikes_parse("2-1023", &some.faults.only[FAULT_CLOCK]));
    night_run(&all);
    night_run(&some);
    cr_assert_eq(some.faults.numbers[FAULT_CLOCK], all.faults.numbers[FAULT_CLOCK]);
    cr_assert_eq(some.faults.strikes[FAULT_CLOCK] + 1, all.faults.strikes[FAULT_CLOCK]);
    for (size_t i = 0; i < SERVERS; i++) /* the last jump of each wall clock, but of one that only the first strike met */
        cr_assert(some.world->processes[i]->wall_offset_us == all.world->processes[i]->wall_offset_us ||
                  some.world->processes[i]->wall_offset_us == 0);
    sim_world_destroy(all.world);
    sim_world_destroy(some.world);
}
