/* Tuples: reading.
 *
 *   00 null (nested: 00 FF)    01 bytes, 02 text: 00 as 00 FF, then 00    05 nested: elements, then 00
 *   0B length^FF, ones' complement    0C..13 negative, 8..1 bytes    14 zero    15..1C positive, 1..8 bytes    1D length, big-endian
 *   20 float, 21 double: negative flipped, else the sign flipped    26 false, 27 true    30 UUID    33 versionstamp
 *   40..4F user types: the rest
 *
 * Two passes of one parser: the first checks and counts, the second fills a block of that size. Neither recurses, so
 * that a hostile key costs items and no stack. While a nested tuple is open its `integer` holds the item around it. */
#include "txn/layers/tuple.h"

#include "net/bytes.h"
#include "net/mem.h"

#define MALFORMED QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE

void tuple_parse_init(struct tuple_parse *parse, const void *packed, int length)
{
    *parse = (struct tuple_parse){.at = packed, .end = length > 0 ? (const uint8_t *)packed + length : packed};
}

bool tuple_stamp_is_incomplete(const void *stamp)
{
    static const uint8_t incomplete[10] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    return memcmp(stamp, incomplete, sizeof(incomplete)) == 0;
}

/* The next `length` bytes, or NULL when there are fewer. */
static const uint8_t *take(struct tuple_parse *parse, size_t length)
{
    const uint8_t *from = parse->at;

    if ((size_t)(parse->end - from) < length)
        return NULL;
    parse->at += length;
    return from;
}

static void copy(struct tuple_parse *parse, struct quoin_tuple_item *item, const uint8_t *from, size_t length, uint8_t flip)
{
    if (parse->text == NULL)
        return;
    item->bytes = (struct quoin_slice){parse->text, (int)length};
    for (size_t i = 0; i < length; i++)
        *parse->text++ = from[i] ^ flip;
}

static int read_escaped(struct tuple_parse *parse, struct quoin_tuple_item *item)
{
    const uint8_t *from = parse->at, *zero;
    uint8_t *begin = parse->text;

    for (;;) {
        zero = parse->at < parse->end ? memchr(parse->at, 0, (size_t)(parse->end - parse->at)) : NULL;
        if (zero == NULL)
            return MALFORMED;
        parse->at = zero + 1;
        if (parse->at == parse->end || *parse->at != TUPLE_ESCAPE)
            break;
        copy(parse, item, from, (size_t)(parse->at - from), 0);
        from = ++parse->at;
    }
    copy(parse, item, from, (size_t)(zero - from), 0);
    if (parse->text != NULL)
        item->bytes = (struct quoin_slice){begin, (int)(parse->text - begin)};
    return 0;
}

static int read_integer(struct tuple_parse *parse, struct quoin_tuple_item *item, bool negative, size_t length)
{
    const uint8_t *from = take(parse, length);
    uint8_t flip = negative ? 0xff : 0;
    uint64_t magnitude = 0;

    if (from == NULL)
        return MALFORMED;
    while (length > 0 && *from == flip) { /* a leading zero */
        from++;
        length--;
    }
    for (size_t i = 0; i < length && length <= 8; i++)
        magnitude = magnitude << 8 | (uint8_t)(from[i] ^ flip);
    if (length > 8 || magnitude > (uint64_t)INT64_MAX + negative) {
        item->type = QUOIN_TUPLE_BIGINT;
        item->negative = negative;
        copy(parse, item, from, length, flip);
    } else {
        item->type = QUOIN_TUPLE_INT;
        item->integer = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
        item->negative = item->integer < 0;
    }
    return 0;
}

static int read_long(struct tuple_parse *parse, struct quoin_tuple_item *item, bool negative)
{
    const uint8_t *length = take(parse, 1);

    if (length == NULL)
        return MALFORMED;
    return read_integer(parse, item, negative, negative ? (uint8_t)~*length : *length);
}

static int read_number(struct tuple_parse *parse, struct quoin_tuple_item *item, size_t length)
{
    const uint8_t *from = take(parse, length);
    uint64_t bits = 0, sign = 1ull << (8 * length - 1);

    if (from == NULL)
        return MALFORMED;
    for (size_t i = 0; i < length; i++)
        bits = bits << 8 | from[i];
    bits = bits & sign ? bits ^ sign : ~bits;
    if (length == 4) {
        uint32_t low = (uint32_t)bits;
        float single;

        memcpy(&single, &low, sizeof(single));
        item->type = QUOIN_TUPLE_FLOAT;
        item->number = (double)single;
    } else {
        memcpy(&item->number, &bits, sizeof(item->number));
        item->type = QUOIN_TUPLE_DOUBLE;
    }
    return 0;
}

static int read_fixed(struct tuple_parse *parse, struct quoin_tuple_item *item, enum quoin_tuple_type type, size_t length, int error)
{
    const uint8_t *from = take(parse, length);

    if (from == NULL)
        return error;
    item->type = type;
    copy(parse, item, from, length, 0);
    return 0;
}

/* A 00: null, or the end of a nested tuple. */
static int read_zero(struct tuple_parse *parse)
{
    if (parse->depth == 0)
        return 0;
    if (parse->at < parse->end && *parse->at == TUPLE_ESCAPE) {
        parse->at++;
        return 0;
    }
    parse->depth--;
    parse->closed = true;
    return 0;
}

static int read_user(struct tuple_parse *parse, struct quoin_tuple_item *item, int code)
{
    if (parse->depth > 0)
        return MALFORMED;
    item->code = code;
    return read_fixed(parse, item, QUOIN_TUPLE_USER, (size_t)(parse->end - parse->at), MALFORMED);
}

int tuple_parse_next(struct tuple_parse *parse, struct quoin_tuple_item *ret_item)
{
    uint8_t code = *parse->at++;

    *ret_item = (struct quoin_tuple_item){.type = QUOIN_TUPLE_NULL, .span = 1};
    parse->closed = false;
    switch (code) {
    case TUPLE_CODE_NULL:
        return read_zero(parse);
    case TUPLE_CODE_BYTES:
    case TUPLE_CODE_TEXT:
        ret_item->type = code == TUPLE_CODE_TEXT ? QUOIN_TUPLE_TEXT : QUOIN_TUPLE_BYTES;
        return read_escaped(parse, ret_item);
    case TUPLE_CODE_NESTED:
        ret_item->type = QUOIN_TUPLE_NESTED;
        return parse->depth++ < QUOIN_TUPLE_DEPTH_MAX ? 0 : MALFORMED;
    case TUPLE_CODE_NEGATIVE_LONG:
    case TUPLE_CODE_POSITIVE_LONG:
        return read_long(parse, ret_item, code == TUPLE_CODE_NEGATIVE_LONG);
    case TUPLE_CODE_FLOAT:
        return read_number(parse, ret_item, 4);
    case TUPLE_CODE_DOUBLE:
        return read_number(parse, ret_item, 8);
    case TUPLE_CODE_FALSE:
    case TUPLE_CODE_TRUE:
        ret_item->type = QUOIN_TUPLE_BOOL;
        ret_item->boolean = code == TUPLE_CODE_TRUE;
        return 0;
    case TUPLE_CODE_UUID:
        return read_fixed(parse, ret_item, QUOIN_TUPLE_UUID, TUPLE_UUID_BYTES, QUOIN_ERROR_INVALID_UUID_SIZE);
    case TUPLE_CODE_VERSIONSTAMP:
        return read_fixed(parse, ret_item, QUOIN_TUPLE_VERSIONSTAMP, TUPLE_STAMP_BYTES, QUOIN_ERROR_INVALID_VERSIONSTAMP_SIZE);
    default:
        if (code > TUPLE_CODE_NEGATIVE_LONG && code < TUPLE_CODE_POSITIVE_LONG)
            return read_integer(parse, ret_item, code < TUPLE_CODE_ZERO,
                                (size_t)(code < TUPLE_CODE_ZERO ? TUPLE_CODE_ZERO - code : code - TUPLE_CODE_ZERO));
        if (code >= TUPLE_CODE_USER_FIRST && code <= TUPLE_CODE_USER_LAST)
            return read_user(parse, ret_item, code);
        return MALFORMED;
    }
}

/* ---- the whole ---- */

static int count_items(const void *packed, int length, int *ret_count)
{
    struct tuple_parse parse;
    struct quoin_tuple_item item;
    int count = 0, error = 0;

    tuple_parse_init(&parse, packed, length);
    while (error == 0 && parse.at < parse.end) {
        error = tuple_parse_next(&parse, &item);
        count += !parse.closed;
    }
    if (error == 0 && parse.depth > 0)
        error = MALFORMED;
    if (error == 0)
        *ret_count = count;
    return error;
}

/* Of a tuple that count_items found good. */
static void fill(struct quoin_unpacked *unpacked, struct quoin_tuple_item *items, struct tuple_parse *parse)
{
    int open = -1, count = 0;

    while (parse->at < parse->end) {
        struct quoin_tuple_item *item = &items[count], read;

        (void)tuple_parse_next(parse, &read); /* can't fail twice */
        if (parse->closed) {
            int around = (int)items[open].integer;

            items[open].span = count - open;
            items[open].integer = 0;
            open = around;
            continue;
        }
        *item = read;
        *(open < 0 ? &unpacked->count : &items[open].count) += 1;
        if (read.type == QUOIN_TUPLE_NESTED) {
            item->integer = open;
            open = count;
        }
        count++;
    }
}

quoin_error quoin_tuple_unpack(const void *packed, int length, struct quoin_unpacked **ret_unpacked)
{
    struct quoin_unpacked *unpacked;
    struct quoin_tuple_item *items;
    struct tuple_parse parse;
    int count = 0, error;

    if (length < 0 || (packed == NULL && length > 0))
        return QUOIN_ERROR_CLIENT_INVALID_OPERATION;
    error = count_items(packed, length, &count);
    if (error != 0)
        return error;
    unpacked = mem_alloc(sizeof(*unpacked) + (size_t)count * sizeof(*items) + (size_t)length);
    if (unpacked == NULL)
        return QUOIN_ERROR_OUT_OF_MEMORY;
    items = (struct quoin_tuple_item *)(unpacked + 1);
    *unpacked = (struct quoin_unpacked){.item_count = count, .items = items};
    tuple_parse_init(&parse, packed, length);
    parse.text = (uint8_t *)(items + count); /* an element's copy is never longer than the element */
    fill(unpacked, items, &parse);
    *ret_unpacked = unpacked;
    return 0;
}

void quoin_unpacked_destroy(struct quoin_unpacked *unpacked)
{
    mem_free(unpacked);
}

quoin_error quoin_unpacked_at(const struct quoin_unpacked *unpacked, int index, const struct quoin_tuple_item **ret_item)
{
    const struct quoin_tuple_item *item = unpacked->items;

    if (index < 0 || index >= unpacked->count)
        return QUOIN_ERROR_INVALID_TUPLE_INDEX;
    while (index-- > 0)
        item += item->span;
    *ret_item = item;
    return 0;
}

static quoin_error typed(const struct quoin_unpacked *unpacked, int index, enum quoin_tuple_type type,
                         const struct quoin_tuple_item **ret_item)
{
    quoin_error error = quoin_unpacked_at(unpacked, index, ret_item);

    if (error == 0 && (*ret_item)->type != type)
        error = MALFORMED;
    return error;
}

quoin_error quoin_unpacked_int(const struct quoin_unpacked *unpacked, int index, int64_t *ret_value)
{
    const struct quoin_tuple_item *item;
    quoin_error error = typed(unpacked, index, QUOIN_TUPLE_INT, &item);

    if (error == 0)
        *ret_value = item->integer;
    return error;
}

quoin_error quoin_unpacked_text(const struct quoin_unpacked *unpacked, int index, struct quoin_slice *ret_text)
{
    const struct quoin_tuple_item *item;
    quoin_error error = typed(unpacked, index, QUOIN_TUPLE_TEXT, &item);

    if (error == 0)
        *ret_text = item->bytes;
    return error;
}

quoin_error quoin_unpacked_bytes(const struct quoin_unpacked *unpacked, int index, struct quoin_slice *ret_bytes)
{
    const struct quoin_tuple_item *item;
    quoin_error error = typed(unpacked, index, QUOIN_TUPLE_BYTES, &item);

    if (error == 0)
        *ret_bytes = item->bytes;
    return error;
}

/* ---- adding again what was read ---- */

static void add_leaf(struct quoin_tuple *tuple, const struct quoin_tuple_item *item)
{
    const void *data = item->bytes.data;
    int length = item->bytes.length;

    switch (item->type) {
    case QUOIN_TUPLE_NULL: quoin_tuple_add_null(tuple); break;
    case QUOIN_TUPLE_BYTES: quoin_tuple_add_bytes(tuple, data, length); break;
    case QUOIN_TUPLE_TEXT: quoin_tuple_add_text(tuple, data, length); break;
    case QUOIN_TUPLE_NESTED: quoin_tuple_open(tuple); break;
    case QUOIN_TUPLE_INT: quoin_tuple_add_int(tuple, item->integer); break;
    case QUOIN_TUPLE_BIGINT: quoin_tuple_add_bigint(tuple, item->negative, data, length); break;
    case QUOIN_TUPLE_FLOAT: quoin_tuple_add_float(tuple, (float)item->number); break;
    case QUOIN_TUPLE_DOUBLE: quoin_tuple_add_double(tuple, item->number); break;
    case QUOIN_TUPLE_BOOL: quoin_tuple_add_bool(tuple, item->boolean); break;
    case QUOIN_TUPLE_UUID: quoin_tuple_add_uuid(tuple, data, length); break;
    case QUOIN_TUPLE_VERSIONSTAMP: quoin_tuple_add_versionstamp(tuple, data, length); break;
    case QUOIN_TUPLE_USER: quoin_tuple_add_user(tuple, item->code, data, length); break;
    }
}

/* Recurses at most QUOIN_TUPLE_DEPTH_MAX deep. */
void quoin_tuple_add_item(struct quoin_tuple *tuple, const struct quoin_tuple_item *item)
{
    add_leaf(tuple, item);
    if (item->type == QUOIN_TUPLE_NESTED) {
        const struct quoin_tuple_item *child = item + 1;

        for (int i = 0; i < item->count; i++, child += child->span)
            quoin_tuple_add_item(tuple, child);
        quoin_tuple_close(tuple);
    }
}

quoin_error layer_unnest(const uint8_t *packed, int length, struct quoin_tuple *out)
{
    const struct quoin_tuple_item *nested, *child;
    struct quoin_unpacked *unpacked;
    quoin_error error = quoin_tuple_unpack(packed, length, &unpacked);

    if (error != 0)
        return error;
    quoin_tuple_reset(out);
    error = quoin_unpacked_at(unpacked, unpacked->count - 1, &nested);
    if (error == 0 && nested->type != QUOIN_TUPLE_NESTED)
        error = QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE;
    if (error == 0) {
        child = nested + 1;
        for (int i = 0; i < nested->count; i++, child += child->span)
            quoin_tuple_add_item(out, child);
        error = out->error;
    }
    quoin_unpacked_destroy(unpacked);
    return error;
}
