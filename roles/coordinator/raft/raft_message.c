/* Messages in and out: what is worth a handler at all, what is sent, what waits for the disk.
 *
 * Whatever arrives may be forged or damaged. Here everything is refused that is wrong by itself, so that handlers can
 * compute with the numbers; what is wrong only beside our own state, they refuse. */
#include <assert.h>

#include "roles/coordinator/raft/raft_internal.h"

static bool bytes_valid(struct bytes bytes, size_t max)
{
    return bytes.len <= max && (bytes.len == 0 || bytes.ptr != NULL);
}

static bool numbers_valid(const struct raft_message *message)
{
    return message->term <= RAFT_NUMBER_MAX && message->index <= RAFT_NUMBER_MAX &&
           message->log_term <= message->term && message->commit <= RAFT_NUMBER_MAX &&
           message->hint <= RAFT_NUMBER_MAX;
}

/* A position in a log: only the empty one has term 0. */
static bool position_valid(uint64_t index, uint64_t term)
{
    return (index == 0) == (term == 0);
}

static bool entry_valid(const struct raft_entry *entry, uint64_t index, uint64_t term_min, uint64_t term_max)
{
    struct raft_configuration configuration;

    if (entry->index != index || entry->term < term_min || entry->term > term_max || entry->term == 0)
        return false;
    if (!bytes_valid(entry->data, RAFT_ENTRY_BYTES_MAX))
        return false;
    switch (entry->type) {
    case RAFT_ENTRY_NOOP:
        return entry->data.len == 0;
    case RAFT_ENTRY_DATA:
        return true;
    case RAFT_ENTRY_CONFIGURATION:
        return raft_configuration_decode(entry->data, &configuration);
    default:
        return false;
    }
}

static bool append_valid(const struct raft_message *message)
{
    uint64_t term = message->log_term;

    if (!position_valid(message->index, message->log_term) || message->entry_count > RAFT_BATCH_ENTRIES_MAX)
        return false;
    if (message->entry_count != 0 && message->entries == NULL)
        return false;
    for (uint32_t i = 0; i < message->entry_count; i++) {
        if (!entry_valid(&message->entries[i], message->index + 1 + i, term, message->term))
            return false;
        term = message->entries[i].term;
    }
    return true;
}

static bool snapshot_valid(const struct raft_message *message)
{
    const struct raft_snapshot *snapshot = &message->snapshot;
    struct raft_configuration configuration;

    return snapshot->index >= 1 && snapshot->index <= RAFT_NUMBER_MAX && snapshot->term >= 1 &&
           snapshot->term <= message->term && bytes_valid(snapshot->data, RAFT_SNAPSHOT_BYTES_MAX) &&
           bytes_valid(snapshot->configuration, RAFT_CONFIGURATION_BYTES_MAX) &&
           raft_configuration_decode(snapshot->configuration, &configuration);
}

static bool is_reply(uint8_t type)
{
    return type == RAFT_PRE_VOTE_REPLY || type == RAFT_VOTE_REPLY || type == RAFT_APPEND_REPLY;
}

static bool content_valid(const struct raft_message *message)
{
    if (!numbers_valid(message) || (message->term == 0 && !(message->reject && is_reply(message->type))))
        return false; /* but one that never voted may refuse */
    switch (message->type) {
    case RAFT_PRE_VOTE:
    case RAFT_VOTE:
        return position_valid(message->index, message->log_term) && message->log_term < message->term;
    case RAFT_APPEND:
        return append_valid(message);
    case RAFT_SNAPSHOT:
        return snapshot_valid(message);
    default:
        return true;
    }
}

static void dispatch(struct raft *raft, const struct raft_message *message)
{
    switch (message->type) {
    case RAFT_PRE_VOTE:
        raft_receive_pre_vote(raft, message);
        break;
    case RAFT_PRE_VOTE_REPLY:
        raft_receive_pre_vote_reply(raft, message);
        break;
    case RAFT_VOTE:
        raft_receive_vote(raft, message);
        break;
    case RAFT_VOTE_REPLY:
        raft_receive_vote_reply(raft, message);
        break;
    case RAFT_APPEND:
        raft_receive_append(raft, message);
        break;
    case RAFT_APPEND_REPLY:
        raft_receive_append_reply(raft, message);
        break;
    case RAFT_SNAPSHOT:
        raft_receive_snapshot(raft, message);
        break;
    case RAFT_TIMEOUT_NOW:
        raft_receive_timeout_now(raft, message);
        break;
    }
}

/* An answer counts only from a member (or one that joins or leaves). A request can't be held to that: our own
 * configuration may be the old one, and its sender the new one's leader [thesis 4.1]. */
void raft_receive(struct raft *raft, const struct raft_message *message)
{
    uint64_t id = raft->options.id;

    raft->counters.messages_received++;
    if (message->type < RAFT_PRE_VOTE || message->type > RAFT_TIMEOUT_NOW)
        raft->counters.ignored_unknown_type++;
    else if (message->to != id || message->from == id || message->from == 0)
        raft->counters.ignored_misaddressed++;
    else if (!content_valid(message))
        raft->counters.ignored_malformed++;
    else if (is_reply(message->type) && raft_peer_find(raft, message->from) == NULL)
        raft->counters.ignored_stranger++;
    else if (raft->term != 0 && message->term > raft->term + RAFT_TERM_JUMP_MAX)
        raft->counters.ignored_forged++;
    else
        dispatch(raft, message);
}

static struct raft_message addressed(const struct raft *raft, uint64_t to, struct raft_message message)
{
    assert(to != 0 && to != raft->options.id);
    assert(message.term != 0 || message.reject);
    message.from = raft->options.id;
    message.to = to;
    return message;
}

void raft_send(struct raft *raft, uint64_t to, struct raft_message message)
{
    if (raft->outbox_count == RAFT_OUTBOX_MAX) {
        raft->counters.dropped_full++;
        return;
    }
    raft->outbox[raft->outbox_count++] = addressed(raft, to, message);
}

void raft_send_durable(struct raft *raft, uint64_t to, struct raft_message message, uint64_t sequence)
{
    /* Only what carries no pointers can wait. */
    assert(message.type != RAFT_APPEND && message.type != RAFT_SNAPSHOT);
    if (raft_sequence_durable(raft, sequence)) {
        raft_send(raft, to, message);
        return;
    }
    if (raft->held_count == RAFT_HELD_MAX) {
        raft->counters.dropped_full++;
        return;
    }
    raft->held[raft->held_count++] =
        (struct raft_held){.sequence = sequence, .message = addressed(raft, to, message)};
}

void raft_release_held(struct raft *raft)
{
    size_t kept = 0;

    for (size_t i = 0; i < raft->held_count; i++) {
        struct raft_held *held = &raft->held[i];

        if (held->message.term < raft->term)
            continue; /* nobody listens to it any more */
        if (raft_sequence_durable(raft, held->sequence))
            raft_send(raft, held->message.to, held->message);
        else
            raft->held[kept++] = *held;
    }
    raft->held_count = kept;
}
