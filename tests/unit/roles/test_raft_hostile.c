/* Messages that no honest member sends: ignored, counted under their reason, and nothing changes. */
#include "tests/unit/draw.h"
#include "tests/unit/roles/raft_single.h"

static struct raft_entry log_of_four[] = {
    {.index = 1, .term = 1, .type = RAFT_ENTRY_NOOP}, {.index = 2, .term = 1, .type = RAFT_ENTRY_DATA},
    {.index = 3, .term = 2, .type = RAFT_ENTRY_NOOP}, {.index = 4, .term = 2, .type = RAFT_ENTRY_DATA}};

/* Follows member 2 in term 2; entries 1 to 3 are committed. */
static void follower(struct single *s)
{
    struct raft_message heartbeat = single_append(2, 2, 4, 2, NULL, 0);

    single_restore(s, 3, 2, 0, log_of_four, 4);
    heartbeat.commit = 3;
    single_receive(s, heartbeat);
    cr_assert_eq(single_status(s).commit_index, 3);
}

static void expect_same(const struct raft_status *a, const struct raft_status *b)
{
    cr_assert_eq(a->role, b->role);
    cr_assert_eq(a->term, b->term);
    cr_assert_eq(a->vote, b->vote);
    cr_assert_eq(a->leader_id, b->leader_id);
    cr_assert_eq(a->first_index, b->first_index);
    cr_assert_eq(a->last_index, b->last_index);
    cr_assert_eq(a->last_term, b->last_term);
    cr_assert_eq(a->commit_index, b->commit_index);
    cr_assert_eq(a->configuration_index, b->configuration_index);
}

/* The message moves *counter by one and changes nothing else. */
static void expect_ignored(struct single *s, struct raft_message message, const uint64_t *counter)
{
    struct raft_status before = single_status(s), after;
    uint64_t count = *counter;

    single_receive(s, message);
    after = single_status(s);
    cr_assert_eq(*counter, count + 1);
    expect_same(&before, &after);
    cr_assert_eq(s->update.persist.sequence, 0);
    cr_assert_gt(s->update.apply_first, s->update.apply_last);
}

Test(raft_hostile, unknown_types_and_wrong_addresses)
{
    struct single s;
    const struct raft_counters *counters;

    follower(&s);
    counters = raft_counters(s.raft);
    expect_ignored(&s, (struct raft_message){.type = 0, .from = 2, .term = 9}, &counters->ignored_unknown_type);
    expect_ignored(&s, (struct raft_message){.type = 255, .from = 2, .term = 9}, &counters->ignored_unknown_type);
    expect_ignored(&s, (struct raft_message){.type = RAFT_APPEND, .from = 2, .to = 3, .term = 9},
                   &counters->ignored_misaddressed);
    expect_ignored(&s, (struct raft_message){.type = RAFT_APPEND, .from = 1, .term = 9},
                   &counters->ignored_misaddressed);
    expect_ignored(&s, (struct raft_message){.type = RAFT_APPEND, .term = 9}, &counters->ignored_misaddressed);
    raft_destroy(s.raft);
}

Test(raft_hostile, strangers_answers_and_votes_do_not_count)
{
    struct single s;
    const struct raft_counters *counters;

    follower(&s);
    counters = raft_counters(s.raft);
    for (uint8_t type = RAFT_PRE_VOTE_REPLY; type <= RAFT_APPEND_REPLY; type += 2)
        expect_ignored(&s, (struct raft_message){.type = type, .from = 77, .term = 9, .reject = true},
                       &counters->ignored_stranger);
    single_tick(&s, 600 * 1000); /* past the lease */
    expect_ignored(&s, (struct raft_message){.type = RAFT_VOTE, .from = 77, .term = 9, .index = 4, .log_term = 2},
                   &counters->ignored_stranger);
    expect_ignored(&s, (struct raft_message){.type = RAFT_PRE_VOTE, .from = 77, .term = 9, .index = 1, .log_term = 1},
                   &counters->ignored_stranger);
    raft_destroy(s.raft);
}

Test(raft_hostile, a_strangers_grants_elect_nobody)
{
    struct single s;

    single_restore(&s, 3, 0, 0, NULL, 0);
    single_tick(&s, 1200 * 1000);
    for (uint64_t from = 50; from < 60; from++)
        single_receive(&s, (struct raft_message){.type = RAFT_PRE_VOTE_REPLY, .from = from, .term = 1});
    cr_assert_eq(single_status(&s).role, RAFT_PRE_CANDIDATE);
    single_receive(&s, (struct raft_message){.type = RAFT_PRE_VOTE_REPLY, .from = 2, .term = 1});
    single_persisted(&s, s.sequence);
    for (uint64_t from = 50; from < 60; from++)
        single_receive(&s, (struct raft_message){.type = RAFT_VOTE_REPLY, .from = from, .term = 1});
    cr_assert_eq(single_status(&s).role, RAFT_CANDIDATE);
    raft_destroy(s.raft);
}

Test(raft_hostile, old_terms)
{
    struct single s;
    const struct raft_counters *counters;

    follower(&s);
    counters = raft_counters(s.raft);
    expect_ignored(&s, single_append(3, 1, 4, 1, NULL, 0), &counters->ignored_old_term);
    cr_assert(single_sent(&s, RAFT_APPEND_REPLY)->reject, "the old leader is told the term");
    cr_assert_eq(single_sent(&s, RAFT_APPEND_REPLY)->term, 2);
    expect_ignored(&s, (struct raft_message){.type = RAFT_TIMEOUT_NOW, .from = 2, .term = 1},
                   &counters->ignored_old_term);
    expect_ignored(&s, (struct raft_message){.type = RAFT_VOTE_REPLY, .from = 2, .term = 1},
                   &counters->ignored_old_term);
    expect_ignored(&s, (struct raft_message){.type = RAFT_APPEND_REPLY, .from = 2, .term = 1},
                   &counters->ignored_old_term);
    raft_destroy(s.raft);
}

Test(raft_hostile, numbers_that_nothing_reaches)
{
    struct single s;
    const struct raft_counters *counters;
    struct raft_message huge = single_append(2, UINT64_MAX, 4, 2, NULL, 0);

    follower(&s);
    counters = raft_counters(s.raft);
    expect_ignored(&s, huge, &counters->ignored_malformed);
    huge = single_append(2, 2, UINT64_MAX, 2, NULL, 0);
    expect_ignored(&s, huge, &counters->ignored_malformed);
    huge = single_append(2, 2, 4, 2, NULL, 0);
    huge.commit = UINT64_MAX;
    expect_ignored(&s, huge, &counters->ignored_malformed);
    expect_ignored(&s, single_append(2, 2, 4, 3, NULL, 0), &counters->ignored_malformed);
    expect_ignored(&s, single_append(2, 2, 0, 2, NULL, 0), &counters->ignored_malformed);
    expect_ignored(&s, single_append(2, 0, 0, 0, NULL, 0), &counters->ignored_malformed);
    raft_destroy(s.raft);
}

Test(raft_hostile, appends_whose_entries_are_wrong)
{
    struct single s;
    const struct raft_counters *counters;
    struct raft_entry entries[2] = {single_data(5, 2), single_data(7, 2)};

    follower(&s);
    counters = raft_counters(s.raft);
    expect_ignored(&s, single_append(2, 2, 4, 2, entries, 2), &counters->ignored_malformed); /* a gap */
    entries[1] = single_data(6, 1);
    expect_ignored(&s, single_append(2, 2, 4, 2, entries, 2), &counters->ignored_malformed); /* terms fall */
    entries[1] = single_data(6, 3);
    expect_ignored(&s, single_append(2, 2, 4, 2, entries, 2), &counters->ignored_malformed); /* a term to come */
    entries[1] = single_data(6, 2);
    entries[1].type = 9;
    expect_ignored(&s, single_append(2, 2, 4, 2, entries, 2), &counters->ignored_malformed);
    entries[1].type = RAFT_ENTRY_CONFIGURATION;
    expect_ignored(&s, single_append(2, 2, 4, 2, entries, 2), &counters->ignored_malformed);
    entries[1] = single_data(6, 2);
    entries[1].data.len = RAFT_ENTRY_BYTES_MAX + 1;
    expect_ignored(&s, single_append(2, 2, 4, 2, entries, 2), &counters->ignored_malformed);
    expect_ignored(&s, single_append(2, 2, 4, 2, NULL, 1), &counters->ignored_malformed);
    expect_ignored(&s, single_append(2, 2, 4, 2, entries, RAFT_BATCH_ENTRIES_MAX + 1), &counters->ignored_malformed);
    raft_destroy(s.raft);
}

Test(raft_hostile, what_is_committed_does_not_change)
{
    struct single s;
    const struct raft_counters *counters;
    struct raft_entry other = single_data(3, 1);

    follower(&s);
    counters = raft_counters(s.raft);
    expect_ignored(&s, single_append(2, 2, 2, 1, &other, 1), &counters->ignored_forged);
    expect_ignored(&s, single_append(2, 2, 3, 1, NULL, 0), &counters->ignored_forged);
    raft_destroy(s.raft);
}

Test(raft_hostile, what_this_terms_leader_was_told_does_not_change)
{
    struct raft_entry log[] = {
        {.index = 1, .term = 1, .type = RAFT_ENTRY_NOOP}, {.index = 2, .term = 1, .type = RAFT_ENTRY_DATA},
        {.index = 3, .term = 1, .type = RAFT_ENTRY_DATA}, {.index = 4, .term = 1, .type = RAFT_ENTRY_DATA}};
    struct raft_entry other = {.index = 3, .term = 2, .type = RAFT_ENTRY_NOOP};
    uint8_t configuration[RAFT_CONFIGURATION_BYTES_MAX];
    struct raft_message snapshot = {.type = RAFT_SNAPSHOT, .from = 2, .term = 3, .snapshot = {.index = 3, .term = 2}};
    const struct raft_counters *counters;
    struct single s;

    snapshot.snapshot.configuration = bytes_of(configuration, single_configuration(3, configuration));
    single_restore(&s, 3, 3, 0, log, 4);
    counters = raft_counters(s.raft);
    single_receive(&s, single_append(2, 3, 4, 1, NULL, 0)); /* told: all four are ours */
    expect_ignored(&s, single_append(2, 3, 2, 1, &other, 1), &counters->ignored_forged);
    expect_ignored(&s, snapshot, &counters->ignored_forged);
    single_receive(&s, single_append(3, 4, 2, 1, &other, 1)); /* the next term's leader may have another log */
    cr_assert_eq(single_status(&s).last_index, 3);
    cr_assert_eq(single_status(&s).last_term, 2);
    raft_destroy(s.raft);
}

Test(raft_hostile, a_second_leader_of_a_term)
{
    struct single s;
    const struct raft_counters *counters;

    follower(&s);
    counters = raft_counters(s.raft);
    expect_ignored(&s, single_append(3, 2, 4, 2, NULL, 0), &counters->ignored_forged);
    raft_destroy(s.raft);
    single_restore(&s, 3, 0, 0, NULL, 0);
    single_lead(&s);
    counters = raft_counters(s.raft);
    expect_ignored(&s, single_append(3, 1, 0, 0, NULL, 0), &counters->ignored_forged);
    raft_destroy(s.raft);
}

Test(raft_hostile, a_commit_index_beyond_what_the_append_vouches_for)
{
    struct single s;
    struct raft_message append = single_append(2, 2, 3, 2, NULL, 0);

    follower(&s);
    append.commit = 1000;
    single_receive(&s, append);
    cr_assert_eq(single_status(&s).commit_index, 3, "entry 4 may be another leader's");
    append.index = 4;
    single_receive(&s, append);
    cr_assert_eq(single_status(&s).commit_index, 4);
    raft_destroy(s.raft);
}

Test(raft_hostile, snapshots_that_are_old_or_wrong)
{
    struct single s;
    uint8_t configuration[RAFT_CONFIGURATION_BYTES_MAX];
    const struct raft_counters *counters;
    struct raft_message message = {.type = RAFT_SNAPSHOT, .from = 2, .term = 2};

    follower(&s);
    counters = raft_counters(s.raft);
    message.snapshot = (struct raft_snapshot){.index = 2, .term = 1};
    message.snapshot.configuration = bytes_of(configuration, single_configuration(3, configuration));
    expect_ignored(&s, message, &counters->ignored_stale);
    cr_assert_eq(single_sent(&s, RAFT_APPEND_REPLY)->index, 3, "the sender may go on behind what we have");
    message.snapshot.index = 9;
    message.snapshot.term = 3;
    expect_ignored(&s, message, &counters->ignored_malformed);
    message.snapshot.term = 2;
    message.snapshot.configuration.len--;
    expect_ignored(&s, message, &counters->ignored_malformed);
    message.snapshot.configuration.len++;
    message.snapshot.data.len = RAFT_SNAPSHOT_BYTES_MAX + 1;
    expect_ignored(&s, message, &counters->ignored_malformed);
    raft_destroy(s.raft);
}

Test(raft_hostile, answers_about_entries_that_do_not_exist)
{
    struct single s;
    const struct raft_counters *counters;
    struct raft_message reply = {.type = RAFT_APPEND_REPLY, .from = 2, .term = 1, .index = 50};

    single_restore(&s, 3, 0, 0, NULL, 0);
    single_lead(&s);
    counters = raft_counters(s.raft);
    expect_ignored(&s, reply, &counters->ignored_forged);
    reply.reject = true;
    expect_ignored(&s, reply, &counters->ignored_stale);
    reply.hint = 49;
    expect_ignored(&s, reply, &counters->ignored_stale);
    expect_ignored(&s, (struct raft_message){.type = RAFT_VOTE_REPLY, .from = 2, .term = 7},
                   &counters->ignored_forged);
    raft_destroy(s.raft);
}

Test(raft_hostile, a_rejection_does_not_take_back_what_was_acknowledged)
{
    struct single s;
    struct raft_message reply = {.type = RAFT_APPEND_REPLY, .from = 2, .term = 3, .index = 2};

    single_restore(&s, 3, 2, 0, log_of_four, 4);
    single_lead(&s);
    single_receive(&s, reply);
    reply.reject = true;
    reply.index = 4;
    single_receive(&s, reply); /* "try from 0" */
    cr_assert_eq(single_sent(&s, RAFT_APPEND)->index, 2);
    raft_destroy(s.raft);
}

/* --- anything at all --- */

static uint64_t draw_number(uint64_t *state)
{
    static const uint64_t extreme[] = {UINT64_MAX, RAFT_NUMBER_MAX, RAFT_NUMBER_MAX + 1, UINT32_MAX, 1000};

    return draw_below(state, 40) == 0 ? extreme[draw_below(state, 5)] : draw_below(state, 14);
}

static struct raft_message draw_message(uint64_t *state, struct raft_entry *entries, uint8_t *configuration)
{
    struct raft_message message = {.type = (uint8_t)draw_below(state, RAFT_TIMEOUT_NOW + 2), .from = draw_below(state, 6), .to = 1};
    uint64_t term = 1 + draw_below(state, 6);

    message.term = draw_below(state, 3000) == 0 ? draw_number(state) : term;
    message.index = draw_number(state);
    message.log_term = draw_below(state, 7);
    message.commit = draw_number(state);
    message.hint = draw_number(state);
    message.reject = draw_below(state, 2);
    message.transfer = draw_below(state, 4) == 0;
    message.entry_count = (uint32_t)draw_below(state, 4);
    message.entries = entries;
    message.snapshot = (struct raft_snapshot){.index = draw_number(state), .term = draw_below(state, 7), .data = BYTES_LITERAL("state")};
    message.snapshot.configuration = bytes_of(configuration, single_configuration(1 + (int)draw_below(state, 4), configuration));
    for (uint32_t i = 0; i < message.entry_count; i++) {
        entries[i] = single_data(message.index + 1 + i, message.log_term == 0 ? 1 : message.log_term);
        if (draw_below(state, 6) == 0) {
            entries[i].type = RAFT_ENTRY_CONFIGURATION;
            entries[i].data = message.snapshot.configuration;
        }
    }
    return message;
}

static void anything(struct single *s, uint64_t *state)
{
    uint8_t configuration[RAFT_CONFIGURATION_BYTES_MAX];
    struct raft_entry entries[4];
    struct raft_message message = draw_message(state, entries, configuration);
    struct raft_member member = {.id = 1 + draw_below(state, 8)};

    s->now_us += draw_below(state, 20) * draw_below(state, 2000);
    switch (draw_below(state, 24)) {
    case 0:
        single_persisted(s, s->sequence);
        break;
    case 1:
        single_step(s, (struct raft_event){.type = RAFT_EVENT_PROPOSE, .data = BYTES_LITERAL("p")});
        break;
    case 2:
        single_step(s, (struct raft_event){.type = RAFT_EVENT_PEER_CLOSED, .member_id = draw_below(state, 6)});
        break;
    case 3:
        single_step(s, (struct raft_event){.type = draw_below(state, 2) == 0 ? RAFT_EVENT_ADD_MEMBER : RAFT_EVENT_REMOVE_MEMBER,
                                           .member = &member,
                                           .member_id = member.id});
        break;
    case 4:
        single_step(s, (struct raft_event){.type = RAFT_EVENT_COMPACT, .index = single_status(s).commit_index});
        break;
    case 5:
        single_step(s, (struct raft_event){.type = RAFT_EVENT_TRANSFER, .member_id = draw_below(state, 6)});
        break;
    default:
        single_receive(s, message);
    }
}

Test(raft_hostile, no_sequence_of_messages_crashes_it)
{
    uint64_t elections = 0, snapshots = 0, forged = 0;

    for (uint64_t seed = 0; seed < 400; seed++) {
        uint64_t state = seed;
        struct single s;

        single_restore(&s, 1 + (int)(seed % 4), 0, 0, NULL, 0);
        for (int i = 0; i < 1000; i++)
            anything(&s, &state);
        elections += raft_counters(s.raft)->elections_won;
        snapshots += raft_counters(s.raft)->snapshots_installed;
        forged += raft_counters(s.raft)->ignored_forged;
        raft_destroy(s.raft);
    }
    cr_assert_gt(elections, 100);
    cr_assert_gt(snapshots, 100);
    cr_assert_gt(forged, 100);
}

Test(raft_hostile, a_stranger_leads_only_with_a_log_that_has_more)
{
    struct single s;
    const struct raft_counters *counters;
    struct raft_entry newer = {.index = 5, .term = 3, .type = RAFT_ENTRY_NOOP};

    follower(&s);
    counters = raft_counters(s.raft);
    expect_ignored(&s, single_append(77, 3, 4, 2, NULL, 0), &counters->ignored_stranger);
    expect_ignored(&s, single_append(77, 3, 3, 2, log_of_four + 3, 1), &counters->ignored_stranger);
    single_receive(&s, single_append(77, 3, 4, 2, &newer, 1));
    cr_assert_eq(single_status(&s).leader_id, 77, "it may be the leader of a configuration that we do not know yet");
    raft_destroy(s.raft);
}

Test(raft_hostile, a_term_that_no_election_can_have_reached)
{
    struct single s;
    const struct raft_counters *counters;

    follower(&s);
    counters = raft_counters(s.raft);
    expect_ignored(&s, (struct raft_message){.type = RAFT_APPEND_REPLY, .from = 2, .term = 3 + RAFT_TERM_JUMP_MAX, .reject = true},
                   &counters->ignored_forged);
    expect_ignored(&s, single_append(2, RAFT_NUMBER_MAX, 4, 2, NULL, 0), &counters->ignored_forged);
    raft_destroy(s.raft);
}

Test(raft_hostile, a_configuration_changes_by_one_member)
{
    struct single s;
    uint8_t bytes[RAFT_CONFIGURATION_BYTES_MAX];
    struct raft_configuration alone = {.count = 1, .members = {{.id = 1}}};
    struct raft_entry entry = {.index = 5, .term = 2, .type = RAFT_ENTRY_CONFIGURATION};

    follower(&s);
    entry.data = bytes_of(bytes, raft_configuration_encode(&alone, bytes));
    expect_ignored(&s, single_append(2, 2, 4, 2, &entry, 1), &raft_counters(s.raft)->ignored_forged);
    raft_destroy(s.raft);
}
