/* Byte by byte, as FoundationDB's documentation words it: the older value is cut or filled with zeros to the parameter's
 * length; numbers are little-endian and unsigned; an absent value lets MIN and AND (their second versions) store the parameter. */
#include "sim/checkers/atomics.h"

#include <assert.h>

#include "txn/mutation.h"

static uint8_t at(struct bytes bytes, size_t i)
{
    return i < bytes.len ? bytes.ptr[i] : 0;
}

static struct bytes combine(struct arena *arena, unsigned type, struct bytes old, struct bytes param)
{
    uint8_t *made = arena_alloc(arena, param.len + 1);
    unsigned carry = 0;

    assert(made != NULL);
    for (size_t i = 0; i < param.len; i++) {
        unsigned a = at(old, i), b = param.ptr[i];

        carry += a + b;
        made[i] = (uint8_t)(type == MUTATION_ADD ? carry : type == MUTATION_OR ? a | b : type == MUTATION_XOR ? a ^ b : a & b);
        carry >>= 8;
    }
    return bytes_of(made, param.len);
}

/* As numbers, the older one cut to the parameter's length: is old above param? */
static bool above(struct bytes old, struct bytes param)
{
    for (size_t i = param.len; i-- > 0;)
        if (at(old, i) != param.ptr[i])
            return at(old, i) > param.ptr[i];
    return false;
}

static struct bytes concatenate(struct arena *arena, struct bytes old, struct bytes param)
{
    uint8_t *made;

    if (old.len + param.len > VALUE_BYTES_MAX)
        return old;
    made = arena_alloc(arena, old.len + param.len + 1);
    assert(made != NULL);
    for (size_t i = 0; i < old.len + param.len; i++)
        made[i] = i < old.len ? old.ptr[i] : param.ptr[i - old.len];
    return bytes_of(made, old.len + param.len);
}

bool checker_atomic(struct arena *arena, unsigned type, bool present, struct bytes old, struct bytes param,
                    struct bytes *ret_value)
{
    static const uint8_t nothing = 0;
    struct bytes fitted, zeros = bytes_of(&nothing, 0);

    if (!present)
        old = zeros;
    *ret_value = param;
    switch (type) {
    case MUTATION_COMPARE_AND_CLEAR:
        *ret_value = old;
        return present && !bytes_equal(old, param);
    case MUTATION_APPEND_IF_FITS:
        *ret_value = concatenate(arena, old, param);
        return true;
    case MUTATION_BYTE_MIN:
    case MUTATION_BYTE_MAX:
        if (present && (bytes_compare(old, param) < 0) == (type == MUTATION_BYTE_MIN))
            *ret_value = old;
        return true;
    case MUTATION_MIN_V2:
    case MUTATION_MIN:
    case MUTATION_AND_V2:
    case MUTATION_AND:
        if (!present)
            return true; /* an application's MIN and AND are the second versions */
        break;
    default:
        break;
    }
    fitted = combine(arena, MUTATION_OR, old, bytes_of(memset(arena_alloc(arena, param.len + 1), 0, param.len + 1), param.len));
    if (type == MUTATION_MAX)
        *ret_value = above(old, param) ? fitted : param;
    else if (type == MUTATION_MIN || type == MUTATION_MIN_V2)
        *ret_value = above(old, param) ? param : fitted;
    else
        *ret_value = combine(arena, type, old, param);
    return true;
}
