/* Who votes: the configuration in force, the table of peers, and changes of one member at a time [thesis 4].
 *
 * A member to be added is first brought up to date without a vote, so that a dead or empty one can't take the cluster's
 * majority away; only then is the configuration appended. A member that was removed is sent appends for a while longer,
 * so that it learns of it. Both are known to the leader alone and end with its leadership. */
#include <assert.h>

#include "net/error.h"
#include "net/planted_bug.h"
#include "roles/coordinator/raft/raft_internal.h"

size_t raft_configuration_encode(const struct raft_configuration *configuration, uint8_t *out)
{
    uint8_t *p = out;

    assert(configuration->count >= 1 && configuration->count <= RAFT_MEMBERS_MAX);
    *p++ = (uint8_t)configuration->count;
    for (uint32_t i = 0; i < configuration->count; i++) {
        const struct raft_member *member = &configuration->members[i];

        assert(member->id != 0);
        assert(member->address_len <= RAFT_ADDRESS_BYTES_MAX);
        put_le64(p, member->id);
        p[8] = member->address_len;
        memcpy(p + 9, member->address, member->address_len);
        p += 9 + member->address_len;
    }
    assert(p - out <= RAFT_CONFIGURATION_BYTES_MAX);
    return (size_t)(p - out);
}

bool raft_configuration_decode(struct bytes bytes, struct raft_configuration *ret_configuration)
{
    struct raft_configuration decoded = {0};
    size_t at = 1;

    if (bytes.len < 1 || bytes.ptr[0] < 1 || bytes.ptr[0] > RAFT_MEMBERS_MAX)
        return false;
    for (uint32_t i = 0; i < bytes.ptr[0]; i++) {
        struct raft_member *member = &decoded.members[i];

        if (bytes.len - at < 9)
            return false;
        member->id = get_le64(bytes.ptr + at);
        member->address_len = bytes.ptr[at + 8];
        at += 9;
        if (member->address_len > RAFT_ADDRESS_BYTES_MAX || bytes.len - at < member->address_len)
            return false;
        memcpy(member->address, bytes.ptr + at, member->address_len);
        at += member->address_len;
        if (member->id == 0 || raft_configuration_find(&decoded, member->id) != NULL)
            return false;
        decoded.count++;
    }
    if (at != bytes.len)
        return false;
    *ret_configuration = decoded;
    return true;
}

const struct raft_member *raft_configuration_find(const struct raft_configuration *configuration, uint64_t id)
{
    for (uint32_t i = 0; i < configuration->count; i++) {
        if (configuration->members[i].id == id)
            return &configuration->members[i];
    }
    return NULL;
}

static void decode_own(struct bytes bytes, struct raft_configuration *ret_configuration)
{
    *ret_configuration = (struct raft_configuration){0};
    if (bytes.len != 0) {
        bool valid = raft_configuration_decode(bytes, ret_configuration);

        assert(valid); /* was checked when it came in */
    }
}

static uint32_t count_missing(const struct raft_configuration *in, const struct raft_configuration *members)
{
    uint32_t missing = 0;

    for (uint32_t i = 0; i < members->count; i++)
        missing += raft_configuration_find(in, members->members[i].id) == NULL;
    return missing;
}

bool raft_configuration_is_step(const struct raft_configuration *before, const struct raft_configuration *after)
{
    return before->count == 0 || count_missing(before, after) + count_missing(after, before) <= 1;
}

uint32_t raft_quorum(const struct raft *raft)
{
    return raft->configuration.count / 2 + 1;
}

bool raft_is_voter(const struct raft *raft, uint64_t id)
{
    return raft_configuration_find(&raft->configuration, id) != NULL;
}

bool raft_may_lead(const struct raft *raft, uint64_t id)
{
    struct raft_configuration previous;
    uint64_t index;

    if (raft_is_voter(raft, id))
        return true;
    if (raft->commit_index >= raft->configuration_index || raft->configuration_index <= raft->log.snapshot.index)
        return false;
    decode_own(raft_configuration_at(raft, raft->configuration_index - 1, &index), &previous);
    return raft_configuration_find(&previous, id) != NULL;
}

/* One that is being removed may be the only one left whose log can win, until its removal has committed [thesis 4.2.2]. */
bool raft_electable(const struct raft *raft)
{
    if (raft_is_voter(raft, raft->options.id))
        return true;
    return raft->was_member && raft->commit_index < raft->configuration_index;
}

struct raft_peer *raft_peer_find(struct raft *raft, uint64_t id)
{
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        if (raft->peers[i].id == id)
            return &raft->peers[i];
    }
    return NULL;
}

struct bytes raft_configuration_at(const struct raft *raft, uint64_t index, uint64_t *ret_index)
{
    for (; index > raft->log.snapshot.index; index--) {
        const struct raft_entry *entry = raft_log_entry(&raft->log, index);

        if (entry->type == RAFT_ENTRY_CONFIGURATION) {
            *ret_index = index;
            return entry->data;
        }
    }
    *ret_index = raft->log.snapshot.index;
    return raft->log.snapshot.configuration;
}

void raft_refresh_configuration(struct raft *raft)
{
    struct raft_configuration before = raft->configuration, previous;
    uint64_t index, previous_index;

    decode_own(raft_configuration_at(raft, raft_log_last_index(&raft->log), &index), &raft->configuration);
    raft->configuration_index = index;
    raft->was_member = false;
    if (index > raft->log.snapshot.index) {
        decode_own(raft_configuration_at(raft, index - 1, &previous_index), &previous);
        raft->was_member = raft_configuration_find(&previous, raft->options.id) != NULL;
    }
    if (memcmp(&before, &raft->configuration, sizeof(before)) != 0)
        raft->configuration_changed = true;
    raft_rebuild_peers(raft);
}

static void keep_peer(struct raft *raft, const struct raft_peer *old, uint32_t old_count, uint64_t id, bool voter)
{
    struct raft_peer peer = {.id = id, .next = raft_log_last_index(&raft->log) + 1, .heard_us = raft->now_us};

    if (id == 0 || id == raft->options.id || raft_peer_find(raft, id) != NULL)
        return;
    for (uint32_t i = 0; i < old_count; i++) {
        if (old[i].id == id)
            peer = old[i];
    }
    peer.voter = voter;
    assert(raft->peer_count < RAFT_PEERS_MAX);
    raft->peers[raft->peer_count++] = peer;
}

void raft_rebuild_peers(struct raft *raft)
{
    struct raft_peer old[RAFT_PEERS_MAX];
    uint32_t old_count = raft->peer_count;

    memcpy(old, raft->peers, sizeof(old));
    memset(raft->peers, 0, sizeof(raft->peers));
    raft->peer_count = 0;
    for (uint32_t i = 0; i < raft->configuration.count; i++)
        keep_peer(raft, old, old_count, raft->configuration.members[i].id, true);
    keep_peer(raft, old, old_count, raft->joining.id, false);
    keep_peer(raft, old, old_count, raft->leaving_id, false);
}

/* [thesis 4.1], and the leader's own term first: ongardie's correction to it (raft-dev, "bug in single-server membership
 * changes", 2015). */
static int may_change(const struct raft *raft)
{
    if (raft->role != RAFT_LEADER || raft->transfer_id != 0)
        return ERROR_OPERATION_OBSOLETE;
    if (raft->commit_index < raft->noop_index || (raft->commit_index < raft->configuration_index && !PLANTED_BUG(TWO_CHANGES)) ||
        raft->joining.id != 0)
        return ERROR_OPERATION_FAILED;
    return 0;
}

static int append_configuration(struct raft *raft, const struct raft_configuration *configuration)
{
    uint8_t encoded[RAFT_CONFIGURATION_BYTES_MAX];
    size_t len = raft_configuration_encode(configuration, encoded);
    int error = raft_append(raft, RAFT_ENTRY_CONFIGURATION, raft->term, bytes_of(encoded, len));

    if (error != 0)
        return error;
    assert(raft->configuration_index == raft_log_last_index(&raft->log));
    raft->change_pending = true;
    raft_broadcast(raft);
    return 0;
}

int raft_add_member(struct raft *raft, const struct raft_member *member)
{
    int error = may_change(raft);

    if (error != 0)
        return error;
    if (member->id == 0 || member->id == raft->options.id || member->address_len > RAFT_ADDRESS_BYTES_MAX ||
        raft_is_voter(raft, member->id) || raft->configuration.count == RAFT_MEMBERS_MAX)
        return ERROR_CLIENT_INVALID_OPERATION;
    raft->joining = (struct raft_member){.id = member->id, .address_len = member->address_len};
    memcpy(raft->joining.address, member->address, member->address_len);
    raft->joining_us = raft->now_us + RAFT_JOIN_TIMEOUTS * raft->options.election_timeout_us;
    raft->leaving_id = 0; /* one table slot each, and this one may be the very member that left */
    raft_rebuild_peers(raft);
    raft_send_append(raft, raft_peer_find(raft, member->id));
    return 0;
}

int raft_remove_member(struct raft *raft, uint64_t id)
{
    struct raft_configuration smaller = {0};
    uint64_t was_leaving = raft->leaving_id;
    int error = may_change(raft);

    if (error != 0)
        return error;
    if (!raft_is_voter(raft, id) || raft->configuration.count == 1)
        return ERROR_CLIENT_INVALID_OPERATION;
    for (uint32_t i = 0; i < raft->configuration.count; i++) {
        if (raft->configuration.members[i].id != id)
            smaller.members[smaller.count++] = raft->configuration.members[i];
    }
    raft->leaving_id = id == raft->options.id ? 0 : id;
    raft->leaving_us = raft->now_us + RAFT_JOIN_TIMEOUTS * raft->options.election_timeout_us;
    error = append_configuration(raft, &smaller);
    if (error != 0) {
        raft->leaving_id = was_leaving;
        return error;
    }
    raft_advance_commit(raft); /* a smaller majority may be there already */
    return 0;
}

static void abort_joining(struct raft *raft)
{
    raft->joining.id = 0;
    raft->change = RAFT_CHANGE_ABORTED;
    raft_rebuild_peers(raft);
}

static void join(struct raft *raft)
{
    struct raft_configuration larger = raft->configuration;

    assert(larger.count < RAFT_MEMBERS_MAX);
    larger.members[larger.count++] = raft->joining;
    if (append_configuration(raft, &larger) != 0) {
        abort_joining(raft);
        return;
    }
    raft->joining.id = 0;
    raft_rebuild_peers(raft);
}

void raft_membership_progress(struct raft *raft, const struct raft_peer *peer)
{
    assert(raft->role == RAFT_LEADER);
    if (peer->id == raft->joining.id && peer->match >= raft->commit_index)
        join(raft);
    else if (peer->id == raft->leaving_id && peer->match >= raft->configuration_index &&
             peer->commit_sent >= raft->configuration_index) {
        raft->leaving_id = 0; /* it has been told */
        raft_rebuild_peers(raft);
    }
}

void raft_membership_committed(struct raft *raft)
{
    const struct raft_peer *heir;

    if (raft->commit_index < raft->configuration_index)
        return;
    if (raft->change_pending)
        raft->change = RAFT_CHANGE_COMMITTED;
    raft->change_pending = false;
    if (raft_is_voter(raft, raft->options.id))
        return;
    heir = raft_best_voter(raft);
    assert(heir != NULL);
    raft_send_timeout_now(raft, heir->id); /* our own removal: step down and spare the others the wait [thesis 4.2.2] */
    raft_become_follower(raft, raft->term, 0);
}

void raft_membership_timers(struct raft *raft)
{
    if (raft->role != RAFT_LEADER)
        return;
    if (raft->joining.id != 0 && raft->now_us >= raft->joining_us)
        abort_joining(raft);
    if (raft->leaving_id != 0 && raft->now_us >= raft->leaving_us) {
        raft->leaving_id = 0;
        raft_rebuild_peers(raft);
    }
}

void raft_membership_stop(struct raft *raft)
{
    if (raft->joining.id != 0)
        raft->change = RAFT_CHANGE_ABORTED;
    raft->joining.id = 0;
    raft->leaving_id = 0;
    raft->change_pending = false;
    raft_rebuild_peers(raft);
}
