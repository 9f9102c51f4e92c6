/* Every message between processes, declared once: struct, codec, printer, fuzz target and who may send it.
 *
 * X-macro tables, see net/message.h for F, S, A and L. A field is never removed or reordered: new ones go to the end, and
 * their zero must mean what their absence meant. Ids are never reused. */
#pragma once

#include "net/message.h"
#include "txn/types.h"

/* ---- parts ---- */

/* Where a role instance is reached. */
#define FIELDS_wire_endpoint(F, S, A, L) S(wire_address, address) F(u64, id)
SCHEMA_DECLARE(wire_endpoint)

/* A log of a generation. endpoint.id is the log's own random id. */
#define FIELDS_log_ref(F, S, A, L) S(wire_endpoint, endpoint) F(bytes, zone)
SCHEMA_DECLARE(log_ref)

/* The logs of one epoch; they hold versions in (begin, end]. end is VERSION_MAX while the epoch lives. Which logs hold a
 * tag follows from the list's order alone: log_system_logs_of_tag() in txn/log_system.h. */
#define FIELDS_generation(F, S, A, L) F(u64, epoch) F(i64, begin) F(i64, end) F(u32, replication) A(log_ref, logs)
SCHEMA_DECLARE(generation)

/* A stateless role of an epoch. resolver: begin is where its part of the key space starts. */
#define FIELDS_role_ref(F, S, A, L) F(u32, kind) S(wire_endpoint, endpoint) F(bytes, begin)
SCHEMA_DECLARE(role_ref)

#define FIELDS_coordinator_member(F, S, A, L) F(u64, member) S(wire_address, address)
SCHEMA_DECLARE(coordinator_member)

/* What workers and clients know of the cluster. Ordered by (epoch, term, number); a lower one is ignored. epoch is the
 * written epoch; 0 when there is no database. singletons: the data distributor and the ratekeeper that the controller knows, beside
 * the epoch; a kind that is missing is being recruited. coordinators: as committed; empty while the controller does not know them. */
#define FIELDS_description(F, S, A, L)                                                                        \
    F(u64, epoch) F(u64, term) F(u64, number) F(u64, cluster_high) F(u64, cluster_low) S(wire_endpoint, controller) \
    F(i64, recovery_transaction_version) A(role_ref, roles) A(generation, generations) A(role_ref, singletons) \
    A(coordinator_member, coordinators)
SCHEMA_DECLARE(description)

/* The coordinated state: what Raft replicates. roles are those of the written epoch. The last generation is the newest. */
#define FIELDS_coordinated_state(F, S, A, L)                                                             \
    F(u64, cluster_high) F(u64, cluster_low) F(u64, locked_epoch) F(u64, written_epoch)                 \
    F(i64, recovery_transaction_version) A(role_ref, roles) A(generation, generations) F(u64, lock_id)
SCHEMA_DECLARE(coordinated_state)

/* ---- coordinators ---- */

/* Raft: see roles/coordinator/raft/raft.h for what each field means to each type. */
#define FIELDS_raft_wire_entry(F, S, A, L) F(u64, index) F(u64, term) F(u32, type) F(bytes, data)
SCHEMA_DECLARE(raft_wire_entry)
#define FIELDS_raft_wire(F, S, A, L)                                                                                      \
    F(u32, type) F(boolean, reject) F(boolean, transfer) F(u64, from) F(u64, to) F(u64, term) F(u64, index)               \
    F(u64, log_term) F(u64, commit) F(u64, hint) A(raft_wire_entry, entries) F(u64, snapshot_index) F(u64, snapshot_term) \
    F(bytes, snapshot_configuration) F(bytes, snapshot_data) F(u64, cluster_high) F(u64, cluster_low) F(u64, instance)
SCHEMA_DECLARE(raft_wire)

/* `configure new`, step one: makes this coordinator a member. Persisted by an empty one; one that holds the same record says
 * yes again; any other refuses and answers with the record it holds. */
#define FIELDS_coordinator_create(F, S, A, L) F(u64, cluster_high) F(u64, cluster_low) A(coordinator_member, members)
SCHEMA_DECLARE(coordinator_create)
#define FIELDS_coordinator_create_reply(F, S, A, L) \
    F(boolean, accepted) F(u64, cluster_high) F(u64, cluster_low) A(coordinator_member, members)
SCHEMA_DECLARE(coordinator_create_reply)

/* `coordinators`, a member at a time. join, at a worker's endpoint: its process becomes a coordinator that waits to be added as
 * `member`, which was drawn for this; `members` are those that may speak to it. Answered with the member that is to be added: one that has
 * waited since an earlier join, whose addition may have been lost with a leader, stays the member that it is. Refused
 * (ERROR_CLIENT_INVALID_OPERATION) when it is one of `members` already. change, at the leader: adds that member or removes it, and is answered
 * when that is committed. ERROR_OPERATION_OBSOLETE: it does not lead (any more); ERROR_OPERATION_FAILED: another change is under way;
 * ERROR_TIMED_OUT: the member did not catch up; ERROR_CLIENT_INVALID_OPERATION: too many, the last one, or already so. */
#define FIELDS_coordinator_join(F, S, A, L) \
    F(u64, cluster_high) F(u64, cluster_low) F(u64, member) A(coordinator_member, members)
SCHEMA_DECLARE(coordinator_join)
#define FIELDS_coordinator_join_reply(F, S, A, L) F(u64, member)
SCHEMA_DECLARE(coordinator_join_reply)
#define FIELDS_coordinator_change(F, S, A, L) F(boolean, add) S(coordinator_member, member)
SCHEMA_DECLARE(coordinator_change)

/* Who leads? Answered when the leader differs from (known_member, known_term), at once if it does already, and at the
 * latest after wait_us. cluster ids are none when this coordinator has no record. */
#define FIELDS_get_leader(F, S, A, L) F(u64, known_member) F(u64, known_term) F(i64, wait_us)
SCHEMA_DECLARE(get_leader)
#define FIELDS_get_leader_reply(F, S, A, L)                                                                     \
    F(u64, cluster_high) F(u64, cluster_low) F(u64, leader_member) F(u64, term) S(wire_address, leader_address) \
    A(coordinator_member, members)
SCHEMA_DECLARE(get_leader_reply)

/* The controller's door to the coordinated state, at the leader's coordinator: each is answered with the state as of then,
 * once a no-op of the leader's own term has been applied; ERROR_OPERATION_OBSOLETE when it does not lead (any more): the
 * fate of a change is then unknown. lock_state raises the locked epoch by one and sets lock_id. write_state replaces roles,
 * generations and the recovery transaction's version, and sets the written epoch to state.locked_epoch, if locked_epoch and
 * lock_id are still those of the state it brings; else nothing changes and accepted is false. */
#define FIELDS_read_state(F, S, A, L) F(u64, term)
SCHEMA_DECLARE(read_state)
#define FIELDS_lock_state(F, S, A, L) F(u64, term) F(u64, lock_id)
SCHEMA_DECLARE(lock_state)
#define FIELDS_write_state(F, S, A, L) F(u64, term) S(coordinated_state, state)
SCHEMA_DECLARE(write_state)
#define FIELDS_state_reply(F, S, A, L) F(boolean, accepted) S(coordinated_state, state)
SCHEMA_DECLARE(state_reply)

/* ---- controller ---- */

/* A role that a worker hosts. locked: of logs. tag, version: of storage servers (durable version). */
#define FIELDS_hosted_role(F, S, A, L) \
    F(u32, kind) F(u64, id) F(u64, epoch) F(boolean, locked) F(u32, tag) F(i64, version) F(bytes, error)
SCHEMA_DECLARE(hosted_role)

enum { LOCALITY_BYTES_MAX = 256 }; /* of the name of a zone, machine, rack, hall or data centre */

/* A worker says what it is and hosts: when it finds a controller, whenever its roles change, and again after each answer.
 * A long poll: answered with a description newer than the known one, or with any when the worker is to register again. The
 * controller watches the worker's address from then on. sequence: a lower one of the same worker is ignored. */
#define FIELDS_register_worker(F, S, A, L)                                                                           \
    S(wire_address, address) F(u64, worker_id) F(u32, process_class) F(bytes, zone) F(bytes, machine)                \
    A(hosted_role, roles) F(u64, known_epoch) F(u64, known_term) F(u64, known_number) F(bytes, version_text)         \
    F(bytes, command_line) F(u64, pid) F(u64, sequence) F(bytes, rack) F(bytes, hall) F(bytes, data_center)
SCHEMA_DECLARE(register_worker)
/* A long poll: answered with the newest description once it is newer than the one named. */
#define FIELDS_get_description(F, S, A, L) F(u64, known_epoch) F(u64, known_term) F(u64, known_number)
SCHEMA_DECLARE(get_description)

/* `configure new`, step two. redundancy: 1, 2, 3. engine: enum engine_kind. Answered when commits are accepted;
 * ERROR_CLIENT_INVALID_OPERATION if a database exists. */
#define FIELDS_create_database(F, S, A, L) F(u32, redundancy) F(u32, engine)
SCHEMA_DECLARE(create_database)
#define FIELDS_done(F, S, A, L) F(u32, unused)
SCHEMA_DECLARE(done)

/* What an operator has set: \xff/conf/ and \xff/processClass/, as a mutation table of SETs. A long poll of the controller at the
 * commit proxies of its epoch: answered once a later version than the known one has changed any of it and is known committed. */
#define FIELDS_get_settings(F, S, A, L) F(i64, known_version)
SCHEMA_DECLARE(get_settings)
#define FIELDS_settings(F, S, A, L) F(i64, version) F(bytes, mutations)
SCHEMA_DECLARE(settings)

/* Every process that is registered: what \xff\xff/worker_interfaces/ and `kill` need. number: of this list. A question that names it as
 * known is a long poll: answered when a process comes or goes, or its class changes. */
#define FIELDS_worker_interface(F, S, A, L)                                                                   \
    S(wire_address, address) F(u64, worker_id) F(u32, process_class) F(bytes, zone) F(bytes, machine) F(bytes, rack) \
    F(bytes, hall) F(bytes, data_center)
SCHEMA_DECLARE(worker_interface)
#define FIELDS_get_workers(F, S, A, L) F(u32, unused) F(u64, known)
SCHEMA_DECLARE(get_workers)
#define FIELDS_get_workers_reply(F, S, A, L) A(worker_interface, workers) F(u64, number)
SCHEMA_DECLARE(get_workers_reply)

/* One number of a role, for status: name in FoundationDB's words; and a few words. */
#define FIELDS_metric(F, S, A, L) F(bytes, name) F(i64, value)
SCHEMA_DECLARE(metric)
#define FIELDS_role_text(F, S, A, L) F(bytes, name) F(bytes, text)
SCHEMA_DECLARE(role_text)
/* has_range: it answers for the keys of [range_begin, range_end), or all from range_begin on when that end is empty. */
#define FIELDS_role_status(F, S, A, L)                                                                        \
    F(u32, kind) F(u64, id) F(u64, epoch) A(metric, metrics) A(role_text, texts) F(boolean, has_range)       \
    F(bytes, range_begin) F(bytes, range_end)
SCHEMA_DECLARE(role_status)
/* Status: the whole document in FoundationDB's JSON schema. health: of storage servers, logs and the ratekeeper, the numbers that
 * metrics/health/ shows, for a client that reads no JSON. */
#define FIELDS_get_status(F, S, A, L) F(u32, unused)
SCHEMA_DECLARE(get_status)
#define FIELDS_get_status_reply(F, S, A, L) F(bytes, json) A(role_status, health)
SCHEMA_DECLARE(get_status_reply)

/* A storage server has made `version` durable; sent while old generations live. */
#define FIELDS_storage_durable(F, S, A, L) F(u64, server_id) F(u32, tag) F(i64, version)
SCHEMA_DECLARE(storage_durable)

/* ---- worker ---- */

/* Recruitment. Each answers with role_started, or an error. role_id is the new role's endpoint id. */
#define FIELDS_role_started(F, S, A, L) F(u64, role_id)
SCHEMA_DECLARE(role_started)
/* resolvers, proxy_count: of commit proxies; with them it may cut the key space anew. */
#define FIELDS_init_sequencer(F, S, A, L)                                                                                   \
    F(u64, epoch) F(u64, role_id) F(i64, recovery_version) F(boolean, locked) F(bytes, metadata_version) A(role_ref, resolvers) \
    F(u32, proxy_count) F(u64, failed_from)
SCHEMA_DECLARE(init_sequencer)
#define FIELDS_init_grv_proxy(F, S, A, L) \
    F(u64, epoch) F(u64, role_id) S(wire_endpoint, sequencer) S(generation, logs) F(u64, failed_from)
SCHEMA_DECLARE(init_grv_proxy)
/* metadata: a mutation table of SETs, the metadata as of the recovery version. */
#define FIELDS_init_commit_proxy(F, S, A, L)                                                              \
    F(u64, epoch) F(u64, role_id) S(wire_endpoint, sequencer) A(role_ref, resolvers) S(generation, logs) \
    F(i64, recovery_version) F(bytes, metadata) F(u32, proxy_count) F(u64, failed_from)
SCHEMA_DECLARE(init_commit_proxy)
#define FIELDS_init_resolver(F, S, A, L) \
    F(u64, epoch) F(u64, role_id) F(i64, recovery_version) F(u32, proxy_count) F(u64, failed_from)
SCHEMA_DECLARE(init_resolver)
/* Answered when the metadata snapshot is durable. generation: the new one, with this log in it. */
#define FIELDS_init_log(F, S, A, L) \
    F(u64, epoch) F(u64, role_id) F(i64, begin) F(bytes, metadata) S(generation, generation) F(u64, failed_from)
SCHEMA_DECLARE(init_log)
/* Answered when the server's empty store, with its record, is durable. epoch: of the recovery that creates the database; 0: the data distributor asks. */
#define FIELDS_init_storage(F, S, A, L) F(u64, server_id) F(u32, tag) F(u32, engine) F(i64, version) F(u64, epoch) F(u64, failed_from)
SCHEMA_DECLARE(init_storage)
/* Singletons: of no epoch. description: as of the recruitment; a newer one that names another of the kind ends this one. */
#define FIELDS_init_data_distributor(F, S, A, L) F(u64, role_id) S(description, description)
SCHEMA_DECLARE(init_data_distributor)
#define FIELDS_init_ratekeeper(F, S, A, L) F(u64, role_id) S(description, description)
SCHEMA_DECLARE(init_ratekeeper)

#define FIELDS_get_worker_status(F, S, A, L) F(u32, unused)
SCHEMA_DECLARE(get_worker_status)
#define FIELDS_get_worker_status_reply(F, S, A, L) A(metric, metrics) A(role_status, roles)
SCHEMA_DECLARE(get_worker_status_reply)
/* The shell's `kill`: the process ends (and its supervisor starts it again). */
#define FIELDS_reboot_process(F, S, A, L) F(u32, unused)
SCHEMA_DECLARE(reboot_process)

/* ---- sequencer ---- */

/* Keyed by (proxy, request): a repeat gets the same answer. requests of one proxy are 1, 2, 3, ..; the sequencer forgets
 * answers below the newest request minus the slots. partition: the number of the newest partition of the key space among the
 * resolvers that the proxy has (txn/resolver_map.h): 1 is that of init_commit_proxy, 0 says that it knows no other. */
#define FIELDS_get_commit_version(F, S, A, L) F(u64, proxy) F(u64, request) F(u64, partition)
SCHEMA_DECLARE(get_commit_version)
/* partition: 0, or a newer one than the request named, which counts from `partition_from`, at most `version`, on: where the part of each
 * resolver begins, in the order of init_commit_proxy. */
#define FIELDS_get_commit_version_reply(F, S, A, L) \
    F(i64, version) F(i64, prev_version) F(u64, partition) F(i64, partition_from) L(bytes, begins)
SCHEMA_DECLARE(get_commit_version_reply)
/* `version` is committed: every log has it. Answered (done) once read versions can be at or above it. changed: this batch
 * changed the lock or metadataVersion, whose values as of `version` follow. */
#define FIELDS_report_committed(F, S, A, L) F(i64, version) F(boolean, changed) F(boolean, locked) F(bytes, metadata_version)
SCHEMA_DECLARE(report_committed)
/* What a GRV proxy asks. */
#define FIELDS_get_committed(F, S, A, L) F(u32, unused)
SCHEMA_DECLARE(get_committed)
#define FIELDS_get_committed_reply(F, S, A, L) F(i64, version) F(boolean, locked) F(bytes, metadata_version) F(u64, epoch)
SCHEMA_DECLARE(get_committed_reply)

/* ---- GRV proxy ---- */

/* Client to GRV proxy: one message for `count` transactions of a turn. flags: GRV_* below. locked: the database is locked;
 * the client fails transactions that are not lock-aware. */
enum grv_flags { GRV_PRIORITY_BATCH = 1, GRV_PRIORITY_IMMEDIATE = 2 };
#define FIELDS_tag_text(F, S, A, L) F(bytes, tag)
SCHEMA_DECLARE(tag_text)
/* tags: each of the transactions has all of them. tag_wait_us: for which a tag's limit held them back. */
#define FIELDS_get_read_version(F, S, A, L) F(u32, count) F(u32, flags) A(tag_text, tags)
SCHEMA_DECLARE(get_read_version)
#define FIELDS_get_read_version_reply(F, S, A, L) F(i64, version) F(boolean, locked) F(bytes, metadata_version) F(i64, tag_wait_us)
SCHEMA_DECLARE(get_read_version_reply)

/* ---- commit proxy ---- */

/* One transaction. Tables as in txn/mutation.h. read_version is VERSION_NONE when it read nothing. Errors: 1020, 1007, 1038,
 * 1042, 2000..2103 as checked by the proxy. */
enum commit_flags { COMMIT_LOCK_AWARE = 1, COMMIT_ACCESS_SYSTEM = 2, COMMIT_RECOVERY = 4, COMMIT_REPORT_CONFLICTS = 8 };
/* idempotency_id: empty, or 16 to 255 bytes that are kept with the commit's version for a while (txn/idempotency.h). */
#define FIELDS_commit(F, S, A, L)                                                                            \
    F(i64, read_version) F(u32, flags) F(bytes, mutations) F(bytes, read_conflicts) F(bytes, write_conflicts) \
    F(bytes, idempotency_id) A(tag_text, tags)
SCHEMA_DECLARE(commit)
/* A range that a transaction had read, and the newest write that it met (empty when that is not known any more). */
#define FIELDS_conflict(F, S, A, L) \
    F(bytes, read_begin) F(bytes, read_end) F(bytes, written_begin) F(bytes, written_end) F(i64, version)
SCHEMA_DECLARE(conflict)
/* batch_index: with version it makes the versionstamp. error: 0, or ERROR_NOT_COMMITTED with its conflicts, when
 * COMMIT_REPORT_CONFLICTS asked for them: an error reply has no room. */
#define FIELDS_commit_reply(F, S, A, L) \
    F(i64, version) F(u32, batch_index) F(bytes, metadata_version) F(u32, error) A(conflict, conflicts)
SCHEMA_DECLARE(commit_reply)

/* Shards that meet [begin, end), in order (reverse: from the end), at most limit. */
#define FIELDS_get_key_locations(F, S, A, L) F(bytes, begin) F(bytes, end) F(u32, limit) F(boolean, reverse)
SCHEMA_DECLARE(get_key_locations)
#define FIELDS_location(F, S, A, L) F(bytes, begin) F(bytes, end) A(wire_endpoint, servers)
SCHEMA_DECLARE(location)
#define FIELDS_get_key_locations_reply(F, S, A, L) A(location, locations)
SCHEMA_DECLARE(get_key_locations_reply)

/* ---- resolver ---- */

/* flags: RESOLVE_METADATA: it changes metadata; mutations are then filled in (what it changes of it, stamps patched).
 * RESOLVE_LOCK_AWARE: it commits though the database is locked, which every proxy must judge alike. */
enum resolve_flags { RESOLVE_METADATA = 1, RESOLVE_LOCK_AWARE = 2, RESOLVE_REPORT_CONFLICTS = 4 };
#define FIELDS_resolve_transaction(F, S, A, L) \
    F(i64, read_version) F(u32, flags) F(bytes, read_conflicts) F(bytes, write_conflicts) F(bytes, mutations)
SCHEMA_DECLARE(resolve_transaction)
/* known_version: the proxy has the metadata of all versions through it. partition: the number of the one by which it cut the writes; it never
 * sinks as versions rise. */
#define FIELDS_resolve(F, S, A, L)                                                                                            \
    F(u64, epoch) F(u64, proxy) F(i64, version) F(i64, prev_version) F(i64, known_version) A(resolve_transaction, transactions) \
    F(u64, partition)
SCHEMA_DECLARE(resolve)
/* Metadata transactions of other proxies' batches in (known_version, version), in order; committed: this resolver's verdict;
 * flags: as in resolve_transaction. A proxy applies its own by itself. */
#define FIELDS_metadata_transaction(F, S, A, L) F(boolean, committed) F(bytes, mutations) F(u32, flags)
SCHEMA_DECLARE(metadata_transaction)
#define FIELDS_metadata_batch(F, S, A, L) F(i64, version) A(metadata_transaction, transactions)
SCHEMA_DECLARE(metadata_batch)
enum verdict { VERDICT_COMMITTED, VERDICT_CONFLICT, VERDICT_TOO_OLD };
/* conflicts: of those that asked with RESOLVE_REPORT_CONFLICTS; reporters names each one's transaction by its place. */
/* version, resolver: which batch was judged, and by whom (its endpoint id). */
#define FIELDS_resolve_reply(F, S, A, L) \
    L(u32, verdicts) A(metadata_batch, metadata) L(u32, reporters) A(conflict, conflicts) F(i64, version) F(u64, resolver)
SCHEMA_DECLARE(resolve_reply)

/* The sequencer asks how many conflict ranges a second come to a resolver, and to which keys, of its part [begin, end) (all from
 * begin on when end is empty) of partition `partition`. It samples from the first question on, and anew when its part has changed. keys: ascending,
 * each with its weight and that of what lies between it and the next. */
#define FIELDS_get_resolver_load(F, S, A, L) F(bytes, begin) F(bytes, end) F(u64, partition)
SCHEMA_DECLARE(get_resolver_load)
#define FIELDS_sampled_key(F, S, A, L) F(bytes, key) F(u64, weight)
SCHEMA_DECLARE(sampled_key)
#define FIELDS_resolver_load(F, S, A, L) F(i64, ranges_per_s) A(sampled_key, keys)
SCHEMA_DECLARE(resolver_load)

/* ---- log ---- */

/* The mutations of one set of tags, in order: every log that holds one of the tags gets the section. */
#define FIELDS_push_section(F, S, A, L) L(u32, tags) F(bytes, mutations)
SCHEMA_DECLARE(push_section)
/* One version. Answered (done) once it is durable, in version order. metadata: the mutations of system keys, for every log.
 * digest: push_digest() of the rest; one that does not fit is refused and sent again.
 * version 0: no push but a bare known committed version (one way). A repeat is answered again; other content at a known
 * version ends the log. ERROR_TLOG_STOPPED when locked or of another epoch. */
#define FIELDS_push(F, S, A, L) \
    F(u64, epoch) F(i64, version) F(i64, prev_version) F(i64, known_committed) A(push_section, sections) F(bytes, metadata) \
    F(u64, digest)
SCHEMA_DECLARE(push)
/* A long poll: whole versions above `from` (exclusive), filtered by tag. Answered when there is a version above `from`, or a
 * newer known committed version than known_committed, or the log is locked and `from` is its end. */
#define FIELDS_peek(F, S, A, L) F(u32, tag) F(i64, from) F(i64, known_committed)
SCHEMA_DECLARE(peek)
/* digest: peek_digest() of the tag's mutations. */
#define FIELDS_peek_version(F, S, A, L) F(i64, version) F(bytes, mutations) F(u64, digest)
SCHEMA_DECLARE(peek_version)
/* through: complete up to here. end: the newest version of this log. */
#define FIELDS_peek_reply(F, S, A, L) \
    A(peek_version, versions) F(i64, through) F(i64, end) F(i64, known_committed) F(i64, popped) F(boolean, locked)
SCHEMA_DECLARE(peek_reply)
/* One way: the tag's server has made everything through `version` durable. */
#define FIELDS_pop(F, S, A, L) F(u32, tag) F(i64, version)
SCHEMA_DECLARE(pop)
/* Fences the log for good. epoch: of the recovery. Answered after the sync in flight. */
#define FIELDS_lock_log(F, S, A, L) F(u64, epoch)
SCHEMA_DECLARE(lock_log)
#define FIELDS_lock_log_reply(F, S, A, L) F(u64, log_id) F(i64, begin) F(i64, end) F(i64, known_committed)
SCHEMA_DECLARE(lock_log_reply)
/* The metadata as of `version` (at or above what the log knows committed), 0: as known committed; a mutation table, snapshot
 * then tail. */
#define FIELDS_get_metadata(F, S, A, L) F(i64, version)
SCHEMA_DECLARE(get_metadata)
#define FIELDS_get_metadata_reply(F, S, A, L) F(bytes, mutations)
SCHEMA_DECLARE(get_metadata_reply)
/* Is the epoch alive? Answered with done by an unlocked log of `epoch`, else ERROR_TLOG_STOPPED. */
#define FIELDS_confirm_epoch(F, S, A, L) F(u64, epoch)
SCHEMA_DECLARE(confirm_epoch)

/* ---- storage ---- */

/* All gets of a client's turn for one server. error: 0 or 1001, 1007, 1009, 1037. version: that of the get. */
#define FIELDS_get_value(F, S, A, L) F(bytes, key) F(i64, version)
SCHEMA_DECLARE(get_value)
/* How many of a message's reads are those of transactions with a tag that may be limited by the cluster itself (option 801). */
#define FIELDS_read_tag(F, S, A, L) F(bytes, tag) F(u32, reads)
SCHEMA_DECLARE(read_tag)
#define FIELDS_get_values(F, S, A, L) A(get_value, gets) A(read_tag, tags)
SCHEMA_DECLARE(get_values)
#define FIELDS_value(F, S, A, L) F(u32, error) F(boolean, present) F(bytes, value) F(i64, version)
SCHEMA_DECLARE(value)
#define FIELDS_get_values_reply(F, S, A, L) A(value, values)
SCHEMA_DECLARE(get_values_reply)
/* Pairs of [begin, end) at version, in order (reverse: from the end), until limit pairs or bytes_limit bytes (0: none given).
 * pairs is {u32 key length, u32 value length, key, value}* little-endian. more: there may be more pairs in the part of the
 * range that this server was asked for. The range must lie in one shard of the server, else 1001. version: that of the request.
 * keys_only: values need not come (they are empty then); limits count them all the same. */
#define FIELDS_get_range(F, S, A, L) \
    F(bytes, begin) F(bytes, end) F(i64, version) F(u32, limit) F(u32, bytes_limit) F(boolean, reverse) F(boolean, keys_only) A(read_tag, tags)
SCHEMA_DECLARE(get_range)
#define FIELDS_get_range_reply(F, S, A, L) F(bytes, pairs) F(u32, count) F(boolean, more) F(i64, version)
SCHEMA_DECLARE(get_range_reply)

/* How many bytes [begin, end) has, walked for one turn: as far as `through`, which is `end` when all of it was. Each time that `chunk`
 * bytes (0: none are wanted) have come together, counted on from `carried`, the next key goes to splits. In one shard, else 1001.
 * `carried` and the sum of the answers are RANGE_BYTES_MAX at most, so that no sum of them leaves its integer. */
#define RANGE_BYTES_MAX ((int64_t)1 << 60)
#define FIELDS_get_range_metrics(F, S, A, L) F(bytes, begin) F(bytes, end) F(i64, chunk) F(i64, carried)
SCHEMA_DECLARE(get_range_metrics)
#define FIELDS_split_key(F, S, A, L) F(bytes, key)
SCHEMA_DECLARE(split_key)
#define FIELDS_get_range_metrics_reply(F, S, A, L) F(i64, bytes) F(bytes, through) F(i64, carried) A(split_key, splits)
SCHEMA_DECLARE(get_range_metrics_reply)

/* Watches of one client at one server: a session of its own, whose messages count 1, 2, 3, .. A long poll: answered when one of the
 * session's watches has something to say, and when the session's next message has come. A message out of order, or of a
 * session that is gone, gets ERROR_OPERATION_OBSOLETE: the client then begins another. A watch fires (error 0) once the key's value as of
 * a known committed version at or above `version` is another one than `digest` (watch_digest() in txn/watch_digest.h). Other
 * errors: 1001 (the shard is not here any more), 1032 (the server has too many). It is gone after either. */
#define FIELDS_watch_key(F, S, A, L) F(u64, id) F(bytes, key) F(u64, digest) F(u64, seed) F(i64, version)
SCHEMA_DECLARE(watch_key)
#define FIELDS_watch(F, S, A, L) F(u64, session) F(u64, number) A(watch_key, added) L(u64, removed)
SCHEMA_DECLARE(watch)
#define FIELDS_watch_event(F, S, A, L) F(u64, id) F(u32, error) F(i64, version)
SCHEMA_DECLARE(watch_event)
#define FIELDS_watch_reply(F, S, A, L) A(watch_event, events)
SCHEMA_DECLARE(watch_reply)

/* ---- shards that move, and their loads ---- */

/* One chunk of a move: from the destination to a source, see roles/storage/fetch.c. Pairs (as in get_range_reply) of [begin, end) as of
 * `version`, until bytes_limit (and what the source puts into a chunk); waits for the version as reads do. All of the range must be
 * readable there, else 1001. through: end of what the pairs cover (exclusive, above begin). digest: fetch_digest() in
 * txn/digest.h, over all of it. bytes_left: of what was asked for, behind `through`, by the source's sample; not in the digest. */
#define FIELDS_fetch_range(F, S, A, L) F(bytes, begin) F(bytes, end) F(i64, version) F(u32, bytes_limit)
SCHEMA_DECLARE(fetch_range)
#define FIELDS_fetch_range_reply(F, S, A, L) F(bytes, pairs) F(u32, count) F(bytes, through) F(u64, digest) F(i64, version) F(u64, bytes_left)
SCHEMA_DECLARE(fetch_range_reply)
/* A long poll. Nothing is said before the server has come to `version`, at which the asker saw that the range is the server's: an older
 * state may look ready. Then answered when all of [begin, end) is fetched and durable, or after wait_us; 1001 when some of it is
 * not assigned to the server (any more); 1009 when the version has not come within wait_us. heals: copies have been lost, and the range is
 * fetched at the rate of heals while the question waits. */
#define FIELDS_get_shard_progress(F, S, A, L) F(bytes, begin) F(bytes, end) F(i64, wait_us) F(i64, version) F(boolean, heals)
SCHEMA_DECLARE(get_shard_progress)
/* version: the server's. bytes_fetched: what of the range is there, by the server's sample. bytes_left: what its sources said last is still to
 * come, an estimate; 0: not known (a piece of the range waits for its first chunk), or nothing. */
#define FIELDS_shard_progress(F, S, A, L) F(boolean, ready) F(i64, version) F(u64, bytes_fetched) F(u64, bytes_left)
SCHEMA_DECLARE(shard_progress)
/* What the server holds from `begin` on, in order, at most `limit` shards (0: as many as it likes), with sizes and loads by its samples. The numbers
 * behind the array are of the whole server. more: there are others behind the last one; go on at its end. damaged: a record at damaged_at, or
 * not far behind it, was found to be damaged, and is still there. */
#define FIELDS_get_shard_loads(F, S, A, L) F(bytes, begin) F(u32, limit)
SCHEMA_DECLARE(get_shard_loads)
#define FIELDS_shard_load(F, S, A, L)     F(bytes, begin) F(i64, bytes) F(i64, write_bytes_per_s) F(i64, read_bytes_per_s) F(i64, reads_per_s) F(bytes, end)
SCHEMA_DECLARE(shard_load)
#define FIELDS_shard_loads(F, S, A, L)                                                                                A(shard_load, shards) F(i64, bytes) F(i64, free_bytes) F(i64, total_bytes) F(i64, version) F(i64, durable_lag)     F(i64, write_bytes_per_s) F(i64, read_bytes_per_s) F(boolean, more) F(boolean, damaged) F(bytes, damaged_at)
SCHEMA_DECLARE(shard_loads)
/* Where to cut [begin, end), which is readable there (else 1001): strictly inside, in order; perhaps nowhere. */
enum split_by { SPLIT_BY_BYTES, SPLIT_BY_WRITES, SPLIT_BY_READS }; /* each `chunk` bytes; at the median of the load */
#define FIELDS_get_shard_split(F, S, A, L) F(bytes, begin) F(bytes, end) F(u32, by) F(i64, chunk)
SCHEMA_DECLARE(get_shard_split)
#define FIELDS_shard_split(F, S, A, L) A(split_key, keys)
SCHEMA_DECLARE(shard_split)
/* What a replica holds of [begin, end) as of `version`, for the consistency scan: only the digest travels. Ends after the pair that reaches
 * bytes_limit or pairs_limit (0: the server's own bounds, which hold anyway), so that replicas may end at different keys: then ask each for
 * the shorter part. Waits for the version as reads do; 1001 unless all of the range is readable there; 1522: a record of it is damaged. check_store:
 * a store that is small enough is compared with its own counts first; one that has lost keys is 1522, and the server ends.
 * through: end of what was read (exclusive, above begin). digest: of the pairs, pairs_digest() in txn/digest.h. store: enum store_state. */
enum store_state { STORE_NOT_CHECKED, STORE_WHOLE };
#define FIELDS_get_range_digest(F, S, A, L) \
    F(bytes, begin) F(bytes, end) F(i64, version) F(u32, bytes_limit) F(u32, pairs_limit) F(boolean, check_store)
SCHEMA_DECLARE(get_range_digest)
#define FIELDS_range_digest(F, S, A, L) F(bytes, through) F(u32, pairs) F(u64, bytes) F(u64, digest) F(i64, version) F(u32, store)
SCHEMA_DECLARE(range_digest)
/* From the distributor to the controller: all storage servers as of `version`. One that is not named was removed; old generations
 * wait for it no more. */
#define FIELDS_storage_servers(F, S, A, L) F(i64, version) L(u64, ids)
SCHEMA_DECLARE(storage_servers)

/* ---- ratekeeper ---- */

/* What a tag costs a second, lately. Of reads: in pages of 16 KiB and reads; of writes: in bytes that go to the storage server whose tag is
 * `server`. */
#define FIELDS_tag_cost(F, S, A, L) F(bytes, tag) F(u32, server) F(i64, cost)
SCHEMA_DECLARE(tag_cost)
/* What a storage server says of itself, several times a second while it has work. Totals count since it began. queue_bytes: not
 * durable yet; queue_max: what it may hold in memory. capacity: bytes a second that its disk took when it was busy; 0: not known.
 * free_bytes: of its disk, with what clears have left free in its files. tag: in which its mutations come. reads: the tags whose reads cost
 * it most; reads_cost: what all reads do. */
#define FIELDS_storage_load(F, S, A, L)                                                                               \
    F(u64, id) F(i64, version) F(i64, durable_version) F(i64, queue_bytes) F(i64, queue_max) F(i64, input_bytes)     \
    F(i64, capacity) F(i64, free_bytes) F(i64, total_bytes) F(u32, tag) A(tag_cost, reads) F(i64, reads_cost)
SCHEMA_DECLARE(storage_load)
/* A log. queue_bytes: received and not synced. reserve_bytes: free disk at which it takes nothing any more. */
#define FIELDS_log_load(F, S, A, L)                                                                                    \
    F(u64, id) F(i64, version) F(i64, queue_bytes) F(i64, queue_max) F(i64, input_bytes) F(i64, free_bytes) F(i64, total_bytes) \
    F(i64, reserve_bytes)
SCHEMA_DECLARE(log_load)
/* A GRV proxy or a commit proxy (kind). started: transactions in all that a GRV proxy let start, or commits that came; done: commits that
 * were answered; wait_us: how long a commit proxy's batches have waited for their turn lately, at least (commit_load.c), or how long the first of those that
 * wait at a GRV proxy for their start has waited. A GRV proxy tells of its busiest tags how many transactions
 * came (wanted) and started, in all since it knows them; a commit proxy which tags write most. */
#define FIELDS_tag_load(F, S, A, L) F(bytes, tag) F(i64, started) F(i64, wanted)
SCHEMA_DECLARE(tag_load)
#define FIELDS_proxy_load(F, S, A, L)                                            \
    F(u64, id) F(u32, kind) F(i64, started) F(i64, done) F(i64, wait_us) \
    A(tag_load, tags) A(tag_cost, writes)
SCHEMA_DECLARE(proxy_load)
/* The answer to each of these. Of a GRV proxy: transactions a second, in thousandths, that it may start of its own (negative: as many
 * as come), with batch priority and without; they hold for lease_us. Limits of tags: priority is that of enum grv_flags, 0 for default; each holds
 * for that priority and those below, and no longer than left_us. hold_sets: a disk is nearly full, commit proxies refuse transactions that set anything. */
#define FIELDS_tag_rate(F, S, A, L) F(bytes, tag) F(u32, priority) F(i64, rate_milli) F(i64, left_us)
SCHEMA_DECLARE(tag_rate)
#define FIELDS_rate_lease(F, S, A, L) \
    F(i64, rate_milli) F(i64, batch_rate_milli) F(i64, lease_us) F(boolean, hold_sets) F(u32, reason) A(tag_rate, tags)
SCHEMA_DECLARE(rate_lease)

/* ---- the table ---- */

/* M(id, name, reply name or none, senders, priority). A reply has an id of its own and no reply. */
#define MESSAGE_TABLE(M)                                                             \
    M(10, raft_wire, none, SENDER_SERVER, COMMIT)                                    \
    M(11, coordinator_create_reply, none, SENDER_SERVER, COMMIT)                     \
    M(12, coordinator_create, coordinator_create_reply, SENDER_ANY, COMMIT)          \
    M(13, get_leader_reply, none, SENDER_SERVER, COMMIT)                             \
    M(14, get_leader, get_leader_reply, SENDER_ANY, COMMIT)                          \
    M(15, done, none, SENDER_SERVER, COMMIT)                                         \
    M(16, description, none, SENDER_SERVER, COMMIT)                                  \
    M(18, register_worker, description, SENDER_SERVER, COMMIT)                       \
    M(19, get_description, description, SENDER_ANY, COMMIT)                          \
    M(20, create_database, done, SENDER_ANY, COMMIT)                                 \
    M(21, get_status_reply, none, SENDER_SERVER, READ)                               \
    M(22, get_status, get_status_reply, SENDER_ANY, READ)                            \
    M(23, storage_durable, none, SENDER_SERVER, COMMIT)                              \
    M(24, role_started, none, SENDER_SERVER, COMMIT)                                 \
    M(25, init_sequencer, role_started, SENDER_SERVER, COMMIT)                       \
    M(26, init_grv_proxy, role_started, SENDER_SERVER, COMMIT)                       \
    M(27, init_commit_proxy, role_started, SENDER_SERVER, COMMIT)                    \
    M(28, init_resolver, role_started, SENDER_SERVER, COMMIT)                        \
    M(29, init_log, role_started, SENDER_SERVER, COMMIT)                             \
    M(30, init_storage, role_started, SENDER_SERVER, COMMIT)                         \
    M(31, get_worker_status_reply, none, SENDER_SERVER, READ)                        \
    M(32, get_worker_status, get_worker_status_reply, SENDER_ANY, READ)              \
    M(33, reboot_process, done, SENDER_ANY, COMMIT)                                  \
    M(34, get_commit_version_reply, none, SENDER_SERVER, COMMIT)                     \
    M(35, get_commit_version, get_commit_version_reply, SENDER_SERVER, COMMIT)       \
    M(36, report_committed, done, SENDER_SERVER, COMMIT)                             \
    M(37, get_committed_reply, none, SENDER_SERVER, COMMIT)                          \
    M(38, get_committed, get_committed_reply, SENDER_SERVER, COMMIT)                 \
    M(39, get_read_version_reply, none, SENDER_SERVER, COMMIT)                       \
    M(40, get_read_version, get_read_version_reply, SENDER_ANY, COMMIT)              \
    M(41, commit_reply, none, SENDER_SERVER, COMMIT)                                 \
    M(42, commit, commit_reply, SENDER_ANY, COMMIT)                                  \
    M(43, get_key_locations_reply, none, SENDER_SERVER, READ)                        \
    M(44, get_key_locations, get_key_locations_reply, SENDER_ANY, READ)              \
    M(45, resolve_reply, none, SENDER_SERVER, COMMIT)                                \
    M(46, resolve, resolve_reply, SENDER_SERVER, COMMIT)                             \
    M(47, push, done, SENDER_SERVER, COMMIT)                                         \
    M(48, peek_reply, none, SENDER_SERVER, COMMIT)                                   \
    M(49, peek, peek_reply, SENDER_SERVER, COMMIT)                                   \
    M(50, pop, none, SENDER_SERVER, COMMIT)                                          \
    M(51, lock_log_reply, none, SENDER_SERVER, COMMIT)                               \
    M(52, lock_log, lock_log_reply, SENDER_SERVER, COMMIT)                           \
    M(53, get_metadata_reply, none, SENDER_SERVER, COMMIT)                           \
    M(54, get_metadata, get_metadata_reply, SENDER_SERVER, COMMIT)                   \
    M(55, confirm_epoch, done, SENDER_SERVER, COMMIT)                                \
    M(56, get_values_reply, none, SENDER_SERVER, READ)                               \
    M(57, get_values, get_values_reply, SENDER_ANY, READ)                            \
    M(58, get_range_reply, none, SENDER_SERVER, READ)                                \
    M(59, get_range, get_range_reply, SENDER_ANY, READ)                              \
    M(60, state_reply, none, SENDER_SERVER, COMMIT)                                  \
    M(61, read_state, state_reply, SENDER_SERVER, COMMIT)                            \
    M(62, lock_state, state_reply, SENDER_SERVER, COMMIT)                            \
    M(63, write_state, state_reply, SENDER_SERVER, COMMIT)                           \
    M(64, get_range_metrics_reply, none, SENDER_SERVER, READ)                        \
    M(65, get_range_metrics, get_range_metrics_reply, SENDER_ANY, READ)              \
    M(66, watch_reply, none, SENDER_SERVER, READ)                                    \
    M(67, watch, watch_reply, SENDER_ANY, READ)                                      \
    M(68, get_workers_reply, none, SENDER_SERVER, READ)                              \
    M(69, get_workers, get_workers_reply, SENDER_ANY, READ)                          \
    M(70, init_data_distributor, role_started, SENDER_SERVER, COMMIT)                \
    M(71, init_ratekeeper, role_started, SENDER_SERVER, COMMIT)                      \
    M(72, rate_lease, none, SENDER_SERVER, COMMIT)                                   \
    M(73, storage_load, rate_lease, SENDER_SERVER, COMMIT)                           \
    M(74, log_load, rate_lease, SENDER_SERVER, COMMIT)                               \
    M(75, proxy_load, rate_lease, SENDER_SERVER, COMMIT)                             \
    M(80, fetch_range_reply, none, SENDER_SERVER, READ)                              \
    M(81, fetch_range, fetch_range_reply, SENDER_SERVER, READ)                       \
    M(82, shard_progress, none, SENDER_SERVER, READ)                                 \
    M(83, get_shard_progress, shard_progress, SENDER_ANY, READ)                      \
    M(84, shard_loads, none, SENDER_SERVER, READ)                                    \
    M(85, get_shard_loads, shard_loads, SENDER_ANY, READ)                            \
    M(86, shard_split, none, SENDER_SERVER, READ)                                    \
    M(87, get_shard_split, shard_split, SENDER_ANY, READ)                            \
    M(88, storage_servers, done, SENDER_SERVER, COMMIT)                              \
    M(100, settings, none, SENDER_SERVER, COMMIT)                                    \
    M(101, get_settings, settings, SENDER_SERVER, COMMIT)                            \
    M(104, coordinator_join_reply, none, SENDER_SERVER, COMMIT)                      \
    M(102, coordinator_join, coordinator_join_reply, SENDER_ANY, COMMIT)             \
    M(103, coordinator_change, done, SENDER_ANY, COMMIT)                             \
    M(110, range_digest, none, SENDER_SERVER, READ)                                  \
    M(111, get_range_digest, range_digest, SENDER_SERVER, READ)                      \
    M(115, resolver_load, none, SENDER_SERVER, COMMIT)                               \
    M(116, get_resolver_load, resolver_load, SENDER_SERVER, COMMIT)

enum message_id {
#define M(id, name, reply, senders, priority) MESSAGE_##name = id,
    MESSAGE_TABLE(M)
#undef M
    MESSAGE_ID_END = 120,
};

#define M(id, name, reply, senders, priority) extern const struct message_type message_type_##name;
MESSAGE_TABLE(M)
#undef M

/* For rpc_options.types: indexed by id, with holes; MESSAGE_ID_END entries. */
extern const struct message_type *const message_types[];

/* struct push *p = message_new(push, &message); the body, zeroed. In a server it never fails. */
#define MESSAGE_NEW(name, ret_message) \
    ((struct name *)((*(ret_message) = message_create(&message_type_##name)) == NULL ? NULL : (*(ret_message))->body))
/* The body of a message known to be of that type (asserts). */
#define MESSAGE_BODY(name, message) ((const struct name *)message_body_checked((message), &message_type_##name))
const void *message_body_checked(const struct message *message, const struct message_type *type);

/* Well-known endpoint ids. */
enum well_known_endpoint {
    ENDPOINT_COORDINATOR = 1, /* raft_wire, coordinator_create, get_leader, *_state */
    ENDPOINT_CONTROLLER = 2,  /* register_worker, get_description, create_database, get_status, storage_durable, storage_servers */
    ENDPOINT_WORKER = 3,      /* init_*, get_worker_status, reboot_process */
};

/* On the wire and on disk: never renumbered. */
enum role_kind {
    ROLE_NONE,
    ROLE_COORDINATOR,
    ROLE_CONTROLLER,
    ROLE_SEQUENCER,
    ROLE_GRV_PROXY,
    ROLE_COMMIT_PROXY,
    ROLE_RESOLVER,
    ROLE_LOG,
    ROLE_STORAGE,
    ROLE_DATA_DISTRIBUTOR,
    ROLE_RATEKEEPER,
    ROLE_KINDS,
};
/* FoundationDB's status words: "coordinator", "cluster_controller", "master", "grv_proxy", ... */
const char *role_kind_name(enum role_kind kind);

enum process_class { CLASS_UNSET, CLASS_COORDINATOR, CLASS_STATELESS, CLASS_LOG, CLASS_STORAGE, CLASS_COUNT };
const char *process_class_name(enum process_class process_class);

enum engine_kind { ENGINE_LMDB = 1, ENGINE_MEMORY = 2 };
