/* Private to roles/sequencer/: the role, and what its files do for each other. */
#pragma once

#include "net/list.h"
#include "roles/sequencer/sequencer.h"
#include "txn/resolver_map.h"

enum {
    ANSWERS_KEPT = 64, /* of a proxy; it has a few slots, each with one request */
    PROXIES_MAX = 256,
    WAITING_MAX = 4096,
    FEW_VERSIONS = 1000, /* in the simulator */
    DEAF_US = 30000,     /* at most, in the simulator */
};

struct answer {
    version_t version, prev_version;
};

struct proxy {
    uint64_t id;
    uint64_t newest; /* request that was answered */
    uint64_t partition; /* the newest that it has */
    struct answer answers[ANSWERS_KEPT]; /* of request n at n % ANSWERS_KEPT */
};

/* Who holds which keys among the resolvers, and the op that changes it: balance.c. */
struct balance {
    struct endpoint *resolvers; /* in the arena; in the order of their parts */
    uint32_t resolver_count, proxy_count;
    struct resolver_map map; /* the newest is what proxies are told; those before it are kept for as long as reads reach them */
    struct arena arena;
    struct op op;
    struct wait_timer timer;
    struct rpc_call *calls; /* in the arena; one a resolver */
    struct gather gather;
    int64_t changed_us;
    uint64_t changes;
};

struct sequencer {
    struct role_context context;
    uint64_t id, epoch;
    version_t recovery_version;
    version_t newest;    /* handed out */
    version_t committed; /* by every log, as reported */
    int64_t newest_us;   /* when */
    version_t state_version; /* of what follows */
    bool locked;
    struct bytes_buffer metadata_version;
    struct proxy **proxies; /* owned */
    size_t proxy_count;
    struct list waiting; /* get_commit_version requests */
    size_t waiting_count;
    struct list unheard;     /* report_committed requests; empty but in the simulator */
    struct env_timer hearing; /* when they are */
    struct op_list ops; /* the balance's */
    struct balance balance;
    uint64_t versions_given, repeats, reports, reads;
    bool ended;
};

/* ---- balance.c ---- */

/* 0, ERROR_OUT_OF_MEMORY, or ERROR_CLIENT_INVALID_OPERATION when the parts of the resolvers are no partition. */
int balance_init(struct sequencer *sequencer, const struct init_sequencer *init);
void balance_start(struct sequencer *sequencer);
void balance_done(struct sequencer *sequencer); /* after its ops are cancelled; accepts a zeroed one */
/* Puts the newest partition into the answer, if it counts at the answer's version and the proxy that has `known` lacks it. */
int balance_tell(const struct sequencer *sequencer, uint64_t known, struct arena *arena, struct get_commit_version_reply *reply);
