/* The names of the planted bugs; compiled into test builds alone. */
#include "net/planted_bug.h"

#include <string.h>

struct entry {
    enum planted_bug id;
    const char *name, *breaks;
};

#define ENTRY(id, name, breaks) {PLANTED_##id, name, breaks},
static const struct entry entries[] = {PLANTED_BUG_TABLE(ENTRY)};
#undef ENTRY
enum { ENTRIES = sizeof(entries) / sizeof(entries[0]) };

enum planted_bug planted_bug_on = PLANTED_NONE;

bool planted_bug_turn_on(const char *name)
{
    for (size_t i = 0; i < ENTRIES; i++)
        if (strcmp(entries[i].name, name) == 0) {
            planted_bug_on = entries[i].id;
            return true;
        }
    return false;
}

void planted_bug_list(FILE *out)
{
    for (size_t i = 0; i < ENTRIES; i++)
        fprintf(out, "%-36s %s\n", entries[i].name, entries[i].breaks);
}

int planted_signed_compare(struct bytes a, struct bytes b)
{
    size_t at = 0;

    while (at < a.len && at < b.len && a.ptr[at] == b.ptr[at])
        at++;
    if (at == a.len || at == b.len)
        return bytes_compare(a, b);
    return (int8_t)a.ptr[at] - (int8_t)b.ptr[at];
}
