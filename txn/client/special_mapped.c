/* Special keys that stand for keys of the system: the same rest behind another prefix. */
#include "txn/client/client_internal.h"
#include "txn/client/special_keys.h"

/* The key of the system, in the arena. */
static int map_key(const struct special_part *part, struct arena *arena, struct bytes key, struct bytes *ret)
{
    struct bytes rest = special_rest(part, key);
    uint8_t *mapped = arena_alloc(arena, part->map_begin.len + rest.len);

    if (mapped == NULL)
        return ERROR_OUT_OF_MEMORY;
    memcpy(mapped, part->map_begin.ptr, part->map_begin.len);
    if (rest.len > 0)
        memcpy(mapped + part->map_begin.len, rest.ptr, rest.len);
    *ret = bytes_of(mapped, part->map_begin.len + rest.len);
    return 0;
}

static int set_mapped(struct special_commit *commit, const struct special_part *part, struct arena *arena, const struct mutation *write)
{
    struct bytes key, value = bytes_none();
    const char *why = part->refuses(special_rest(part, write->param1), write->param2);
    int error;

    if (why != NULL)
        return special_refuse(commit->txn, part->command, "%s", why);
    if (part->keeps_value)
        value = write->param2;
    error = map_key(part, arena, write->param1, &key);
    return error != 0 ? error : special_system_set(commit->txn, key, value);
}

static int clear_mapped(struct special_commit *commit, const struct special_part *part, struct arena *arena, const struct mutation *write)
{
    struct bytes begin, end = part->map_end;
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

    while (error == 0 && special_next_write(&left, part, &write))
        error = write.type == MUTATION_SET ? set_mapped(commit, part, &arena, &write) : clear_mapped(commit, part, &arena, &write);
    arena_done(&arena);
    return error;
}

int special_collect_mapped(struct special_read *read, const struct special_part *part)
{
    const struct transaction_range *range = &read->fetch.ranges[0];
    int error = 0;

    for (uint32_t i = 0; i < range->pair_count && error == 0; i++) {
        struct bytes key = range->pairs[i].key;
        struct bytes rest = bytes_of(key.ptr + part->map_begin.len, key.len - part->map_begin.len);

        error = special_add(read, part->span.begin, rest, part->keeps_value ? range->pairs[i].value : bytes_none());
    }
    return error;
}

const char *special_refuses_nothing(struct bytes rest, struct bytes value)
{
    (void)rest;
    (void)value;
    return NULL;
}

int special_collect_nothing(struct special_read *read, const struct special_part *part)
{
    (void)read;
    (void)part;
    return 0;
}

int special_commit_nothing(struct special_commit *commit, const struct special_part *part)
{
    (void)commit;
    (void)part;
    return 0;
}
