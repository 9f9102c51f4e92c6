#include "tests/fuzz/feed.h"

#include "net/mem.h"
#include "net/message_fields.h"
#include "txn/conflict_range.h"
#include "txn/mutation.h"
#include "txn/system_keys.h"

void feed_init(struct feed *feed, const uint8_t *data, size_t size, struct address own)
{
    *feed = (struct feed){.at = data, .left = size, .own = own};
    feed_fixed(feed, 0);
    feed_fixed(feed, 1);
}

void feed_fixed(struct feed *feed, uint64_t number)
{
    assert(feed->pool_fixed < FEED_POOL / 2);
    feed->pool[feed->pool_fixed++] = number;
    feed->pool_count = feed->pool_next = feed->pool_fixed;
}

void feed_saw(struct feed *feed, uint64_t number)
{
    for (unsigned i = 0; i < feed->pool_count; i++)
        if (feed->pool[i] == number)
            return;
    feed->pool[feed->pool_next++] = number;
    if (feed->pool_next > feed->pool_count)
        feed->pool_count = feed->pool_next;
    if (feed->pool_next == FEED_POOL)
        feed->pool_next = feed->pool_fixed;
}

void feed_saw_body(struct feed *feed, const struct schema *schema, const void *body)
{
    for (uint32_t i = 0; i < schema->field_count; i++) {
        const struct field *field = &schema->fields[i];
        const uint8_t *at = (const uint8_t *)body + field->offset;
        uint32_t count = 1;

        if (field->form == FORM_ARRAY) {
            at = field_array(field, body);
            count = field_count(field, body) < 4 ? field_count(field, body) : 4;
        }
        for (uint32_t n = 0; n < count; n++, at += field_value_size(field)) {
            if (field->kind == KIND_u64 || field->kind == KIND_i64)
                feed_saw(feed, *(const uint64_t *)(const void *)at);
            else if (field->kind == KIND_struct)
                feed_saw_body(feed, field->schema, at);
        }
    }
}

uint64_t feed_raw(struct feed *feed, unsigned bytes)
{
    uint64_t number = 0;

    while (bytes-- > 0)
        number = number << 8 | feed_byte(feed);
    return number;
}

uint64_t feed_number(struct feed *feed)
{
    static const uint64_t edges[] = {UINT64_MAX, INT64_MAX, (uint64_t)INT64_MIN, UINT64_MAX - 1, INT64_MAX - 1,
                                     UINT32_MAX, UINT64_C(1) << 32, UINT64_C(1) << 62};
    uint8_t how = feed_byte(feed);

    if (how < 0x70)
        return feed->pool[how % feed->pool_count];
    if (how < 0xb8)
        return feed->pool[how % feed->pool_count] + (uint64_t)(int64_t)(int8_t)feed_byte(feed);
    if (how < 0xd8)
        return feed->pool[how % feed->pool_count] + (feed_raw(feed, 3) << 4);
    if (how < 0xf0)
        return feed_byte(feed);
    return how < 0xf8 ? edges[how & 7] : feed_raw(feed, 8);
}

struct bytes feed_bytes(struct feed *feed, size_t most)
{
    size_t len = most < feed->left ? most : feed->left;
    struct bytes bytes = bytes_of(feed->at, len);

    feed->at += len;
    feed->left -= len;
    return bytes;
}

/* ---- keys and tables ---- */

static struct bytes keep(struct arena *arena, struct bytes_buffer *buffer)
{
    struct bytes copy = bytes_none();

    (void)arena_copy(arena, bytes_buffer_bytes(buffer), &copy);
    bytes_buffer_done(buffer);
    return copy;
}

static struct bytes long_key(struct arena *arena, size_t len, uint8_t first)
{
    uint8_t *key = arena_zalloc(arena, len);

    key[0] = first;
    return bytes_of(key, len);
}

/* What makes an input slow needs a byte that a fuzzer does not love (it repeats 0 and 255): a key or value as long as may be,
 * or a byte or two longer; an array of many elements. */
enum { RARE_LONG = 0xa7, RARE_MANY = 0x9d };

/* Others are as long as a byte says. */
static struct bytes key_at_limit(struct feed *feed, struct arena *arena, size_t limit, uint8_t first)
{
    uint8_t how = feed_byte(feed);

    return long_key(arena, how == RARE_LONG ? limit + feed_below(feed, 3) : 1 + (size_t)how, first);
}

struct bytes feed_key(struct feed *feed, struct arena *arena)
{
    static const char *const words[] = {
        "", "a", "b", "m", "z", "k1", "\xff", "\xff\xff", "\xff/", "\xff/conf/redundancy", "\xff/conf/storage_engine",
        "\xff/conf/logs", "\xff/nextTag", "\xff/dbLocked", "\xff/metadataVersion", "\xff/lastEpoch", "\xff/serverList/",
        "\xff/keyServers/", "\xff/keyServers/m", "\xff/serverKeys/", "\xff\x02/x", "\xff/SC/"};
    struct bytes_buffer out = {0};
    uint8_t how = feed_byte(feed);

    if (how < 0xa0)
        return bytes_of_string(words[how % (sizeof(words) / sizeof(words[0]))]);
    if (how < 0xb0)
        (void)system_key_server_list(&out, feed_number(feed));
    else if (how < 0xc0)
        (void)system_key_key_servers(&out, feed_bytes(feed, feed_below(feed, 4)));
    else if (how < 0xd0)
        (void)system_key_server_keys(&out, feed_number(feed), feed_bytes(feed, feed_below(feed, 4)));
    else if (how < 0xfc)
        return feed_bytes(feed, how & 15);
    else
        return key_at_limit(feed, arena, how & 1 ? KEY_BYTES_MAX : SYSTEM_KEY_BYTES_MAX, how & 2 ? 0xff : 'k');
    return keep(arena, &out);
}

static struct bytes packed(struct feed *feed, struct arena *arena, const struct schema *schema)
{
    struct bytes_buffer out = {0};
    void *body = arena_zalloc(arena, schema->size);

    feed_body(feed, schema, arena, body);
    (void)message_encode(schema, body, &out);
    return keep(arena, &out);
}

static struct bytes team_value(struct feed *feed, struct arena *arena)
{
    enum { MOST = 5 };
    uint64_t ids[2 * MOST];
    unsigned source = feed_below(feed, MOST + 1), destination = feed_below(feed, MOST + 1);
    struct key_servers_value team = {ids, source, ids + source, destination};
    struct bytes_buffer out = {0};

    for (unsigned i = 0; i < source + destination; i++)
        ids[i] = feed_number(feed);
    (void)key_servers_encode(&team, &out);
    return keep(arena, &out);
}

static struct bytes feed_value(struct feed *feed, struct arena *arena)
{
    static const char *const words[] = {"", "1", "single", "double", "triple", "lmdb", "memory", "99999999999999999999", "-1",
                                        "v"};
    uint8_t how = feed_byte(feed);

    if (how < 0x60)
        return bytes_of_string(words[how % (sizeof(words) / sizeof(words[0]))]);
    if (how < 0x80)
        return packed(feed, arena, &schema_server_value);
    if (how < 0xa0)
        return team_value(feed, arena);
    if (how < 0xc8)
        return packed(feed, arena, &schema_server_keys_value);
    if (how < 0xfe)
        return feed_bytes(feed, how & 31);
    return key_at_limit(feed, arena, VALUE_BYTES_MAX, 'v');
}

struct bytes feed_mutations(struct feed *feed, struct arena *arena)
{
    static const uint8_t types[] = {0, 0, 0, 1, 1, 2, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17, 18, 19, 20, 64, 64, 64, 3, 255};
    struct bytes_buffer out = {0};
    unsigned count = feed_below(feed, 5);

    for (unsigned i = 0; i < count; i++) {
        uint8_t type = types[feed_below(feed, sizeof(types))];
        struct bytes key = feed_key(feed, arena);

        (void)mutation_append(&out, type, key,
                              type == MUTATION_CLEAR_RANGE ? feed_key(feed, arena) : feed_value(feed, arena));
    }
    if (out.len > 0 && feed_byte(feed) > 0xf0)
        out.ptr[feed_raw(feed, 2) % out.len] ^= (uint8_t)(1 << feed_below(feed, 8));
    return keep(arena, &out);
}

struct bytes feed_ranges(struct feed *feed, struct arena *arena)
{
    struct bytes_buffer out = {0};
    unsigned count = feed_below(feed, 4);

    for (unsigned i = 0; i < count; i++) {
        struct bytes begin = feed_key(feed, arena);

        if (feed_below(feed, 2) == 0)
            (void)conflict_range_append_point(&out, begin);
        else
            (void)conflict_range_append(&out, begin, feed_key(feed, arena));
    }
    if (out.len > 0 && feed_byte(feed) > 0xf0)
        out.ptr[feed_raw(feed, 2) % out.len] ^= (uint8_t)(1 << feed_below(feed, 8));
    return keep(arena, &out);
}

/* ---- bodies ---- */

static bool named(const struct field *field, const char *a, const char *b)
{
    return strcmp(field->name, a) == 0 || strcmp(field->name, b) == 0;
}

static struct bytes bytes_for(struct feed *feed, const struct field *field, struct arena *arena)
{
    uint8_t how = feed_byte(feed);

    if (how >= 0xe0)
        return feed_bytes(feed, how & 31);
    if (named(field, "mutations", "metadata"))
        return feed_mutations(feed, arena);
    if (named(field, "read_conflicts", "write_conflicts"))
        return feed_ranges(feed, arena);
    if (named(field, "metadata_version", "metadata_version") && how < 0x80)
        return long_key(arena, VERSIONSTAMP_BYTES, 0);
    return feed_key(feed, arena);
}

static void fill(struct feed *feed, const struct schema *schema, struct arena *arena, uint8_t *body, unsigned depth);

static void fill_value(struct feed *feed, const struct field *field, struct arena *arena, uint8_t *at, unsigned depth)
{
    switch (field->kind) {
    case KIND_u32:
        *(uint32_t *)(void *)at = feed_byte(feed) < 0xe0 ? feed_below(feed, 10) : (uint32_t)feed_number(feed);
        break;
    case KIND_u64:
    case KIND_i64:
        *(uint64_t *)(void *)at = feed_number(feed);
        break;
    case KIND_boolean:
        *(bool *)at = feed_below(feed, 2) == 1;
        break;
    case KIND_bytes:
        *(struct bytes *)(void *)at = bytes_for(feed, field, arena);
        break;
    case KIND_struct:
        fill(feed, field->schema, arena, at, depth + 1);
        break;
    }
}

static void fill_array(struct feed *feed, const struct field *field, struct arena *arena, uint8_t *body, unsigned depth)
{
    uint8_t how = feed_byte(feed);
    uint32_t count = how == RARE_MANY ? feed_below(feed, 100) : how % 4;
    size_t size = field_value_size(field);
    uint8_t *array = arena_zalloc(arena, (count + 1) * size);

    for (uint32_t i = 0; i < count; i++)
        fill_value(feed, field, arena, array + i * size, depth);
    field_set_array(field, body, array, count);
}

static void fill_address(struct feed *feed, struct wire_address *address)
{
    uint8_t how = feed_byte(feed);

    *address = (struct wire_address){feed->own.ip, feed->own.port};
    if (how >= 0xc0)
        address->ip += how & 3;
    if (how >= 0xf0)
        *address = (struct wire_address){(uint32_t)feed_raw(feed, 4), (uint32_t)feed_raw(feed, 3)};
}

static void fill(struct feed *feed, const struct schema *schema, struct arena *arena, uint8_t *body, unsigned depth)
{
    memset(body, 0, schema->size);
    if (depth > MESSAGE_DEPTH_MAX)
        return;
    if (schema == &schema_wire_address) {
        fill_address(feed, (struct wire_address *)(void *)body);
        return;
    }
    for (uint32_t i = 0; i < schema->field_count; i++) {
        const struct field *field = &schema->fields[i];

        if (field->form == FORM_ARRAY)
            fill_array(feed, field, arena, body, depth);
        else
            fill_value(feed, field, arena, body + field->offset, depth);
    }
}

void feed_body(struct feed *feed, const struct schema *schema, struct arena *arena, void *body)
{
    fill(feed, schema, arena, body, 0);
}
