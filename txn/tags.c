/* Tags are few and short: names lie in structs, and are compared as bytes. */
#include "txn/tags.h"

#include <assert.h>
#include <math.h>
#include <xxhash.h>

#include "net/error.h"

#define THROTTLE_FORMAT UINT64_C(0x0FDB00B070010001)

static const char *const priority_names[THROTTLE_PRIORITIES] = {"batch", "default", "immediate"};

bool tag_name_of(struct bytes text, struct tag_name *ret)
{
    if (text.len > TRANSACTION_TAG_BYTES_MAX)
        return false;
    *ret = (struct tag_name){.len = (uint8_t)text.len};
    if (text.len > 0)
        memcpy(ret->text, text.ptr, text.len);
    return true;
}

static bool has(const struct tag_set *set, const struct tag_name *name)
{
    for (unsigned i = 0; i < set->count; i++)
        if (tag_equal(&set->names[i], name))
            return true;
    return false;
}

int tag_set_add(struct tag_set *set, struct bytes text)
{
    struct tag_name name;

    if (!tag_name_of(text, &name))
        return ERROR_TAG_TOO_LONG;
    if (has(set, &name))
        return 0;
    if (set->count == TRANSACTION_TAGS_MAX)
        return ERROR_TOO_MANY_TAGS;
    set->names[set->count++] = name;
    return 0;
}

bool tag_set_equal(const struct tag_set *a, const struct tag_set *b)
{
    if (a->count != b->count)
        return false;
    for (unsigned i = 0; i < a->count; i++)
        if (!has(b, &a->names[i]))
            return false;
    return true;
}

uint64_t tag_hash(const struct tag_name *name)
{
    return XXH3_64bits(name->text, name->len);
}

size_t throttle_key_write(uint8_t out[THROTTLE_KEY_BYTES_MAX], const struct throttle *throttle)
{
    struct bytes prefix = KEY_THROTTLE_PREFIX;
    uint8_t *at = out;

    static_assert(sizeof("\xff\x02/throttledTags/tag/") + 3 + TRANSACTION_TAG_BYTES_MAX <= THROTTLE_KEY_BYTES_MAX, "a key fits");
    memcpy(at, prefix.ptr, prefix.len);
    at += prefix.len;
    *at++ = (uint8_t)throttle->type;
    *at++ = (uint8_t)throttle->priority;
    *at++ = throttle->tag.len;
    memcpy(at, throttle->tag.text, throttle->tag.len);
    return (size_t)(at - out) + throttle->tag.len;
}

bool throttle_key_parse(struct bytes key, struct throttle *ret)
{
    struct bytes prefix = KEY_THROTTLE_PREFIX;
    const uint8_t *rest = key.ptr + prefix.len;

    if (key.len < prefix.len + 3 || memcmp(key.ptr, prefix.ptr, prefix.len) != 0)
        return false;
    if (rest[0] > THROTTLE_AUTO || rest[1] >= THROTTLE_PRIORITIES || key.len != prefix.len + 3 + rest[2])
        return false;
    ret->type = (enum throttle_type)rest[0];
    ret->priority = (enum throttle_priority)rest[1];
    return tag_name_of(bytes_of(rest + 3, rest[2]), &ret->tag);
}

static void put_double(uint8_t *out, double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof(bits));
    put_le64(out, bits);
}

static double get_double(const uint8_t *from)
{
    uint64_t bits = get_le64(from);
    double number;

    memcpy(&number, &bits, sizeof(number));
    return number;
}

void throttle_value_write(uint8_t out[THROTTLE_VALUE_BYTES], const struct throttle *throttle)
{
    put_le64(out, THROTTLE_FORMAT);
    put_double(out + 8, throttle->rate);
    put_double(out + 16, throttle->expires_s);
    put_double(out + 24, throttle->duration_s);
    out[32] = (uint8_t)throttle->reason;
}

static bool sane(double number)
{
    return isfinite(number) && number >= 0;
}

bool throttle_value_parse(struct bytes value, struct throttle *ret)
{
    double rate, expires_s, duration_s;

    if (value.len != THROTTLE_VALUE_BYTES && value.len != THROTTLE_VALUE_BYTES - 1)
        return false;
    rate = get_double(value.ptr + 8);
    expires_s = get_double(value.ptr + 16);
    duration_s = get_double(value.ptr + 24);
    if (!sane(rate) || !sane(expires_s) || !sane(duration_s))
        return false;
    ret->rate = rate;
    ret->expires_s = expires_s;
    ret->duration_s = duration_s;
    ret->reason = value.len == THROTTLE_VALUE_BYTES && value.ptr[32] <= THROTTLE_BUSY_WRITE ? (enum throttle_reason)value.ptr[32]
                                                                                           : THROTTLE_UNSET;
    return true;
}

const char *throttle_priority_name(enum throttle_priority priority)
{
    return (unsigned)priority < THROTTLE_PRIORITIES ? priority_names[priority] : "unknown";
}

const char *throttle_reason_name(enum throttle_reason reason)
{
    static const char *const names[] = {"unset", "manual", "busy read", "busy write"};

    return (unsigned)reason <= THROTTLE_BUSY_WRITE ? names[reason] : "unknown";
}

bool throttle_priority_parse(struct bytes text, enum throttle_priority *ret)
{
    for (unsigned i = 0; i < THROTTLE_PRIORITIES; i++)
        if (bytes_equal(text, bytes_of_string(priority_names[i]))) {
            *ret = (enum throttle_priority)i;
            return true;
        }
    return false;
}
