/* Special keys by which an operator says what processes may do: exclusions, classes; and who the coordinators are.
 *
 * Whether a change is sound is decided by txn/operator_processes.h, as for the shell's `exclude' and `setclass': would the processes
 * that are left do, and, for those that count as failed, would a shard lose its last living copy? management/options/failed/force, set
 * in the same transaction, lifts the second question; nothing lifts the first, for no epoch could be made any more. */
#include <stdio.h>
#include <stdlib.h>

#include "txn/client/client_internal.h"
#include "txn/client/special_keys.h"
#include "txn/operator_processes.h"
#include "txn/system_keys.h"

/* ---- the processes ---- */

/* Those that the database's list of servers names, whatever their class is. */
static void mark_stores(const struct transaction_range *servers, struct arena *arena, const struct operator_processes *processes)
{
    struct server_value value;

    for (uint32_t i = 0; i < servers->pair_count; i++) {
        struct operator_process *process;

        if (message_decode(&schema_server_value, servers->pairs[i].value, arena, &value) != 0)
            continue;
        process = operator_processes_at(processes, (struct address){value.endpoint.address.ip, value.endpoint.address.port});
        if (process != NULL)
            process->stores = true;
    }
}

/* In the arena. Exclusions of the processes, and who stores data, are those that were fetched. */
static int take_processes(const struct special_fetch *fetch, struct arena *arena, struct operator_processes *ret)
{
    const struct get_workers_reply *workers = special_fetched_workers(fetch);
    struct operator_processes taken = {.count = 0};
    struct exclusion exclusion;
    struct bytes redundancy;

    taken.list = arena_zalloc(arena, ((workers == NULL ? 0 : workers->workers_count) + 1) * sizeof(*taken.list));
    for (uint32_t i = 0; taken.list != NULL && workers != NULL && i < workers->workers_count; i++) {
        const struct worker_interface *worker = &workers->workers[i];
        char *zone = arena_zalloc(arena, worker->zone.len + 1);

        if (zone == NULL)
            return ERROR_OUT_OF_MEMORY;
        if (worker->zone.len > 0)
            memcpy(zone, worker->zone.ptr, worker->zone.len);
        taken.list[taken.count++] = (struct operator_process){
            .address = {worker->address.ip, worker->address.port},
            .process_class = worker->process_class < CLASS_COUNT ? (enum process_class)worker->process_class : CLASS_UNSET,
            .zone = zone,
        };
    }
    if (taken.list == NULL)
        return ERROR_OUT_OF_MEMORY;
    if (special_fetched(fetch, KEY_CONF_REDUNDANCY, &redundancy))
        taken.replication = redundancy_parse(redundancy);
    for (uint32_t i = 0; i < fetch->ranges[0].pair_count; i++)
        if (exclusion_key_parse(fetch->ranges[0].pairs[i].key, &exclusion))
            operator_processes_exclude(&taken, exclusion.address);
    mark_stores(&fetch->ranges[1], arena, &taken);
    *ret = taken;
    return 0;
}

/* ---- management/excluded/ and failed/ ---- */

static bool is_failed(const struct special_part *part)
{
    return strcmp(part->span.begin, "/management/failed/") == 0;
}

bool special_judges_exclusions(const struct transaction *txn, const struct special_part *part)
{
    struct bytes left = bytes_buffer_bytes(&txn->special_table);
    struct mutation write;

    while (special_next_write(&left, part, &write))
        if (write.type == MUTATION_SET)
            return true;
    return false;
}

/* Calls each() for every address that is written; stops at the first that is none. */
static int each_address(struct special_commit *commit, const struct special_part *part,
                        void (*each)(void *ctx, struct address address), void *ctx)
{
    struct bytes left = bytes_buffer_bytes(&commit->txn->special_table);
    struct mutation write;
    struct address address;
    char shown[128];

    while (special_next_write(&left, part, &write)) {
        if (write.type != MUTATION_SET)
            continue;
        if (!exclusion_parse(special_rest(part, write.param1), &address))
            return special_refuse(commit->txn, part->command, "ERROR: '%s' is not a valid network endpoint address: give IP or IP:PORT",
                                  bytes_print(special_rest(part, write.param1), shown, sizeof(shown)));
        each(ctx, address);
    }
    return 0;
}

static void exclude_process(void *ctx, struct address address)
{
    operator_processes_exclude(ctx, address);
}

struct database_servers {
    struct operator_server *list;
    size_t count;
};

static void let_go(void *ctx, struct address address)
{
    struct database_servers *servers = ctx;

    for (size_t i = 0; i < servers->count; i++)
        servers->list[i].goes |= exclusion_means(address, servers->list[i].address);
}

/* A server lives when its process is registered. */
static int take_servers(const struct transaction_range *range, const struct operator_processes *processes, struct arena *arena,
                        struct database_servers *ret)
{
    struct database_servers taken = {arena_zalloc(arena, (range->pair_count + 1) * sizeof(*taken.list)), 0};
    struct server_value value;
    uint64_t id;

    for (uint32_t i = 0; taken.list != NULL && i < range->pair_count; i++) {
        struct address address;

        if (!system_key_parse_server_list(range->pairs[i].key, &id) ||
            message_decode(&schema_server_value, range->pairs[i].value, arena, &value) != 0)
            continue;
        address = (struct address){value.endpoint.address.ip, value.endpoint.address.port};
        taken.list[taken.count++] =
            (struct operator_server){id, address, processes != NULL && operator_processes_at(processes, address) != NULL, false};
    }
    *ret = taken;
    return taken.list == NULL ? ERROR_OUT_OF_MEMORY : 0;
}

static int refuse_last_copies(struct special_commit *commit, const struct special_part *part, const struct operator_processes *processes,
                              struct arena *arena)
{
    const struct transaction_range *shards = &commit->fetch.ranges[2];
    struct database_servers servers;
    struct key_servers_value value;
    uint32_t lost = 0;
    int error = take_servers(&commit->fetch.ranges[1], processes, arena, &servers);

    if (error == 0)
        error = each_address(commit, part, let_go, &servers);
    for (uint32_t i = 0; error == 0 && i < shards->pair_count; i++)
        if (key_servers_decode(shards->pairs[i].value, arena, &value) == 0)
            lost += operator_loses_last_copy(servers.list, servers.count, &value);
    if (error != 0 || lost == 0)
        return error;
    return special_refuse(commit->txn, part->command, "ERROR: It is unsafe to exclude the specified servers at this time: the only living "
                          "copies of %u shards are there. Exclude them without failed/, which moves the shards away first, or set "
                          "management/options/failed/force to lose them", lost);
}

static int judge(struct special_commit *commit, const struct special_part *part)
{
    struct operator_processes processes;
    struct arena arena = {0};
    char why[384];
    int error = take_processes(&commit->fetch, &arena, &processes);

    if (error == 0)
        error = each_address(commit, part, exclude_process, &processes);
    if (error == 0 && processes.replication != 0 && !operator_processes_suffice(&processes, processes.replication, why, sizeof(why)))
        error = special_refuse(commit->txn, part->command, "ERROR: %s", why);
    if (error == 0 && is_failed(part) && !special_is_set(commit->txn, "/management/options/failed/force"))
        error = refuse_last_copies(commit, part, &processes, &arena);
    arena_done(&arena);
    return error;
}

int special_commit_exclusions(struct special_commit *commit, const struct special_part *part)
{
    int error = special_judges_exclusions(commit->txn, part) ? judge(commit, part) : 0; /* what is given back is not judged */

    return error != 0 ? error : special_commit_mapped(commit, part);
}

/* ---- management/in_progress_exclusion/ ---- */

static bool is_excluded(const struct special_fetch *fetch, struct address address)
{
    struct exclusion exclusion;

    for (uint32_t i = 0; i < fetch->ranges[0].pair_count; i++)
        if (exclusion_key_parse(fetch->ranges[0].pairs[i].key, &exclusion) && exclusion_means(exclusion.address, address))
            return true;
    return false;
}

static int add_leaving(struct special_read *read, const struct special_part *part, struct address address)
{
    char text[ADDRESS_TEXT_MAX];
    struct bytes printed = bytes_of_string(address_print(address, text));

    if (!is_excluded(&read->fetch, address))
        return 0;
    for (uint32_t i = 0; i < read->pair_count; i++)
        if (special_span_has(&part->span, read->pairs[i].key) && bytes_equal(special_rest(part, read->pairs[i].key), printed))
            return 0;
    return special_add(read, part->span.begin, printed, bytes_none());
}

/* Excluded, and still a storage server of the database or a log of a living generation. */
int special_collect_in_progress(struct special_read *read, const struct special_part *part)
{
    const struct description *description = read->txn->client->description;
    struct database_servers servers;
    int error = take_servers(&read->fetch.ranges[1], NULL, &read->arena, &servers);

    for (size_t i = 0; error == 0 && i < servers.count; i++)
        error = add_leaving(read, part, servers.list[i].address);
    for (uint32_t g = 0; error == 0 && description != NULL && g < description->generations_count; g++)
        for (uint32_t i = 0; error == 0 && i < description->generations[g].logs_count; i++)
            error = add_leaving(read, part, endpoint_of(&description->generations[g].logs[i].endpoint).address);
    return error;
}

/* ---- configuration/process/class_type/ and class_source/ ---- */

static int add_each_worker(struct special_read *read, const struct special_part *part,
                           const char *(*value_of)(struct special_read *read, const struct worker_interface *worker))
{
    const struct get_workers_reply *workers = special_fetched_workers(&read->fetch);
    char text[ADDRESS_TEXT_MAX];
    int error = 0;

    for (uint32_t i = 0; workers != NULL && i < workers->workers_count && error == 0; i++) {
        address_print((struct address){workers->workers[i].address.ip, workers->workers[i].address.port}, text);
        error = special_add_text(read, part->span.begin, text, value_of(read, &workers->workers[i]));
    }
    return error;
}

static const char *class_of(struct special_read *read, const struct worker_interface *worker)
{
    (void)read;
    return process_class_name((enum process_class)worker->process_class);
}

static const char *source_of(struct special_read *read, const struct worker_interface *worker)
{
    struct bytes_buffer key = {0};
    struct bytes value;
    bool set = process_class_key(&key, (struct address){worker->address.ip, worker->address.port}) == 0 &&
               special_fetched(&read->fetch, bytes_buffer_bytes(&key), &value);

    bytes_buffer_done(&key);
    return set ? "set_class" : "command_line";
}

int special_collect_classes(struct special_read *read, const struct special_part *part)
{
    return add_each_worker(read, part, class_of);
}

int special_collect_class_sources(struct special_read *read, const struct special_part *part)
{
    return add_each_worker(read, part, source_of);
}

/* For each process that the address means. *process_class: CLASS_COUNT is that of the command line. */
static int set_class(struct special_commit *commit, const struct special_part *part, struct operator_processes *processes,
                     struct address address, enum process_class process_class)
{
    struct bytes_buffer key = {0};
    bool found = false;
    char text[ADDRESS_TEXT_MAX];
    int error = 0;

    for (size_t i = 0; i < processes->count && error == 0; i++) {
        if (!exclusion_means(address, processes->list[i].address))
            continue;
        found = true;
        key.len = 0;
        error = process_class_key(&key, processes->list[i].address);
        if (error == 0 && process_class == CLASS_COUNT)
            error = special_system_clear(commit->txn, bytes_buffer_bytes(&key));
        else if (error == 0)
            error = special_system_set(commit->txn, bytes_buffer_bytes(&key), bytes_of_string(process_class_name(process_class)));
        if (process_class != CLASS_COUNT)
            processes->list[i].process_class = process_class;
    }
    bytes_buffer_done(&key);
    return error != 0 || found ? error : special_refuse(commit->txn, part->command, "There is no process at %s", exclusion_print(address, text));
}

static int take_class(struct special_commit *commit, const struct special_part *part, struct operator_processes *processes,
                      const struct mutation *write)
{
    enum process_class process_class = CLASS_COUNT;
    struct address address;
    char shown[128];

    if (!exclusion_parse(special_rest(part, write->param1), &address))
        return special_refuse(commit->txn, part->command, "ERROR: '%s' is not a valid network endpoint address",
                              bytes_print(special_rest(part, write->param1), shown, sizeof(shown)));
    if (!bytes_equal(write->param2, BYTES_LITERAL("default")) && !process_class_parse(write->param2, &process_class))
        return special_refuse(commit->txn, part->command, "ERROR: '%s' is not a valid process class",
                              bytes_print(write->param2, shown, sizeof(shown)));
    return set_class(commit, part, processes, address, process_class);
}

int special_commit_classes(struct special_commit *commit, const struct special_part *part)
{
    struct bytes left = bytes_buffer_bytes(&commit->txn->special_table);
    struct operator_processes processes;
    struct arena arena = {0};
    struct mutation write;
    char why[384];
    int error = take_processes(&commit->fetch, &arena, &processes);

    while (error == 0 && special_next_write(&left, part, &write))
        error = take_class(commit, part, &processes, &write);
    if (error == 0 && processes.replication != 0 && !operator_processes_suffice(&processes, processes.replication, why, sizeof(why)))
        error = special_refuse(commit->txn, part->command, "ERROR: %s", why);
    arena_done(&arena);
    return error;
}

/* ---- coordinators ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* "ip:port,ip:port", in the order of the texts. */
static int add_addresses(struct special_read *read, const char *prefix, const char *rest, const struct address *list, size_t count)
{
    char(*texts)[ADDRESS_TEXT_MAX] = arena_zalloc(&read->arena, (count + 1) * sizeof(*texts));
    char *all = arena_zalloc(&read->arena, (count + 1) * sizeof(*texts));
    size_t len = 0;

    if (texts == NULL || all == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < count; i++)
        address_print(list[i], texts[i]);
    qsort(texts, count, sizeof(*texts), by_text);
    for (size_t i = 0; i < count; i++)
        len += (size_t)snprintf(all + len, ADDRESS_TEXT_MAX, "%s%s", i == 0 ? "" : ",", texts[i]);
    return special_add_text(read, prefix, rest, all);
}

static size_t coordinators_of(const struct client *client, struct address ret[CLIENT_COORDINATORS_MAX])
{
    for (uint32_t i = 0; i < client->coordinator_count; i++)
        ret[i] = client->coordinators[i].address;
    return client->coordinator_count;
}

int special_collect_coordinators(struct special_read *read, const struct special_part *part)
{
    struct bytes name = bytes_buffer_bytes(&read->txn->client->connection_string);
    struct address list[CLIENT_COORDINATORS_MAX];
    const uint8_t *colon = name.len == 0 ? NULL : memchr(name.ptr, ':', name.len);
    int error = 0;

    if (colon != NULL && memchr(name.ptr, '@', name.len) != NULL)
        error = special_add(read, part->span.begin, BYTES_LITERAL("cluster_description"), bytes_of(name.ptr, (size_t)(colon - name.ptr)));
    return error != 0 ? error : add_addresses(read, part->span.begin, "processes", list, coordinators_of(read->txn->client, list));
}

/* Those that the shell's `coordinators auto' would take. Nothing, when nobody may be one. */
int special_collect_auto_coordinators(struct special_read *read, const struct special_part *part)
{
    struct address present[CLIENT_COORDINATORS_MAX], chosen[OPERATOR_COORDINATORS_MAX];
    struct operator_processes processes;
    size_t count, present_count = coordinators_of(read->txn->client, present);
    int error = take_processes(&read->fetch, &read->arena, &processes);

    if (error != 0)
        return error;
    count = operator_processes_coordinators(&processes, present, present_count, chosen);
    return count == 0 ? 0 : add_addresses(read, part->span.begin, "", chosen, count);
}

/* Coordinators change one after the other, each step by a majority of them; a transaction that commits or not can't be that. */
int special_commit_coordinators(struct special_commit *commit, const struct special_part *part)
{
    return special_refuse(commit->txn, part->command, "Coordinators are not changed by a transaction: use `coordinators' of quoincli");
}
