/* Every tunable number, in one table: name, default, range that the simulator draws from, why it exists.
 *
 * Units are in the names. A process sets one with --knob-NAME=V. Knobs hang off the env; nothing else is tunable. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/bytes.h"

/* X(name, default, simulated minimum, simulated maximum, why) */
#define KNOB_TABLE(X)                                                                                                     \
    X(rpc_ping_interval_us, 1000000, 200000, 2000000, "silence on a connection somebody waits on before a ping goes out")  \
    X(rpc_ping_timeout_us, 2000000, 1000000, 3000000, "silence after which a connection counts as dead")                  \
    X(rpc_connect_timeout_us, 2000000, 500000, 4000000, "a connection that is not established by then has failed")        \
    X(rpc_reconnect_delay_us, 20000, 1000, 100000, "first pause before dialling a peer that just failed; doubles")        \
    X(rpc_reconnect_delay_max_us, 500000, 100000, 1000000, "where the doubling ends")                                     \
    X(rpc_unsent_bytes_max, 268435456, 33554432, 268435456, "a connection whose queue passes this is closed")             \
    X(rpc_encode_local, 0, 0, 1, "1: encode and decode messages between roles of one process as well; 2: send them too")   \
    X(raft_heartbeat_us, 100000, 20000, 150000, "a leader's empty appends; detection is by closed connection first")      \
    X(raft_election_timeout_us, 600000, 300000, 1000000, "minimum; each wait is drawn from this to twice this")           \
    X(raft_compact_entries, 1000, 1, 1000, "entries after which the coordinator writes its state as a snapshot")         \
    X(controller_adopt_timeout_us, 250000, 50000, 1000000, "how long a new leader waits for the living epoch's roles")    \
    X(controller_recruit_wait_us, 100000, 10000, 1000000, "how long recruitment waits for better processes to register")  \
    X(controller_better_delay_us, 5000000, 500000, 10000000, "calm after which an epoch short of logs gives way to a whole one") \
    X(controller_retry_delay_us, 50000, 1000, 200000, "pause before a failed recovery starts again")                      \
    X(worker_register_retry_us, 100000, 10000, 500000, "pause before a worker looks for the controller again")            \
    X(commit_slots, 2, 1, 4, "batches of a proxy between GET_VERSION and the end of LOG")                                 \
    X(commit_batch_bytes_max, 4194304, 1000, 16777216, "a batch closes at this size at the latest")                       \
    X(commit_batch_count_max, 32768, 1, 60000, "and at this many transactions; a stamp has 16 bits for them")             \
    X(commit_queue_bytes_max, 134217728, 1048576, 134217728, "commits waiting at a proxy beyond this get 1042")           \
    X(commit_empty_interval_us, 1000000, 200000, 1500000, "an idle proxy commits an empty batch this often")              \
    X(grv_queue_max, 100000, 100, 100000, "read-version requests waiting at a proxy beyond this get 1078")                \
    X(grv_queue_wait_us, 1000000, 2000, 1000000, "a transaction that would wait longer for its turn to start is refused")   \
    X(grv_tag_wait_us, 5000000, 200000, 5000000, "a transaction that a tag's limit has held back for so long gets 1213")     \
    X(grv_tag_queue_max, 2000, 20, 2000, "transactions of one tag that its limit may hold back at a proxy")                  \
    X(grv_rate_floor, 100, 1, 200, "transactions a second that a proxy whose lease has lapsed sinks to")                  \
    X(rate_report_interval_us, 100000, 20000, 400000, "how often a role that has work reports to the ratekeeper")         \
    X(rate_report_idle_us, 1000000, 200000, 2000000, "and how often one that has none")                                  \
    X(rate_lease_us, 2500000, 200000, 4000000, "how long a rate holds that the ratekeeper has given")                     \
    X(ratekeeper_smoothing_us, 1000000, 200000, 2000000, "over which the ratekeeper smooths rates")                       \
    X(ratekeeper_stale_us, 3000000, 1000000, 5000000, "silence after which a role counts as gone for the rate")           \
    X(ratekeeper_hold_free_bytes, 268435456, 0, 4194304, "free disk of a storage server below which nothing may be set")  \
    X(ratekeeper_read_lag_us, 1000000, 200000, 2000000, "what a storage server may lack of the newest version")           \
    X(ratekeeper_durability_lag_us, 60000000, 12000000, 60000000, "how far a disk may be behind the 5 s of history kept")    \
    X(ratekeeper_catch_up_us, 60000000, 5000000, 60000000, "a server that lacks more was away: it slows nobody down")     \
    X(ratekeeper_commit_wait_us, 40000, 5000, 200000, "what a commit may wait for its batch before starts are slowed")    \
    X(resolver_balance_interval_us, 1000000, 20000, 1000000, "how often the sequencer asks resolvers for their load")     \
    X(resolver_balance_percent, 150, 101, 200, "the most loaded resolver has more than this of the least: ranges change") \
    X(resolver_balance_floor, 2000, 1, 100, "conflict ranges/s of the most loaded below which resolvers keep their ranges") \
    X(resolver_balance_disturb, 0, 0, 1, "1: resolvers' ranges change for no reason as well: for tests")                  \
    X(predecessor_wait_us, 20000000, 6000000, 20000000, "a batch whose predecessor has not come by then ends its log or resolver") \
    X(log_segment_bytes, 16777216, 262144, 2097152, "disk queue segments: preallocated, zero-filled, recycled")          \
    X(log_memory_bytes_max, 134217728, 65536, 134217728, "versions kept in memory; older ones are peeked from disk")      \
    X(log_disk_reserve_bytes, 67108864, 0, 1048576, "free disk below which a log takes no more pushes")                         \
    X(log_peek_bytes_max, 2097152, 1000, 4194304, "a peek reply ends after the version that reaches this")                \
    X(storage_memory_bytes_max, 268435456, 262144, 268435456, "multi-version window; beyond it old versions go early")    \
    X(storage_commit_interval_us, 1000000, 50000, 3000000, "how often the engine commits")                                \
    X(storage_commit_bytes_max, 33554432, 100000, 33554432, "or when this much is waiting for it")                        \
    X(storage_future_version_wait_us, 1000000, 100000, 1000000, "a read ahead of the server waits this long, then 1009")  \
    X(storage_range_bytes_max, 1048576, 100, 1048576, "a range reply ends after the pair that reaches this")              \
    X(storage_watch_bytes_max, 268435456, 2000, 268435456, "watches of a server: beyond it, a new one gets 1032")      \
    X(storage_sample_unit_bytes, 1000, 1, 1000, "a key of this size is in the byte sample for sure; doubles as a store grows") \
    X(storage_fetch_bytes_per_second, 16777216, 100000, 33554432, "what a server fetches of moving shards, over all of them") \
    X(storage_heal_bytes_per_second, 50331648, 100000, 67108864, "the same of shards that have lost copies; not below the other") \
    X(storage_fetch_chunk_bytes, 1048576, 200, 1048576, "a chunk of a moving shard ends after the pair that reaches this") \
    X(storage_fetch_store_bytes, 65536, 1, 65536, "a chunk of at least so much goes straight into the engine")              \
    X(storage_sweep_bytes, 1048576, 1, 4194304, "of a range that was given up so much is cleared at a time")                \
    X(storage_sweep_early, 0, 0, 1, "1: the sweep looks when something is given up, before it may clear it: for tests")     \
    X(storage_fetch_parallel, 4, 1, 8, "moving shards that a server fetches at a time; as many that heal")                                   \
    X(storage_engine_map_bytes, 1099511627776, 1073741824, 4294967296, "address space of the LMDB map")                   \
    X(storage_check_bytes_max, 67108864, 0, 67108864, "a store up to this is checked as a whole when it is opened")        \
    X(storage_engine_nosync, 0, 0, 1, "1: LMDB commits without syncs (the simulator tears no LMDB file)")                    \
    X(storage_read_job_bytes, 1073741824, 1048576, 1073741824, "an engine file above this is read off the loop")          \
    X(dd_enabled, 1, 0, 1, "1: the data distributor moves, splits and merges shards")                                        \
    X(dd_server_return_us, 10000000, 1000000, 10000000, "a storage server silent for longer is replaced")                    \
    X(dd_plan_interval_us, 100000, 10000, 500000, "plans of the data distributor are at least this far apart")               \
    X(dd_loads_interval_us, 1000000, 100000, 2000000, "how often each storage server is asked for its loads")                \
    X(dd_settings_interval_us, 5000000, 100000, 5000000, "how often the distributor reads configuration and exclusions")     \
    X(dd_recruit_interval_us, 3000000, 200000, 3000000, "how often it looks for processes that could be storage servers")    \
    X(dd_shard_bytes_min, 10000000, 500, 100000, "a shard up to this is never split for its size")                           \
    X(dd_shard_bytes_max, 500000000, 2000, 1000000, "a shard above this always is")                                          \
    X(dd_shards_target, 500, 5, 50, "between the two: a shard above total size / this")                                      \
    X(dd_load_floor, 200000, 500, 100000, "bytes/s below which no shard is split or moved for its load")                    \
    X(dd_load_parts, 8, 2, 8, "above it: a shard with more than 1/this of a server's mean load is split")                    \
    X(dd_shards_per_server_min, 16, 1, 4, "shards are not merged when there are fewer for each server")                       \
    X(dd_balance_percent, 25, 10, 50, "the gap between the fullest and the emptiest server, of the mean, that is evened out") \
    X(dd_settle_us, 10000000, 500000, 5000000, "a shard that has moved is not moved for balance before")                      \
    X(dd_disturb, 0, 0, 1, "1: shards are moved, split and merged for no reason as well: for tests")                         \
    X(dd_scan_bytes_per_second, 1000000, 20000, 1000000, "what the consistency scan reads of one copy; 0: there is no scan")   \
    X(dd_scan_interval_us, 3600000000, 2000000, 60000000, "between two rounds of it")                                         \
    X(dd_moves_max, 1000, 20, 64, "moves in flight in the cluster")                                                           \
    X(dd_moves_per_server, 256, 8, 16, "moves in flight to a server, and from one")                                             \
    X(dd_move_bytes_per_server, 536870912, 10000, 536870912, "and their bytes, beyond the first")                                \
    X(client_connect_timeout_us, 1000000, 200000, 2000000, "a coordinator that does not answer by then is skipped")       \
    X(client_request_timeout_us, 5000000, 1000000, 10000000, "a read without an answer is sent to another replica")       \
    X(client_second_delay_us, 4000, 0, 20000, "so much longer than usual may an answer take, then another replica is asked too") \
    X(client_second_percent, 10, 0, 100, "second requests are at most this part of all reads; 0: there are none")          \
    X(client_location_cache_max, 100000, 2, 100000, "shard locations remembered")                                         \
    X(client_grv_batch_max, 256, 1, 10000, "read-version requests that travel in one message")                          \
    X(trace_roll_bytes, 10485760, 65536, 10485760, "a trace file ends at this size")                                   \
    X(trace_files_max, 10, 1, 10, "and the oldest beyond this many go")                                                  \
    X(slow_op_us, 1000000, 100000, 10000000, "an op older than this when it ends leaves a trace line")                    \
    X(loop_spin_us, 0, 0, 50, "how long the loop may spin before it sleeps")

struct knobs {
#define X(name, value, sim_min, sim_max, why) int64_t name;
    KNOB_TABLE(X)
#undef X
};

void knobs_init(struct knobs *knobs);
/* 0, ERROR_INVALID_OPTION (no such knob) or ERROR_INVALID_OPTION_VALUE (not an integer). */
int knobs_set(struct knobs *knobs, struct bytes name, struct bytes value);
/* For every knob: draw(ctx) gives a random number; half of the knobs keep their default. */
void knobs_randomize(struct knobs *knobs, uint64_t (*draw)(void *ctx), void *ctx);
/* The i-th knob, or NULL: for --help and status. */
const char *knobs_describe(size_t index, int64_t *ret_default, const char **ret_why);
/* What the i-th knob is set to. */
int64_t knobs_value(const struct knobs *knobs, size_t index);
