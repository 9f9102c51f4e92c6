/* Special keys by which an operator asks something of processes: each stands for a key of the system.
 *
 * The key of such a part is the system's with another prefix. What a write may say is checked here, not whether it is wise: whoever
 * moves data or recruits roles judges that, and leaves what can't be done. */
#include <stdio.h>

#include "txn/client/client_internal.h"
#include "txn/client/special_keys.h"
#include "txn/operator_keys.h"

static struct bytes rest_of(const struct special_part *part, struct bytes key)
{
    size_t prefix = 2 + strlen(part->span.begin);

    return bytes_of(key.ptr + prefix, key.len - prefix);
}

/* The key of the system, in the arena. */
static int map_key(const struct special_part *part, struct arena *arena, struct bytes key, struct bytes *ret)
{
    struct bytes rest = rest_of(part, key);
    uint8_t *mapped = arena_alloc(arena, part->system_begin.len + rest.len);

    if (mapped == NULL)
        return ERROR_OUT_OF_MEMORY;
    memcpy(mapped, part->system_begin.ptr, part->system_begin.len);
    if (rest.len > 0)
        memcpy(mapped + part->system_begin.len, rest.ptr, rest.len);
    *ret = bytes_of(mapped, part->system_begin.len + rest.len);
    return 0;
}

static int set_mapped(struct special_commit *commit, const struct special_part *part, struct arena *arena, const struct mutation *write)
{
    struct bytes key, value = bytes_none();
    const char *why = part->refuses(rest_of(part, write->param1), write->param2);
    int error;

    if (why != NULL)
        return special_refuse(commit->txn, part->command, why);
    if (part->keeps_value)
        value = write->param2;
    error = map_key(part, arena, write->param1, &key);
    return error != 0 ? error : special_system_set(commit->txn, key, value);
}

static int clear_mapped(struct special_commit *commit, const struct special_part *part, struct arena *arena, const struct mutation *write)
{
    struct bytes begin, end = part->system_end;
    int error = map_key(part, arena, write->param1, &begin);

    if (error == 0 && special_span_has(&part->span, write->param2))
        error = map_key(part, arena, write->param2, &end);
    return error != 0 ? error : special_system_clear_range(commit->txn, begin, end);
}

int special_commit_mapped(struct special_commit *commit, const struct special_part *part)
{
    struct bytes left = bytes_buffer_bytes(&commit->txn->special_table);
    struct arena arena = {0};
    struct mutation write;
    int error = 0;

    while (error == 0 && mutation_next(&left, &write) == 0) {
        if (!special_span_has(&part->span, write.param1))
            continue;
        error = write.type == MUTATION_SET ? set_mapped(commit, part, &arena, &write) : clear_mapped(commit, part, &arena, &write);
    }
    arena_done(&arena);
    return error;
}

int special_collect_mapped(struct special_read *read, const struct special_part *part)
{
    int error = 0;

    for (uint32_t i = 0; i < read->system.pair_count && error == 0; i++) {
        struct bytes key = read->system.pairs[i].key;
        struct bytes rest = bytes_of(key.ptr + part->system_begin.len, key.len - part->system_begin.len);

        error = special_add(read, part->span.begin, rest, read->system.pairs[i].value);
    }
    return error;
}

const char *special_refuses_address(struct bytes rest, struct bytes value)
{
    struct address address;

    (void)value;
    return exclusion_parse(rest, &address) ? NULL : "The key must end in IP or IP:PORT";
}

const char *special_refuses_class(struct bytes rest, struct bytes value)
{
    enum process_class class;
    struct address address;

    if (!exclusion_parse(rest, &address) || address.port == 0)
        return "The key must end in IP:PORT";
    return process_class_parse(value, &class) ? NULL : "No such process class";
}

const char *special_refuses_nothing(struct bytes rest, struct bytes value)
{
    (void)rest;
    (void)value;
    return NULL;
}
