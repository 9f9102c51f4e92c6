/* Who is wrong when the replicas of a shard don't say the same. */
#include <criterion/criterion.h>

#include "net/error.h"
#include "roles/distributor/scan_judge.h"

static struct scan_answer says(uint64_t digest)
{
    return (struct scan_answer){.through = BYTES_LITERAL("m"), .pairs = 3, .bytes = 30, .digest = digest};
}

static struct scan_answer fails(int error)
{
    return (struct scan_answer){.error = error};
}

static struct scan_judgement judge(struct scan_answer a, struct scan_answer b, struct scan_answer c)
{
    struct scan_answer answers[] = {a, b, c};

    return scan_judge(answers, 3);
}

static struct scan_judgement judge_two(struct scan_answer a, struct scan_answer b)
{
    struct scan_answer answers[] = {a, b};

    return scan_judge(answers, 2);
}

Test(scan_judge, equal_replicas_are_equal)
{
    struct scan_judgement judgement = judge(says(1), says(1), says(1));

    cr_assert_eq(judgement.verdict, SCAN_EQUAL);
    cr_assert(bytes_equal(judgement.through, BYTES_LITERAL("m")));
    cr_assert_eq(judgement.pairs, 3);
    cr_assert_eq(judgement.bytes, 90);
    cr_assert_eq(scan_judge((struct scan_answer[]){says(1)}, 1).verdict, SCAN_EQUAL);
}

Test(scan_judge, a_majority_says_who_is_bad)
{
    struct scan_judgement judgement = judge(says(1), says(2), says(1));

    cr_assert_eq(judgement.verdict, SCAN_DIFFERENT);
    cr_assert_eq(judgement.bad, 2);
    cr_assert_eq(judgement.good, 5);
    cr_assert(judgement.content);
}

Test(scan_judge, each_number_of_a_page_counts)
{
    for (int i = 0; i < 3; i++) {
        struct scan_answer other = says(1);

        other.pairs += i == 0;
        other.bytes += i == 1;
        other.digest += i == 2;
        cr_assert_eq(judge(says(1), says(1), other).bad, 4, "number %d", i);
    }
}

Test(scan_judge, two_that_differ_accuse_nobody)
{
    cr_assert_eq(judge_two(says(1), says(2)).verdict, SCAN_UNDECIDED);
    cr_assert_eq(judge_two(says(1), says(2)).bad, 0);
    cr_assert_eq(judge(says(1), says(2), says(3)).verdict, SCAN_UNDECIDED);
}

Test(scan_judge, a_replica_that_knows_of_its_damage_is_bad)
{
    struct scan_judgement judgement = judge_two(says(1), fails(ERROR_FILE_CORRUPT));

    cr_assert_eq(judgement.verdict, SCAN_DIFFERENT);
    cr_assert_eq(judgement.bad, 2);
    cr_assert_eq(judgement.good, 1);
    cr_assert_not(judgement.content);
    cr_assert_eq(judge(fails(ERROR_FILE_CORRUPT), says(1), fails(ERROR_FILE_CORRUPT)).bad, 5);
}

Test(scan_judge, the_last_copies_are_never_given_up)
{
    cr_assert_eq(judge_two(fails(ERROR_FILE_CORRUPT), fails(ERROR_FILE_CORRUPT)).verdict, SCAN_UNDECIDED);
    cr_assert_eq(scan_judge((struct scan_answer[]){fails(ERROR_FILE_CORRUPT)}, 1).verdict, SCAN_UNDECIDED);
    cr_assert_eq(judge(fails(ERROR_FILE_CORRUPT), says(1), says(2)).verdict, SCAN_UNDECIDED, "one is damaged, the others differ");
}

Test(scan_judge, who_can_not_say_proves_nothing)
{
    cr_assert_eq(judge(says(1), fails(ERROR_WRONG_SHARD_SERVER), says(2)).verdict, SCAN_UNKNOWN);
    cr_assert_eq(judge(fails(ERROR_FILE_CORRUPT), fails(ERROR_TIMED_OUT), says(1)).verdict, SCAN_UNKNOWN);
}

Test(scan_judge, pages_that_end_at_different_keys_are_cut_to_the_shortest)
{
    struct scan_answer shorter = says(9);
    struct scan_judgement judgement;

    shorter.through = BYTES_LITERAL("f");
    shorter.pairs = 1;
    judgement = judge(says(1), shorter, says(1));
    cr_assert_eq(judgement.verdict, SCAN_SHORTER);
    cr_assert(bytes_equal(judgement.through, BYTES_LITERAL("f")));
    cr_assert_eq(judge(says(1), shorter, says(1)).bad, 0);
}
