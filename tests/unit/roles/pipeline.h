/* A transaction pipeline in one simulated process, or spread over four: the stateless roles as they are, logs that a test
 * plays. */
#pragma once

#include <criterion/criterion.h>

#include "net/mem.h"
#include "roles/commit_proxy/commit_proxy.h"
#include "roles/grv_proxy/grv_proxy.h"
#include "roles/resolver/resolver.h"
#include "roles/sequencer/sequencer.h"
#include "sim/world.h"
#include "txn/conflict_range.h"
#include "txn/kv_map.h"
#include "txn/log_system.h"
#include "txn/mutation.h"
#include "txn/system_keys.h"

enum { LOGS = 3, MAX_PROXIES = 3, MAX_RESOLVERS = 3, PUSHES_KEPT = 65536 };
/* Where things are in a spread pipeline; in one that is not, all are on the first. */
enum { NODE_TEST /* the test's calls, and the logs */, NODE_SEQUENCER /* and GRV proxy */, NODE_PROXIES, NODE_RESOLVERS, NODES };
enum { ID_SEQUENCER = 1000, ID_GRV = 1001, ID_PROXY = 1010, ID_RESOLVER = 1020, ID_LOG = 1030 };
#define RECOVERY_VERSION ((version_t)1000)
#define FIRST_VERSION (RECOVERY_VERSION + VERSIONS_IN_FLIGHT_MAX + 1)

/* A log that keeps what it is sent. Acknowledges in version order, like a real one. */
struct fake_log {
    struct pipeline *pipeline;
    unsigned index;
    version_t end, known_committed;
    bool stopped, holds; /* holds: answers nothing until released */
    uint64_t bare;       /* known committed versions that came alone */
    struct message *pushes[PUSHES_KEPT]; /* owned references, in version order */
    unsigned push_count;
    struct list waiting; /* requests whose turn has not come, or that are held */
};

/* One call by the test. */
struct ask {
    struct op op;
    struct rpc_call call;
    struct pipeline *pipeline;
    struct endpoint to;
    struct message *request;
    bool done;
    int error;
    struct message *reply;
};

struct node {
    struct pipeline *pipeline;
    struct sim_process *process;
    struct rpc *rpc;
    struct role_context context;
};

struct pipeline {
    struct sim_world *world;
    struct node nodes[NODES];
    bool spread;
    struct sim_process *process; /* the first node's, with its env and rpc */
    struct env *env;
    struct rpc *rpc;
    struct op_list ops; /* the test's calls */
    unsigned proxies, resolvers, replication;
    struct sequencer *sequencer;
    struct grv_proxy *grv;
    struct commit_proxy *proxy[MAX_PROXIES];
    struct resolver *resolver[MAX_RESOLVERS];
    struct fake_log logs[LOGS];
    struct log_ref log_refs[LOGS];
    struct generation generation;
    unsigned ended_count; /* roles that said they can't go on */
    uint64_t ended_id;
    int ended_error;
};

/* Three logs in zones a, b, b (so that zones and logs differ); replication 2. Created roles: sequencer, GRV proxy, `proxies`,
 * `resolvers`. metadata: a mutation table, or none. */
void pipeline_init(struct pipeline *pipeline, uint64_t seed, unsigned proxies, unsigned resolvers, struct bytes metadata);
void pipeline_init_spread(struct pipeline *pipeline, uint64_t seed, unsigned proxies, unsigned resolvers, struct bytes metadata);
/* Where the role or log of that id is reached. */
struct endpoint pipeline_endpoint(const struct pipeline *pipeline, uint64_t id);
void pipeline_done(struct pipeline *pipeline); /* fails the test if the world saw a failure or a leak */

/* Takes the reference on `request`. */
void ask_start(struct pipeline *pipeline, struct ask *ask, uint64_t endpoint, struct message *request);
/* Runs the world until it is answered (at most 20 s). The reply is the ask's; ask_clear drops it. */
const void *ask_wait(struct ask *ask);
void ask_clear(struct ask *ask);
/* Start, wait, and expect an answer. */
const void *ask_now(struct pipeline *pipeline, struct ask *ask, uint64_t endpoint, struct message *request);
void pipeline_run(struct pipeline *pipeline, int64_t time_us);

void fake_log_hold(struct fake_log *log, bool hold);
/* What log `log` holds of `tag` at `version`, concatenated. */
struct bytes_buffer fake_log_of_tag(const struct fake_log *log, version_t version, tag_t tag);
const struct push *fake_log_push(const struct fake_log *log, version_t version); /* NULL: none */

/* A commit request made of tables; `read` and `write` are single keys (NULL: none). */
struct message *commit_of(version_t read_version, unsigned flags, struct bytes mutations, const char *read, const char *write);
struct message *commit_set(const char *key, const char *value); /* blind */

/* A database of two servers (ids 1, 2; tags 1, 2): [.., m) on server 1, the rest on both. */
struct bytes_buffer two_servers(void);
void put_server(struct bytes_buffer *out, uint64_t id, tag_t tag);
void put_shard(struct bytes_buffer *out, const char *begin, unsigned servers, const uint64_t *ids);
void put_owner(struct bytes_buffer *out, uint64_t id, const char *begin, const char *end, enum server_keys_state state);
void put(struct bytes_buffer *out, enum mutation_type type, const char *a, const char *b);
