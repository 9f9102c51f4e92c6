/* Any bytes as a client's tables of mutations and conflict ranges: the check and a walk agree on what is well formed,
 * and a table that passes has its versionstamps patched without a complaint, and stays well formed. */
#include "net/error.h"
#include "net/mem.h"
#include "tests/fuzz/fuzz_input.h"
#include "txn/conflict_range.h"
#include "txn/mutation.h"

#include <assert.h>

static void try_mutations(struct bytes table, unsigned allow)
{
    struct mutation_table_facts facts;
    struct mutation mutation;
    struct bytes cursor = table;
    uint32_t walked = 0;
    uint8_t *copy;
    int end;

    while ((end = mutation_next(&cursor, &mutation)) == 0)
        walked++;
    if (mutation_table_check(table, allow, &facts) != 0)
        return;
    assert(end == ERROR_END_OF_STREAM && facts.count == walked);
    copy = mem_alloc(table.len);
    if (table.len > 0)
        memcpy(copy, table.ptr, table.len);
    assert(mutation_patch_versionstamps(copy, table.len, 1234567, 89) == 0);
    cursor = bytes_of(copy, table.len);
    while ((end = mutation_next(&cursor, &mutation)) == 0)
        walked--;
    assert(end == ERROR_END_OF_STREAM && walked == 0);
    mem_free(copy);
}

static void try_ranges(struct bytes table, bool allow_system)
{
    struct conflict_range range;
    struct bytes cursor = table;
    uint32_t walked = 0, count;
    int end;

    while ((end = conflict_range_next(&cursor, &range)) == 0)
        walked++;
    if (conflict_range_table_check(table, allow_system, &count) == 0)
        assert(end == ERROR_END_OF_STREAM && count == walked);
}

int fuzz_input(const uint8_t *data, size_t size)
{
    struct bytes table = bytes_of(data, size);

    try_mutations(table, 0);
    try_mutations(table, MUTATION_ALLOW_SYSTEM);
    try_ranges(table, false);
    try_ranges(table, true);
    return 0;
}
