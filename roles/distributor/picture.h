/* What the distributor believes of the cluster: its storage servers and its shards.
 *
 * Nothing is decided here, and nothing here is trusted: what a plan over this picture wants done is checked again by the
 * transaction that does it. A shard costs one small block (at most PICTURE_SHARD_BYTES beside its key and pointer); teams are
 * interned. Pure: no clock, no I/O; times come in with the calls. A server dies of a failed allocation, so nothing here fails. */
#pragma once

#include "net/bytes.h"
#include "roles/distributor/teams.h"
#include "txn/types.h"

enum { PICTURE_SHARD_BYTES = 112, PICTURE_READERS = 3 };

/* Localities are digests of their names; 0: not given. A zone is always given. */
struct picture_server {
    uint64_t id; /* 0: the slot is free */
    uint64_t zone, rack, hall, data_center;
    uint32_t engine;
    bool known;     /* serverList names it; else only some shard does */
    bool reachable; /* it answers now */
    bool failed;    /* has not for longer than a server may take to return */
    bool excluded;
    bool given_up;  /* excluded as failed: what it has is not waited for */
    bool full; /* takes no more data */
    /* The planner's, worked out for each plan from the shards: what it will hold when all that is under way is done. */
    bool wanted;     /* may hold data */
    bool may_take;   /* wanted, and may be given more */
    int64_t bytes, load;
    uint32_t shards; /* that name it, as source or destination */
    /* Moves under way that read from it or write to it. */
    uint32_t sources, destinations;
    int64_t source_bytes, destination_bytes; /* of these, as they were when they began */
};

struct picture_shard {
    int64_t bytes;            /* -1: not known */
    version_t changed;        /* of its boundaries or teams: loads as of lower versions are not of this shard */
    int64_t moved_us;         /* when its last move ended; 0: never seen */
    int64_t rest_until_us;    /* something that was begun with it failed: nothing is begun before */
    int64_t whole_until_us;   /* no place to split it was found: not asked again before */
    uint32_t source, destination; /* teams; a reference on each */
    uint32_t heading;         /* the team of the move at work on it, begun or about to begin; the move has the reference */
    uint32_t writes;          /* bytes/s */
    uint32_t reads[PICTURE_READERS]; /* bytes/s at the first servers of the source team */
    uint16_t begin_len;
    bool measured; /* bytes and loads are of the shard as it is; else guesses */
    bool busy;     /* a move, split or merge is at work on it */
    uint8_t begin[];
};

struct picture {
    struct picture_server *servers; /* owned; by slot */
    uint32_t server_count, server_capacity;
    struct picture_shard **shards; /* owned; in key order, covering all keys below `end` once loaded */
    size_t shard_count, shard_capacity;
    struct teams teams;
    uint32_t *candidates; /* owned: the teams that data is moved to, a reference on each; see plan_teams.c */
    uint32_t candidate_count, candidate_capacity;
    uint64_t candidates_for; /* digest of the servers that they were made of */
    uint32_t moves;          /* under way */
};

struct picture *picture_create(void);
void picture_destroy(struct picture *picture); /* accepts NULL */

/* ---- servers ---- */

/* The slot of the server, made if need be (reachable, not known). `id` is not 0. */
uint32_t picture_server(struct picture *picture, uint64_t id);
/* UINT32_MAX when there is none. */
uint32_t picture_find_server(const struct picture *picture, uint64_t id);
/* Frees the slot. No team may name it (picture_forget_candidates first). */
void picture_forget_server(struct picture *picture, uint32_t slot);
/* True when some team that is in use names the server. */
bool picture_is_named(const struct picture *picture, uint32_t slot);
void picture_forget_candidates(struct picture *picture);
uint64_t picture_digest_name(struct bytes name); /* 0 for an empty name */
/* Of a hall in a data centre, a rack in a hall: equal names elsewhere are others. */
uint64_t picture_digest_within(uint64_t outer, struct bytes name);

/* ---- shards ---- */

static inline struct bytes picture_shard_begin(const struct picture_shard *shard)
{
    return bytes_of(shard->begin, shard->begin_len);
}
/* The index of the shard that begins at `begin`, or -1. */
int64_t picture_find_shard(const struct picture *picture, struct bytes begin);
/* Is the shard of the first key known? Then each key has one. */
bool picture_begins(const struct picture *picture);
/* The index of the shard that holds `key`; -1: none is known. */
int64_t picture_shard_of(const struct picture *picture, struct bytes key);
/* The end of shard i; the last one ends at \xff\xff. Valid until shards change. */
struct bytes picture_shard_end(const struct picture *picture, size_t i);
/* Makes it so that a shard with these teams (slots) begins at `begin`, as of `version`. What is known of an equal shard stays.
 * NULL, and nothing has changed: what is known is of a higher version. */
struct picture_shard *picture_set_shard(struct picture *picture, struct bytes begin, const uint32_t *source, uint32_t source_count,
                                        const uint32_t *destination, uint32_t destination_count, version_t version);
/* No shard begins there any more: the one before reaches further. It must not be busy. */
void picture_remove_shard(struct picture *picture, struct bytes begin, version_t version);
/* A server's word of one of its shards, as of `version`. */
void picture_loads(struct picture *picture, uint32_t server, struct bytes begin, version_t version, int64_t bytes, int64_t writes,
                   int64_t reads);

int64_t picture_shard_reads(const struct picture_shard *shard); /* bytes/s at all its servers */

/* The team that will have it when what is under way with it has ended. */
static inline uint32_t picture_shard_holder(const struct picture_shard *shard)
{
    return shard->heading != TEAM_NONE ? shard->heading : shard->destination != TEAM_NONE ? shard->destination : shard->source;
}

/* ---- what is under way ---- */

/* A move as it is counted: a reference on each team. charged: slot + 1 of the server whose `sources` counts it; 0: none. */
struct picture_move {
    struct picture_shard *shard; /* borrowed: a busy shard is not removed */
    uint32_t source, destination, charged;
    int64_t bytes;
};
/* Marks the shard, and counts the servers that the move reads from and writes to. Takes a reference on the destination team. */
void picture_move_begin(struct picture *picture, struct picture_shard *shard, uint32_t destination, struct picture_move *ret_move);
/* Accepts one that never began (zeroed). */
void picture_move_end(struct picture *picture, struct picture_move *move);
