/* A storage server in a simulated process, fed by fake logs in another, and a naive model of what it should hold.
 *
 * The lab writes one stream of versions; each generation's logs serve it between the generation's begin and their own end.
 * The model keeps every state that every key ever had. */
#pragma once

#include <criterion/criterion.h>

#include "net/error.h"
#include "net/mem.h"
#include "net/rpc.h"
#include "roles/storage/storage_internal.h"
#include "sim/world.h"
#include "txn/system_keys.h"

enum { LAB_KEYS = 40, LAB_VALUE_MAX = 16, LAB_GENERATIONS_MAX = 64, LAB_LOGS = 2, LAB_TAG = 7, LAB_DRAWS = 6 };
#define LAB_SERVER_ID UINT64_C(0x5702a6e)

struct lab_state {
    version_t version;
    bool present;
    uint8_t len;
    uint8_t bytes[LAB_VALUE_MAX];
};

struct lab_history {
    struct lab_state *states;
    size_t count, capacity;
};

struct lab_version {
    version_t version;
    struct bytes_buffer table;
};

struct lab;

struct lab_log {
    struct lab *lab;
    struct lab_generation *generation;
    uint64_t id;
    version_t end; /* VERSION_MAX: all of the stream */
    version_t popped;
    bool locked, silent, broken; /* broken: answers nonsense */
    bool tail; /* it holds a version above the recorded end, that no other log got */
    uint64_t peeks, pops;
    struct list waiting;
};

struct lab_generation {
    uint64_t epoch;
    version_t begin, end;
    bool unlisted; /* the description leaves it out */
    struct lab_log logs[LAB_LOGS];
};

struct lab {
    struct sim_world *world;
    struct sim_process *logs, *storage;
    struct lab_version *stream;
    size_t stream_count, stream_capacity;
    struct lab_generation generations[LAB_GENERATIONS_MAX];
    uint32_t generation_count, generation_first; /* first: the oldest that is described */
    version_t newest, known_committed, first_of_epoch;
    struct lab_history histories[LAB_KEYS];
    uint64_t description_number;
    version_t reported_durable; /* storage_durable's */
    uint64_t durable_reports;
    struct role_ref proxy; /* in the description, when its kind is set */
    int ended; /* why the server said that it can't go on; 0 */
    enum engine_kind engine;
    bool created;
};

/* Both processes run, the server exists and is described one generation. */
void lab_init(struct lab *lab, uint64_t seed, enum engine_kind engine, bool buggify);
void lab_done(struct lab *lab);
void lab_run(struct lab *lab, int64_t us);
struct storage_server *lab_server(struct lab *lab); /* NULL while it is down */

/* Of the other process: for more that the server talks to. */
struct rpc *lab_rpc(struct lab *lab);
struct op_list *lab_ops(struct lab *lab);

/* Destroys the server while its process goes on. */
void lab_forget_server(struct lab *lab);

struct bytes lab_key(unsigned key, char out[1200]);
/* Writes a version. `table` is taken over. The model follows by lab_model_*. */
void lab_push(struct lab *lab, version_t version, struct bytes_buffer *table);
void lab_assign(struct bytes_buffer *table, struct bytes begin, struct bytes end, enum server_keys_state state);
void lab_commit(struct lab *lab, version_t known_committed);
/* A version of random mutations, `step` above the newest, into the stream and the model. */
void lab_push_random(struct lab *lab, version_t step);
/* Sets one key. */
void lab_push_set(struct lab *lab, version_t step, unsigned key, const char *value);
/* Adds one to a key. */
void lab_push_add(struct lab *lab, version_t step, unsigned key);
/* Clears the keys [begin, end). */
void lab_push_clear(struct lab *lab, version_t step, unsigned begin, unsigned end);
void lab_push_empty(struct lab *lab, version_t step);
/* A recovery that keeps everything through `end`. */
void lab_recover(struct lab *lab, version_t end);
void lab_describe(struct lab *lab);
const struct lab_state *lab_model(struct lab *lab, unsigned key, version_t version);

/* A question that may wait. When it is done, reply (owned by the caller) or error says how; op_cancel(&call->op) gives it up. */
struct lab_call {
    struct op op;
    struct rpc_call call;
    struct message *request, *reply;
    struct rpc *rpc;
    struct endpoint to;
    int error;
    bool done;
};
void lab_call_start(struct lab *lab, struct lab_call *call, uint64_t endpoint, struct message *request);
/* Asks and runs the world until the answer is there. Owned by the caller; NULL: *ret_error says why. */
struct message *lab_ask(struct lab *lab, struct message *request, int *ret_error);
struct message *lab_ask_at(struct lab *lab, uint64_t endpoint, struct message *request, int *ret_error); /* the same of any endpoint */
/* The value's error, or the call's. *ret_state as the server sees it. */
int lab_get(struct lab *lab, unsigned key, version_t version, struct lab_state *ret_state);
/* Compares a get with the model. True if it was answered; too old and too new are fine. */
bool lab_check_get(struct lab *lab, unsigned key, version_t version);
/* The same for a range of the keys [begin, end), to its end. */
bool lab_check_range(struct lab *lab, unsigned begin, unsigned end, version_t version, uint32_t limit, bool reverse);
/* Runs until the server has the whole stream; the simulator meddles no more. */
void lab_catch_up(struct lab *lab);
