/* What to do next so that every shard is whole, placed well, and neither too big nor too small.
 *
 * Pure: a picture and rules go in, actions come out, the most urgent first; time comes in with the call. One plan takes time in
 * proportion to the shards (a few passes over them: `looks`) and emits a bounded number of actions; the caller starts them
 * (picture_move_begin, or `busy`) and plans again when some have ended. What a plan promises:
 *
 * - a move's destination is never a smaller team than the copies that the shard has now (up to the replication), never two
 *   servers of one zone where the zones suffice, and never holds a server that has failed;
 * - copies are spread over data centres, then halls, then racks as far as these are known and there are enough, before the load counts;
 * - moves are made for a reason that the move removes: a plan over a picture in which all moves were done as asked ends after a
 *   finite number of steps (balancing lowers one number, the sum of the squares of the servers' shares, by at least a fixed part);
 * - no split or merge reaches over \xff. */
#pragma once

#include "roles/distributor/picture.h"

struct plan_rules {
    uint32_t replication, engine;      /* engine: enum engine_kind that is configured */
    int64_t shard_bytes_min, shard_bytes_max; /* bounds of the size above which a shard is split: the total over shards_target */
    int64_t shards_target;
    int64_t load_floor;                /* bytes/s: a shard below it is never split for its load */
    int64_t load_parts;                /* a shard with more than 1/parts of a server's share of the load is split */
    int64_t shards_per_server_min;     /* merging stops there */
    int64_t balance_percent;           /* the gap between the fullest and the emptiest, of the mean, at which balancing begins */
    int64_t settle_us;                 /* a shard that has moved is not moved for balance before */
    uint32_t moves_max, moves_per_source, moves_per_destination;
    int64_t move_bytes_per_server;     /* under way from or to one, beyond the first move; half of it for balance */
    bool move;                         /* datadistribution is on: all but the counting of what would be done */
    bool balance;                      /* moves for balance, splits and merges too */
};

enum plan_kind { PLAN_MOVE, PLAN_CANCEL /* back to the source alone */, PLAN_SPLIT, PLAN_MERGE /* with the next */ };

/* In order of urgency. */
enum plan_reason {
    PLAN_FEW_COPIES,
    PLAN_SAME_ZONE,
    PLAN_UNWANTED, /* a copy on a server that is to be emptied */
    PLAN_TEAM_SIZE,
    PLAN_RESUME, /* a move that was under way */
    PLAN_SPREAD, /* copies that stand nearer to each other than they must */
    PLAN_SPLIT_BYTES,
    PLAN_SPLIT_WRITES,
    PLAN_SPLIT_READS,
    PLAN_BALANCE_BYTES,
    PLAN_BALANCE_LOAD,
    PLAN_MERGE_SMALL,
    PLAN_REPAIR, /* no plan's: a bad replica fetches its shard again (scan.h) */
    PLAN_REASONS,
};
const char *plan_reason_name(enum plan_reason reason);

struct plan_action {
    enum plan_kind kind;
    enum plan_reason reason;
    size_t shard;                      /* its index, valid until the picture's shards change */
    uint32_t team[TEAM_SERVERS_MAX];   /* PLAN_MOVE: slots */
    uint32_t team_count;
    int64_t chunk;                     /* PLAN_SPLIT_BYTES: a cut each so many bytes */
};
enum { PLAN_ACTIONS_MAX = 128, PLAN_CUTS_MAX = 64 /* of one split: what is larger is cut again, piece by piece */ };

/* A shard with a part of the shard map in it (keyServers, serverKeys and what lies behind) is split above this alone, whatever its load. */
enum { PLAN_MAP_SHARD_BYTES = 500000000 };

/* What the plan saw: for status. */
struct plan_summary {
    size_t shards;
    uint32_t copies_min;        /* the lowest number of zones with a living copy that a shard has */
    uint32_t reachable_min;     /* the same, of those that answer now */
    size_t missing;             /* shards without a living copy */
    size_t few_copies;          /* shards with fewer living copies than configured */
    size_t moving;              /* shards with a destination, under way or not */
    size_t waiting;             /* shards that need a move and have none under way */
    size_t stuck;               /* of those, for which there is no place: too few zones */
    int64_t waiting_bytes, moving_bytes; /* one copy of each */
    int64_t total_bytes;        /* of one copy of all */
    int64_t split_bytes;        /* a shard above it is split */
    uint32_t zones, zones_wanted; /* zones with a server that may hold data; replication */
    uint32_t teams;
    uint64_t looks;             /* what the plan cost: shards looked at, and teams tried for one */
    uint32_t draining;          /* slot + 1 of the server of another engine that is being emptied; 0: none */
};

struct plan {
    struct plan_action actions[PLAN_ACTIONS_MAX];
    uint32_t count;
    struct plan_summary summary;
};

void plan_make(struct picture *picture, const struct plan_rules *rules, int64_t now_us, struct plan *ret_plan);

/* True when nothing says that the server has to be kept: it failed or is to be emptied, and no shard names it (as of the last plan). */
bool plan_may_remove(const struct picture *picture, const struct plan_summary *summary, uint32_t slot);
