/* Two rpcs of one loop talking over loopback, and an op that asks one thing: what the tests of rpc share. */
#pragma once

#include "posix_fixture.h"

#include "net/error.h"
#include "net/rpc.h"

#define FIELDS_question(F, S, A, L) F(u64, number) F(bytes, payload)
#define FIELDS_answer(F, S, A, L) F(u64, number) F(bytes, payload)
SCHEMA_DECLARE(question)
SCHEMA_DECLARE(answer)

extern const struct message_type type_notice; /* one way, of servers alone */

/* ---- a world of a server and a caller ---- */

enum { ECHO = 100, ABSENT = 999 };
enum mode { MODE_ECHO, MODE_FAIL, MODE_DROP, MODE_HOLD };

struct world {
    struct fixture fixture;
    struct env *env;
    struct rpc *server, *caller;
    struct address at; /* the server's */
    struct op_list ops;
    enum mode mode;
    struct list held;
    unsigned handled, notices, failed_watches;
    int watch_error;
    unsigned to_come; /* completions until the loop stops */
};

static const struct uid cluster_a = {1, 2}, cluster_b = {3, 4}, cluster_none = {0, 0};

void world_init(struct world *world);
void world_init_as(struct world *world, struct uid server_cluster, struct uid caller_cluster, bool client);
void world_done(struct world *world);
struct rpc *make_rpc(struct world *world, struct address at, struct uid cluster, bool client);
/* What answers at ECHO, as the mode says. */
void handle(void *ctx, struct rpc_request *request);
struct message *make_answer(const struct rpc_request *request);
struct message *make_notice(void);
void drop_held(struct world *world);
void kill_server(struct world *world);
/* One of the completions that run_until() waits for. */
void one_came(struct world *world);
/* Runs until `count` completions came. */
void run_until(struct world *world, unsigned count);

/* ---- an op that asks one thing ---- */

struct ask {
    struct op op;
    struct world *world;
    struct rpc *rpc;
    struct endpoint to;
    uint64_t number;
    size_t payload_bytes;
    int64_t timeout_us;
    struct rpc_call call;
    int error;
    bool ended;
};

/* Keeps payload_bytes and timeout_us of *ask. */
void ask_start(struct world *world, struct ask *ask, struct rpc *from, uint64_t endpoint_id);
/* Returns the call's error. */
int ask_and_wait(struct world *world, struct rpc *from, uint64_t endpoint_id);

/* ---- frames made by hand ---- */

/* Each returns the frame's length. */
uint32_t hello_frame(uint8_t *out, uint64_t version, struct uid cluster, bool client);
uint32_t question_frame(uint8_t *out, uint16_t type, uint16_t what, const char *body, size_t body_len);
