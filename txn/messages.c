/* The descriptors of every message, expanded from the tables of messages.h. */
#include "txn/messages.h"

#include <assert.h>

#define SELF struct wire_endpoint
SCHEMA_DEFINE(wire_endpoint, wire_endpoint_fields)
#undef SELF
#define SELF struct log_ref
SCHEMA_DEFINE(log_ref, log_ref_fields)
#undef SELF
#define SELF struct generation
SCHEMA_DEFINE(generation, generation_fields)
#undef SELF
#define SELF struct role_ref
SCHEMA_DEFINE(role_ref, role_ref_fields)
#undef SELF
#define SELF struct description
SCHEMA_DEFINE(description, description_fields)
#undef SELF
#define SELF struct coordinator_member
SCHEMA_DEFINE(coordinator_member, coordinator_member_fields)
#undef SELF
#define SELF struct coordinated_state
SCHEMA_DEFINE(coordinated_state, coordinated_state_fields)
#undef SELF
#define SELF struct raft_wire_entry
SCHEMA_DEFINE(raft_wire_entry, raft_wire_entry_fields)
#undef SELF
#define SELF struct raft_wire
SCHEMA_DEFINE(raft_wire, raft_wire_fields)
#undef SELF
#define SELF struct coordinator_create
SCHEMA_DEFINE(coordinator_create, coordinator_create_fields)
#undef SELF
#define SELF struct coordinator_create_reply
SCHEMA_DEFINE(coordinator_create_reply, coordinator_create_reply_fields)
#undef SELF
#define SELF struct get_leader
SCHEMA_DEFINE(get_leader, get_leader_fields)
#undef SELF
#define SELF struct get_leader_reply
SCHEMA_DEFINE(get_leader_reply, get_leader_reply_fields)
#undef SELF
#define SELF struct read_state
SCHEMA_DEFINE(read_state, read_state_fields)
#undef SELF
#define SELF struct lock_state
SCHEMA_DEFINE(lock_state, lock_state_fields)
#undef SELF
#define SELF struct write_state
SCHEMA_DEFINE(write_state, write_state_fields)
#undef SELF
#define SELF struct state_reply
SCHEMA_DEFINE(state_reply, state_reply_fields)
#undef SELF
#define SELF struct hosted_role
SCHEMA_DEFINE(hosted_role, hosted_role_fields)
#undef SELF
#define SELF struct register_worker
SCHEMA_DEFINE(register_worker, register_worker_fields)
#undef SELF
#define SELF struct get_description
SCHEMA_DEFINE(get_description, get_description_fields)
#undef SELF
#define SELF struct create_database
SCHEMA_DEFINE(create_database, create_database_fields)
#undef SELF
#define SELF struct done
SCHEMA_DEFINE(done, done_fields)
#undef SELF
#define SELF struct worker_interface
SCHEMA_DEFINE(worker_interface, worker_interface_fields)
#undef SELF
#define SELF struct get_workers
SCHEMA_DEFINE(get_workers, get_workers_fields)
#undef SELF
#define SELF struct get_workers_reply
SCHEMA_DEFINE(get_workers_reply, get_workers_reply_fields)
#undef SELF
#define SELF struct get_status
SCHEMA_DEFINE(get_status, get_status_fields)
#undef SELF
#define SELF struct get_status_reply
SCHEMA_DEFINE(get_status_reply, get_status_reply_fields)
#undef SELF
#define SELF struct storage_durable
SCHEMA_DEFINE(storage_durable, storage_durable_fields)
#undef SELF
#define SELF struct role_started
SCHEMA_DEFINE(role_started, role_started_fields)
#undef SELF
#define SELF struct init_sequencer
SCHEMA_DEFINE(init_sequencer, init_sequencer_fields)
#undef SELF
#define SELF struct init_grv_proxy
SCHEMA_DEFINE(init_grv_proxy, init_grv_proxy_fields)
#undef SELF
#define SELF struct init_commit_proxy
SCHEMA_DEFINE(init_commit_proxy, init_commit_proxy_fields)
#undef SELF
#define SELF struct init_resolver
SCHEMA_DEFINE(init_resolver, init_resolver_fields)
#undef SELF
#define SELF struct init_log
SCHEMA_DEFINE(init_log, init_log_fields)
#undef SELF
#define SELF struct init_storage
SCHEMA_DEFINE(init_storage, init_storage_fields)
#undef SELF
#define SELF struct init_data_distributor
SCHEMA_DEFINE(init_data_distributor, init_data_distributor_fields)
#undef SELF
#define SELF struct init_ratekeeper
SCHEMA_DEFINE(init_ratekeeper, init_ratekeeper_fields)
#undef SELF
#define SELF struct metric
SCHEMA_DEFINE(metric, metric_fields)
#undef SELF
#define SELF struct role_text
SCHEMA_DEFINE(role_text, role_text_fields)
#undef SELF
#define SELF struct role_status
SCHEMA_DEFINE(role_status, role_status_fields)
#undef SELF
#define SELF struct get_worker_status
SCHEMA_DEFINE(get_worker_status, get_worker_status_fields)
#undef SELF
#define SELF struct get_worker_status_reply
SCHEMA_DEFINE(get_worker_status_reply, get_worker_status_reply_fields)
#undef SELF
#define SELF struct reboot_process
SCHEMA_DEFINE(reboot_process, reboot_process_fields)
#undef SELF
#define SELF struct get_commit_version
SCHEMA_DEFINE(get_commit_version, get_commit_version_fields)
#undef SELF
#define SELF struct get_commit_version_reply
SCHEMA_DEFINE(get_commit_version_reply, get_commit_version_reply_fields)
#undef SELF
#define SELF struct report_committed
SCHEMA_DEFINE(report_committed, report_committed_fields)
#undef SELF
#define SELF struct get_committed
SCHEMA_DEFINE(get_committed, get_committed_fields)
#undef SELF
#define SELF struct get_committed_reply
SCHEMA_DEFINE(get_committed_reply, get_committed_reply_fields)
#undef SELF
#define SELF struct tag_text
SCHEMA_DEFINE(tag_text, tag_text_fields)
#undef SELF
#define SELF struct get_read_version
SCHEMA_DEFINE(get_read_version, get_read_version_fields)
#undef SELF
#define SELF struct get_read_version_reply
SCHEMA_DEFINE(get_read_version_reply, get_read_version_reply_fields)
#undef SELF
#define SELF struct commit
SCHEMA_DEFINE(commit, commit_fields)
#undef SELF
#define SELF struct conflict
SCHEMA_DEFINE(conflict, conflict_fields)
#undef SELF
#define SELF struct commit_reply
SCHEMA_DEFINE(commit_reply, commit_reply_fields)
#undef SELF
#define SELF struct get_key_locations
SCHEMA_DEFINE(get_key_locations, get_key_locations_fields)
#undef SELF
#define SELF struct location
SCHEMA_DEFINE(location, location_fields)
#undef SELF
#define SELF struct get_key_locations_reply
SCHEMA_DEFINE(get_key_locations_reply, get_key_locations_reply_fields)
#undef SELF
#define SELF struct resolve_transaction
SCHEMA_DEFINE(resolve_transaction, resolve_transaction_fields)
#undef SELF
#define SELF struct resolve
SCHEMA_DEFINE(resolve, resolve_fields)
#undef SELF
#define SELF struct get_resolver_load
SCHEMA_DEFINE(get_resolver_load, get_resolver_load_fields)
#undef SELF
#define SELF struct sampled_key
SCHEMA_DEFINE(sampled_key, sampled_key_fields)
#undef SELF
#define SELF struct resolver_load
SCHEMA_DEFINE(resolver_load, resolver_load_fields)
#undef SELF
#define SELF struct metadata_transaction
SCHEMA_DEFINE(metadata_transaction, metadata_transaction_fields)
#undef SELF
#define SELF struct metadata_batch
SCHEMA_DEFINE(metadata_batch, metadata_batch_fields)
#undef SELF
#define SELF struct resolve_reply
SCHEMA_DEFINE(resolve_reply, resolve_reply_fields)
#undef SELF
#define SELF struct push_section
SCHEMA_DEFINE(push_section, push_section_fields)
#undef SELF
#define SELF struct push
SCHEMA_DEFINE(push, push_fields)
#undef SELF
#define SELF struct peek
SCHEMA_DEFINE(peek, peek_fields)
#undef SELF
#define SELF struct peek_version
SCHEMA_DEFINE(peek_version, peek_version_fields)
#undef SELF
#define SELF struct peek_reply
SCHEMA_DEFINE(peek_reply, peek_reply_fields)
#undef SELF
#define SELF struct pop
SCHEMA_DEFINE(pop, pop_fields)
#undef SELF
#define SELF struct lock_log
SCHEMA_DEFINE(lock_log, lock_log_fields)
#undef SELF
#define SELF struct lock_log_reply
SCHEMA_DEFINE(lock_log_reply, lock_log_reply_fields)
#undef SELF
#define SELF struct get_metadata
SCHEMA_DEFINE(get_metadata, get_metadata_fields)
#undef SELF
#define SELF struct get_metadata_reply
SCHEMA_DEFINE(get_metadata_reply, get_metadata_reply_fields)
#undef SELF
#define SELF struct confirm_epoch
SCHEMA_DEFINE(confirm_epoch, confirm_epoch_fields)
#undef SELF
#define SELF struct get_value
SCHEMA_DEFINE(get_value, get_value_fields)
#undef SELF
#define SELF struct read_tag
SCHEMA_DEFINE(read_tag, read_tag_fields)
#undef SELF
#define SELF struct get_values
SCHEMA_DEFINE(get_values, get_values_fields)
#undef SELF
#define SELF struct value
SCHEMA_DEFINE(value, value_fields)
#undef SELF
#define SELF struct get_values_reply
SCHEMA_DEFINE(get_values_reply, get_values_reply_fields)
#undef SELF
#define SELF struct get_range
SCHEMA_DEFINE(get_range, get_range_fields)
#undef SELF
#define SELF struct get_range_reply
SCHEMA_DEFINE(get_range_reply, get_range_reply_fields)
#undef SELF
#define SELF struct get_range_metrics
SCHEMA_DEFINE(get_range_metrics, get_range_metrics_fields)
#undef SELF
#define SELF struct split_key
SCHEMA_DEFINE(split_key, split_key_fields)
#undef SELF
#define SELF struct get_range_metrics_reply
SCHEMA_DEFINE(get_range_metrics_reply, get_range_metrics_reply_fields)
#undef SELF
#define SELF struct watch_key
SCHEMA_DEFINE(watch_key, watch_key_fields)
#undef SELF
#define SELF struct watch
SCHEMA_DEFINE(watch, watch_fields)
#undef SELF
#define SELF struct watch_event
SCHEMA_DEFINE(watch_event, watch_event_fields)
#undef SELF
#define SELF struct watch_reply
SCHEMA_DEFINE(watch_reply, watch_reply_fields)
#undef SELF
#define SELF struct fetch_range
SCHEMA_DEFINE(fetch_range, fetch_range_fields)
#undef SELF
#define SELF struct fetch_range_reply
SCHEMA_DEFINE(fetch_range_reply, fetch_range_reply_fields)
#undef SELF
#define SELF struct get_shard_progress
SCHEMA_DEFINE(get_shard_progress, get_shard_progress_fields)
#undef SELF
#define SELF struct shard_progress
SCHEMA_DEFINE(shard_progress, shard_progress_fields)
#undef SELF
#define SELF struct get_shard_loads
SCHEMA_DEFINE(get_shard_loads, get_shard_loads_fields)
#undef SELF
#define SELF struct shard_load
SCHEMA_DEFINE(shard_load, shard_load_fields)
#undef SELF
#define SELF struct shard_loads
SCHEMA_DEFINE(shard_loads, shard_loads_fields)
#undef SELF
#define SELF struct get_shard_split
SCHEMA_DEFINE(get_shard_split, get_shard_split_fields)
#undef SELF
#define SELF struct shard_split
SCHEMA_DEFINE(shard_split, shard_split_fields)
#undef SELF
#define SELF struct get_range_digest
SCHEMA_DEFINE(get_range_digest, get_range_digest_fields)
#undef SELF
#define SELF struct range_digest
SCHEMA_DEFINE(range_digest, range_digest_fields)
#undef SELF
#define SELF struct storage_servers
SCHEMA_DEFINE(storage_servers, storage_servers_fields)
#undef SELF
#define SELF struct coordinator_join
SCHEMA_DEFINE(coordinator_join, coordinator_join_fields)
#undef SELF
#define SELF struct coordinator_join_reply
SCHEMA_DEFINE(coordinator_join_reply, coordinator_join_reply_fields)
#undef SELF
#define SELF struct coordinator_change
SCHEMA_DEFINE(coordinator_change, coordinator_change_fields)
#undef SELF
#define SELF struct get_settings
SCHEMA_DEFINE(get_settings, get_settings_fields)
#undef SELF
#define SELF struct settings
SCHEMA_DEFINE(settings, settings_fields)
#undef SELF
#define SELF struct tag_cost
SCHEMA_DEFINE(tag_cost, tag_cost_fields)
#undef SELF
#define SELF struct storage_load
SCHEMA_DEFINE(storage_load, storage_load_fields)
#undef SELF
#define SELF struct log_load
SCHEMA_DEFINE(log_load, log_load_fields)
#undef SELF
#define SELF struct tag_load
SCHEMA_DEFINE(tag_load, tag_load_fields)
#undef SELF
#define SELF struct proxy_load
SCHEMA_DEFINE(proxy_load, proxy_load_fields)
#undef SELF
#define SELF struct tag_rate
SCHEMA_DEFINE(tag_rate, tag_rate_fields)
#undef SELF
#define SELF struct rate_lease
SCHEMA_DEFINE(rate_lease, rate_lease_fields)
#undef SELF

/* What the third column means; `none` is a one-way message or a reply. */
#define REPLY_OF_commit_reply &message_type_commit_reply
#define REPLY_OF_coordinator_create_reply &message_type_coordinator_create_reply
#define REPLY_OF_coordinator_join_reply &message_type_coordinator_join_reply
#define REPLY_OF_description &message_type_description
#define REPLY_OF_done &message_type_done
#define REPLY_OF_fetch_range_reply &message_type_fetch_range_reply
#define REPLY_OF_get_commit_version_reply &message_type_get_commit_version_reply
#define REPLY_OF_resolver_load &message_type_resolver_load
#define REPLY_OF_get_committed_reply &message_type_get_committed_reply
#define REPLY_OF_get_key_locations_reply &message_type_get_key_locations_reply
#define REPLY_OF_get_leader_reply &message_type_get_leader_reply
#define REPLY_OF_get_metadata_reply &message_type_get_metadata_reply
#define REPLY_OF_get_range_metrics_reply &message_type_get_range_metrics_reply
#define REPLY_OF_get_range_reply &message_type_get_range_reply
#define REPLY_OF_get_read_version_reply &message_type_get_read_version_reply
#define REPLY_OF_get_status_reply &message_type_get_status_reply
#define REPLY_OF_get_values_reply &message_type_get_values_reply
#define REPLY_OF_get_worker_status_reply &message_type_get_worker_status_reply
#define REPLY_OF_get_workers_reply &message_type_get_workers_reply
#define REPLY_OF_lock_log_reply &message_type_lock_log_reply
#define REPLY_OF_none NULL
#define REPLY_OF_peek_reply &message_type_peek_reply
#define REPLY_OF_rate_lease &message_type_rate_lease
#define REPLY_OF_resolve_reply &message_type_resolve_reply
#define REPLY_OF_role_started &message_type_role_started
#define REPLY_OF_settings &message_type_settings
#define REPLY_OF_shard_loads &message_type_shard_loads
#define REPLY_OF_shard_progress &message_type_shard_progress
#define REPLY_OF_shard_split &message_type_shard_split
#define REPLY_OF_range_digest &message_type_range_digest
#define REPLY_OF_state_reply &message_type_state_reply
#define REPLY_OF_watch_reply &message_type_watch_reply
#define M(id, name, reply, senders, priority) \
    const struct message_type message_type_##name = {id, #name, &schema_##name, REPLY_OF_##reply, senders, PRIORITY_##priority};
MESSAGE_TABLE(M)
#undef M

const struct message_type *const message_types[MESSAGE_ID_END] = {
#define M(id, name, reply, senders, priority) [id] = &message_type_##name,
    MESSAGE_TABLE(M)
#undef M
};

const void *message_body_checked(const struct message *message, const struct message_type *type)
{
    assert(message->type == type);
    return message->body;
}

const char *role_kind_name(enum role_kind kind)
{
    static const char *const names[ROLE_KINDS] = {
        [ROLE_NONE] = "none",           [ROLE_COORDINATOR] = "coordinator", [ROLE_CONTROLLER] = "cluster_controller",
        [ROLE_SEQUENCER] = "master",    [ROLE_GRV_PROXY] = "grv_proxy",     [ROLE_COMMIT_PROXY] = "commit_proxy",
        [ROLE_RESOLVER] = "resolver",   [ROLE_LOG] = "log",                 [ROLE_STORAGE] = "storage",
        [ROLE_DATA_DISTRIBUTOR] = "data_distributor", [ROLE_RATEKEEPER] = "ratekeeper",
    };

    return (unsigned)kind < ROLE_KINDS ? names[kind] : "unknown";
}

const char *process_class_name(enum process_class process_class)
{
    static const char *const names[CLASS_COUNT] = {"unset", "coordinator", "stateless", "log", "storage"};

    return (unsigned)process_class < CLASS_COUNT ? names[process_class] : "unknown";
}
