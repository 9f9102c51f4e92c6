/* What walks a body beside the codec: printing for people, deep copies, random bodies for tests and fuzzing. */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "net/error.h"
#include "net/message_fields.h"

/* ---- printing ---- */

struct printer {
    char *out;
    size_t size, len;
    bool full;
};

__attribute__((format(printf, 2, 3))) static void print(struct printer *printer, const char *format, ...)
{
    va_list args;
    int len;

    if (printer->full)
        return;
    va_start(args, format);
    len = vsnprintf(printer->out + printer->len, printer->size - printer->len, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= printer->size - printer->len) {
        printer->full = true;
        printer->len = printer->size - 1;
    } else {
        printer->len += (size_t)len;
    }
}

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Bytes as the shell shows them, with quotes escaped too, so that a line stays readable whatever a key holds. */
static void print_bytes(struct printer *printer, struct bytes bytes)
{
    size_t at = 0;

    print(printer, "\"");
    while (at < bytes.len && !printer->full) {
        size_t begin = at;
        char text[8];

        while (at < bytes.len && is_plain(bytes.ptr[at]))
            at++;
        if (at > begin)
            print(printer, "%.*s", (int)(at - begin), (const char *)bytes.ptr + begin);
        if (at == bytes.len)
            break;
        bytes_print(bytes_of(bytes.ptr + at, 1), text, sizeof(text));
        print(printer, "%s%s", bytes.ptr[at++] == '"' ? "\\" : "", text);
    }
    print(printer, "\"");
}

static void print_struct(struct printer *printer, const struct schema *schema, const uint8_t *body);

static void print_value(struct printer *printer, const struct field *field, const uint8_t *at)
{
    switch (field->kind) {
    case KIND_u32:
        print(printer, "%" PRIu32, *(const uint32_t *)(const void *)at);
        break;
    case KIND_u64:
        print(printer, "%" PRIu64, *(const uint64_t *)(const void *)at);
        break;
    case KIND_i64:
        print(printer, "%" PRId64, *(const int64_t *)(const void *)at);
        break;
    case KIND_boolean:
        print(printer, "%s", *(const bool *)at ? "true" : "false");
        break;
    case KIND_bytes:
        print_bytes(printer, *(const struct bytes *)(const void *)at);
        break;
    case KIND_struct:
        print_struct(printer, field->schema, at);
        break;
    }
}

static void print_array(struct printer *printer, const struct field *field, const uint8_t *body)
{
    const uint8_t *array = field_array(field, body);
    uint32_t count = field_count(field, body);

    print(printer, "[");
    for (uint32_t i = 0; i < count && !printer->full; i++) {
        print(printer, "%s", i > 0 ? ", " : "");
        print_value(printer, field, array + i * field_value_size(field));
    }
    print(printer, "]");
}

static void print_struct(struct printer *printer, const struct schema *schema, const uint8_t *body)
{
    print(printer, "{");
    for (uint32_t i = 0; i < schema->field_count && !printer->full; i++) {
        const struct field *field = &schema->fields[i];

        print(printer, "%s%s: ", i > 0 ? ", " : "", field->name);
        if (field->form == FORM_ARRAY)
            print_array(printer, field, body);
        else
            print_value(printer, field, body + field->offset);
    }
    print(printer, "}");
}

char *message_print(const struct schema *schema, const void *body, char *out, size_t out_size)
{
    struct printer printer = {out, out_size, 0, out_size == 0};

    if (out_size > 0)
        out[0] = '\0';
    print_struct(&printer, schema, body);
    return out;
}

/* ---- copying ---- */

static int copy_inside(const struct schema *schema, struct arena *arena, uint8_t *body);

/* *at is a shallow copy; what it points to is copied. */
static int copy_value(const struct field *field, struct arena *arena, uint8_t *at)
{
    struct bytes *bytes = (void *)at;

    if (field->kind == KIND_bytes)
        return arena_copy(arena, *bytes, bytes);
    if (field->kind == KIND_struct)
        return copy_inside(field->schema, arena, at);
    return 0;
}

static int copy_array(const struct field *field, struct arena *arena, uint8_t *body)
{
    uint32_t count = field_count(field, body);
    size_t size = field_value_size(field);
    struct bytes copy;

    if (count == 0)
        return 0;
    if (arena_copy(arena, bytes_of(field_array(field, body), count * size), &copy) != 0)
        return ERROR_OUT_OF_MEMORY;
    field_set_array(field, body, (void *)(uintptr_t)copy.ptr, count);
    for (uint32_t i = 0; i < count; i++) {
        if (copy_value(field, arena, (uint8_t *)field_array(field, body) + i * size) != 0)
            return ERROR_OUT_OF_MEMORY;
    }
    return 0;
}

static int copy_inside(const struct schema *schema, struct arena *arena, uint8_t *body)
{
    for (uint32_t i = 0; i < schema->field_count; i++) {
        const struct field *field = &schema->fields[i];
        int error = field->form == FORM_ARRAY ? copy_array(field, arena, body)
                                              : copy_value(field, arena, body + field->offset);

        if (error != 0)
            return error;
    }
    return 0;
}

int message_copy_body(const struct schema *schema, const void *body, struct arena *arena, void *ret_body)
{
    memcpy(ret_body, body, schema->size);
    return copy_inside(schema, arena, ret_body);
}

/* ---- random bodies ---- */

struct dice {
    uint64_t (*draw)(void *ctx);
    void *ctx;
    struct arena *arena;
};

static uint64_t draw_below(struct dice *dice, uint64_t below)
{
    return dice->draw(dice->ctx) % below;
}

/* Small ones, edges of every encoding, and anything. */
static uint64_t draw_number(struct dice *dice)
{
    uint64_t power = draw_below(dice, 65);
    uint64_t edge = power == 64 ? 0 : UINT64_C(1) << power;

    switch (draw_below(dice, 4)) {
    case 0:
        return draw_below(dice, 256);
    case 1:
        return edge - draw_below(dice, 2);
    case 2:
        return 0 - draw_below(dice, 300);
    default:
        return dice->draw(dice->ctx);
    }
}

static int draw_bytes(struct dice *dice, struct bytes *ret_bytes)
{
    size_t len = (size_t)draw_below(dice, draw_below(dice, 16) == 0 ? 400 : 24);
    uint8_t *at = arena_alloc(dice->arena, len);

    if (at == NULL)
        return ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)dice->draw(dice->ctx);
    *ret_bytes = bytes_of(at, len);
    return 0;
}

static int draw_struct(struct dice *dice, const struct schema *schema, uint8_t *body, unsigned depth);

static int draw_value(struct dice *dice, const struct field *field, uint8_t *at, unsigned depth)
{
    switch (field->kind) {
    case KIND_u32:
        *(uint32_t *)(void *)at = (uint32_t)draw_number(dice);
        return 0;
    case KIND_u64:
        *(uint64_t *)(void *)at = draw_number(dice);
        return 0;
    case KIND_i64:
        *(int64_t *)(void *)at = (int64_t)draw_number(dice);
        return 0;
    case KIND_boolean:
        *(bool *)at = draw_below(dice, 2) == 1;
        return 0;
    case KIND_bytes:
        return draw_bytes(dice, (struct bytes *)(void *)at);
    case KIND_struct:
        return draw_struct(dice, field->schema, at, depth + 1);
    }
    assert(false);
    return 0;
}

static int draw_array(struct dice *dice, const struct field *field, uint8_t *body, unsigned depth)
{
    uint32_t count = (uint32_t)draw_below(dice, draw_below(dice, 16) == 0 ? 40 : 5);
    size_t size = field_value_size(field);
    uint8_t *array;

    if (count == 0 || (field->kind == KIND_struct && depth >= MESSAGE_DEPTH_MAX))
        return 0;
    array = arena_zalloc(dice->arena, count * size);
    if (array == NULL)
        return ERROR_OUT_OF_MEMORY;
    field_set_array(field, body, array, count);
    for (uint32_t i = 0; i < count; i++) {
        if (draw_value(dice, field, array + i * size, depth) != 0)
            return ERROR_OUT_OF_MEMORY;
    }
    return 0;
}

static int draw_struct(struct dice *dice, const struct schema *schema, uint8_t *body, unsigned depth)
{
    memset(body, 0, schema->size);
    for (uint32_t i = 0; i < schema->field_count; i++) {
        const struct field *field = &schema->fields[i];
        int error = field->form == FORM_ARRAY ? draw_array(dice, field, body, depth)
                                              : draw_value(dice, field, body + field->offset, depth);

        if (error != 0)
            return error;
    }
    return 0;
}

int message_randomize(const struct schema *schema, struct arena *arena, uint64_t (*draw)(void *ctx), void *ctx, void *body)
{
    struct dice dice = {draw, ctx, arena};

    return draw_struct(&dice, schema, body, 1);
}
