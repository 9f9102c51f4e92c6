/* Builds one JSON line in a fixed buffer on the stack: no allocation, so that a line can tell of a lack of memory.
 *
 * A line is at most LINE_BYTES_MAX long and always whole: a string that is longer than VALUE_BYTES_MAX is cut and ends with
 * "...", a field that does not fit is left out, and the line then says "Truncated":1. What is not printable ASCII is shown as
 * \xNN, as the shell shows keys, so that a line is valid whatever bytes a peer sent. */
#include "net/trace.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum { LINE_BYTES_MAX = 8192, VALUE_BYTES_MAX = 1000, TAIL_BYTES = sizeof(",\"Truncated\":1}") };

struct line {
    size_t len;
    bool truncated;
    char text[LINE_BYTES_MAX];
};

static void put(struct line *line, const char *text, size_t len)
{
    if (line->truncated)
        return;
    if (len > LINE_BYTES_MAX - TAIL_BYTES - line->len) {
        line->truncated = true;
        return;
    }
    memcpy(line->text + line->len, text, len);
    line->len += len;
}

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void put_escaped(struct line *line, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    const char escaped[] = {'\\', '\\', 'x', hex[c >> 4], hex[c & 15]};

    if (c == '"')
        put(line, "\\\"", 2);
    else if (c == '\\')
        put(line, "\\\\", 2);
    else if (c == '\n')
        put(line, "\\n", 2);
    else
        put(line, escaped, sizeof(escaped));
}

/* Nearly all that is traced is plain text: it goes in whole runs. */
static void put_string(struct line *line, struct bytes bytes)
{
    size_t shown = bytes.len > VALUE_BYTES_MAX ? VALUE_BYTES_MAX : bytes.len;
    size_t at = 0;

    put(line, "\"", 1);
    while (at < shown) {
        size_t begin = at;

        while (at < shown && is_plain(bytes.ptr[at]))
            at++;
        put(line, (const char *)bytes.ptr + begin, at - begin);
        if (at < shown)
            put_escaped(line, bytes.ptr[at++]);
    }
    if (shown < bytes.len)
        put(line, "...", 3);
    put(line, "\"", 1);
}

static void put_value(struct line *line, const struct trace_value *value)
{
    char text[ADDRESS_TEXT_MAX + 8];

    switch (value->kind) {
    case TRACE_INT:
        put(line, text, (size_t)snprintf(text, sizeof(text), "%" PRId64, value->u.number));
        return;
    case TRACE_STR:
        put_string(line, bytes_of_string(value->u.string == NULL ? "" : value->u.string));
        return;
    case TRACE_BYTES:
        put_string(line, value->u.bytes);
        return;
    case TRACE_ADDR:
        put_string(line, bytes_of_string(address_print(value->u.address, text)));
        return;
    case TRACE_ID:
        put(line, text, (size_t)snprintf(text, sizeof(text), "\"%016" PRIx64 "\"", value->u.id));
        return;
    }
}

/* All of the field, or none of it. */
static void put_field(struct line *line, const struct trace_field *field)
{
    size_t len = line->len;

    put(line, ",", 1);
    put_string(line, bytes_of_string(field->name));
    put(line, ":", 1);
    put_value(line, &field->value);
    if (line->truncated)
        line->len = len;
}

void trace_event(struct env *env, enum severity severity, const char *type, const struct trace_field *fields, size_t count)
{
    int64_t wall_us = env_wall_us(env);
    struct line line;
    char head[96];

    line.len = 0;
    line.truncated = false;
    put(&line, head, (size_t)snprintf(head, sizeof(head), "{\"Time\":%" PRId64 ".%06" PRId64 ",\"Severity\":%d,\"Type\":",
                                      wall_us / 1000000, wall_us % 1000000, (int)severity));
    put_string(&line, bytes_of_string(type));
    assert(!line.truncated);
    for (size_t i = 0; i < count; i++)
        put_field(&line, &fields[i]);
    if (line.truncated) {
        line.truncated = false;
        memcpy(line.text + line.len, ",\"Truncated\":1", TAIL_BYTES - 2);
        line.len += TAIL_BYTES - 2;
    }
    line.text[line.len++] = '}';
    env->ops->trace(env, severity, bytes_of(line.text, line.len));
}
