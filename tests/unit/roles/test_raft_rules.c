/* One rule a test: durability before answers, leases, commitment, membership, refusals. */
#include "tests/unit/nth.h"
#include "tests/unit/roles/raft_single.h"

#include "net/error.h"
#include "net/mem.h"
#include "tests/unit/roles/raft_world.h"

enum { MS = 1000 };

/* --- durability --- */

Test(raft_rules, a_vote_is_not_told_before_it_is_durable)
{
    struct single s;

    single_restore(&s, 3, 4, 0, NULL, 0);
    single_receive(&s, (struct raft_message){.type = RAFT_VOTE, .from = 2, .term = 5});
    cr_assert(s.update.persist.hard_state_changed);
    cr_assert_eq(s.update.persist.term, 5);
    cr_assert_eq(s.update.persist.vote, 2);
    cr_assert_eq(s.update.message_count, 0);
    single_tick(&s, 10 * MS);
    cr_assert_eq(s.update.message_count, 0);
    single_persisted(&s, s.sequence);
    cr_assert_not_null(single_sent(&s, RAFT_VOTE_REPLY));
    cr_assert_not(single_sent(&s, RAFT_VOTE_REPLY)->reject);
    raft_destroy(s.raft);
}

Test(raft_rules, a_vote_is_not_asked_for_before_the_term_is_durable)
{
    struct single s;

    single_restore(&s, 3, 4, 0, NULL, 0);
    single_tick(&s, 1200 * MS);
    cr_assert_not_null(single_sent(&s, RAFT_PRE_VOTE));
    cr_assert_eq(s.update.persist.sequence, 0, "a pre-vote changes nothing");
    single_receive(&s, (struct raft_message){.type = RAFT_PRE_VOTE_REPLY, .from = 3, .term = 5});
    cr_assert_eq(s.update.persist.vote, 1);
    cr_assert_eq(s.update.message_count, 0);
    single_persisted(&s, s.sequence);
    cr_assert_not_null(single_sent(&s, RAFT_VOTE));
    raft_destroy(s.raft);
}

Test(raft_rules, a_lone_member_leads_only_once_its_own_vote_is_durable)
{
    struct single s;

    single_restore(&s, 1, 0, 0, NULL, 0);
    single_tick(&s, 0);
    cr_assert_eq(s.update.persist.vote, 1);
    cr_assert_not(s.update.became_leader);
    single_persisted(&s, s.sequence);
    cr_assert(s.update.became_leader);
    cr_assert_gt(s.update.apply_first, s.update.apply_last);
    single_persisted(&s, s.sequence);
    cr_assert(s.update.leader_ready);
    cr_assert_eq(s.update.apply_last, 1);
    cr_assert_eq(s.update.timeout_us, RAFT_NEVER);
    raft_destroy(s.raft);
}

Test(raft_rules, a_leader_counts_itself_only_as_far_as_its_own_disk_is)
{
    struct single s;

    single_restore(&s, 3, 0, 0, NULL, 0);
    single_lead(&s);
    single_receive(&s, (struct raft_message){.type = RAFT_APPEND_REPLY, .from = 2, .term = 1, .index = 1});
    cr_assert_eq(single_status(&s).commit_index, 0);
    single_persisted(&s, s.sequence);
    cr_assert_eq(single_status(&s).commit_index, 1);
    cr_assert(s.update.leader_ready);
    raft_destroy(s.raft);
}

Test(raft_rules, a_majority_of_followers_commits_before_the_leaders_own_disk)
{
    struct single s;

    single_restore(&s, 3, 0, 0, NULL, 0);
    single_lead(&s);
    single_receive(&s, (struct raft_message){.type = RAFT_APPEND_REPLY, .from = 2, .term = 1, .index = 1});
    single_receive(&s, (struct raft_message){.type = RAFT_APPEND_REPLY, .from = 2, .term = 1, .index = 1});
    cr_assert_eq(single_status(&s).commit_index, 0, "the same member twice is no majority");
    single_receive(&s, (struct raft_message){.type = RAFT_APPEND_REPLY, .from = 3, .term = 1, .index = 1});
    cr_assert_eq(single_status(&s).commit_index, 1);
    raft_destroy(s.raft);
}

Test(raft_rules, an_append_is_acknowledged_only_as_far_as_it_is_durable)
{
    struct single s;
    struct raft_entry entries[] = {single_data(1, 1), single_data(2, 1)};

    single_restore(&s, 3, 1, 0, NULL, 0);
    single_receive(&s, single_append(2, 1, 0, 0, entries, 1));
    cr_assert_eq(s.update.message_count, 0);
    single_persisted(&s, s.sequence);
    cr_assert_eq(single_sent(&s, RAFT_APPEND_REPLY)->index, 1);
    single_receive(&s, single_append(2, 1, 1, 1, entries + 1, 1));
    cr_assert_eq(s.update.message_count, 0);
    single_receive(&s, single_append(2, 1, 1, 1, entries + 1, 1));
    cr_assert_eq(s.update.message_count, 1, "a repeated append shows the leader that we live");
    cr_assert_eq(s.update.messages[0].index, 1);
    single_persisted(&s, s.sequence);
    cr_assert_eq(single_sent(&s, RAFT_APPEND_REPLY)->index, 2);
    raft_destroy(s.raft);
}

Test(raft_rules, the_disks_word_about_a_truncated_entry_does_not_vouch_for_its_successor)
{
    struct single s;
    struct raft_entry old = single_data(1, 1), new = single_data(1, 2);
    uint64_t first;

    single_restore(&s, 3, 1, 0, NULL, 0);
    single_receive(&s, single_append(2, 1, 0, 0, &old, 1));
    first = s.sequence;
    single_receive(&s, single_append(3, 2, 0, 0, &new, 1));
    cr_assert_eq(s.update.persist.truncate_from, 1);
    single_persisted(&s, first);
    cr_assert_eq(s.update.message_count, 0);
    cr_assert_eq(single_status(&s).durable_index, 0);
    single_persisted(&s, s.sequence);
    cr_assert_eq(single_sent(&s, RAFT_APPEND_REPLY)->index, 1);
    cr_assert_eq(single_sent(&s, RAFT_APPEND_REPLY)->to, 3);
    raft_destroy(s.raft);
}

Test(raft_rules, a_snapshot_is_acknowledged_only_once_it_is_durable)
{
    struct single s;
    uint8_t configuration[RAFT_CONFIGURATION_BYTES_MAX];
    struct raft_message message = {.type = RAFT_SNAPSHOT, .from = 2, .term = 1};

    single_restore(&s, 3, 1, 0, NULL, 0);
    message.snapshot = (struct raft_snapshot){.index = 9, .term = 1, .data = BYTES_LITERAL("state")};
    message.snapshot.configuration = bytes_of(configuration, single_configuration(3, configuration));
    single_receive(&s, message);
    cr_assert_eq(s.update.snapshot_installed->index, 9);
    cr_assert_eq(s.update.persist.snapshot->index, 9);
    cr_assert_not(s.update.persist.snapshot_keeps_log);
    cr_assert_eq(s.update.message_count, 0);
    single_receive(&s, single_append(2, 1, 9, 1, NULL, 0));
    cr_assert_eq(single_sent(&s, RAFT_APPEND_REPLY)->index, 0, "alive, and nothing durable");
    single_persisted(&s, s.sequence);
    cr_assert_eq(single_sent(&s, RAFT_APPEND_REPLY)->index, 9);
    raft_destroy(s.raft);
}

Test(raft_rules, durable_entries_that_no_append_vouched_for_are_not_acknowledged)
{
    struct single s;
    struct raft_entry entries[] = {single_data(1, 1), single_data(2, 1), single_data(3, 1)};

    single_restore(&s, 3, 1, 0, entries, 3);
    single_receive(&s, single_append(2, 2, 1, 1, NULL, 0)); /* a new leader, whose log may differ behind 1 */
    cr_assert_eq(s.update.message_count, 0);
    single_receive(&s, single_append(2, 2, 1, 1, NULL, 0));
    single_persisted(&s, s.sequence);
    cr_assert_eq(s.update.message_count, 2);
    cr_assert_eq(s.update.messages[0].index, 1);
    cr_assert_eq(s.update.messages[1].index, 1);
    raft_destroy(s.raft);
}

Test(raft_rules, answers_that_wait_for_a_stuck_disk_are_bounded)
{
    struct single s;

    single_restore(&s, 3, 1, 0, NULL, 0);
    for (int i = 0; i < 1000; i++) {
        single_receive(&s, single_append(2, 2, 0, 0, NULL, 0)); /* the term is not durable */
        cr_assert_eq(s.update.message_count, 0);
    }
    cr_assert_gt(raft_counters(s.raft)->dropped_full, 800);
    single_persisted(&s, s.sequence);
    cr_assert_gt(s.update.message_count, 0);
    raft_destroy(s.raft);
}

Test(raft_rules, a_restart_remembers_its_vote)
{
    struct single s;

    single_restore(&s, 3, 5, 2, NULL, 0);
    single_receive(&s, (struct raft_message){.type = RAFT_VOTE, .from = 3, .term = 5});
    cr_assert(single_sent(&s, RAFT_VOTE_REPLY)->reject);
    single_receive(&s, (struct raft_message){.type = RAFT_VOTE, .from = 2, .term = 5});
    cr_assert_not(single_sent(&s, RAFT_VOTE_REPLY)->reject);
    cr_assert_eq(s.update.persist.sequence, 0, "it was durable already");
    raft_destroy(s.raft);
}

/* --- elections --- */

Test(raft_rules, votes_are_refused_while_the_leader_lives_and_not_once_its_connection_closed)
{
    struct single s;

    single_restore(&s, 3, 1, 0, NULL, 0);
    single_receive(&s, single_append(2, 1, 0, 0, NULL, 0));
    single_receive(&s, (struct raft_message){.type = RAFT_PRE_VOTE, .from = 3, .term = 2});
    cr_assert_eq(s.update.message_count, 0);
    single_receive(&s, (struct raft_message){.type = RAFT_VOTE, .from = 3, .term = 2});
    cr_assert_eq(single_status(&s).term, 1, "not even the term is taken");
    cr_assert_eq(raft_counters(s.raft)->ignored_lease, 2);
    single_step(&s, (struct raft_event){.type = RAFT_EVENT_PEER_CLOSED, .member_id = 2});
    cr_assert(s.update.leader_changed);
    cr_assert_leq(s.update.timeout_us, s.now_us + 20 * MS + 1);
    single_receive(&s, (struct raft_message){.type = RAFT_PRE_VOTE, .from = 3, .term = 2});
    cr_assert_not(single_sent(&s, RAFT_PRE_VOTE_REPLY)->reject);
    raft_destroy(s.raft);
}

Test(raft_rules, the_closed_connection_of_another_changes_nothing)
{
    struct single s;
    uint64_t timeout_us;

    single_restore(&s, 3, 1, 0, NULL, 0);
    single_receive(&s, single_append(2, 1, 0, 0, NULL, 0));
    timeout_us = s.update.timeout_us;
    single_step(&s, (struct raft_event){.type = RAFT_EVENT_PEER_CLOSED, .member_id = 3});
    cr_assert_eq(s.update.timeout_us, timeout_us);
    cr_assert_eq(s.update.leader_id, 2);
    raft_destroy(s.raft);
}

Test(raft_rules, one_whose_log_is_behind_gets_no_vote)
{
    struct single s;
    struct raft_entry entries[] = {single_data(1, 1), single_data(2, 3)};

    single_restore(&s, 3, 3, 0, entries, 2);
    single_receive(&s, (struct raft_message){.type = RAFT_VOTE, .from = 2, .term = 4, .index = 9, .log_term = 2});
    single_persisted(&s, s.sequence);
    cr_assert(single_sent(&s, RAFT_VOTE_REPLY)->reject);
    single_receive(&s, (struct raft_message){.type = RAFT_VOTE, .from = 2, .term = 4, .index = 1, .log_term = 3});
    cr_assert(single_sent(&s, RAFT_VOTE_REPLY)->reject);
    single_receive(&s, (struct raft_message){.type = RAFT_VOTE, .from = 2, .term = 4, .index = 2, .log_term = 3});
    single_persisted(&s, s.sequence);
    cr_assert_not(single_sent(&s, RAFT_VOTE_REPLY)->reject);
    raft_destroy(s.raft);
}

Test(raft_rules, one_members_grants_are_one_vote)
{
    struct single s;
    struct raft_message grant = {.type = RAFT_VOTE_REPLY, .from = 2, .term = 1};

    single_restore(&s, 5, 0, 0, NULL, 0);
    single_tick(&s, 1200 * MS);
    for (uint64_t from = 2; from <= 3; from++)
        single_receive(&s, (struct raft_message){.type = RAFT_PRE_VOTE_REPLY, .from = from, .term = 1});
    single_persisted(&s, s.sequence);
    for (int i = 0; i < 5; i++)
        single_receive(&s, grant);
    cr_assert_eq(single_status(&s).role, RAFT_CANDIDATE);
    grant.from = 5;
    single_receive(&s, grant);
    cr_assert_eq(single_status(&s).role, RAFT_LEADER);
    raft_destroy(s.raft);
}

Test(raft_rules, a_leader_whom_no_majority_answers_steps_down)
{
    struct single s;

    single_restore(&s, 3, 0, 0, NULL, 0);
    single_lead(&s);
    for (int i = 0; i < 4; i++)
        single_tick(&s, 100 * MS);
    cr_assert_eq(single_status(&s).role, RAFT_LEADER);
    single_tick(&s, 100 * MS);
    cr_assert(s.update.lost_leadership);
    cr_assert_eq(s.update.leader_id, 0);
    raft_destroy(s.raft);
}

/* --- the log --- */

Test(raft_rules, an_entry_of_an_older_term_is_never_committed_by_counting)
{
    struct single s;
    struct raft_entry old = single_data(1, 1);

    single_restore(&s, 3, 1, 0, &old, 1);
    single_lead(&s);
    single_persisted(&s, s.sequence);
    single_receive(&s, (struct raft_message){.type = RAFT_APPEND_REPLY, .from = 2, .term = 2, .index = 1});
    cr_assert_eq(single_status(&s).commit_index, 0);
    single_receive(&s, (struct raft_message){.type = RAFT_APPEND_REPLY, .from = 2, .term = 2, .index = 2});
    cr_assert_eq(s.update.apply_first, 1);
    cr_assert_eq(s.update.apply_last, 2);
    raft_destroy(s.raft);
}

Test(raft_rules, a_conflict_costs_one_rejection_a_term)
{
    struct single s;
    struct raft_entry entries[] = {single_data(1, 1), single_data(2, 2), single_data(3, 2), single_data(4, 2)};

    single_restore(&s, 3, 5, 0, entries, 4);
    single_receive(&s, single_append(2, 5, 9, 5, NULL, 0));
    cr_assert_eq(single_sent(&s, RAFT_APPEND_REPLY)->hint, 4, "the end of the log");
    single_receive(&s, single_append(2, 5, 4, 3, NULL, 0));
    cr_assert_eq(single_sent(&s, RAFT_APPEND_REPLY)->hint, 1, "before the first entry of term 2");
    raft_destroy(s.raft);
}

Test(raft_rules, a_leader_goes_back_to_where_the_logs_agree)
{
    struct single s;
    struct raft_entry entries[] = {single_data(1, 1), single_data(2, 1), single_data(3, 1)};
    struct raft_message reply = {.type = RAFT_APPEND_REPLY, .from = 2, .term = 2, .reject = true, .index = 3};

    single_restore(&s, 3, 1, 0, entries, 3);
    single_lead(&s);
    reply.hint = 1;
    single_receive(&s, reply);
    cr_assert_eq(single_sent(&s, RAFT_APPEND)->index, 1);
    cr_assert_eq(single_sent(&s, RAFT_APPEND)->entry_count, 3);
    single_receive(&s, reply);
    cr_assert_eq(s.update.message_count, 0, "the same rejection again is about another append");
    raft_destroy(s.raft);
}

Test(raft_rules, one_batch_is_under_way_and_the_heartbeat_sends_it_again)
{
    struct single s;

    single_restore(&s, 3, 0, 0, NULL, 0);
    single_lead(&s);
    cr_assert_eq(s.update.message_count, 2);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(single_step(&s, (struct raft_event){.type = RAFT_EVENT_PROPOSE, .data = BYTES_LITERAL("p")}), 0);
        cr_assert_eq(s.update.message_count, 0, "the no-op is still under way");
    }
    single_receive(&s, (struct raft_message){.type = RAFT_APPEND_REPLY, .from = 2, .term = 1, .index = 1});
    cr_assert_eq(single_sent(&s, RAFT_APPEND)->to, 2);
    cr_assert_eq(single_sent(&s, RAFT_APPEND)->entry_count, 3);
    single_tick(&s, 100 * MS);
    cr_assert_eq(s.update.message_count, 2);
    cr_assert_eq(s.update.messages[0].index, 1);
    cr_assert_eq(s.update.messages[0].entry_count, 3);
    cr_assert_eq(s.update.messages[1].entry_count, 4);
    raft_destroy(s.raft);
}

Test(raft_rules, a_restart_goes_on_from_snapshot_and_entries)
{
    uint8_t configuration[RAFT_CONFIGURATION_BYTES_MAX];
    struct raft_entry entries[] = {single_data(8, 2), single_data(9, 3)};
    struct raft_options options = {.id = 1, .seed = 1};
    struct raft_restored restored = {.term = 3, .entries = entries, .entry_count = 2};
    struct single s = {.now_us = 0};

    restored.snapshot = (struct raft_snapshot){
        .index = 7, .term = 2, .configuration = bytes_of(configuration, single_configuration(1, configuration)),
        .data = BYTES_LITERAL("state")};
    cr_assert_eq(raft_create(&options, &restored, 0, &s.raft), 0);
    cr_assert_eq(raft_snapshot(s.raft)->data.len, 5);
    cr_assert_eq(single_status(&s).commit_index, 7);
    single_tick(&s, 0);
    single_persisted(&s, s.sequence);
    single_persisted(&s, s.sequence);
    cr_assert_eq(s.update.apply_first, 8);
    cr_assert_eq(s.update.apply_last, 10);
    raft_destroy(s.raft);
}

Test(raft_rules, what_contradicts_itself_is_not_restored)
{
    uint8_t configuration[RAFT_CONFIGURATION_BYTES_MAX];
    struct raft_entry gap[] = {single_data(1, 1), single_data(3, 1)}, falling[] = {single_data(1, 2), single_data(2, 1)};
    struct raft_entry newer = single_data(1, 9);
    struct raft_options options = {.id = 1};
    struct raft_restored restored = {.term = 3, .entries = gap, .entry_count = 2};
    struct raft *raft = NULL;

    restored.snapshot.configuration = bytes_of(configuration, single_configuration(3, configuration));
    cr_assert_eq(raft_create(&options, &restored, 0, &raft), ERROR_FILE_CORRUPT);
    restored.entries = falling;
    cr_assert_eq(raft_create(&options, &restored, 0, &raft), ERROR_FILE_CORRUPT);
    restored.entries = &newer;
    restored.entry_count = 1;
    cr_assert_eq(raft_create(&options, &restored, 0, &raft), ERROR_FILE_CORRUPT);
    restored.entry_count = 0;
    restored.snapshot.configuration.len--;
    cr_assert_eq(raft_create(&options, &restored, 0, &raft), ERROR_FILE_CORRUPT);
    cr_assert_null(raft);
}

Test(raft_rules, compaction_keeps_the_entries_behind_it_and_never_goes_back)
{
    struct single s;

    single_restore(&s, 1, 0, 0, NULL, 0);
    single_tick(&s, 0);
    for (int i = 0; i < 5; i++) {
        single_persisted(&s, s.sequence);
        single_step(&s, (struct raft_event){.type = RAFT_EVENT_PROPOSE, .data = BYTES_LITERAL("p")});
    }
    single_persisted(&s, s.sequence);
    cr_assert_eq(raft_compact(s.raft, s.now_us, 3, BYTES_LITERAL("abc"), &s.update), 0);
    cr_assert_eq(s.update.persist.snapshot->index, 3);
    cr_assert(s.update.persist.snapshot_keeps_log);
    cr_assert_null(raft_entry(s.raft, 3));
    cr_assert_eq(raft_entry(s.raft, 4)->index, 4);
    cr_assert_eq(raft_compact(s.raft, s.now_us, 3, BYTES_LITERAL("abc"), &s.update), ERROR_OPERATION_OBSOLETE);
    cr_assert_eq(s.update.persist.sequence, 0);
    invariant_raft(s.raft);
    raft_destroy(s.raft);
}

/* --- requests --- */

Test(raft_rules, only_a_leader_takes_requests)
{
    struct single s;
    struct raft_member member = {.id = 4};

    single_restore(&s, 3, 0, 0, NULL, 0);
    cr_assert_eq(single_step(&s, (struct raft_event){.type = RAFT_EVENT_PROPOSE}), ERROR_OPERATION_OBSOLETE);
    cr_assert_eq(single_step(&s, (struct raft_event){.type = RAFT_EVENT_TRANSFER}), ERROR_OPERATION_OBSOLETE);
    cr_assert_eq(single_step(&s, (struct raft_event){.type = RAFT_EVENT_ADD_MEMBER, .member = &member}),
                 ERROR_OPERATION_OBSOLETE);
    cr_assert_eq(single_step(&s, (struct raft_event){.type = RAFT_EVENT_REMOVE_MEMBER, .member_id = 2}),
                 ERROR_OPERATION_OBSOLETE);
    raft_destroy(s.raft);
}

Test(raft_rules, a_transfer_stops_proposals_until_it_is_given_up)
{
    struct single s;
    struct raft_event propose = {.type = RAFT_EVENT_PROPOSE, .data = BYTES_LITERAL("p")};

    single_restore(&s, 3, 0, 0, NULL, 0);
    single_lead(&s);
    single_persisted(&s, s.sequence);
    cr_assert_eq(single_step(&s, (struct raft_event){.type = RAFT_EVENT_TRANSFER, .member_id = 9}),
                 ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(single_step(&s, (struct raft_event){.type = RAFT_EVENT_TRANSFER, .member_id = 3}), 0);
    cr_assert_null(single_sent(&s, RAFT_TIMEOUT_NOW), "its log is not level yet");
    cr_assert_eq(single_step(&s, propose), ERROR_OPERATION_OBSOLETE);
    single_receive(&s, (struct raft_message){.type = RAFT_APPEND_REPLY, .from = 3, .term = 1, .index = 1});
    cr_assert_eq(single_sent(&s, RAFT_TIMEOUT_NOW)->to, 3);
    for (int i = 0; i < 6; i++) {
        single_tick(&s, 100 * MS);
        single_receive(&s, (struct raft_message){.type = RAFT_APPEND_REPLY, .from = 2, .term = 1, .index = 1});
    }
    cr_assert_eq(single_step(&s, propose), 0);
    raft_destroy(s.raft);
}

Test(raft_rules, an_oversized_proposal_is_refused)
{
    struct single s;
    struct raft_event propose = {.type = RAFT_EVENT_PROPOSE,
                                 .data = {.ptr = (const uint8_t *)"", .len = RAFT_ENTRY_BYTES_MAX + 1}};

    single_restore(&s, 1, 0, 0, NULL, 0);
    single_tick(&s, 0);
    single_persisted(&s, s.sequence);
    cr_assert_eq(single_step(&s, propose), ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(single_status(&s).last_index, 1);
    raft_destroy(s.raft);
}

/* --- members --- */

Test(raft_rules, no_change_before_the_own_noop_and_none_beside_another)
{
    struct single s;
    struct raft_event remove = {.type = RAFT_EVENT_REMOVE_MEMBER, .member_id = 3};
    struct raft_member member = {.id = 4};

    single_restore(&s, 3, 0, 0, NULL, 0);
    single_lead(&s);
    cr_assert_eq(single_step(&s, remove), ERROR_OPERATION_FAILED);
    single_persisted(&s, s.sequence);
    single_receive(&s, (struct raft_message){.type = RAFT_APPEND_REPLY, .from = 2, .term = 1, .index = 1});
    cr_assert_eq(single_step(&s, remove), 0);
    cr_assert_eq(s.update.proposed_index, 2);
    cr_assert_eq(raft_configuration(s.raft)->count, 2, "in force as soon as it is appended");
    remove.member_id = 2;
    cr_assert_eq(single_step(&s, remove), ERROR_OPERATION_FAILED);
    cr_assert_eq(single_step(&s, (struct raft_event){.type = RAFT_EVENT_ADD_MEMBER, .member = &member}),
                 ERROR_OPERATION_FAILED);
    single_persisted(&s, s.sequence);
    single_receive(&s, (struct raft_message){.type = RAFT_APPEND_REPLY, .from = 2, .term = 1, .index = 2});
    cr_assert_eq(s.update.change, RAFT_CHANGE_COMMITTED);
    raft_destroy(s.raft);
}

Test(raft_rules, impossible_members_are_refused)
{
    struct single s;
    struct raft_member member = {.id = 1};
    struct raft_event add = {.type = RAFT_EVENT_ADD_MEMBER, .member = &member};

    single_restore(&s, 1, 0, 0, NULL, 0);
    single_tick(&s, 0);
    single_persisted(&s, s.sequence);
    single_persisted(&s, s.sequence);
    cr_assert_eq(single_step(&s, add), ERROR_CLIENT_INVALID_OPERATION);
    member.id = 0;
    cr_assert_eq(single_step(&s, add), ERROR_CLIENT_INVALID_OPERATION);
    member = (struct raft_member){.id = 2, .address_len = RAFT_ADDRESS_BYTES_MAX + 1};
    cr_assert_eq(single_step(&s, add), ERROR_CLIENT_INVALID_OPERATION);
    cr_assert_eq(single_step(&s, (struct raft_event){.type = RAFT_EVENT_REMOVE_MEMBER, .member_id = 1}),
                 ERROR_CLIENT_INVALID_OPERATION, "the last one stays");
    raft_destroy(s.raft);
}

Test(raft_rules, a_truncated_configuration_is_not_in_force_any_more)
{
    struct single s;
    uint8_t encoded[RAFT_CONFIGURATION_BYTES_MAX];
    struct raft_entry four = {.index = 1, .term = 1, .type = RAFT_ENTRY_CONFIGURATION}, other = single_data(1, 2);

    single_restore(&s, 3, 1, 0, NULL, 0);
    four.data = bytes_of(encoded, single_configuration(4, encoded));
    single_receive(&s, single_append(2, 1, 0, 0, &four, 1));
    cr_assert(s.update.configuration_changed);
    cr_assert_eq(raft_configuration(s.raft)->count, 4);
    single_receive(&s, single_append(3, 2, 0, 0, &other, 1));
    cr_assert(s.update.configuration_changed);
    cr_assert_eq(raft_configuration(s.raft)->count, 3);
    raft_destroy(s.raft);
}

Test(raft_rules, a_member_that_never_answers_is_not_added_and_costs_no_majority)
{
    struct world *world = world_create(1, 1, 2);
    struct raft_member member = {.id = 2};

    world_start(world, 0);
    world_run_until_leader(world, 0);
    cr_assert_eq(world_event(world, 0, (struct raft_event){.type = RAFT_EVENT_ADD_MEMBER, .member = &member}), 0);
    world_run(world, 4000 * MS);
    cr_assert_eq(world_status(world, 0).joining_id, 2);
    world_propose(world, 0);
    world_run(world, 2000 * MS);
    cr_assert_eq(world->nodes[0].change, RAFT_CHANGE_ABORTED);
    cr_assert_eq(world_status(world, 0).commit_index, 2);
    cr_assert_eq(raft_configuration(world->nodes[0].raft)->count, 1);
    world_destroy(world);
}

Test(raft_rules, a_cluster_grows_from_one_to_seven_and_shrinks_to_one)
{
    struct world *world = world_create(2, 1, 7);
    int leader;

    world->compact_every = 4;
    world_start_all(world);
    for (uint64_t id = 2; id <= 7; id++) {
        struct raft_member member = {.id = id};

        leader = world_run_until_leader(world, -1);
        cr_assert_eq(world_event(world, leader, (struct raft_event){.type = RAFT_EVENT_ADD_MEMBER, .member = &member}),
                     0);
        world_run(world, 300 * MS);
        cr_assert_eq(world->nodes[leader].change, RAFT_CHANGE_COMMITTED);
        cr_assert_eq(raft_configuration(world->nodes[leader].raft)->count, id);
    }
    for (uint64_t id = 1; id <= 6; id++) { /* often the leader itself */
        leader = world_run_until_leader(world, -1);
        cr_assert_eq(world_event(world, leader, (struct raft_event){.type = RAFT_EVENT_REMOVE_MEMBER, .member_id = id}),
                     0);
        world_run(world, 300 * MS);
    }
    cr_assert_eq(world_run_until_leader(world, 6), 6);
    cr_assert_eq(raft_configuration(world->nodes[6].raft)->count, 1);
    world_destroy(world);
}

Test(raft_rules, a_removed_member_learns_of_it_and_keeps_quiet)
{
    struct world *world = world_create(3, 3, 3);
    int leader, removed;
    uint64_t term;

    world_start_all(world);
    leader = world_run_until_leader(world, -1);
    removed = (leader + 1) % 3;
    term = world_status(world, leader).term;
    world_event(world, leader,
                (struct raft_event){.type = RAFT_EVENT_REMOVE_MEMBER, .member_id = (uint64_t)removed + 1});
    world_run(world, 5000 * MS);
    cr_assert_eq(raft_configuration(world->nodes[removed].raft)->count, 2);
    cr_assert_eq(world_status(world, leader).term, term);
    cr_assert_eq(world_status(world, leader).role, RAFT_LEADER);
    cr_assert_eq(raft_counters(world->nodes[removed].raft)->pre_votes_started, 0);
    world_destroy(world);
}

Test(raft_rules, a_member_whose_link_is_bad_does_not_disturb_the_leader)
{
    struct world *world = world_create(4, 3, 3);
    int leader, lonely;
    uint64_t term;

    world_start_all(world);
    leader = world_run_until_leader(world, -1);
    lonely = (leader + 1) % 3;
    term = world_status(world, leader).term;
    world->cut[leader][lonely] = true;
    world_run(world, 20 * 1000 * MS);
    cr_assert_gt(raft_counters(world->nodes[lonely].raft)->pre_votes_started, 5);
    cr_assert_eq(world_status(world, leader).term, term);
    cr_assert_eq(world_status(world, leader).role, RAFT_LEADER);
    world_destroy(world);
}

Test(raft_rules, disks_slower_than_the_election_timeout_still_elect)
{
    struct world *world = world_create(5, 3, 3);

    for (int i = 0; i < 3; i++)
        world->nodes[i].disk_us = 900 * MS;
    world_start_all(world);
    cr_assert_geq(world_run_until_leader(world, -1), 0);
    world_destroy(world);
}

Test(raft_rules, a_configuration_survives_its_encoding_and_every_cut_of_it_is_invalid)
{
    struct raft_configuration configuration = {.count = 3}, decoded;
    uint8_t encoded[RAFT_CONFIGURATION_BYTES_MAX + 1] = {0};
    size_t len;

    for (uint8_t i = 0; i < 3; i++) {
        configuration.members[i] = (struct raft_member){.id = UINT64_C(0x1122334455667788) + i, .address_len = 14};
        memcpy(configuration.members[i].address, "127.0.0.1:4500", 14);
    }
    len = raft_configuration_encode(&configuration, encoded);
    cr_assert(raft_configuration_decode(bytes_of(encoded, len), &decoded));
    cr_assert_eq(memcmp(&configuration, &decoded, sizeof(decoded)), 0);
    for (size_t cut = 0; cut < len; cut++)
        cr_assert_not(raft_configuration_decode(bytes_of(encoded, cut), &decoded));
    cr_assert_not(raft_configuration_decode(bytes_of(encoded, len + 1), &decoded));
    encoded[1] ^= 1; /* the first id becomes the second */
    cr_assert_not(raft_configuration_decode(bytes_of(encoded, len), &decoded));
}

/* --- memory --- */

static bool create_and_lead(void)
{
    struct single s = {.now_us = 0};
    uint8_t configuration[RAFT_CONFIGURATION_BYTES_MAX];
    struct raft_entry entry = single_data(1, 1);
    struct raft_options options = {.id = 1};
    struct raft_restored restored = {.term = 1, .entries = &entry, .entry_count = 1};
    int error = 0;

    restored.snapshot.configuration = bytes_of(configuration, single_configuration(1, configuration));
    if (raft_create(&options, &restored, 0, &s.raft) != 0)
        return false;
    for (int i = 0; i < 80 && error == 0; i++) {
        single_tick(&s, 0);
        if (s.sequence != 0)
            single_persisted(&s, s.sequence);
        if (single_status(&s).role == RAFT_LEADER)
            error = single_step(&s, (struct raft_event){.type = RAFT_EVENT_PROPOSE, .data = BYTES_LITERAL("p")});
    }
    if (error == 0)
        error = raft_compact(s.raft, s.now_us, single_status(&s).commit_index, BYTES_LITERAL("s"), &s.update);
    invariant_raft(s.raft);
    cr_assert(error == 0 || error == ERROR_OUT_OF_MEMORY);
    raft_destroy(s.raft);
    return error == 0;
}

Test(raft_rules, any_allocation_may_fail)
{
    int failures = 0;

    FAIL_EACH(nth, nth_allocation) {
        nth_begin(&nth, NULL);
        failures += !create_and_lead();
        cr_assert(nth_end(&nth) || nth.n > 10);
    }
    cr_assert_gt(failures, 10);
}
