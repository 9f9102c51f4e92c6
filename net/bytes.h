/* Borrowed byte strings, and little/big-endian loads and stores.
 *
 * `struct bytes` never owns what it points to; whoever stores one says (in a comment) until when it is valid.
 * Byte order of keys is unsigned lexicographic, a prefix before its extensions. */
#pragma once

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *ptr; /* borrowed; may be NULL when len is 0 */
    size_t len;
};

#define BYTES_LITERAL(s) ((struct bytes){(const uint8_t *)(s), sizeof(s) - 1})

static inline struct bytes bytes_of(const void *ptr, size_t len)
{
    return (struct bytes){(const uint8_t *)ptr, len};
}

static inline struct bytes bytes_of_string(const char *s)
{
    return bytes_of(s, strlen(s));
}

static inline struct bytes bytes_none(void)
{
    return (struct bytes){NULL, 0};
}

static inline int bytes_compare(struct bytes a, struct bytes b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter == 0 ? 0 : memcmp(a.ptr, b.ptr, shorter);

    if (order != 0)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool bytes_starts_with(struct bytes a, struct bytes prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.ptr, prefix.ptr, prefix.len) == 0);
}

static inline struct bytes bytes_min(struct bytes a, struct bytes b)
{
    return bytes_compare(a, b) <= 0 ? a : b;
}

static inline struct bytes bytes_max(struct bytes a, struct bytes b)
{
    return bytes_compare(a, b) >= 0 ? a : b;
}

/* Fixed-width integers at any alignment. Copied as a whole: compilers make one load or store of it, and sanitizers one check. */

static inline void put_le16(uint8_t *p, uint16_t v)
{
    v = htole16(v);
    memcpy(p, &v, sizeof(v));
}

static inline uint16_t get_le16(const uint8_t *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return le16toh(v);
}

static inline void put_le32(uint8_t *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof(v));
}

static inline uint32_t get_le32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return le32toh(v);
}

static inline void put_le64(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, sizeof(v));
}

static inline uint64_t get_le64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

static inline void put_be64(uint8_t *p, uint64_t v)
{
    v = htobe64(v);
    memcpy(p, &v, sizeof(v));
}

static inline uint64_t get_be64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return be64toh(v);
}

static inline void put_be16(uint8_t *p, uint16_t v)
{
    v = htobe16(v);
    memcpy(p, &v, sizeof(v));
}

/* A growing byte string that it owns. Zero-initialised is empty. Errors: bytes_buffer_* return ERROR_OUT_OF_MEMORY and
 * leave the buffer as it was. */
struct bytes_buffer {
    uint8_t *ptr; /* owned */
    size_t len;
    size_t capacity;
};

int bytes_buffer_grow(struct bytes_buffer *buffer, size_t more); /* the rest of bytes_buffer_reserve */
static inline int bytes_buffer_reserve(struct bytes_buffer *buffer, size_t more)
{
    return more <= buffer->capacity - buffer->len ? 0 : bytes_buffer_grow(buffer, more);
}
/* Room for `more` and not much besides: for what is known to end there. */
int bytes_buffer_reserve_exactly(struct bytes_buffer *buffer, size_t more);
int bytes_buffer_append(struct bytes_buffer *buffer, struct bytes bytes);
/* What it holds becomes `bytes`, in hardly more memory than that needs: for what does not grow. */
int bytes_buffer_set(struct bytes_buffer *buffer, struct bytes bytes);
void bytes_buffer_done(struct bytes_buffer *buffer);

static inline struct bytes bytes_buffer_bytes(const struct bytes_buffer *buffer)
{
    return bytes_of(buffer->ptr, buffer->len);
}

/* Prints `bytes` with \xNN for what is not printable, as the shell shows keys; always terminates `out`, cutting to fit.
 * Returns out. */
char *bytes_print(struct bytes bytes, char *out, size_t out_size);
