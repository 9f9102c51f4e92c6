/* Frames as net/rpc.h lays them out: header, hash, packed body. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "net/error.h"
#include "net/planted_bug.h"
#include "net/rpc_internal.h"

enum { AT_HASH = 4, AT_TYPE = 12, AT_WHAT = 14, AT_ENDPOINT = 16, AT_REQUEST = 24 };
_Static_assert(RPC_FRAME_HEADER_BYTES == AT_REQUEST + 8, "the header ends behind the request id");

int frame_append(struct bytes_buffer *out, const struct frame *head, const struct schema *schema, const void *body)
{
    size_t start = out->len, len;
    int error = bytes_buffer_reserve(out, RPC_FRAME_HEADER_BYTES);
    uint8_t *at;

    if (error != 0)
        return error;
    out->len += RPC_FRAME_HEADER_BYTES;
    error = message_encode(schema, body, out);
    len = out->len - start;
    if (error == 0 && len > RPC_FRAME_BYTES_MAX)
        error = ERROR_SERIALIZATION_FAILED;
    if (error != 0) {
        out->len = start;
        return error;
    }
    at = out->ptr + start;
    put_le32(at, (uint32_t)(len - AT_HASH));
    put_le16(at + AT_TYPE, head->type);
    put_le16(at + AT_WHAT, head->what);
    put_le64(at + AT_ENDPOINT, head->endpoint_id);
    put_le64(at + AT_REQUEST, head->request_id);
    put_le64(at + AT_HASH, XXH3_64bits(at + AT_TYPE, len - AT_TYPE));
    return 0;
}

size_t frame_length(const uint8_t *start, size_t bytes_max)
{
    size_t len = (size_t)get_le32(start) + AT_HASH;

    return len >= RPC_FRAME_HEADER_BYTES && len <= bytes_max ? len : 0;
}

bool frame_parse(struct bytes whole, struct frame *ret_frame)
{
    const uint8_t *at = whole.ptr;

    if (get_le64(at + AT_HASH) != XXH3_64bits(at + AT_TYPE, whole.len - AT_TYPE) && !PLANTED_BUG(CHECKSUM_IGNORED))
        return false;
    ret_frame->type = get_le16(at + AT_TYPE);
    ret_frame->what = get_le16(at + AT_WHAT);
    ret_frame->endpoint_id = get_le64(at + AT_ENDPOINT);
    ret_frame->request_id = get_le64(at + AT_REQUEST);
    ret_frame->body = bytes_of(at + RPC_FRAME_HEADER_BYTES, whole.len - RPC_FRAME_HEADER_BYTES);
    return true;
}
