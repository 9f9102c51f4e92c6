#include "net/knobs.h"

#include <stddef.h>

#include "net/error.h"

struct knob {
    const char *name;
    size_t offset; /* in struct knobs */
    int64_t value, sim_min, sim_max;
    const char *why;
};

static const struct knob table[] = {
#define X(name, value, sim_min, sim_max, why) {#name, offsetof(struct knobs, name), value, sim_min, sim_max, why},
    KNOB_TABLE(X)
#undef X
};

enum { KNOBS = sizeof(table) / sizeof(table[0]) };

#define X(name, value, sim_min, sim_max, why) \
    _Static_assert((value) >= 0 && (sim_min) >= 0 && (sim_min) <= (sim_max), "a knob is never negative: " #name);
KNOB_TABLE(X)
#undef X

static int64_t *knob_at(struct knobs *knobs, const struct knob *knob)
{
    return (int64_t *)(void *)((char *)knobs + knob->offset);
}

void knobs_init(struct knobs *knobs)
{
    for (size_t i = 0; i < KNOBS; i++)
        *knob_at(knobs, &table[i]) = table[i].value;
}

/* No knob is negative: they are sizes, counts and times. */
static bool parse_value(struct bytes text, int64_t *ret_value)
{
    int64_t value = 0;

    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, text.ptr[i] - '0', &value))
            return false;
    }
    *ret_value = value;
    return true;
}

/* On a command line a knob may be spelt with dashes. */
static bool name_matches(const char *name, struct bytes text)
{
    size_t len = strlen(name);

    if (len != text.len)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((text.ptr[i] == '-' ? '_' : text.ptr[i]) != (uint8_t)name[i])
            return false;
    return true;
}

int knobs_set(struct knobs *knobs, struct bytes name, struct bytes value)
{
    int64_t number;

    for (size_t i = 0; i < KNOBS; i++) {
        if (!name_matches(table[i].name, name))
            continue;
        if (!parse_value(value, &number))
            return ERROR_INVALID_OPTION_VALUE;
        *knob_at(knobs, &table[i]) = number;
        return 0;
    }
    return ERROR_INVALID_OPTION;
}

void knobs_randomize(struct knobs *knobs, uint64_t (*draw)(void *ctx), void *ctx)
{
    for (size_t i = 0; i < KNOBS; i++) {
        uint64_t choices = (uint64_t)(table[i].sim_max - table[i].sim_min) + 1;

        if (draw(ctx) & 1)
            *knob_at(knobs, &table[i]) = table[i].sim_min + (int64_t)(draw(ctx) % choices);
    }
}

const char *knobs_describe(size_t index, int64_t *ret_default, const char **ret_why)
{
    if (index >= KNOBS)
        return NULL;
    *ret_default = table[index].value;
    *ret_why = table[index].why;
    return table[index].name;
}

int64_t knobs_value(const struct knobs *knobs, size_t index)
{
    return *(const int64_t *)(const void *)((const char *)knobs + table[index].offset);
}
