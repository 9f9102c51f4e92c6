/* Addresses stand in keys as text, so that a shell and FoundationDB's tools read and write them as they are. */
#include "txn/operator_keys.h"

#include <inttypes.h>
#include <stdio.h>

#include "net/error.h"
#include "txn/keys.h"
#include "txn/kv_map.h"

/* ---- exclusions ---- */

bool exclusion_parse(struct bytes text, struct address *ret_address)
{
    char padded[ADDRESS_TEXT_MAX + 2];
    struct address address;

    if (text.len == 0 || text.len >= ADDRESS_TEXT_MAX)
        return false;
    if (memchr(text.ptr, ':', text.len) != NULL) {
        if (address_parse(text, &address) != 0)
            return false;
    } else {
        snprintf(padded, sizeof(padded), "%.*s:1", (int)text.len, (const char *)text.ptr);
        if (address_parse(bytes_of_string(padded), &address) != 0)
            return false;
        address.port = 0;
    }
    *ret_address = address;
    return true;
}

char *exclusion_print(struct address address, char out[ADDRESS_TEXT_MAX])
{
    address_print(address, out);
    if (address.port == 0)
        *strrchr(out, ':') = '\0';
    return out;
}

static int append_text_key(struct bytes_buffer *out, struct bytes prefix, const char *text)
{
    size_t len_before = out->len;
    int error = bytes_buffer_append(out, prefix);

    if (error == 0)
        error = bytes_buffer_append(out, bytes_of_string(text));
    if (error != 0)
        out->len = len_before;
    return error;
}

int exclusion_key(struct bytes_buffer *out, struct address address, bool failed)
{
    char text[ADDRESS_TEXT_MAX];

    return append_text_key(out, failed ? KEY_FAILED_PREFIX : KEY_EXCLUDED_PREFIX, exclusion_print(address, text));
}

static struct bytes without(struct bytes key, struct bytes prefix)
{
    return bytes_of(key.ptr + prefix.len, key.len - prefix.len);
}

bool exclusion_key_parse(struct bytes key, struct exclusion *ret)
{
    bool failed = bytes_starts_with(key, KEY_FAILED_PREFIX);
    struct address address;

    if (!failed && !bytes_starts_with(key, KEY_EXCLUDED_PREFIX))
        return false;
    if (!exclusion_parse(without(key, failed ? KEY_FAILED_PREFIX : KEY_EXCLUDED_PREFIX), &address))
        return false;
    *ret = (struct exclusion){address, failed};
    return true;
}

/* Adds those below one prefix to *count, and to the list unless that is NULL. */
static int read_below(const struct kv_map *metadata, struct bytes prefix, struct arena *arena, struct exclusion *list, uint32_t *count)
{
    struct bytes key = prefix, at, value;
    struct exclusion found;

    while (kv_map_at_or_after(metadata, key, &at, &value) && bytes_starts_with(at, prefix)) {
        int error = key_after(arena, at, &key);

        if (error != 0)
            return error;
        if (!exclusion_key_parse(at, &found))
            continue;
        if (list != NULL)
            list[*count] = found;
        ++*count;
    }
    return 0;
}

static int read_all(const struct kv_map *metadata, struct arena *arena, struct exclusion *list, uint32_t *ret_count)
{
    uint32_t count = 0;
    int error = read_below(metadata, KEY_EXCLUDED_PREFIX, arena, list, &count);

    if (error == 0)
        error = read_below(metadata, KEY_FAILED_PREFIX, arena, list, &count);
    *ret_count = count;
    return error;
}

int exclusions_read(const struct kv_map *metadata, struct arena *arena, struct exclusions *ret)
{
    struct exclusions read = {0};
    int error = read_all(metadata, arena, NULL, &read.count);

    if (error == 0 && read.count > 0) {
        read.list = arena_zalloc(arena, read.count * sizeof(*read.list));
        error = read.list == NULL ? ERROR_OUT_OF_MEMORY : read_all(metadata, arena, read.list, &read.count);
    }
    if (error == 0)
        *ret = read;
    return error;
}

bool exclusion_means(struct address exclusion, struct address address)
{
    return exclusion.ip == address.ip && (exclusion.port == 0 || exclusion.port == address.port);
}

const struct exclusion *exclusions_find(const struct exclusions *exclusions, struct address address)
{
    const struct exclusion *found = NULL;

    for (uint32_t i = 0; i < exclusions->count; i++) {
        const struct exclusion *exclusion = &exclusions->list[i];

        if (exclusion_means(exclusion->address, address) && (found == NULL || exclusion->failed))
            found = exclusion;
    }
    return found;
}

/* ---- classes ---- */

bool process_class_parse(struct bytes name, enum process_class *ret)
{
    if (bytes_equal(name, BYTES_LITERAL("transaction"))) {
        *ret = CLASS_LOG;
        return true;
    }
    for (int i = 0; i < CLASS_COUNT; i++)
        if (bytes_equal(name, bytes_of_string(process_class_name((enum process_class)i)))) {
            *ret = (enum process_class)i;
            return true;
        }
    return false;
}

bool process_class_may_host(enum process_class process_class, enum role_kind kind)
{
    if ((unsigned)process_class >= CLASS_COUNT || kind == ROLE_NONE || kind == ROLE_COORDINATOR || kind == ROLE_CONTROLLER)
        return false;
    if (kind == ROLE_LOG || kind == ROLE_STORAGE)
        return process_class != CLASS_STATELESS && process_class != CLASS_COORDINATOR;
    return true;
}

int process_class_key(struct bytes_buffer *out, struct address address)
{
    char text[ADDRESS_TEXT_MAX];

    return append_text_key(out, KEY_PROCESS_CLASS_PREFIX, address_print(address, text));
}

bool process_class_read(const struct kv_map *metadata, struct address address, enum process_class *ret)
{
    struct bytes_buffer key = {0};
    struct bytes name;
    bool found;

    if (process_class_key(&key, address) != 0)
        return false;
    found = kv_map_get(metadata, bytes_buffer_bytes(&key), &name) && process_class_parse(name, ret);
    bytes_buffer_done(&key);
    return found;
}

/* ---- maintenance ---- */

int healthy_zone_write(struct bytes_buffer *out, version_t until, struct bytes zone)
{
    char number[24];
    size_t len_before = out->len;
    int error;

    snprintf(number, sizeof(number), "%" PRId64 " ", until);
    error = bytes_buffer_append(out, bytes_of_string(number));
    if (error == 0)
        error = bytes_buffer_append(out, zone);
    if (error != 0)
        out->len = len_before;
    return error;
}

bool healthy_zone_parse(struct bytes value, version_t *ret_until, struct bytes *ret_zone)
{
    version_t until = 0;
    size_t at = 0;

    for (; at < value.len && value.ptr[at] >= '0' && value.ptr[at] <= '9' && at < 18; at++)
        until = until * 10 + (value.ptr[at] - '0');
    if (at == 0 || at + 1 >= value.len || value.ptr[at] != ' ')
        return false;
    *ret_until = until;
    *ret_zone = bytes_of(value.ptr + at + 1, value.len - at - 1);
    return true;
}
