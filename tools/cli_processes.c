/* A status document's "processes" and "configuration", as txn/operator_processes.h wants them. */
#include "tools/cli_processes.h"

#include <stdio.h>
#include <string.h>

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

static bool stores(const json_t *process)
{
    json_t *role;
    size_t index;

    json_array_foreach(json_object_get(process, "roles"), index, role)
        if (strcmp(text_of(role, "role"), "storage") == 0)
            return true;
    return false;
}

bool cli_processes_read(const json_t *document, struct arena *arena, struct operator_processes *ret)
{
    const json_t *cluster = json_object_get(document, "cluster"), *processes = json_object_get(cluster, "processes");
    const json_t *configuration = json_object_get(cluster, "configuration");
    struct operator_processes read = {.count = 0};
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
        struct operator_process *found = &read.list[read.count];

        if (address_parse(bytes_of_string(text_of(process, "address")), &found->address) != 0)
            continue;
        if (!process_class_parse(bytes_of_string(text_of(process, "class_type")), &found->process_class))
            found->process_class = CLASS_UNSET;
        found->zone = text_of(process, "fault_domain");
        found->excluded = json_is_true(json_object_get(process, "excluded"));
        found->stores = stores(process);
        found->source = process;
        read.count++;
    }
    *ret = read;
    return true;
}
