/* What the answers of a shard's replicas to the same question say: are they equal, and if not, who is wrong.
 *
 * Pure. Every answer is of the same range at the same version; a page may end anywhere, so pages are compared only when all ended at the same
 * key. Nobody is called wrong without proof: its own word (1522), or a majority of all replicas against it. */
#pragma once

#include "net/bytes.h"
#include "roles/distributor/teams.h"

struct scan_answer {
    int error;            /* ERROR_FILE_CORRUPT: it has found damage; any other: it could not say */
    struct bytes through; /* when error is 0; borrowed */
    uint32_t pairs;
    uint64_t bytes, digest;
};

enum scan_verdict {
    SCAN_EQUAL,
    SCAN_UNKNOWN,   /* somebody did not say: nothing follows */
    SCAN_SHORTER,   /* pages end at different keys: all must be asked for the part up to `through` */
    SCAN_DIFFERENT, /* bad is known, and whom it is to be made equal to */
    SCAN_UNDECIDED, /* they differ, or all are damaged, and nobody can tell which is right */
};

struct scan_judgement {
    enum scan_verdict verdict;
    uint32_t bad, good;   /* bits, by the answers' places; set with SCAN_DIFFERENT */
    bool content;         /* what was read differs: not only damage that a replica itself has noticed */
    struct bytes through; /* where the shortest page ended; borrowed from an answer */
    uint32_t pairs;       /* of the longest page */
    uint64_t bytes;       /* of all pages */
};

/* count: 1 to TEAM_SERVERS_MAX. */
struct scan_judgement scan_judge(const struct scan_answer *answers, uint32_t count);
