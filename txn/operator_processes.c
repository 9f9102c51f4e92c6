/* The controller recruits by the same rules. What it would wait for is refused before it is asked. */
#include "txn/operator_processes.h"

#include <stdio.h>
#include <string.h>

#include "txn/key_servers.h"
#include "txn/system_keys.h"

struct operator_process *operator_processes_at(const struct operator_processes *processes, struct address address)
{
    for (size_t i = 0; i < processes->count; i++)
        if (exclusion_means(address, processes->list[i].address))
            return &processes->list[i];
    return NULL;
}

void operator_processes_exclude(const struct operator_processes *processes, struct address exclusion)
{
    for (size_t i = 0; i < processes->count; i++)
        processes->list[i].excluded |= exclusion_means(exclusion, processes->list[i].address);
}

static bool hosts(const struct operator_process *process, enum role_kind kind)
{
    bool keeps_data = process->stores || process->process_class == CLASS_STORAGE || process->process_class == CLASS_UNSET;

    return !process->excluded && (kind == ROLE_STORAGE ? keeps_data : process_class_may_host(process->process_class, kind));
}

size_t operator_processes_hosts(const struct operator_processes *processes, enum role_kind kind)
{
    size_t count = 0;

    for (size_t i = 0; i < processes->count; i++)
        count += hosts(&processes->list[i], kind);
    return count;
}

size_t operator_processes_zones(const struct operator_processes *processes, enum role_kind kind)
{
    size_t count = 0;

    for (size_t i = 0; i < processes->count; i++) {
        bool first = hosts(&processes->list[i], kind);

        for (size_t j = 0; j < i && first; j++)
            first = !hosts(&processes->list[j], kind) || strcmp(processes->list[i].zone, processes->list[j].zone) != 0;
        count += first;
    }
    return count;
}

static size_t count_class(const struct operator_processes *processes, enum process_class process_class)
{
    size_t count = 0;

    for (size_t i = 0; i < processes->count; i++)
        count += !processes->list[i].excluded && processes->list[i].process_class == process_class;
    return count;
}

size_t operator_processes_places(const struct operator_processes *processes, enum role_kind kind)
{
    static const enum process_class order[] = {CLASS_STATELESS, CLASS_UNSET, CLASS_LOG, CLASS_STORAGE, CLASS_COORDINATOR};
    size_t count = 0;

    if (kind == ROLE_LOG)
        return count_class(processes, CLASS_LOG) + count_class(processes, CLASS_UNSET);
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]) && count == 0; i++)
        count = count_class(processes, order[i]);
    return count;
}

bool operator_processes_suffice(const struct operator_processes *processes, uint32_t replication, char *ret_why, size_t why_size)
{
    size_t log_zones = operator_processes_zones(processes, ROLE_LOG), storage_zones = operator_processes_zones(processes, ROLE_STORAGE);

    if (log_zones < replication || storage_zones < replication) {
        snprintf(ret_why, why_size,
                 "`%s' needs processes for logs and for storage in %u zones, and those that are left are in %zu and %zu; start processes "
                 "of class log, storage or unset in other zones (--locality-zoneid), or `include' some",
                 redundancy_name(replication), replication, log_zones, storage_zones);
        return false;
    }
    if (operator_processes_hosts(processes, ROLE_SEQUENCER) == 0) {
        snprintf(ret_why, why_size, "no process would be left for the other roles; start one of class stateless or unset");
        return false;
    }
    return true;
}

/* ---- coordinators ---- */

static bool is_among(const struct address *list, size_t count, struct address address)
{
    for (size_t i = 0; i < count; i++)
        if (address_equal(list[i], address))
            return true;
    return false;
}

static bool zone_is_taken(const struct operator_processes *processes, const struct address *chosen, size_t count, const char *zone)
{
    for (size_t i = 0; i < count; i++) {
        const struct operator_process *process = operator_processes_at(processes, chosen[i]);

        if (process != NULL && strcmp(process->zone, zone) == 0)
            return true;
    }
    return false;
}

static int rank(const struct operator_process *process, const struct address *present, size_t present_count)
{
    if (process->excluded)
        return -1;
    return (is_among(present, present_count, process->address) ? 2 : 0) + (process->process_class == CLASS_COORDINATOR ? 1 : 0);
}

size_t operator_processes_coordinators(const struct operator_processes *processes, const struct address *present,
                                       size_t present_count, struct address ret[OPERATOR_COORDINATORS_MAX])
{
    size_t wanted = processes->replication <= 1 ? 1 : processes->replication == 2 ? 3 : 5, count = 0;

    while (count < wanted) {
        const struct operator_process *best = NULL;
        int best_rank = -1;

        for (size_t i = 0; i < processes->count; i++) {
            const struct operator_process *process = &processes->list[i];
            int its = rank(process, present, present_count);

            if (its > best_rank && !is_among(ret, count, process->address) && !zone_is_taken(processes, ret, count, process->zone)) {
                best = process;
                best_rank = its;
            }
        }
        if (best == NULL)
            break;
        ret[count++] = best->address;
    }
    return count % 2 == 0 && count > 1 ? count - 1 : count; /* an even number survives no more than one less */
}

/* ---- what would be lost ---- */

const struct operator_server *operator_server_of(const struct operator_server *servers, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (servers[i].id == id)
            return &servers[i];
    return NULL;
}

bool operator_loses_last_copy(const struct operator_server *servers, size_t count, const struct key_servers_value *shard)
{
    bool named = false;

    for (uint32_t i = 0; i < shard->source_count; i++) {
        const struct operator_server *server = operator_server_of(servers, count, shard->source[i]);

        if (server != NULL && server->lives && !server->goes)
            return false;
        named |= server != NULL && server->goes;
    }
    return named;
}
