#include "sim/lies/lies_table.h"

static const struct lie_type *const types[] = {
#define X(name) &lie_##name,
    LIE_TABLE(X)
#undef X
};

const struct lie_type *lie_at(size_t index)
{
    return index < sizeof(types) / sizeof(types[0]) ? types[index] : NULL;
}

const struct lie_type *lie_find(const char *name)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(types[i]->name, name) == 0)
            return types[i];
    return NULL;
}
