/* Digests of pushes and peeks: whatever they are of changes them. */
#include <criterion/criterion.h>

#include "txn/digest.h"

static struct push make(struct push_section sections[2], tag_t tags[3])
{
    tags[0] = 1;
    tags[1] = 2;
    tags[2] = 1;
    sections[0] = (struct push_section){.tags = tags, .tags_count = 2, .mutations = BYTES_LITERAL("first")};
    sections[1] = (struct push_section){.tags = tags + 2, .tags_count = 1, .mutations = BYTES_LITERAL("second")};
    return (struct push){.epoch = 3, .version = 20, .prev_version = 10, .known_committed = 5, .sections = sections,
                         .sections_count = 2, .metadata = BYTES_LITERAL("metadata")};
}

Test(digest, a_push_with_anything_changed_has_another_digest)
{
    struct push_section sections[2];
    tag_t tags[3];
    struct push push = make(sections, tags), changed = push;
    uint64_t digest = push_digest(&push, NULL);

    cr_assert_neq(digest, 0);
    changed.known_committed = 6;
    cr_assert_eq(push_digest(&changed, NULL), digest, "which is told anew each time that it is sent");
    changed.prev_version = 11;
    cr_assert_neq(push_digest(&changed, NULL), digest);
    changed = push;
    changed.sections_count = 1;
    cr_assert_neq(push_digest(&changed, NULL), digest);
    changed = push;
    changed.metadata = BYTES_LITERAL("metadatb");
    cr_assert_neq(push_digest(&changed, NULL), digest);
    tags[1] = 3;
    cr_assert_neq(push_digest(&push, NULL), digest, "a wrong tag");
    push = make(sections, tags);
    sections[1].mutations.len--;
    cr_assert_neq(push_digest(&push, NULL), digest, "a mutation cut short");
}

Test(digest, digests_of_sections_may_be_made_before)
{
    struct push_section sections[2];
    tag_t tags[3];
    struct push push = make(sections, tags);
    uint64_t digests[2] = {push_section_digest(&sections[0]), push_section_digest(&sections[1])};

    cr_assert_eq(push_digest(&push, digests), push_digest(&push, NULL));
}

Test(digest, a_peek_is_of_its_tag_and_version)
{
    struct bytes mutations = BYTES_LITERAL("mutations");
    uint64_t digest = peek_digest(1, 7, mutations);

    cr_assert_eq(peek_digest(1, 7, mutations), digest);
    cr_assert_neq(peek_digest(2, 7, mutations), digest);
    cr_assert_neq(peek_digest(1, 8, mutations), digest);
    cr_assert_neq(peek_digest(1, 7, BYTES_LITERAL("mutationt")), digest);
}

Test(digest, a_chunk_is_of_its_begin_and_version_and_end)
{
    struct fetch_range_reply chunk = {.pairs = BYTES_LITERAL("pairs"), .count = 2, .through = BYTES_LITERAL("m"), .version = 9}, changed = chunk;
    uint64_t digest = fetch_digest(BYTES_LITERAL("a"), &chunk);

    cr_assert_eq(fetch_digest(BYTES_LITERAL("a"), &changed), digest);
    cr_assert_neq(fetch_digest(BYTES_LITERAL("b"), &changed), digest);
    changed.version = 10;
    cr_assert_neq(fetch_digest(BYTES_LITERAL("a"), &changed), digest);
    changed = chunk;
    changed.through = BYTES_LITERAL("n");
    cr_assert_neq(fetch_digest(BYTES_LITERAL("a"), &changed), digest);
    changed = chunk;
    changed.pairs = BYTES_LITERAL("pairz");
    cr_assert_neq(fetch_digest(BYTES_LITERAL("a"), &changed), digest);
}
