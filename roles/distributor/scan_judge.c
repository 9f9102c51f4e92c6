/* See the header. Two replicas that differ are an open question unless one of them says itself that it is damaged. */
#include "roles/distributor/scan_judge.h"

#include <assert.h>

#include "net/error.h"
#include "net/planted_bug.h"

static bool same_content(const struct scan_answer *a, const struct scan_answer *b)
{
    return a->pairs == b->pairs && a->bytes == b->bytes && a->digest == b->digest;
}

/* The answers that say the same as the i-th. */
static uint32_t who_agrees(const struct scan_answer *answers, uint32_t count, uint32_t i)
{
    uint32_t agree = 0;

    for (uint32_t k = 0; k < count; k++)
        if (answers[k].error == 0 && same_content(&answers[k], &answers[i]))
            agree |= UINT32_C(1) << k;
    return agree;
}

static void add_up(const struct scan_answer *answers, uint32_t count, struct scan_judgement *judgement, bool *ret_same_end)
{
    bool first = true;

    *ret_same_end = true;
    for (uint32_t i = 0; i < count; i++) {
        if (answers[i].error != 0)
            continue;
        *ret_same_end &= first || bytes_equal(answers[i].through, judgement->through);
        if (first || bytes_compare(answers[i].through, judgement->through) < 0)
            judgement->through = answers[i].through;
        if (answers[i].pairs > judgement->pairs)
            judgement->pairs = answers[i].pairs;
        judgement->bytes += answers[i].bytes;
        first = false;
    }
}

/* Those that could be read differ, or somebody is damaged. */
static void find_bad(const struct scan_answer *answers, uint32_t count, uint32_t damaged, struct scan_judgement *judgement)
{
    uint32_t all = (UINT32_C(1) << count) - 1, read = all & ~damaged, most = 0;

    for (uint32_t i = 0; i < count; i++)
        assert(answers[i].error != 0 || bytes_equal(answers[i].through, judgement->through)); /* pages of one range */
    for (uint32_t i = 0; i < count; i++) {
        uint32_t agree = damaged >> i & 1 ? 0 : who_agrees(answers, count, i);

        if (__builtin_popcount(agree) > __builtin_popcount(most))
            most = agree;
    }
    judgement->content = most != read;
    judgement->verdict = SCAN_UNDECIDED;
    if (most == 0 || (most != read && 2 * (uint32_t)__builtin_popcount(most) <= count))
        return;
    judgement->verdict = SCAN_DIFFERENT;
    judgement->good = most;
    judgement->bad = all & ~most;
}

struct scan_judgement scan_judge(const struct scan_answer *answers, uint32_t count)
{
    struct scan_judgement judgement = {.verdict = SCAN_EQUAL};
    uint32_t damaged = 0, first = UINT32_MAX;
    bool same_end;

    assert(count > 0 && count <= TEAM_SERVERS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        if (answers[i].error == ERROR_FILE_CORRUPT)
            damaged |= UINT32_C(1) << i;
        else if (answers[i].error != 0)
            judgement.verdict = SCAN_UNKNOWN;
        else if (first == UINT32_MAX)
            first = i;
    }
    add_up(answers, count, &judgement, &same_end);
    if (judgement.verdict == SCAN_UNKNOWN)
        return judgement;
    if (!same_end && !PLANTED_BUG(SCAN_SHORT_PAGE))
        judgement.verdict = SCAN_SHORTER;
    else if (damaged != 0 || who_agrees(answers, count, first) != (UINT32_C(1) << count) - 1)
        find_bad(answers, count, damaged, &judgement);
    return judgement;
}
