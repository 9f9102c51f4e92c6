/* Fields of the lines that processes trace: flat JSON, written by net/trace.c, so that a search for `"Name":` finds a field. */
#include <stdlib.h>

#include "sim/world.h"

/* What stands behind `"name":`, up to the end of the line; nothing when there is no such field. */
static struct bytes behind(struct bytes line, const char *name)
{
    char field[64];
    int length = snprintf(field, sizeof(field), "\"%s\":", name);
    const uint8_t *at = memmem(line.ptr, line.len, field, (size_t)length);

    return at == NULL ? bytes_none() : bytes_of(at + length, line.len - (size_t)(at + length - line.ptr));
}

bool sim_line_is(struct bytes line, const char *type)
{
    return bytes_equal(sim_line_text(line, "Type"), bytes_of_string(type));
}

bool sim_line_number(struct bytes line, const char *name, int base, uint64_t *ret_number)
{
    struct bytes rest = behind(line, name);
    char digits[32];
    size_t length;

    if (rest.len > 0 && rest.ptr[0] == '"')
        rest = bytes_of(rest.ptr + 1, rest.len - 1);
    if (rest.len == 0)
        return false;
    length = rest.len < sizeof(digits) - 1 ? rest.len : sizeof(digits) - 1;
    memcpy(digits, rest.ptr, length);
    digits[length] = '\0';
    *ret_number = strtoull(digits, NULL, base);
    return true;
}

struct bytes sim_line_text(struct bytes line, const char *name)
{
    struct bytes rest = behind(line, name);

    if (rest.len == 0 || rest.ptr[0] != '"')
        return bytes_none();
    for (size_t i = 1; i < rest.len; i++) {
        if (rest.ptr[i] == '"')
            return bytes_of(rest.ptr + 1, i - 1);
        i += rest.ptr[i] == '\\'; /* what follows is no end */
    }
    return bytes_none();
}
