/* Tuples: what their writer and reader share, and what the other layers need of them.
 *
 * Pure: bytes in, bytes out. The format is a table in tuple_read.c's head; the public functions are in <quoin/layers.h>. */
#pragma once

#include <quoin/layers.h>

enum tuple_code {
    TUPLE_CODE_NULL = 0x00,
    TUPLE_CODE_BYTES = 0x01,
    TUPLE_CODE_TEXT = 0x02,
    TUPLE_CODE_NESTED = 0x05,
    TUPLE_CODE_NEGATIVE_LONG = 0x0b,
    TUPLE_CODE_ZERO = 0x14, /* minus or plus the number of bytes */
    TUPLE_CODE_POSITIVE_LONG = 0x1d,
    TUPLE_CODE_FLOAT = 0x20,
    TUPLE_CODE_DOUBLE = 0x21,
    TUPLE_CODE_FALSE = 0x26,
    TUPLE_CODE_TRUE = 0x27,
    TUPLE_CODE_UUID = 0x30,
    TUPLE_CODE_VERSIONSTAMP = 0x33,
    TUPLE_CODE_USER_FIRST = 0x40,
    TUPLE_CODE_USER_LAST = 0x4f,
    TUPLE_ESCAPE = 0xff, /* after a 00 that is no end */
};

#define TUPLE_INTEGER_BYTES_MAX 255
#define TUPLE_UUID_BYTES 16
#define TUPLE_STAMP_BYTES 12

/* One pass over a packed tuple, element by element, down into nested ones. */
struct tuple_parse {
    const uint8_t *at, *end; /* borrowed */
    uint8_t *text;           /* where bytes go that need a copy; NULL: nothing is copied and item.bytes is not set */
    int depth;               /* nested tuples that are open */
    bool closed;             /* what was read last was the end of a nested tuple, and no item */
};

void tuple_parse_init(struct tuple_parse *parse, const void *packed, int length);
/* Reads the next element, or the end of a nested tuple. Errors: 2250, 2268, 2269. Only when parse->at < parse->end. */
int tuple_parse_next(struct tuple_parse *parse, struct quoin_tuple_item *ret_item);

bool tuple_stamp_is_incomplete(const void *stamp);
/* packed 00 to packed FF. */
quoin_error tuple_range_of(struct quoin_slice packed, struct quoin_key_range *ret_range);
quoin_error layer_buffer_copy(struct quoin_buffer *ret_buffer, const void *data, int length);
/* Of a packed tuple whose last element is a nested one: that one's elements, packed by themselves. Errors: 2250, 2251. */
quoin_error layer_unnest(const uint8_t *packed, int length, struct quoin_tuple *out);
