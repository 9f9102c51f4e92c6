/* What the transactions that change shards write, worked out from what they read.
 *
 * Pure. Each writes keyServers and serverKeys together and keeps both canonical: a server of a shard's source or destination has
 * exactly one serverKeys entry, at the shard's begin and up to its end; nobody else has one for it. To give a range up is a SET of NONE,
 * which the server hears of, and a CLEAR behind it, which leaves no record. An output that stays empty says that it has been done
 * already (a commit whose result was unknown).
 *
 * Errors: ERROR_OPERATION_OBSOLETE (the shard is not as the plan believed), ERROR_SERIALIZATION_FAILED (a record that is not of its
 * format), ERROR_OUT_OF_MEMORY. On an error nothing that was appended counts. */
#pragma once

#include "net/arena.h"
#include "net/bytes.h"

/* As keyServers says. Ids ascend; all borrowed from the arena that it was read into. */
struct shard_now {
    struct bytes begin, end;
    const uint64_t *source, *destination;
    uint32_t source_count, destination_count;
};

/* A pair of the keyServers range that was read. */
struct shard_record {
    struct bytes key, value;
};

/* `records`: all of keyServers from begin to end, both included. */
int move_keys_read(const struct shard_record *records, uint32_t count, struct bytes begin, struct bytes end, struct arena *arena,
                   struct shard_now *ret);

/* From now on `team` fetches the shard as well, instead of whom it was moving to before. */
int move_keys_start(const struct shard_now *shard, const uint64_t *team, uint32_t team_count, struct bytes_buffer *out);
/* `team`, which is the destination and whole, has it alone. */
int move_keys_finish(const struct shard_now *shard, const uint64_t *team, uint32_t team_count, struct bytes_buffer *out);
/* The source keeps it, and nobody else fetches it. */
int move_keys_cancel(const struct shard_now *shard, struct bytes_buffer *out);
/* `bad`, one of several in the source, gives the shard up and fetches it again from the others: the source is without it, and the
 * destination the team that it was. */
int move_keys_refetch(const struct shard_now *shard, uint64_t bad, struct bytes_buffer *out);
/* keys: strictly inside, in order. */
int move_keys_split(const struct shard_now *shard, const struct bytes *keys, uint32_t count, struct bytes_buffer *out);
/* Users' keys and those of the system are never in one shard: what lies at \xff is found without being looked for. */
bool move_keys_may_merge(struct bytes left_begin, struct bytes right_begin);
/* right begins where left ends. */
int move_keys_merge(const struct shard_now *left, const struct shard_now *right, struct bytes_buffer *out);
