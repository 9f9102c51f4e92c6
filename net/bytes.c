#include "net/bytes.h"


#include "net/error.h"
#include "net/mem.h"

static int set_capacity(struct bytes_buffer *buffer, size_t capacity)
{
    uint8_t *grown = mem_realloc(buffer->ptr, capacity);

    if (grown == NULL)
        return ERROR_OUT_OF_MEMORY;
    buffer->ptr = grown;
    buffer->capacity = capacity;
    return 0;
}

int bytes_buffer_grow(struct bytes_buffer *buffer, size_t more)
{
    size_t capacity = buffer->capacity == 0 ? 256 : buffer->capacity;

    if (more > SIZE_MAX / 4)
        return ERROR_OUT_OF_MEMORY;
    while (capacity - buffer->len < more)
        capacity *= 2;
    return set_capacity(buffer, capacity);
}

int bytes_buffer_reserve_exactly(struct bytes_buffer *buffer, size_t more)
{
    if (more <= buffer->capacity - buffer->len)
        return 0;
    return more > SIZE_MAX / 4 ? ERROR_OUT_OF_MEMORY : set_capacity(buffer, buffer->len + more);
}

int bytes_buffer_append(struct bytes_buffer *buffer, struct bytes bytes)
{
    int error = bytes_buffer_reserve(buffer, bytes.len);

    if (error != 0)
        return error;
    if (bytes.len > 0)
        memcpy(buffer->ptr + buffer->len, bytes.ptr, bytes.len);
    buffer->len += bytes.len;
    return 0;
}

int bytes_buffer_set(struct bytes_buffer *buffer, struct bytes bytes)
{
    size_t capacity = (bytes.len + 31) & ~(size_t)31;

    if (capacity > buffer->capacity && set_capacity(buffer, capacity) != 0)
        return ERROR_OUT_OF_MEMORY;
    if (bytes.len > 0)
        memcpy(buffer->ptr, bytes.ptr, bytes.len);
    buffer->len = bytes.len;
    return 0;
}

void bytes_buffer_done(struct bytes_buffer *buffer)
{
    mem_free(buffer->ptr);
    *buffer = (struct bytes_buffer){0};
}

char *bytes_print(struct bytes bytes, char *out, size_t out_size)
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0;

    if (out_size == 0)
        return out;
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t c = bytes.ptr[i];
        bool plain = c >= 0x20 && c < 0x7f && c != '\\';
        size_t width = plain ? 1 : c == '\\' ? 2 : 4;

        if (at + width >= out_size)
            break;
        if (plain)
            out[at] = (char)c;
        else if (c == '\\')
            memcpy(out + at, "\\\\", 2);
        else
            memcpy(out + at, (char[]){'\\', 'x', hex[c >> 4], hex[c & 15]}, 4);
        at += width;
    }
    out[at] = '\0';
    return out;
}
