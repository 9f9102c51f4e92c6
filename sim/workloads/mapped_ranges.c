/* MappedRanges: an index and its records, read together by mapped ranges while transactions move entries between groups.
 *
 *   ("mapped", "i", group, entry)  ->  (entry, serial, parts)                    the index
 *   ("mapped", "r", entry, part)   ->  group, serial, touched, and some bytes    the record: `parts' keys
 *
 * A move changes an entry's index key and its record, under a new serial, so a row whose halves are of two versions shows. All groups
 * together hold each entry once, whatever limits the pages have. Moves keep a group at its capacity or below, by what a mapped read of it
 * says alone, and touches count up what a mapped read says alone: without its conflict ranges, of the index and of the records, groups
 * overflow and touches are lost. */
#include <assert.h>

#include "sim/workloads/spans.h"
#include "sim/workloads/values.h"

enum option { ACTORS, ENTRIES, GROUPS, PAUSE_MS };

enum { ENTRIES_MAX = 200, PARTS_MAX = 3, FILLING_MAX = 40, THINK_US = 300000, PERCENT = 100 };

struct mapped_ranges {
    uint64_t acked[ENTRIES_MAX], maybe[ENTRIES_MAX]; /* touches */
    uint64_t entries, groups, capacity, serial;
    uint64_t moves, touches, reads, rows, refused;
};

struct packed {
    uint8_t bytes[96];
    size_t len;
};

/* An entry as a mapped read showed it. */
struct entry {
    uint64_t number, serial, parts, touched;
};
struct group {
    struct entry entries[ENTRIES_MAX];
    size_t count;
};

static const char mapper_of_key[] = "\2mapped\0\2r\0\2{K[3]}\0\2{...}", mapper_of_value[] = "\2mapped\0\2r\0\2{V[0]}\0\2{...}",
                  mapper_of_one[] = "\2mapped\0\2r\0\2{V[0]}\0\x14";

/* ---- keys and values ---- */

static void add_number(struct packed *packed, uint64_t number)
{
    uint8_t *at = &packed->bytes[packed->len++];
    unsigned bytes = 0;

    while (bytes < 8 && number >> (8 * bytes) != 0)
        bytes++;
    *at = (uint8_t)(0x14 + bytes);
    for (unsigned i = bytes; i-- > 0;)
        packed->bytes[packed->len++] = (uint8_t)(number >> (8 * i));
}

static void begin_key(struct packed *packed, const char *kind, uint64_t number)
{
    packed->len = (size_t)snprintf((char *)packed->bytes, sizeof(packed->bytes), "\2mapped%c\2%s", 0, kind) + 1;
    add_number(packed, number);
}

static struct bytes bytes_in(const struct packed *packed)
{
    return bytes_of(packed->bytes, packed->len);
}

/* All keys of a group, or of a record: a tuple's own range. */
static void bounds(const struct packed *packed, struct packed *ret_begin, struct packed *ret_end)
{
    *ret_begin = *ret_end = *packed;
    ret_begin->bytes[ret_begin->len++] = 0;
    ret_end->bytes[ret_end->len++] = 0xff;
}

static struct bytes index_key(struct packed *packed, uint64_t group, uint64_t number)
{
    begin_key(packed, "i", group);
    add_number(packed, number);
    return bytes_in(packed);
}

static struct bytes record_key(struct packed *packed, uint64_t number, uint64_t part)
{
    begin_key(packed, "r", number);
    add_number(packed, part);
    return bytes_in(packed);
}

static void set_record(struct sim_transaction *transaction, uint64_t group, const struct entry *entry)
{
    uint8_t value[24 + FILLING_MAX] = {0};
    struct packed key;

    put_le64(value, group);
    put_le64(value + 8, entry->serial);
    put_le64(value + 16, entry->touched);
    for (uint64_t part = 0; part < entry->parts; part++)
        sim_set(transaction, record_key(&key, entry->number, part), bytes_of(value, 24 + entry->serial % FILLING_MAX));
}

static void set_index(struct sim_transaction *transaction, uint64_t group, const struct entry *entry)
{
    struct packed key, value = {.len = 0};

    add_number(&value, entry->number);
    add_number(&value, entry->serial);
    add_number(&value, entry->parts);
    sim_set(transaction, index_key(&key, group, entry->number), bytes_in(&value));
}

static void clear_index(struct sim_transaction *transaction, uint64_t group, uint64_t number)
{
    struct packed key, after;

    index_key(&key, group, number);
    after = key;
    after.bytes[after.len++] = 0;
    sim_clear_range(transaction, bytes_in(&key), bytes_in(&after));
}

static void clear_record(struct sim_transaction *transaction, uint64_t number)
{
    struct packed all, begin, end;

    begin_key(&all, "r", number);
    bounds(&all, &begin, &end);
    sim_clear_range(transaction, bytes_in(&begin), bytes_in(&end));
}

/* ---- reading ---- */

static bool take_number(struct bytes *left, uint64_t *ret_number)
{
    unsigned bytes = left->len == 0 ? 9 : (unsigned)left->ptr[0] - 0x14;

    if (bytes > 8 || left->len < 1 + bytes)
        return false;
    *ret_number = 0;
    for (unsigned i = 1; i <= bytes; i++)
        *ret_number = *ret_number << 8 | left->ptr[i];
    *left = bytes_of(left->ptr + 1 + bytes, left->len - 1 - bytes);
    return true;
}

static void bad_row(struct sim_actor *actor, uint64_t group, const struct entry *entry, const char *why)
{
    sim_world_fail(workload_world(actor), "MappedRanges: entry %llu in group %llu, serial %llu: %s", (unsigned long long)entry->number,
                   (unsigned long long)group, (unsigned long long)entry->serial, why);
}

static void check_part(struct sim_actor *actor, uint64_t group, struct entry *entry, const struct sim_pair *pair, uint64_t part)
{
    struct packed key;

    if (!bytes_equal(pair->key, record_key(&key, entry->number, part)))
        bad_row(actor, group, entry, "its record has another key");
    else if (pair->value.len != 24 + entry->serial % FILLING_MAX || get_le64(pair->value.ptr) != group ||
             get_le64(pair->value.ptr + 8) != entry->serial)
        bad_row(actor, group, entry, "its record is of another move");
    else if (part > 0 && get_le64(pair->value.ptr + 16) != entry->touched)
        bad_row(actor, group, entry, "the parts of its record are of two versions");
    else
        entry->touched = get_le64(pair->value.ptr + 16);
}

/* The halves of a row are of one version. */
static void check_row(struct sim_actor *actor, uint64_t group, const struct sim_mapped_row *row, bool whole, struct entry *ret_entry)
{
    struct bytes value = row->value;
    struct packed key;

    *ret_entry = (struct entry){0};
    if (!take_number(&value, &ret_entry->number) || !take_number(&value, &ret_entry->serial) || !take_number(&value, &ret_entry->parts))
        bad_row(actor, group, ret_entry, "its index entry is damaged");
    else if (!bytes_equal(row->key, index_key(&key, group, ret_entry->number)))
        bad_row(actor, group, ret_entry, "its index entry stands at another key");
    else if (row->count != (whole ? ret_entry->parts : 1))
        bad_row(actor, group, ret_entry, "its record has not as many parts as its index entry says");
    else
        for (uint64_t part = 0; part < row->count; part++)
            check_part(actor, group, ret_entry, &row->pairs[part], part);
}

struct page {
    struct packed begin, end; /* what is left to read */
    struct sim_mapped mapped;
    struct bytes mapper;
    bool whole; /* all parts of the records */
};

static void draw_page(struct sim_actor *actor, uint64_t group, struct page *page)
{
    struct packed key;

    begin_key(&key, "i", group);
    bounds(&key, &page->begin, &page->end);
    page->mapped = (struct sim_mapped){.reverse = sim_actor_random(actor, 2) != 0};
    if (sim_actor_random(actor, 2) != 0)
        page->mapped.limit = 1 + (uint32_t)sim_actor_random(actor, 5);
    if (sim_actor_random(actor, 3) == 0)
        page->mapped.bytes_limit = 1 + (uint32_t)sim_actor_random(actor, 600);
    page->whole = sim_actor_random(actor, 4) != 0;
    page->mapper = !page->whole                       ? BYTES_LITERAL(mapper_of_one)
                   : sim_actor_random(actor, 2) != 0 ? bytes_of(mapper_of_key, sizeof(mapper_of_key))
                                                     : bytes_of(mapper_of_value, sizeof(mapper_of_value));
}

/* Limits hold, and `more' says the truth as far as a page knows it. */
static void check_page(struct sim_actor *actor, const struct page *page)
{
    const struct sim_mapped *mapped = &page->mapped;

    if ((mapped->limit != 0 && mapped->count > mapped->limit) || (mapped->more && mapped->count == 0))
        sim_world_fail(workload_world(actor), "MappedRanges: %zu rows of at most %u%s", mapped->count, mapped->limit,
                       mapped->more ? ", and more" : "");
    for (size_t i = 0; i < mapped->count; i++) {
        bool inside = bytes_compare(bytes_in(&page->begin), mapped->rows[i].key) <= 0 &&
                      bytes_compare(mapped->rows[i].key, bytes_in(&page->end)) < 0;
        int order = i == 0 ? 0 : bytes_compare(mapped->rows[i - 1].key, mapped->rows[i].key);

        if (!inside || (i > 0 && (mapped->reverse ? order <= 0 : order >= 0)))
            sim_world_fail(workload_world(actor), "MappedRanges: row %zu of %zu is out of order, or out of the range", i, mapped->count);
    }
}

static int read_page(struct sim_actor *actor, struct sim_transaction *transaction, struct page *page)
{
    struct sim_mapped *mapped = &page->mapped;
    int error = sim_read_mapped(transaction, bytes_in(&page->begin), bytes_in(&page->end), page->mapper, mapped);
    struct bytes last;

    if (error != 0)
        return error;
    check_page(actor, page);
    if (mapped->count == 0)
        return 0;
    last = mapped->rows[mapped->count - 1].key;
    if (last.len >= sizeof(page->begin.bytes))
        return 0; /* check_row() will say what is wrong with it */
    if (mapped->reverse) {
        memcpy(page->end.bytes, last.ptr, last.len);
        page->end.len = last.len;
    } else {
        memcpy(page->begin.bytes, last.ptr, last.len);
        page->begin.bytes[last.len] = 0;
        page->begin.len = last.len + 1;
    }
    return 0;
}

/* All of a group, page by page. */
static int read_group(struct sim_actor *actor, struct sim_transaction *transaction, struct mapped_ranges *ranges, uint64_t group,
                      struct group *ret)
{
    struct page page;
    int error;

    ret->count = 0;
    draw_page(actor, group, &page);
    do {
        error = read_page(actor, transaction, &page);
        for (size_t i = 0; error == 0 && i < page.mapped.count && ret->count < ranges->entries; i++)
            check_row(actor, group, &page.mapped.rows[i], page.whole, &ret->entries[ret->count++]);
    } while (error == 0 && page.mapped.more && page.mapped.count > 0 && ret->count < ranges->entries);
    if (error == 0 && ret->count > ranges->capacity)
        sim_world_fail(workload_world(actor), "MappedRanges: group %llu has %zu entries, and room for %llu", (unsigned long long)group,
                       ret->count, (unsigned long long)ranges->capacity);
    if (error == 0)
        ranges->rows += ret->count;
    return error;
}

static struct group *new_group(struct sim_transaction *transaction)
{
    return arena_zalloc(sim_transaction_arena(transaction), sizeof(struct group));
}

static void think(struct sim_actor *actor)
{
    if (sim_actor_random(actor, 2) != 0)
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, THINK_US));
}

/* ---- what readers check ---- */

static void take_group(struct sim_actor *actor, const struct mapped_ranges *ranges, const struct group *group, const uint64_t *least,
                       bool *seen)
{
    for (size_t i = 0; i < group->count; i++) {
        const struct entry *entry = &group->entries[i];
        bool known = entry->number < ranges->entries;

        if (!known || seen[entry->number])
            sim_world_fail(workload_world(actor), "MappedRanges: entry %llu stands in two groups, or was never there",
                           (unsigned long long)entry->number);
        else if (entry->touched < least[entry->number])
            sim_world_fail(workload_world(actor), "MappedRanges: entry %llu was touched %llu times, and shows %llu",
                           (unsigned long long)entry->number, (unsigned long long)least[entry->number], (unsigned long long)entry->touched);
        if (known)
            seen[entry->number] = true;
    }
}

/* All groups at one version: each entry is in one of them. */
static int read_all(struct sim_actor *actor, struct sim_transaction *transaction, struct mapped_ranges *ranges, uint64_t *ret_touched)
{
    uint64_t least[ENTRIES_MAX], total = 0;
    bool seen[ENTRIES_MAX] = {false};
    struct group *group = new_group(transaction);
    version_t version;
    int error;

    memcpy(least, ranges->acked, sizeof(least));
    error = sim_read_version(transaction, &version);
    think(actor);
    for (uint64_t i = 0; i < ranges->groups && error == 0; i++) {
        error = read_group(actor, transaction, ranges, i, group);
        for (size_t n = 0; error == 0 && ret_touched != NULL && n < group->count; n++)
            if (group->entries[n].number < ranges->entries)
                ret_touched[group->entries[n].number] = group->entries[n].touched;
        if (error == 0)
            take_group(actor, ranges, group, least, seen);
        total += group->count;
    }
    if (error == 0 && total != ranges->entries)
        sim_world_fail(workload_world(actor), "MappedRanges: %llu entries of %llu in all groups, at version %lld",
                       (unsigned long long)total, (unsigned long long)ranges->entries, (long long)version);
    return error;
}

/* One page, and its conflict ranges: what was read of the index, the record of each row, and nothing behind a limit. */
static int read_conflicts(struct sim_actor *actor, struct sim_transaction *transaction, struct mapped_ranges *ranges)
{
    struct spans *spans = spans_create(transaction);
    struct packed begin, end, of;
    struct page page, before;
    bool well, missing = false, beyond;
    int error;

    draw_page(actor, sim_actor_random(actor, ranges->groups), &page);
    before = page;
    error = read_page(actor, transaction, &page);
    if (error == 0)
        error = spans_read(transaction, READ_CONFLICT_RANGES, spans, &well);
    if (error != 0)
        return error;
    for (size_t i = 0; i < page.mapped.count; i++) {
        struct entry entry;
        struct bytes value = page.mapped.rows[i].value;

        if (!take_number(&value, &entry.number))
            return 0;
        begin_key(&of, "r", entry.number);
        bounds(&of, &begin, &end);
        missing |= page.whole ? !spans_cover(spans, bytes_in(&begin), bytes_in(&end))
                              : !spans_meet(spans, record_key(&of, entry.number, 0), bytes_in(&end));
    }
    beyond = page.mapped.more && page.mapped.bytes_limit == 0 && page.mapped.limit != 0 &&
             spans_meet(spans, bytes_in(&page.begin), bytes_in(&page.end));
    if (page.mapped.more && page.mapped.reverse) /* up to the last row, whose key is the end of what is left */
        missing |= !spans_cover(spans, bytes_in(&page.end), bytes_in(&before.end));
    else if (page.mapped.more)
        missing |= !spans_cover(spans, bytes_in(&before.begin), bytes_in(&page.begin));
    else
        missing |= !spans_cover(spans, bytes_in(&before.begin), bytes_in(&before.end));
    if (!well || missing || beyond)
        sim_world_fail(workload_world(actor), "MappedRanges: the conflict ranges of a page of %zu rows %s", page.mapped.count,
                       !well ? "are no set of ranges" : missing ? "lack some of what was read" : "go on behind its limit");
    return 0;
}

/* A snapshot is refused: FoundationDB has none of it. */
static int read_refused(struct sim_actor *actor, struct sim_transaction *transaction, struct mapped_ranges *ranges)
{
    struct page page;
    int error;

    draw_page(actor, 0, &page);
    page.mapped.snapshot = true;
    error = read_page(actor, transaction, &page);
    ranges->refused++;
    if (error != ERROR_UNSUPPORTED_OPERATION)
        sim_world_fail(workload_world(actor), "MappedRanges: a snapshot read ended with %d", error);
    return 0;
}

/* ---- writing ---- */

/* What the transaction wrote itself is not seen, so reading it is refused. */
static void read_own(struct sim_actor *actor, struct sim_transaction *transaction, struct mapped_ranges *ranges, uint64_t group)
{
    struct page page;
    int error;

    draw_page(actor, group, &page);
    page.mapped.limit = page.mapped.bytes_limit = 0;
    error = read_page(actor, transaction, &page); /* or 1007, say: nothing was given then */
    ranges->refused += error == ERROR_GET_MAPPED_RANGE_READS_YOUR_WRITES;
    if (error == 0)
        sim_world_fail(workload_world(actor), "MappedRanges: a mapped range gives what its own transaction has changed");
}

static int move(struct sim_actor *actor, struct sim_transaction *transaction, struct mapped_ranges *ranges)
{
    uint64_t from = sim_actor_random(actor, ranges->groups), to = (from + 1 + sim_actor_random(actor, ranges->groups - 1)) % ranges->groups;
    uint64_t other = sim_actor_random(actor, ranges->groups);
    struct group *source = new_group(transaction), *target = new_group(transaction);
    struct entry entry;
    int error = read_group(actor, transaction, ranges, from, source);

    if (error == 0)
        error = read_group(actor, transaction, ranges, to, target);
    if (error != 0 || source->count == 0 || target->count >= ranges->capacity)
        return error;
    think(actor);
    entry = source->entries[sim_actor_random(actor, source->count)];
    entry.serial = ++ranges->serial;
    entry.parts = 1 + sim_actor_random(actor, PARTS_MAX);
    clear_index(transaction, from, entry.number);
    clear_record(transaction, entry.number);
    set_index(transaction, to, &entry);
    set_record(transaction, to, &entry);
    if (other != from && other != to && sim_actor_random(actor, 3) == 0)
        error = read_group(actor, transaction, ranges, other, source); /* others' rows are seen as before */
    if (error == 0 && sim_actor_random(actor, 8) == 0) {
        read_own(actor, transaction, ranges, to); /* which ends it */
        return ERROR_GET_MAPPED_RANGE_READS_YOUR_WRITES;
    }
    if (error == 0)
        error = sim_commit(transaction);
    ranges->moves += error == 0;
    return error;
}

static int touch(struct sim_actor *actor, struct sim_transaction *transaction, struct mapped_ranges *ranges)
{
    uint64_t group = sim_actor_random(actor, ranges->groups);
    struct group *read = new_group(transaction);
    struct entry entry;
    int error = read_group(actor, transaction, ranges, group, read);

    if (error != 0 || read->count == 0)
        return error;
    think(actor);
    entry = read->entries[sim_actor_random(actor, read->count)];
    entry.touched++;
    set_record(transaction, group, &entry);
    if (sim_actor_random(actor, 8) == 0) {
        read_own(actor, transaction, ranges, group); /* which ends it */
        return ERROR_GET_MAPPED_RANGE_READS_YOUR_WRITES;
    }
    error = sim_commit(transaction);
    if (entry.number < ranges->entries) {
        ranges->acked[entry.number] += error == 0;
        ranges->maybe[entry.number] += error == ERROR_COMMIT_UNKNOWN_RESULT;
    }
    ranges->touches += error == 0;
    return error;
}

/* ---- the workload ---- */

static void mapped_setup(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct mapped_ranges *ranges = run->state;
    struct sim_transaction *transaction = sim_transaction_create(actor);
    int error;

    ranges->entries = (uint64_t)run->options[ENTRIES];
    ranges->groups = (uint64_t)run->options[GROUPS];
    ranges->capacity = (ranges->entries + ranges->groups - 1) / ranges->groups + 1;
    do {
        for (uint64_t i = 0; i < ranges->entries; i++) {
            struct entry entry = {.number = i, .parts = 1 + i % PARTS_MAX};

            set_index(transaction, i % ranges->groups, &entry);
            set_record(transaction, i % ranges->groups, &entry);
        }
        error = sim_commit(transaction);
    } while (error != 0 && sim_retry(transaction, error));
    if (error != 0)
        sim_world_fail(workload_world(actor), "MappedRanges: %s", error_name(error));
    sim_transaction_destroy(transaction);
}

static int once(struct sim_actor *actor, struct sim_transaction *transaction, struct mapped_ranges *ranges, unsigned kind)
{
    if (kind < 40)
        return move(actor, transaction, ranges);
    if (kind < 65)
        return touch(actor, transaction, ranges);
    if (kind < 85)
        return read_conflicts(actor, transaction, ranges);
    if (kind < 87)
        return read_refused(actor, transaction, ranges);
    ranges->reads++;
    return read_all(actor, transaction, ranges, NULL);
}

static void mapped_run(struct sim_actor *actor, struct sim_workload_run *run)
{
    while (!sim_actor_stopping(actor)) {
        struct sim_transaction *transaction = sim_transaction_create(actor);
        unsigned kind = (unsigned)sim_actor_random(actor, PERCENT);
        int error;

        while ((error = once(actor, transaction, run->state, kind)) != 0 && sim_retry(transaction, error))
            ;
        if (error != 0 && error != ERROR_GET_MAPPED_RANGE_READS_YOUR_WRITES)
            sim_world_fail(workload_world(actor), "MappedRanges: %s", error_name(error));
        sim_transaction_destroy(transaction);
        sim_actor_sleep(actor, (int64_t)sim_actor_random(actor, 2000 * (uint64_t)run->options[PAUSE_MS] + 1));
    }
}

/* Each touch that was acknowledged counted once, and each unknown one at most. */
static void check_touches(struct sim_actor *actor, const struct mapped_ranges *ranges, const uint64_t *touched)
{
    for (uint64_t i = 0; i < ranges->entries; i++)
        if (touched[i] < ranges->acked[i] || touched[i] > ranges->acked[i] + ranges->maybe[i])
            sim_world_fail(workload_world(actor), "MappedRanges: entry %llu shows %llu touches; %llu were acknowledged, %llu unknown",
                           (unsigned long long)i, (unsigned long long)touched[i], (unsigned long long)ranges->acked[i],
                           (unsigned long long)ranges->maybe[i]);
}

static void mapped_check(struct sim_actor *actor, struct sim_workload_run *run)
{
    struct mapped_ranges *ranges = run->state;
    struct sim_transaction *transaction = sim_transaction_create(actor);
    uint64_t touched[ENTRIES_MAX] = {0};
    int error;

    while ((error = read_all(actor, transaction, ranges, touched)) != 0 && sim_retry(transaction, error))
        ;
    if (error != 0)
        sim_world_fail(workload_world(actor), "MappedRanges: %s", error_name(error));
    else
        check_touches(actor, ranges, touched);
    if (ranges->moves + ranges->touches == 0)
        sim_world_fail(workload_world(actor), "MappedRanges: nothing committed");
    sim_say(workload_world(actor), actor->client->process, "MappedRanges: %llu moves, %llu touches, %llu whole reads, %llu rows, %llu refused",
            (unsigned long long)ranges->moves, (unsigned long long)ranges->touches, (unsigned long long)ranges->reads,
            (unsigned long long)ranges->rows, (unsigned long long)ranges->refused);
    sim_transaction_destroy(transaction);
}

const struct sim_workload sim_workload_mapped_ranges = {
    .name = "MappedRanges",
    .what = "mapped ranges: an index entry and its record at one version, pages that join, and conflict ranges of both",
    .options = {{"actors", 3, 1, 100}, {"entries", 20, 1, ENTRIES_MAX}, {"groups", 5, 2, 100}, {"pause-ms", 150, 0, 10000}},
    .state_bytes = sizeof(struct mapped_ranges),
    .setup = mapped_setup,
    .run = mapped_run,
    .check = mapped_check,
};
