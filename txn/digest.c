#include "txn/digest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t digest(struct bytes bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.len == 0 ? "" : (const void *)bytes.ptr, bytes.len, seed + bytes.len);
}

static uint64_t mix(uint64_t digest, uint64_t number)
{
    return XXH3_64bits_withSeed(&number, sizeof(number), digest);
}

static uint64_t never_zero(uint64_t digest)
{
    return digest == 0 ? 1 : digest;
}

uint64_t push_section_digest(const struct push_section *section)
{
    struct bytes tags = {(const uint8_t *)section->tags, section->tags_count * sizeof(*section->tags)};

    return digest(section->mutations, digest(tags, section->tags_count));
}

uint64_t push_digest(const struct push *push, const uint64_t *section_digests)
{
    uint64_t result = mix(mix(mix(push->epoch, (uint64_t)push->version), (uint64_t)push->prev_version), push->sections_count);

    for (uint32_t i = 0; i < push->sections_count; i++)
        result = mix(result, section_digests != NULL ? section_digests[i] : push_section_digest(&push->sections[i]));
    return never_zero(digest(push->metadata, result));
}

uint64_t peek_digest(tag_t tag, version_t version, struct bytes mutations)
{
    return never_zero(digest(mutations, mix(tag, (uint64_t)version)));
}

uint64_t pairs_digest(struct bytes pairs)
{
    return never_zero(digest(pairs, 0));
}

uint64_t fetch_digest(struct bytes begin, const struct fetch_range_reply *reply)
{
    uint64_t result = digest(reply->through, digest(begin, mix((uint64_t)reply->version, reply->count)));

    return never_zero(digest(reply->pairs, result));
}
