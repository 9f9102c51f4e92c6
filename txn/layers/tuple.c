/* Tuples: writing.
 *
 * An element is its code and its bytes, so a tuple is packed as it is made and needs no list of elements. Errors stick: the caller
 * looks once, at the end. */
#include "txn/layers/tuple.h"

#include "net/bytes.h"
#include "net/mem.h"

#define TUPLE_BYTES_FIRST 64
#define TUPLE_BYTES_MAX (1 << 30)

static void fail(struct quoin_tuple *tuple, quoin_error error)
{
    if (tuple->error == 0)
        tuple->error = error;
}

/* Room for `more` bytes at the end, or NULL with the error set. */
static uint8_t *grow(struct quoin_tuple *tuple, size_t more)
{
    size_t capacity = tuple->capacity > 0 ? (size_t)tuple->capacity : TUPLE_BYTES_FIRST, wanted = (size_t)tuple->length + more;
    uint8_t *data;

    if (tuple->error != 0)
        return NULL;
    if (wanted > TUPLE_BYTES_MAX) {
        fail(tuple, QUOIN_ERROR_KEY_TOO_LARGE);
        return NULL;
    }
    while (capacity < wanted)
        capacity *= 2;
    if (tuple->data == NULL || (int)capacity != tuple->capacity) {
        data = mem_realloc(tuple->data, capacity);
        if (data == NULL) {
            fail(tuple, QUOIN_ERROR_OUT_OF_MEMORY);
            return NULL;
        }
        tuple->data = data;
        tuple->capacity = (int)capacity;
    }
    return tuple->data + tuple->length;
}

static void append(struct quoin_tuple *tuple, const void *bytes, size_t length)
{
    uint8_t *at = grow(tuple, length);

    if (at != NULL && length > 0) {
        memcpy(at, bytes, length);
        tuple->length += (int)length;
    }
}

static void append_code(struct quoin_tuple *tuple, uint8_t code)
{
    append(tuple, &code, 1);
}

/* Says whether (pointer, length) may be read. */
static bool readable(struct quoin_tuple *tuple, const void *data, int length)
{
    if (length < 0 || (data == NULL && length > 0))
        fail(tuple, QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    return tuple->error == 0;
}

void quoin_tuple_reset(struct quoin_tuple *tuple)
{
    tuple->length = tuple->depth = tuple->stamp_at = 0;
    tuple->error = 0;
}

void quoin_tuple_done(struct quoin_tuple *tuple)
{
    mem_free(tuple->data);
    *tuple = (struct quoin_tuple){0};
}

/* ---- elements ---- */

void quoin_tuple_add_null(struct quoin_tuple *tuple)
{
    static const uint8_t nested[] = {TUPLE_CODE_NULL, TUPLE_ESCAPE};

    append(tuple, nested, tuple->depth > 0 ? 2 : 1);
}

/* Zero bytes become 00 FF, so that the 00 at the end sorts below all that may follow. */
static void add_escaped(struct quoin_tuple *tuple, uint8_t code, const void *data, int length)
{
    const uint8_t *from = data, *zero;
    size_t rest = (size_t)length;

    if (!readable(tuple, data, length))
        return;
    append_code(tuple, code);
    while (rest > 0 && (zero = memchr(from, 0, rest)) != NULL) {
        size_t part = (size_t)(zero - from) + 1;

        append(tuple, from, part);
        append_code(tuple, TUPLE_ESCAPE);
        from += part;
        rest -= part;
    }
    append(tuple, from, rest);
    append_code(tuple, 0);
}

void quoin_tuple_add_bytes(struct quoin_tuple *tuple, const void *data, int length)
{
    add_escaped(tuple, TUPLE_CODE_BYTES, data, length);
}

void quoin_tuple_add_text(struct quoin_tuple *tuple, const char *text, int length)
{
    add_escaped(tuple, TUPLE_CODE_TEXT, text, length);
}

void quoin_tuple_add_bigint(struct quoin_tuple *tuple, bool negative, const void *magnitude, int length)
{
    const uint8_t *from = magnitude;
    uint8_t flip = negative ? 0xff : 0, *to;

    if (!readable(tuple, magnitude, length))
        return;
    while (length > 0 && *from == 0) {
        from++;
        length--;
    }
    if (length > TUPLE_INTEGER_BYTES_MAX) {
        fail(tuple, QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    } else if (length <= 8) {
        append_code(tuple, (uint8_t)(negative ? TUPLE_CODE_ZERO - length : TUPLE_CODE_ZERO + length));
    } else {
        append_code(tuple, negative ? TUPLE_CODE_NEGATIVE_LONG : TUPLE_CODE_POSITIVE_LONG);
        append_code(tuple, (uint8_t)length ^ flip);
    }
    to = grow(tuple, (size_t)length);
    for (int i = 0; to != NULL && i < length; i++)
        to[i] = from[i] ^ flip;
    if (to != NULL)
        tuple->length += length;
}

static void add_magnitude(struct quoin_tuple *tuple, bool negative, uint64_t magnitude)
{
    uint8_t bytes[8];

    put_be64(bytes, magnitude);
    quoin_tuple_add_bigint(tuple, negative, bytes, 8);
}

void quoin_tuple_add_int(struct quoin_tuple *tuple, int64_t value)
{
    add_magnitude(tuple, value < 0, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void quoin_tuple_add_uint(struct quoin_tuple *tuple, uint64_t value)
{
    add_magnitude(tuple, false, value);
}

void quoin_tuple_add_float(struct quoin_tuple *tuple, float value)
{
    uint8_t bytes[5] = {TUPLE_CODE_FLOAT};
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    bits = bits >> 31 ? ~bits : bits ^ 0x80000000u;
    for (int i = 0; i < 4; i++)
        bytes[1 + i] = (uint8_t)(bits >> (24 - 8 * i));
    append(tuple, bytes, sizeof(bytes));
}

void quoin_tuple_add_double(struct quoin_tuple *tuple, double value)
{
    uint8_t bytes[9] = {TUPLE_CODE_DOUBLE};
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    put_be64(bytes + 1, bits >> 63 ? ~bits : bits ^ 0x8000000000000000u);
    append(tuple, bytes, sizeof(bytes));
}

void quoin_tuple_add_bool(struct quoin_tuple *tuple, bool value)
{
    append_code(tuple, value ? TUPLE_CODE_TRUE : TUPLE_CODE_FALSE);
}

void quoin_tuple_add_uuid(struct quoin_tuple *tuple, const void *uuid, int length)
{
    if (!readable(tuple, uuid, length))
        return;
    if (length != TUPLE_UUID_BYTES) {
        fail(tuple, QUOIN_ERROR_INVALID_UUID_SIZE);
        return;
    }
    append_code(tuple, TUPLE_CODE_UUID);
    append(tuple, uuid, TUPLE_UUID_BYTES);
}

void quoin_tuple_add_versionstamp(struct quoin_tuple *tuple, const void *stamp, int length)
{
    if (!readable(tuple, stamp, length))
        return;
    if (length != TUPLE_STAMP_BYTES) {
        fail(tuple, QUOIN_ERROR_INVALID_VERSIONSTAMP_SIZE);
        return;
    }
    append_code(tuple, TUPLE_CODE_VERSIONSTAMP);
    if (tuple_stamp_is_incomplete(stamp)) {
        if (tuple->stamp_at != 0)
            fail(tuple, QUOIN_ERROR_CLIENT_INVALID_OPERATION);
        tuple->stamp_at = tuple->length + 1;
    }
    append(tuple, stamp, TUPLE_STAMP_BYTES);
}

void quoin_tuple_add_incomplete_versionstamp(struct quoin_tuple *tuple, uint16_t user_version)
{
    uint8_t stamp[TUPLE_STAMP_BYTES];

    memset(stamp, 0xff, sizeof(stamp));
    put_be16(stamp + 10, user_version);
    quoin_tuple_add_versionstamp(tuple, stamp, sizeof(stamp));
}

void quoin_tuple_add_user(struct quoin_tuple *tuple, int code, const void *data, int length)
{
    if (!readable(tuple, data, length))
        return;
    if (code < TUPLE_CODE_USER_FIRST || code > TUPLE_CODE_USER_LAST) {
        fail(tuple, QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE);
    } else if (tuple->depth > 0) {
        fail(tuple, QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    } else {
        append_code(tuple, (uint8_t)code);
        append(tuple, data, (size_t)length);
    }
}

void quoin_tuple_open(struct quoin_tuple *tuple)
{
    if (tuple->depth == QUOIN_TUPLE_DEPTH_MAX)
        fail(tuple, QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    append_code(tuple, TUPLE_CODE_NESTED);
    tuple->depth++;
}

void quoin_tuple_close(struct quoin_tuple *tuple)
{
    if (tuple->depth == 0) {
        fail(tuple, QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    } else {
        append_code(tuple, 0);
        tuple->depth--;
    }
}

void quoin_tuple_add_raw(struct quoin_tuple *tuple, const void *bytes, int length)
{
    if (!readable(tuple, bytes, length))
        return;
    if (tuple->depth > 0)
        fail(tuple, QUOIN_ERROR_CLIENT_INVALID_OPERATION);
    else
        append(tuple, bytes, (size_t)length);
}

/* A packed tuple differs inside another only in the nulls of its own level, which are escaped there. */
void quoin_tuple_add_nested(struct quoin_tuple *tuple, const void *packed, int length)
{
    struct tuple_parse parse;
    struct quoin_tuple_item item;

    if (!readable(tuple, packed, length))
        return;
    quoin_tuple_open(tuple);
    tuple_parse_init(&parse, packed, length);
    while (tuple->error == 0 && parse.at < parse.end) {
        const uint8_t *from = parse.at;
        bool top = parse.depth == 0;
        int error = tuple_parse_next(&parse, &item);

        if (error == 0 && item.type == QUOIN_TUPLE_USER)
            error = QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE;
        if (error == 0 && item.type == QUOIN_TUPLE_VERSIONSTAMP && tuple_stamp_is_incomplete(from + 1))
            error = QUOIN_ERROR_CLIENT_INVALID_OPERATION;
        if (error != 0)
            fail(tuple, error);
        else if (top && item.type == QUOIN_TUPLE_NULL)
            quoin_tuple_add_null(tuple);
        else
            append(tuple, from, (size_t)(parse.at - from));
    }
    if (parse.depth > 0)
        fail(tuple, QUOIN_ERROR_INVALID_TUPLE_DATA_TYPE);
    quoin_tuple_close(tuple);
}

/* ---- the result ---- */

static quoin_error finished(const struct quoin_tuple *tuple, bool stamped)
{
    if (tuple->error != 0)
        return tuple->error;
    return tuple->depth != 0 || (tuple->stamp_at != 0) != stamped ? QUOIN_ERROR_CLIENT_INVALID_OPERATION : 0;
}

quoin_error quoin_tuple_get(const struct quoin_tuple *tuple, struct quoin_slice *ret_packed)
{
    quoin_error error = finished(tuple, false);

    if (error == 0)
        *ret_packed = (struct quoin_slice){tuple->data, tuple->length};
    return error;
}

quoin_error quoin_tuple_get_versionstamped(struct quoin_tuple *tuple, struct quoin_slice *ret_packed)
{
    quoin_error error = finished(tuple, true);
    uint8_t *end;

    if (error != 0)
        return error;
    end = grow(tuple, 4);
    if (end == NULL) {
        tuple->error = 0; /* the tuple is whole; another try may find memory */
        return QUOIN_ERROR_OUT_OF_MEMORY;
    }
    put_le32(end, (uint32_t)(tuple->stamp_at - 1));
    *ret_packed = (struct quoin_slice){tuple->data, tuple->length + 4};
    return 0;
}

quoin_error quoin_tuple_range(const struct quoin_tuple *tuple, struct quoin_key_range *ret_range)
{
    struct quoin_slice packed;
    quoin_error error = quoin_tuple_get(tuple, &packed);

    return error != 0 ? error : tuple_range_of(packed, ret_range);
}
