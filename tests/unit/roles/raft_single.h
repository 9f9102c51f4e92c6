/* One member alone on the bench: a test plays its disk, its peers and its clock. It has the id 1 among 1, 2 and 3. */
#pragma once

#include <criterion/criterion.h>

#include "roles/coordinator/raft/raft.h"

struct single {
    struct raft *raft; /* owned */
    struct raft_update update; /* of the last step */
    uint64_t now_us;
    uint64_t sequence; /* of the newest persist */
};

static inline size_t single_configuration(int voters, uint8_t *out)
{
    struct raft_configuration configuration = {.count = (uint32_t)voters};

    for (int i = 0; i < voters; i++)
        configuration.members[i].id = (uint64_t)i + 1;
    return raft_configuration_encode(&configuration, out);
}

static inline void single_restore(struct single *single, int voters, uint64_t term, uint64_t vote,
                                  const struct raft_entry *entries, size_t count)
{
    uint8_t configuration[RAFT_CONFIGURATION_BYTES_MAX];
    struct raft_options options = {.id = 1, .seed = 1};
    struct raft_restored restored = {.term = term, .vote = vote, .entries = entries, .entry_count = count};

    *single = (struct single){.now_us = 1000 * 1000};
    restored.snapshot.configuration = bytes_of(configuration, single_configuration(voters, configuration));
    cr_assert_eq(raft_create(&options, &restored, single->now_us, &single->raft), 0);
}

static inline int single_step(struct single *single, struct raft_event event)
{
    int error;

    event.now_us = single->now_us;
    error = raft_step(single->raft, &event, &single->update);
    invariant_raft(single->raft);
    if (single->update.persist.sequence != 0)
        single->sequence = single->update.persist.sequence;
    return error;
}

static inline void single_receive(struct single *single, struct raft_message message)
{
    if (message.to == 0)
        message.to = 1;
    single_step(single, (struct raft_event){.type = RAFT_EVENT_MESSAGE, .message = &message});
}

static inline void single_persisted(struct single *single, uint64_t sequence)
{
    single_step(single, (struct raft_event){.type = RAFT_EVENT_PERSISTED, .sequence = sequence});
}

static inline void single_tick(struct single *single, uint64_t later_us)
{
    single->now_us += later_us;
    single_step(single, (struct raft_event){.type = RAFT_EVENT_TICK});
}

/* The last step's message of that type; NULL: none. */
static inline const struct raft_message *single_sent(const struct single *single, enum raft_message_type type)
{
    for (size_t i = 0; i < single->update.message_count; i++) {
        if (single->update.messages[i].type == type)
            return &single->update.messages[i];
    }
    return NULL;
}

static inline struct raft_status single_status(const struct single *single)
{
    struct raft_status status;

    raft_status(single->raft, &status);
    return status;
}

/* Leads the term after the one restored; the no-op is not yet durable. */
static inline void single_lead(struct single *single)
{
    uint64_t term = single_status(single).term + 1;

    single_tick(single, 1200 * 1000);
    single_receive(single, (struct raft_message){.type = RAFT_PRE_VOTE_REPLY, .from = 2, .term = term});
    single_persisted(single, single->sequence);
    single_receive(single, (struct raft_message){.type = RAFT_VOTE_REPLY, .from = 2, .term = term});
    cr_assert(single->update.became_leader);
}

static inline struct raft_entry single_data(uint64_t index, uint64_t term)
{
    return (struct raft_entry){.index = index, .term = term, .type = RAFT_ENTRY_DATA, .data = BYTES_LITERAL("x")};
}

static inline struct raft_message single_append(uint64_t from, uint64_t term, uint64_t index, uint64_t log_term,
                                                const struct raft_entry *entries, uint32_t count)
{
    return (struct raft_message){.type = RAFT_APPEND,
                                 .from = from,
                                 .term = term,
                                 .index = index,
                                 .log_term = log_term,
                                 .entries = entries,
                                 .entry_count = count};
}
