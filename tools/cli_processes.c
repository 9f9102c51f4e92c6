/* The controller recruits by the same rules: processes that are not excluded, of a class that may host the role, copies in zones of
 * their own. What it would wait for is refused here, before it is asked. */
#include "tools/cli_processes.h"

#include <stdio.h>

#include "txn/system_keys.h"

static uint32_t count_of(const json_t *configuration, const char *key)
{
    json_int_t count = json_integer_value(json_object_get(configuration, key));

    return count < 1 || count > 64 ? 1 : (uint32_t)count;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text == NULL ? "" : text;
}

bool cli_processes_read(const json_t *document, struct arena *arena, struct cli_processes *ret)
{
    const json_t *cluster = json_object_get(document, "cluster"), *processes = json_object_get(cluster, "processes");
    const json_t *configuration = json_object_get(cluster, "configuration");
    struct cli_processes read = {.count = 0};
    json_t *process;
    const char *id;

    if (processes == NULL)
        return false;
    read.list = arena_zalloc(arena, (json_object_size(processes) + 1) * sizeof(*read.list));
    if (read.list == NULL)
        return false;
    read.replication = redundancy_parse(bytes_of_string(text_of(configuration, "redundancy_mode")));
    read.commit_proxies = count_of(configuration, "commit_proxies");
    read.grv_proxies = count_of(configuration, "grv_proxies");
    read.resolvers = count_of(configuration, "resolvers");
    json_object_foreach((json_t *)processes, id, process)
    {
        struct cli_process *found = &read.list[read.count];

        if (address_parse(bytes_of_string(text_of(process, "address")), &found->address) != 0)
            continue;
        if (!process_class_parse(bytes_of_string(text_of(process, "class_type")), &found->process_class))
            found->process_class = CLASS_UNSET;
        found->zone = text_of(process, "fault_domain");
        found->excluded = json_is_true(json_object_get(process, "excluded"));
        found->json = process;
        read.count++;
    }
    *ret = read;
    return true;
}

bool cli_address_means(struct address exclusion, struct address address)
{
    return exclusion.ip == address.ip && (exclusion.port == 0 || exclusion.port == address.port);
}

struct cli_process *cli_processes_at(const struct cli_processes *processes, struct address address)
{
    for (size_t i = 0; i < processes->count; i++)
        if (cli_address_means(address, processes->list[i].address))
            return &processes->list[i];
    return NULL;
}

static bool hosts(const struct cli_process *process, enum role_kind kind)
{
    return !process->excluded && process_class_may_host(process->process_class, kind);
}

size_t cli_processes_hosts(const struct cli_processes *processes, enum role_kind kind)
{
    size_t count = 0;

    for (size_t i = 0; i < processes->count; i++)
        count += hosts(&processes->list[i], kind);
    return count;
}

size_t cli_processes_zones(const struct cli_processes *processes, enum role_kind kind)
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

static size_t count_class(const struct cli_processes *processes, enum process_class process_class)
{
    size_t count = 0;

    for (size_t i = 0; i < processes->count; i++)
        count += !processes->list[i].excluded && processes->list[i].process_class == process_class;
    return count;
}

size_t cli_processes_places(const struct cli_processes *processes, enum role_kind kind)
{
    static const enum process_class order[] = {CLASS_STATELESS, CLASS_UNSET, CLASS_LOG, CLASS_STORAGE, CLASS_COORDINATOR};
    size_t count = 0;

    if (kind == ROLE_LOG)
        return count_class(processes, CLASS_LOG) + count_class(processes, CLASS_UNSET);
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]) && count == 0; i++)
        count = count_class(processes, order[i]);
    return count;
}

bool cli_processes_suffice(const struct cli_processes *processes, uint32_t replication, char *ret_why, size_t why_size)
{
    size_t log_zones = cli_processes_zones(processes, ROLE_LOG), storage_zones = cli_processes_zones(processes, ROLE_STORAGE);

    if (log_zones < replication || storage_zones < replication) {
        snprintf(ret_why, why_size,
                 "`%s' needs processes for logs and for storage in %u zones, and those that are left are in %zu and %zu; start processes "
                 "of class log, storage or unset in other zones (--locality-zoneid), or `include' some",
                 redundancy_name(replication), replication, log_zones, storage_zones);
        return false;
    }
    if (cli_processes_hosts(processes, ROLE_SEQUENCER) == 0) {
        snprintf(ret_why, why_size, "no process would be left for the other roles; start one of class stateless or unset");
        return false;
    }
    return true;
}
