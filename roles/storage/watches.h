/* Watches at a storage server: who wants to hear when a key's value is another one.
 *
 * A client has one session, a long poll (struct watch in txn/messages.h). A watch that may have something to say stands on the
 * list of the dirty ones, until a known committed version at or above its due one has been looked at: then it fires, or
 * waits for the next write of its key. So what is not committed never fires one, and a roll-back needs nothing here.
 *
 * Bounds: storage_watch_bytes_max for all of it (beyond: 1032 for the new watch, unless its value has changed by now: whoever is refused asks
 * again, and hears so), SESSIONS_MAX; a session whose poll can't be
 * answered any more, or who does not ask again, is dropped. */
#pragma once

#include "roles/storage/storage_internal.h"

int watches_create(struct storage_server *storage, struct watches **ret_watches);
void watches_destroy(struct watches *watches); /* accepts NULL; polls fail */

void watches_receive(struct watches *watches, struct rpc_request *request);
/* The stream has changed the key, or [begin, end), at `version`. */
void watches_written(struct watches *watches, struct bytes key, version_t version);
void watches_cleared(struct watches *watches, struct bytes begin, struct bytes end, version_t version);
/* [begin, end) is not ours any more. */
void watches_moved(struct watches *watches, struct bytes begin, struct bytes end);
/* The version or the known committed one has moved on: looks at what is due, and answers. */
void watches_check(struct watches *watches);

uint64_t watches_count(const struct watches *watches);
size_t watches_bytes(const struct watches *watches);
