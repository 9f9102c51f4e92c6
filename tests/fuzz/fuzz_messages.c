/* Any bytes as the body of any message: decoding never misbehaves, and what decodes also encodes, to a body that decodes
 * to the same bytes again. The first byte chooses the type. */
#include "net/error.h"
#include "net/mem.h"
#include "txn/messages.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes_buffer once = {0}, twice = {0};
    const struct message_type *type;

    if (size < 1)
        return 0;
    type = message_types[data[0] % MESSAGE_ID_END];
    if (type != NULL && again(type->schema, bytes_of(data + 1, size - 1), &once)) {
        assert(again(type->schema, bytes_buffer_bytes(&once), &twice));
        assert(bytes_equal(bytes_buffer_bytes(&once), bytes_buffer_bytes(&twice)));
    }
    bytes_buffer_done(&once);
    bytes_buffer_done(&twice);
    return 0;
}
