/* Fields of messages by name, as scenario files change them. */
#include <criterion/criterion.h>

#include "sim/lies/lie_fields.h"
#include "txn/messages.h"

static struct push_section sections[2];
static tag_t tags[3] = {4, 5, 6};

static struct push make(void)
{
    sections[0] = (struct push_section){.tags = tags, .tags_count = 2, .mutations = BYTES_LITERAL("mutations")};
    sections[1] = (struct push_section){.tags = tags + 2, .tags_count = 1, .mutations = BYTES_LITERAL("others")};
    return (struct push){.version = 20, .prev_version = 10, .sections = sections, .sections_count = 2};
}

static bool change(struct push *push, const char *text, struct arena *arena)
{
    struct sim_random random = sim_random_stream(1, 1);
    struct lie_change change;

    cr_assert(lie_change_parse(text, &schema_push, &change), "%s", text);
    return lie_change_apply(&change, &schema_push, push, arena, &random);
}

Test(lie_fields, numbers_bytes_and_arrays_change)
{
    struct push push = make();
    struct arena arena = {0};

    cr_assert(change(&push, "prev_version +5", &arena));
    cr_assert_eq(push.prev_version, 15);
    cr_assert(change(&push, "version =-3", &arena));
    cr_assert_eq(push.version, -3);
    cr_assert(change(&push, "sections[1].mutations cut", &arena));
    cr_assert_eq(push.sections[1].mutations.len, 3);
    cr_assert(change(&push, "sections[0].mutations invert 1", &arena));
    cr_assert_eq(push.sections[0].mutations.ptr[1], (uint8_t)('u' ^ 0xff));
    cr_assert(change(&push, "sections[*].tags[0] +100", &arena));
    cr_assert_eq(push.sections[1].tags[0], 106);
    cr_assert(change(&push, "sections swap", &arena));
    cr_assert_eq(push.sections[0].tags_count, 1);
    cr_assert(change(&push, "sections drop", &arena));
    cr_assert_eq(push.sections_count, 1);
    arena_done(&arena);
    tags[0] = 4;
    tags[2] = 6;
}

Test(lie_fields, what_is_not_there_does_not_change)
{
    struct push push = make();
    struct arena arena = {0};

    cr_assert_not(change(&push, "sections[7].mutations flip", &arena));
    cr_assert_not(change(&push, "metadata flip", &arena));
    cr_assert_not(change(&push, "sections[1].tags swap", &arena));
    cr_assert_not(change(&push, "version =20", &arena));
    arena_done(&arena);
}

Test(lie_fields, tests_hold_for_any_element)
{
    static const struct {
        const char *text;
        bool holds;
    } cases[] = {{"version > 19", true},  {"version < 20", false},          {"sections# = 2", true}, {"sections[*].tags[*] = 6", true},
                 {"metadata > 0", false}, {"sections[0].tags[*] = 6", false}};
    struct sim_random random = sim_random_stream(1, 1);
    struct push push = make();

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct lie_test test;

        cr_assert(lie_test_parse(cases[i].text, &schema_push, &test));
        cr_assert_eq(lie_test_holds(&test, &schema_push, &push, &random), cases[i].holds, "%s", cases[i].text);
    }
}

Test(lie_fields, what_can_not_be_understood_is_refused)
{
    static const char *const changes[] = {"", "version", "version 5", "nothing =1", "version[0] =1", "sections[ =1", "version.x =1",
                                          "sections[0].mutations invert -1", "version =x"};
    struct lie_change change;

    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
        cr_assert_not(lie_change_parse(changes[i], &schema_push, &change), "%s", changes[i]);
}
