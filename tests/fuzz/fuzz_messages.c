/* Any bytes as the body of any message: decoding never misbehaves, and what decodes also encodes, to a body that decodes
 * to the same bytes again. The first byte chooses the type; the second, whether the rest are the bytes themselves, or choices
 * of what its fields hold, so that every field of every type is reached, some of whose bytes are then harmed. */
#include "net/error.h"
#include "net/mem.h"
#include "tests/fuzz/feed.h"
#include "tests/fuzz/fuzz_input.h"

#include <assert.h>

/* Decodes `packed` and encodes the result; false if it does not decode. */
static bool again(const struct schema *schema, struct bytes packed, struct bytes_buffer *out)
{
    struct arena arena;
    void *body = mem_zalloc(schema->size);
    char text[256];
    bool good;

    arena_init(&arena);
    good = message_decode(schema, packed, &arena, body) == 0;
    if (good) {
        assert(message_encode(schema, body, out) == 0);
        message_print(schema, body, text, sizeof(text));
    }
    arena_done(&arena);
    mem_free(body);
    return good;
}

static void check(const struct schema *schema, struct bytes packed)
{
    struct bytes_buffer once = {0}, twice = {0};

    if (again(schema, packed, &once)) {
        assert(again(schema, bytes_buffer_bytes(&once), &twice));
        assert(bytes_equal(bytes_buffer_bytes(&once), bytes_buffer_bytes(&twice)));
    }
    bytes_buffer_done(&once);
    bytes_buffer_done(&twice);
}

/* A true encoding decodes, to what encodes to the same bytes; then up to three of its bytes change, or its end goes. */
static void make_and_harm(const struct schema *schema, struct bytes choices)
{
    struct arena arena = {0};
    struct bytes_buffer packed = {0}, same = {0};
    struct feed feed;
    unsigned harms;
    void *body;

    feed_init(&feed, choices.ptr, choices.len, (struct address){1, 4500});
    harms = feed_below(&feed, 4);
    body = arena_alloc(&arena, schema->size);
    feed_body(&feed, schema, &arena, body);
    if (message_encode(schema, body, &packed) == 0) {
        assert(again(schema, bytes_buffer_bytes(&packed), &same));
        assert(bytes_equal(bytes_buffer_bytes(&packed), bytes_buffer_bytes(&same)));
        for (unsigned i = 0; i < harms; i++)
            packed.ptr[feed_raw(&feed, 2) % packed.len] ^= feed_byte(&feed);
        if (feed_below(&feed, 4) == 1)
            packed.len = feed_raw(&feed, 2) % packed.len;
        check(schema, bytes_buffer_bytes(&packed));
    }
    bytes_buffer_done(&packed);
    bytes_buffer_done(&same);
    arena_done(&arena);
}

int fuzz_input(const uint8_t *data, size_t size)
{
    const struct message_type *type;

    if (size < 2)
        return 0;
    type = message_types[data[0] % MESSAGE_ID_END];
    if (type == NULL)
        return 0;
    if (data[1] < 0x60)
        check(type->schema, bytes_of(data + 2, size - 2));
    else
        make_and_harm(type->schema, bytes_of(data + 2, size - 2));
    return 0;
}
