/* Digests that travel with what they are of, from who makes it to who believes it.
 *
 * A frame's checksum speaks of its way alone. These are made where the content is made, so that whatever changes it between there
 * and the frame (a wrong pointer, a bad DIMM), or puts it where something else belongs, is noticed. Never 0: that means
 * "not given", as an older peer leaves it. Pure. */
#pragma once

#include "txn/messages.h"

/* Of a section's tags and mutations. */
uint64_t push_section_digest(const struct push_section *section);
/* Of all of a push but known_committed; section_digests has one for each section (NULL: they are computed). */
uint64_t push_digest(const struct push *push, const uint64_t *section_digests);
/* Of what a peek gives for `tag` at `version`. */
uint64_t peek_digest(tag_t tag, version_t version, struct bytes mutations);
/* Of pairs as in get_range_reply, whichever range and version they are of: two replicas are compared by it. */
uint64_t pairs_digest(struct bytes pairs);
/* Of a chunk that was fetched from `begin` on: its version, where it ends, and its pairs. */
uint64_t fetch_digest(struct bytes begin, const struct fetch_range_reply *reply);
