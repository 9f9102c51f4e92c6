/* A walk over JSON, which keeps nothing. */
#include "sim/workloads/json_check.h"

#include <string.h>

enum { DEPTH_MAX = 64 };

struct walk {
    const uint8_t *at, *end;
    const char *member; /* looked for at depth 1 */
    bool found;
    int depth;
};

static bool value(struct walk *walk);

static void skip_space(struct walk *walk)
{
    while (walk->at < walk->end && (*walk->at == ' ' || *walk->at == '\t' || *walk->at == '\n' || *walk->at == '\r'))
        walk->at++;
}

static bool take(struct walk *walk, char c)
{
    skip_space(walk);
    if (walk->at == walk->end || *walk->at != (uint8_t)c)
        return false;
    walk->at++;
    return true;
}

static bool word(struct walk *walk, const char *text)
{
    size_t len = strlen(text);

    if ((size_t)(walk->end - walk->at) < len || memcmp(walk->at, text, len) != 0)
        return false;
    walk->at += len;
    return true;
}

static bool is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool escape(struct walk *walk)
{
    uint8_t c = walk->at == walk->end ? 0 : *walk->at++;

    if (c != 'u')
        return c != 0 && strchr("\"\\/bfnrt", c) != NULL;
    for (int i = 0; i < 4; i++)
        if (walk->at == walk->end || !is_hex(*walk->at++))
            return false;
    return true;
}

/* *ret: what stands between the quotes, as it is written. */
static bool string(struct walk *walk, struct bytes *ret)
{
    const uint8_t *begin;

    if (!take(walk, '"'))
        return false;
    for (begin = walk->at; walk->at < walk->end && *walk->at != '"';) {
        uint8_t c = *walk->at++;

        if (c < 0x20 || (c == '\\' && !escape(walk)))
            return false;
    }
    *ret = bytes_of(begin, (size_t)(walk->at - begin));
    return take(walk, '"');
}

static bool digits(struct walk *walk)
{
    const uint8_t *begin = walk->at;

    while (walk->at < walk->end && *walk->at >= '0' && *walk->at <= '9')
        walk->at++;
    return walk->at > begin;
}

static bool number(struct walk *walk)
{
    (void)word(walk, "-");
    if (!word(walk, "0") && !digits(walk))
        return false;
    if (word(walk, ".") && !digits(walk))
        return false;
    if (word(walk, "e") || word(walk, "E")) {
        if (!word(walk, "+"))
            (void)word(walk, "-");
        return digits(walk);
    }
    return true;
}

static bool member(struct walk *walk)
{
    struct bytes name;

    if (!string(walk, &name) || !take(walk, ':'))
        return false;
    if (walk->depth == 1 && walk->member != NULL && bytes_equal(name, bytes_of_string(walk->member)))
        walk->found = true;
    return value(walk);
}

/* An object or an array, behind its opening bracket. */
static bool list(struct walk *walk, char close, bool (*one)(struct walk *walk))
{
    bool good = ++walk->depth < DEPTH_MAX;

    if (good && !take(walk, close)) {
        do
            good = one(walk);
        while (good && take(walk, ','));
        good = good && take(walk, close);
    }
    walk->depth--;
    return good;
}

static bool value(struct walk *walk)
{
    struct bytes ignored;

    skip_space(walk);
    if (walk->at < walk->end && *walk->at == '"')
        return string(walk, &ignored);
    if (take(walk, '{'))
        return list(walk, '}', member);
    if (take(walk, '['))
        return list(walk, ']', value);
    return word(walk, "true") || word(walk, "false") || word(walk, "null") || number(walk);
}

static bool walk_all(struct walk *walk, struct bytes text)
{
    walk->at = text.ptr;
    walk->end = text.ptr + text.len;
    skip_space(walk);
    if (text.len == 0 || walk->at == walk->end || *walk->at != '{' || !value(walk))
        return false;
    skip_space(walk);
    return walk->at == walk->end;
}

bool json_is_object(struct bytes text)
{
    struct walk walk = {.member = NULL};

    return walk_all(&walk, text);
}

bool json_has_member(struct bytes text, const char *name)
{
    struct walk walk = {.member = name};

    return walk_all(&walk, text) && walk.found;
}
