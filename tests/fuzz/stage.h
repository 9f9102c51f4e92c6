/* One role alone in a process, talked to by whatever a fuzzer's bytes say: the stateful targets.
 *
 * Requests come over connections, as frames; what the role asks of others is answered plausibly, with a body of the right
 * type and any content, with an error, late or never. A role may refuse, or end itself once; it may not crash, assert,
 * leak, or say twice that it ended. */
#pragma once

#include "roles/role.h"
#include "tests/fuzz/feed.h"
#include "tests/fuzz/fuzz_env.h"

enum { STAGE_ROLE = 1000, STAGE_PEER = 2000, STAGE_PEERS = 6, STAGE_ASKED = 8, STAGE_RECRUITED = 32, STAGE_OPS_MAX = 80 };
#define STAGE_VERSION ((version_t)1000)

struct stage;

struct act {
    enum role_kind kind;
    const uint16_t *types; /* what it serves */
    unsigned type_count;
    uint64_t endpoint;
    bool own_rpc; /* start makes the rpc, and answers at every well-known endpoint */
    void (*start)(struct stage *stage);
    void (*stop)(struct stage *stage);
    void (*status)(struct stage *stage, struct role_status *status, struct arena *arena);
    void (*extra)(struct stage *stage); /* may be NULL */
};

/* A request that left for another process. */
struct stage_asked {
    struct env_conn *conn;
    const struct message_type *type;
    uint64_t request_id;
};

struct stage {
    const struct act *act;
    struct fuzz_env *fuzz;
    struct env *env;
    struct rpc *rpc;
    struct role_context context;
    struct address own_address;
    struct feed feed;
    struct arena arena;
    struct arena given, taken; /* of one message: what is sent to the role, and what it sends */
    void *role;
    int (*create)(const struct role_context *context, struct rpc_request *request, void **ret_role);
    bool created;
    unsigned ended;
    struct env_conn *conns[2]; /* a server's, a client's */
    uint64_t next_request;
    struct list held; /* requests of the role that wait for an answer */
    unsigned held_count;
    struct stage_asked asked[STAGE_ASKED];
    unsigned asked_next;
    uint64_t recruited[STAGE_RECRUITED]; /* ids of roles that the role had made elsewhere; pretended too */
    unsigned recruited_count;
    version_t version; /* the newest that the pretended cluster gave out, or the role got to see */
    version_t pushed, resolved;
    uint64_t term, asked_versions, watch_numbers[2], watch_ids, described;
    struct kv_map *database; /* owned; NULL: nobody asked for it yet */
    struct coordinated_state state; /* what the pretended coordinator keeps; in `arena` */
};

void stage_run(const struct act *act, const uint8_t *data, size_t size);

/* Makes a request's body follow from those before it; stage_mend.c. `how` chooses between ways. */
void stage_mend(struct stage *stage, uint16_t id, unsigned how, void *body);

struct address stage_address(void);
struct wire_endpoint stage_at(uint64_t id);
struct generation stage_generation(struct stage *stage);
/* One generation, one GRV proxy, one commit proxy, all of them pretended. */
void stage_description(struct stage *stage, struct description *ret_description);
/* A mutation table: one storage server, which has one shard, and the configuration. */
struct bytes stage_metadata(struct stage *stage);
/* Recruits by an init message: valid, or made of the input. `create` is the role's. */
void stage_recruit(struct stage *stage, struct message *init, int (*create)(const struct role_context *context,
                                                                           struct rpc_request *request, void **ret_role));
