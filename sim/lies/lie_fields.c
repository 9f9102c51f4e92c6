/* A path is walked one name a step; at its end stands a visitor that reads or changes what it finds. */
#include "sim/lies/lie_fields.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/message_fields.h"

struct visitor {
    /* A field that is no array, or a whole array (element NULL); body is the struct that holds it. */
    bool (*visit)(struct visitor *visitor, const struct field *field, uint8_t *body, uint8_t *element);
    const struct lie_change *change;
    const struct lie_test *test;
    struct arena *arena;
    struct sim_random *random;
};

struct step {
    char name[LIE_PATH_MAX];
    bool indexed, each, drawn, counted;
    uint32_t index;
    const char *rest; /* NULL: the end */
};

static bool parse_index(const char *text, size_t length, struct step *step)
{
    char *end;

    step->indexed = true;
    step->each = length == 1 && text[0] == '*';
    step->drawn = length == 1 && text[0] == '?';
    if (step->each || step->drawn)
        return true;
    step->index = (uint32_t)strtoul(text, &end, 10);
    return length > 0 && end == text + length;
}

static bool parse_step(const char *path, struct step *step)
{
    size_t length = strcspn(path, ".[#");
    const char *close;

    *step = (struct step){0};
    snprintf(step->name, sizeof(step->name), "%.*s", (int)length, path);
    path += length;
    if (*path == '[') {
        close = strchr(path, ']');
        if (close == NULL || !parse_index(path + 1, (size_t)(close - path - 1), step))
            return false;
        path = close + 1;
    }
    if (*path == '#') {
        step->counted = true;
        path++;
    }
    step->rest = *path == '.' ? path + 1 : NULL;
    return *path == '.' || *path == '\0';
}

static const struct field *find_field(const struct schema *schema, const char *name)
{
    for (uint32_t i = 0; i < schema->field_count; i++)
        if (strcmp(schema->fields[i].name, name) == 0)
            return &schema->fields[i];
    return NULL;
}

/* True if the path can exist at all. */
static bool path_fits(const char *path, const struct schema *schema)
{
    struct step step;
    const struct field *field;

    do {
        if (schema == NULL || !parse_step(path, &step) || (field = find_field(schema, step.name)) == NULL)
            return false;
        if ((step.indexed || step.counted) && field->form != FORM_ARRAY)
            return false;
        schema = field->schema;
        path = step.rest;
    } while (path != NULL);
    return true;
}

static bool walk(struct visitor *visitor, const char *path, const struct schema *schema, uint8_t *body);

static bool enter(struct visitor *visitor, const struct step *step, const struct field *field, uint8_t *body, uint32_t index)
{
    uint8_t *element = (uint8_t *)field_array(field, body) + index * field_value_size(field);

    if (step->rest != NULL)
        return walk(visitor, step->rest, field->schema, element);
    return visitor->visit(visitor, field, body, element);
}

static bool walk_array(struct visitor *visitor, const struct step *step, const struct field *field, uint8_t *body)
{
    uint32_t count = field_count(field, body);
    bool any = false;

    if (!step->each) {
        uint32_t index = step->drawn && count > 0 ? (uint32_t)sim_random_below(visitor->random, count) : step->index;

        return index < count && enter(visitor, step, field, body, index);
    }
    for (uint32_t i = 0; i < count; i++)
        any |= enter(visitor, step, field, body, i);
    return any;
}

static bool walk(struct visitor *visitor, const char *path, const struct schema *schema, uint8_t *body)
{
    const struct field *field;
    struct step step;
    bool parsed = parse_step(path, &step);

    assert(parsed);
    field = find_field(schema, step.name);
    assert(field != NULL);
    if (step.indexed)
        return walk_array(visitor, &step, field, body);
    if (step.rest != NULL)
        return walk(visitor, step.rest, field->schema, body + field->offset);
    return visitor->visit(visitor, field, body, field->form == FORM_ARRAY ? NULL : body + field->offset);
}

/* ---- numbers ---- */

static int64_t number_at(const struct field *field, const uint8_t *at)
{
    uint32_t small;
    int64_t large;

    switch (field->kind) {
    case KIND_boolean:
        return *(const bool *)at;
    case KIND_u32:
        memcpy(&small, at, sizeof(small));
        return small;
    case KIND_u64:
    case KIND_i64:
        memcpy(&large, at, sizeof(large));
        return large;
    default:
        return 0;
    }
}

static void put_number(const struct field *field, uint8_t *at, int64_t number)
{
    uint32_t small = (uint32_t)number;

    if (field->kind == KIND_boolean)
        *(bool *)at = number != 0;
    else if (field->kind == KIND_u32)
        memcpy(at, &small, sizeof(small));
    else
        memcpy(at, &number, sizeof(number));
}

static bool change_number(const struct lie_change *change, const struct field *field, uint8_t *at)
{
    int64_t old = number_at(field, at);
    int64_t changed = change->op == LIE_SET ? change->number : (int64_t)((uint64_t)old + (uint64_t)change->number);

    put_number(field, at, changed);
    return number_at(field, at) != old;
}

/* ---- bytes ---- */

static bool change_bytes(const struct visitor *visitor, uint8_t *at)
{
    struct bytes bytes;
    uint8_t *copy;

    memcpy(&bytes, at, sizeof(bytes));
    if (bytes.len == 0 || (visitor->change->op == LIE_INVERT && (uint64_t)visitor->change->number >= bytes.len))
        return false;
    copy = arena_alloc(visitor->arena, bytes.len);
    assert(copy != NULL);
    memcpy(copy, bytes.ptr, bytes.len);
    if (visitor->change->op == LIE_INVERT)
        copy[visitor->change->number] ^= 0xff;
    if (visitor->change->op == LIE_FLIP) {
        uint64_t bit = sim_random_below(visitor->random, bytes.len * 8);

        copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    bytes = bytes_of(copy, visitor->change->op == LIE_CUT ? bytes.len / 2 : visitor->change->op == LIE_EMPTY ? 0 : bytes.len);
    memcpy(at, &bytes, sizeof(bytes));
    return true;
}

/* ---- arrays ---- */

static bool change_array(const struct visitor *visitor, const struct field *field, uint8_t *body)
{
    uint32_t count = field_count(field, body);
    size_t size = field_value_size(field);
    uint8_t *copy = arena_alloc(visitor->arena, (count + 1) * size);

    assert(copy != NULL);
    if (count == 0 || (visitor->change->op == LIE_SWAP && count < 2))
        return false;
    memcpy(copy, field_array(field, body), count * size);
    if (visitor->change->op == LIE_SWAP) {
        memcpy(copy, (uint8_t *)field_array(field, body) + size, size);
        memcpy(copy + size, field_array(field, body), size);
    } else if (visitor->change->op == LIE_REPEAT) {
        memcpy(copy + count * size, copy + (count - 1) * size, size);
        count++;
    } else {
        count = visitor->change->op == LIE_DROP ? count - 1 : 0;
    }
    field_set_array(field, body, copy, count);
    return true;
}

static bool change_visit(struct visitor *visitor, const struct field *field, uint8_t *body, uint8_t *element)
{
    if (element == NULL)
        return change_array(visitor, field, body);
    if (field->kind == KIND_bytes)
        return change_bytes(visitor, element);
    return field->kind != KIND_struct && change_number(visitor->change, field, element);
}

bool lie_change_apply(const struct lie_change *change, const struct schema *schema, void *body, struct arena *arena,
                      struct sim_random *random)
{
    struct visitor visitor = {.visit = change_visit, .change = change, .arena = arena, .random = random};

    return walk(&visitor, change->path, schema, body);
}

static bool test_visit(struct visitor *visitor, const struct field *field, uint8_t *body, uint8_t *element)
{
    struct bytes bytes;
    int64_t number;

    if (element == NULL) {
        number = field_count(field, body);
    } else if (field->kind == KIND_bytes) {
        memcpy(&bytes, element, sizeof(bytes));
        number = (int64_t)bytes.len;
    } else {
        number = number_at(field, element);
    }
    return visitor->test->relation == '=' ? number == visitor->test->number
           : visitor->test->relation == '<' ? number < visitor->test->number
                                            : number > visitor->test->number;
}

bool lie_test_holds(const struct lie_test *test, const struct schema *schema, void *body, struct sim_random *random)
{
    struct visitor visitor = {.visit = test_visit, .test = test, .random = random};

    return walk(&visitor, test->path, schema, body);
}

/* ---- what the file says ---- */

static bool parse_number(const char *text, int64_t *ret)
{
    char *end;

    errno = 0;
    *ret = strtoll(text, &end, 0);
    return errno == 0 && end != text && *end == '\0';
}

static bool parse_path(const char **text, const struct schema *schema, char out[LIE_PATH_MAX])
{
    size_t length = strcspn(*text, " ");

    if (length == 0 || length >= LIE_PATH_MAX)
        return false;
    snprintf(out, LIE_PATH_MAX, "%.*s", (int)length, *text);
    *text += length;
    *text += strspn(*text, " ");
    return path_fits(out, schema);
}

bool lie_change_parse(const char *text, const struct schema *schema, struct lie_change *ret_change)
{
    static const char *const words[] = {[LIE_FLIP] = "flip", [LIE_CUT] = "cut",   [LIE_EMPTY] = "empty",
                                        [LIE_SWAP] = "swap", [LIE_DROP] = "drop", [LIE_REPEAT] = "repeat"};

    *ret_change = (struct lie_change){0};
    if (!parse_path(&text, schema, ret_change->path))
        return false;
    if (*text == '=' || *text == '+' || *text == '-') {
        ret_change->op = *text == '=' ? LIE_SET : LIE_ADD;
        return parse_number(*text == '=' ? text + 1 : text, &ret_change->number);
    }
    if (strncmp(text, "invert ", 7) == 0) {
        ret_change->op = LIE_INVERT;
        return parse_number(text + 7, &ret_change->number) && ret_change->number >= 0;
    }
    for (size_t op = LIE_FLIP; op < sizeof(words) / sizeof(words[0]); op++) {
        if (strcmp(words[op], text) == 0) {
            ret_change->op = (enum lie_op)op;
            return true;
        }
    }
    return false;
}

bool lie_test_parse(const char *text, const struct schema *schema, struct lie_test *ret_test)
{
    *ret_test = (struct lie_test){0};
    if (!parse_path(&text, schema, ret_test->path) || strchr("=<>", *text) == NULL || *text == '\0')
        return false;
    ret_test->relation = *text++;
    return parse_number(text + strspn(text, " "), &ret_test->number);
}
