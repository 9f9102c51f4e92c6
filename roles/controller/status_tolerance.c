/* How many zones may still fail: the "fault_tolerance" part of a status.
 *
 * Whatever zones they are: so each of the things that a cluster needs is asked for its own worst case, and the least of them counts.
 * Data is there while each piece of it has a copy, each living generation misses logs in fewer zones than its replication, and a majority
 * of the coordinators has its disks (without it nobody can say which logs count). To commit as well, an epoch must find zones for as many logs as
 * the configuration wants. Coordinators of one zone fail together, as in FoundationDB. */
#include <jansson.h>

#include "roles/controller/status.h"
#include "txn/log_system.h"

/* ---- logs ---- */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* In how many more zones each living generation may miss logs; as many as the configuration's copies if there is none. */
static int64_t log_zones_to_lose(const struct status_input *input)
{
    const struct coordinated_state *state = &input->controller->state;
    int64_t fewest = (int64_t)input->controller->configuration.replication - 1;

    for (uint32_t g = 0; g < state->generations_count; g++) {
        const struct generation *generation = &state->generations[g];
        uint64_t missing = 0;

        for (uint32_t i = 0; i < generation->logs_count && i < LOGS_MAX; i++)
            if (status_hosted(input, ROLE_LOG, generation->logs[i].endpoint.id) == NULL)
                missing |= UINT64_C(1) << i;
        fewest = least(fewest, (int64_t)generation->replication - 1 - log_system_zone_count(generation, missing));
    }
    return fewest;
}

static bool may_host_logs(const struct status_process *process)
{
    return !process->excluded && recruitment_fitness(process->process_class, ROLE_LOG) < RECRUIT_NEVER;
}

static int64_t zones_for_logs(const struct status_input *input)
{
    int64_t zones = 0;

    for (uint32_t i = 0; i < input->process_count; i++) {
        bool first = may_host_logs(&input->processes[i]);

        for (uint32_t j = 0; j < i && first; j++)
            first = !may_host_logs(&input->processes[j]) || !bytes_equal(input->processes[i].zone, input->processes[j].zone);
        zones += first;
    }
    return zones;
}

/* ---- coordinators ---- */

static const struct status_process *process_of_member(const struct status_input *input, uint32_t member)
{
    const struct wire_address *address = &input->coordinators->members[member].address;

    for (uint32_t p = 0; p < input->process_count; p++)
        if (input->processes[p].address.ip == address->ip && input->processes[p].address.port == address->port)
            return &input->processes[p];
    return NULL;
}

uint32_t status_coordinator_count(const struct status_input *input)
{
    return input->coordinators == NULL ? 1 : input->coordinators->members_count;
}

uint32_t status_coordinators_here(const struct status_input *input)
{
    uint32_t here = 0;

    if (input->coordinators == NULL)
        return 1;
    for (uint32_t i = 0; i < input->coordinators->members_count; i++)
        here += process_of_member(input, i) != NULL;
    return here;
}

/* Members that are there in the zone of member `i`, which is; 0 for all but the first of a zone. */
static uint32_t members_of_zone(const struct status_input *input, uint32_t i, const bool *gone)
{
    const struct status_process *process = gone[i] ? NULL : process_of_member(input, i);
    uint32_t count = 0;

    for (uint32_t j = 0; process != NULL && j < input->coordinators->members_count; j++) {
        const struct status_process *other = gone[j] ? NULL : process_of_member(input, j);

        count += other != NULL && bytes_equal(other->zone, process->zone);
    }
    return count;
}

static void lose_zone(const struct status_input *input, uint32_t of, bool *gone)
{
    struct bytes zone = process_of_member(input, of)->zone;

    for (uint32_t j = 0; j < input->coordinators->members_count; j++) {
        const struct status_process *other = process_of_member(input, j);

        gone[j] = gone[j] || (other != NULL && bytes_equal(other->zone, zone));
    }
}

/* The zones with the most coordinators go first, until no majority would be left. -1: there is none. */
static int64_t coordinator_zones_to_lose(const struct status_input *input)
{
    int64_t here = status_coordinators_here(input), majority = status_coordinator_count(input) / 2 + 1, zones = -1;
    bool gone[COORDINATORS_MAX] = {false};

    if (input->coordinators == NULL || input->coordinators->members_count > COORDINATORS_MAX /* a lie */)
        return here - majority;
    for (; here >= majority; zones++) {
        uint32_t most = 0, largest = 0;

        for (uint32_t i = 0; i < input->coordinators->members_count; i++) {
            uint32_t count = members_of_zone(input, i, gone);

            if (count > largest) {
                largest = count;
                most = i;
            }
        }
        here -= largest;
        lose_zone(input, most, gone);
    }
    return zones;
}

/* ---- both ---- */

/* What the data distributor knows of the copies, or, without one, as if each storage server that is not there were a zone. -1: some data
 * may be out of reach. */
json_t *status_fault_tolerance(const struct status_input *input)
{
    int64_t spare_zones = zones_for_logs(input) - (int64_t)input->controller->configuration.replication;
    int64_t data = least(least(status_replicas_min(input) - 1, log_zones_to_lose(input)), coordinator_zones_to_lose(input));
    int64_t availability = least(data, spare_zones);
    json_t *object = json_object();

    (void)json_object_set_new(object, "max_zone_failures_without_losing_data", json_integer(data < -1 ? -1 : data));
    (void)json_object_set_new(object, "max_zone_failures_without_losing_availability",
                              json_integer(availability < -1 ? -1 : availability));
    return object;
}
