/* Nested tuples are walked with a count of how many are open: in one, a zero byte ends it unless 0xff follows, which is a null. */
#include "txn/client/tuple_element.h"

#include <string.h>

#include "net/error.h"

enum {
    CODE_NULL = 0x00,
    CODE_NESTED = 0x05,
    CODE_NEGATIVE_LONG = 0x0b,
    CODE_INT_MIN = 0x0c,
    CODE_INT_ZERO = 0x14,
    CODE_INT_MAX = 0x1c,
    CODE_POSITIVE_LONG = 0x1d,
    CODE_FLOAT = 0x20,
    CODE_DOUBLE = 0x21,
    CODE_FALSE = 0x26,
    CODE_TRUE = 0x27,
    CODE_UUID = 0x30,
    CODE_STAMP_80 = 0x32,
    CODE_STAMP_96 = 0x33,
};

/* Behind the zero byte that ends it; 0: none does. */
static size_t string_end(struct bytes tuple, size_t at)
{
    for (; at < tuple.len; at++)
        if (tuple.ptr[at] == 0) {
            if (at + 1 == tuple.len || tuple.ptr[at + 1] != 0xff)
                return at + 1;
            at++;
        }
    return 0;
}

/* How long the element at `at` is that is neither a string nor nested; 0: it is none. */
static size_t plain_length(struct bytes tuple, size_t at)
{
    uint8_t code = tuple.ptr[at];

    if (code >= CODE_INT_MIN && code <= CODE_INT_MAX)
        return 1 + (size_t)(code < CODE_INT_ZERO ? CODE_INT_ZERO - code : code - CODE_INT_ZERO);
    switch (code) {
    case CODE_NULL:
    case CODE_FALSE:
    case CODE_TRUE:
        return 1;
    case CODE_FLOAT:
        return 5;
    case CODE_DOUBLE:
        return 9;
    case CODE_UUID:
        return 17;
    case CODE_STAMP_80:
        return 11;
    case CODE_STAMP_96:
        return 13;
    case CODE_NEGATIVE_LONG:
        return at + 1 == tuple.len ? 0 : 2 + (size_t)(tuple.ptr[at + 1] ^ 0xff);
    case CODE_POSITIVE_LONG:
        return at + 1 == tuple.len ? 0 : 2 + (size_t)tuple.ptr[at + 1];
    default:
        return 0;
    }
}

bool tuple_element_next(struct bytes *left, struct bytes *ret_element)
{
    struct bytes tuple = *left;
    size_t at = 0, open = 0;

    do {
        uint8_t code;

        if (at >= tuple.len)
            return false;
        code = tuple.ptr[at];
        if (open > 0 && code == CODE_NULL) {
            bool is_null = at + 1 < tuple.len && tuple.ptr[at + 1] == 0xff;

            at += is_null ? 2 : 1;
            open -= !is_null;
        } else if (code == CODE_NESTED) {
            open++;
            at++;
        } else {
            size_t end = code == TUPLE_CODE_BYTES || code == TUPLE_CODE_TEXT ? string_end(tuple, at + 1) : at + plain_length(tuple, at);

            if (end <= at || end > tuple.len)
                return false;
            at = end;
        }
    } while (open > 0);
    *ret_element = bytes_of(tuple.ptr, at);
    *left = bytes_of(tuple.ptr + at, tuple.len - at);
    return true;
}

int tuple_element_string(struct bytes element, struct arena *arena, struct bytes *ret)
{
    uint8_t *string = arena_alloc(arena, element.len);
    size_t len = 0;

    if (string == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (size_t i = 1; i + 1 < element.len; i++) {
        string[len++] = element.ptr[i];
        i += element.ptr[i] == 0; /* 0xff follows */
    }
    *ret = bytes_of(string, len);
    return 0;
}

int tuple_element_append(struct bytes_buffer *out, struct bytes string)
{
    int error = bytes_buffer_append(out, BYTES_LITERAL("\x01"));

    for (size_t i = 0; i < string.len && error == 0; i++)
        error = bytes_buffer_append(out, string.ptr[i] == 0 ? BYTES_LITERAL("\x00\xff") : bytes_of(string.ptr + i, 1));
    return error != 0 ? error : bytes_buffer_append(out, BYTES_LITERAL("\0"));
}
