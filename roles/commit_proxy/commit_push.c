/* From a batch's committed mutations to one push for each log.
 *
 * Mutations are grouped into sections by the tags of their shard's team; a log gets the sections of the tags that it holds. Two
 * passes: the first finds each record's section (a piece: where it is, how long), the second knows every section's size
 * and copies each record once, into memory that all pushes share and that lives as long as any of them.
 *
 * Order: within a section mutations keep the order of their transactions. Between sections the order matters for
 * private mutations alone, which therefore come first (a server must own a shard before it is sent the shard's mutations of
 * the same version); a key's other mutations are all in one section, since the shard map stands still while a batch is tagged. */
#include <assert.h>

#include "net/buggify.h"
#include "net/mem.h"
#include "net/planted_bug.h"
#include "roles/commit_proxy/commit_proxy_impl.h"
#include "txn/digest.h"
#include "txn/keys.h"
#include "txn/system_keys.h"

enum { CACHE_SLOTS = 64 };

struct piece {
    const uint8_t *ptr; /* a whole record */
    uint32_t len;
    uint32_t section; /* index */
};

struct tagging {
    struct commit_batch *batch;
    struct commit_proxy *proxy;
    struct arena *arena;            /* the content's */
    uint32_t cache[CACHE_SLOTS];    /* section index + 1, by team */
    const struct commit *tagged;    /* the transaction whose mutations these are, if it has tags of its own to be counted for */
};

static struct section *sections_of(const struct commit_batch *batch, uint32_t *ret_count)
{
    *ret_count = (uint32_t)(batch->sections.len / sizeof(struct section));
    return (void *)batch->sections.ptr;
}

/* ---- sections ---- */

static int add_section(struct tagging *tagging, const struct shard_team *team, const tag_t *tags, uint32_t tag_count,
                       uint32_t *ret_index)
{
    struct section section = {.team = team, .tag_count = tag_count};
    tag_t *copy = arena_alloc(tagging->arena, tag_count * sizeof(*copy));
    int error;

    if (copy == NULL)
        return ERROR_OUT_OF_MEMORY;
    memcpy(copy, tags, tag_count * sizeof(*copy));
    section.tags = copy;
    section.logs = log_system_logs_of_tags(&tagging->proxy->generation, tags, tag_count);
    assert(section.logs != 0);
    error = bytes_buffer_append(&tagging->batch->sections, bytes_of(&section, sizeof(section)));
    if (error == 0) {
        sections_of(tagging->batch, ret_index);
        (*ret_index)--;
    }
    return error;
}

static int section_of_team(struct tagging *tagging, const struct shard_team *team, uint32_t *ret_index)
{
    uint32_t *cached = &tagging->cache[((uintptr_t)team / 64) % CACHE_SLOTS], count;
    const struct section *sections = sections_of(tagging->batch, &count);
    uint32_t index = 0;
    int error = 0;

    if (*cached != 0 && sections[*cached - 1].team == team) {
        *ret_index = *cached - 1;
        return 0;
    }
    while (index < count && sections[index].team != team)
        index++;
    if (index == count)
        error = add_section(tagging, team, team->tags, team->tag_count, &index);
    if (error != 0)
        return error;
    *cached = index + 1;
    *ret_index = index;
    return 0;
}

/* Transactions' tags, not those of storage servers: what each of them writes where. */
static void count_for_tags(struct tagging *tagging, const struct section *section, size_t bytes)
{
    const struct commit *body = tagging->tagged;

    for (uint32_t i = 0; i < body->tags_count && i < TRANSACTION_TAGS_MAX; i++)
        for (uint32_t server = 0; server < section->tag_count; server++)
            tag_counter_add(&tagging->proxy->tag_writes, body->tags[i].tag, section->tags[server], (double)bytes);
}

static int add_piece(struct tagging *tagging, uint32_t index, struct bytes record)
{
    uint32_t count;
    struct section *sections = sections_of(tagging->batch, &count);
    struct piece piece = {record.ptr, (uint32_t)record.len, index};

    assert(index < count);
    sections[index].len += record.len;
    if (tagging->tagged != NULL)
        count_for_tags(tagging, &sections[index], record.len);
    return bytes_buffer_append(&tagging->batch->pieces, bytes_of(&piece, sizeof(piece)));
}

/* A record that no client wrote. It lives in the batch's arena. */
static int make_record(struct commit_batch *batch, enum mutation_type type, struct bytes param1, struct bytes param2,
                       struct bytes *ret_record)
{
    struct bytes_buffer buffer = {0};
    int error = mutation_append(&buffer, type, param1, param2);

    if (error == 0)
        error = arena_copy(&batch->arena, bytes_buffer_bytes(&buffer), ret_record);
    bytes_buffer_done(&buffer);
    return error;
}

/* ---- tagging ---- */

static int tag_private(struct tagging *tagging, const struct private_mutation *private_mutation)
{
    uint32_t index = 0, count;
    const struct section *sections = sections_of(tagging->batch, &count);
    struct bytes record;
    int error = 0;

    if (!private_mutation->tag_known)
        return 0;
    while (index < count && sections[index].tags[0] != private_mutation->tag)
        index++;
    if (index == count)
        error = add_section(tagging, NULL, &private_mutation->tag, 1, &index);
    if (error == 0)
        error = make_record(tagging->batch, MUTATION_PRIVATE_ASSIGN, private_mutation->begin, private_mutation->value, &record);
    return error != 0 ? error : add_piece(tagging, index, record);
}

static int tag_privates(struct tagging *tagging)
{
    const struct private_mutation *all = (void *)tagging->batch->privates.ptr;
    size_t count = tagging->batch->privates.len / sizeof(*all);
    int error = 0;

    for (size_t i = 0; i < count && error == 0; i++)
        error = tag_private(tagging, &all[i]);
    return error;
}

static int tag_for_team(struct tagging *tagging, const struct shard_team *team, struct bytes record)
{
    uint32_t index;
    int error = section_of_team(tagging, team, &index);

    return error != 0 ? error : add_piece(tagging, index, record);
}

/* Split at the boundaries of shards. Where no shard is, there is nothing to clear. */
static int tag_clear(struct tagging *tagging, const struct mutation *clear, struct bytes record)
{
    struct bytes begin = clear->param1;
    int error = 0;

    while (error == 0 && bytes_compare(begin, clear->param2) < 0) {
        struct shard shard;
        struct bytes end, part = record;

        shard_map_at(tagging->proxy->shards, begin, &shard);
        end = bytes_min(shard.end, clear->param2);
        assert(bytes_compare(begin, end) < 0);
        if (begin.ptr != clear->param1.ptr || !bytes_equal(end, clear->param2))
            error = make_record(tagging->batch, MUTATION_CLEAR_RANGE, begin, end, &part);
        if (error == 0 && shard.team->tag_count > 0)
            error = tag_for_team(tagging, shard.team, part);
        begin = end;
    }
    return error;
}

static int tag_mutation(struct tagging *tagging, const struct mutation *mutation, struct bytes record)
{
    struct shard shard;

    tagging->proxy->mutations++;
    tagging->proxy->mutation_bytes += record.len;
    if (mutation->type == MUTATION_CLEAR_RANGE)
        return tag_clear(tagging, mutation, record);
    shard_map_at(tagging->proxy->shards, mutation->param1, &shard);
    if (shard.team->tag_count > 0)
        return tag_for_team(tagging, shard.team, record);
    /* Metadata lives in the logs' snapshots too; any other key would be acknowledged and be nowhere. */
    return system_key_is_metadata(mutation->param1) ? 0 : ERROR_OPERATION_FAILED;
}

static int tag_table(struct tagging *tagging, struct bytes table)
{
    struct mutation mutation;
    int error = 0;

    while (table.len > 0 && error == 0) {
        struct bytes record = table;

        error = mutation_next(&table, &mutation);
        record.len -= table.len;
        if (error == 0)
            error = tag_mutation(tagging, &mutation, record);
    }
    return error;
}

static int tag_all(struct tagging *tagging)
{
    struct commit_batch *batch = tagging->batch;
    int error = tag_privates(tagging);

    for (uint32_t i = 0; i < batch->count && error == 0; i++) {
        if (batch->items[i].error != 0)
            continue;
        tagging->tagged = batch->items[i].body->tags_count > 0 ? batch->items[i].body : NULL;
        error = tag_table(tagging, batch->items[i].mutations);
    }
    return error;
}

/* ---- the second pass ---- */

static struct push_section message_section(const struct section *section)
{
    return (struct push_section){
        .tags = (tag_t *)section->tags, /* immutable from here on, as all of a message */
        .tags_count = section->tag_count,
        .mutations = bytes_of(section->bytes, section->len),
    };
}

static int fill_sections(struct tagging *tagging)
{
    struct commit_batch *batch = tagging->batch;
    const struct piece *pieces = (void *)batch->pieces.ptr;
    size_t piece_count = batch->pieces.len / sizeof(*pieces);
    uint32_t count;
    struct section *sections = sections_of(batch, &count);

    for (uint32_t i = 0; i < count; i++) {
        sections[i].bytes = arena_alloc(tagging->arena, sections[i].len);
        if (sections[i].bytes == NULL)
            return ERROR_OUT_OF_MEMORY;
    }
    for (size_t i = 0; i < piece_count; i++) {
        struct section *section = &sections[pieces[i].section];

        assert(section->filled + pieces[i].len <= section->len);
        memcpy(section->bytes + section->filled, pieces[i].ptr, pieces[i].len);
        section->filled += pieces[i].len;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct push_section whole = message_section(&sections[i]);

        sections[i].digest = push_section_digest(&whole);
    }
    return 0;
}

static int fill_metadata(struct tagging *tagging)
{
    struct commit_batch *batch = tagging->batch;
    size_t len = 0;
    uint8_t *at;

    for (uint32_t i = 0; i < batch->count; i++)
        len += batch->items[i].error == 0 ? batch->items[i].metadata.len : 0;
    at = arena_alloc(tagging->arena, len);
    if (at == NULL)
        return ERROR_OUT_OF_MEMORY;
    batch->content_metadata = bytes_of(at, len);
    for (uint32_t i = 0; i < batch->count; i++) {
        struct bytes part = batch->items[i].metadata;

        if (batch->items[i].error != 0 || part.len == 0)
            continue;
        memcpy(at, part.ptr, part.len);
        at += part.len;
    }
    return 0;
}

/* ---- pushes ---- */

static int add_sections(const struct commit_batch *batch, uint32_t log, struct arena *arena, struct push *push)
{
    uint32_t count;
    const struct section *sections = sections_of(batch, &count);

    uint64_t *digests = arena_alloc(arena, count * sizeof(*digests));

    push->sections = arena_alloc(arena, count * sizeof(*push->sections));
    if (push->sections == NULL || digests == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        bool turned = PLANTED_BUG(ADDRESS_ORDER) && sections[0].team > sections[count - 1].team;
        const struct section *section = &sections[turned ? count - 1 - i : i];

        assert(section->filled == section->len);
        if ((section->logs >> log & 1) == 0)
            continue;
        digests[push->sections_count] = section->digest;
        push->sections[push->sections_count++] = message_section(section);
    }
    push->digest = push_digest(push, digests);
    return 0;
}

static int make_push(const struct commit_batch *batch, uint32_t log, struct message **ret_message)
{
    struct message *message;
    struct push *push = MESSAGE_NEW(push, &message);

    if (push == NULL)
        return ERROR_OUT_OF_MEMORY;
    push->epoch = batch->proxy->epoch;
    push->version = batch->version;
    push->prev_version = batch->prev_version;
    push->known_committed = batch->proxy->known_committed;
    push->metadata = batch->content_metadata;
    if (add_sections(batch, log, &message->arena, push) != 0) {
        message_unref(message);
        return ERROR_OUT_OF_MEMORY;
    }
    message_keep(message, batch->content);
    *ret_message = message;
    return 0;
}

static int make_pushes(struct commit_batch *batch)
{
    uint32_t logs = batch->proxy->generation.logs_count;

    batch->pushes = arena_zalloc(&batch->arena, logs * sizeof(struct message *));
    if (batch->pushes == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < logs; i++)
        if (make_push(batch, i, &batch->pushes[i]) != 0)
            return ERROR_OUT_OF_MEMORY;
    return 0;
}

int commit_push_build(struct commit_batch *batch)
{
    struct tagging tagging = {.batch = batch, .proxy = batch->proxy};
    int error;

    assert(batch->content == NULL);
    batch->content = message_create(&message_type_push); /* never sent: it holds what the pushes point into */
    if (batch->content == NULL)
        return ERROR_OUT_OF_MEMORY;
    tagging.arena = &batch->content->arena;
    error = tag_all(&tagging);
    if (error == 0)
        error = fill_sections(&tagging);
    if (error == 0)
        error = fill_metadata(&tagging);
    return error != 0 ? error : make_pushes(batch);
}
